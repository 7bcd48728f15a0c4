import { assert, assertEquals, assertExists } from "@std/assert";
import { headers } from "nats";
import { jetstream, jetstreamManager, type JsMsg } from "nats/jetstream";
import { headerValue, quarantine } from "../quarantine.ts";
import { type DeliveredMessage, deliveredMessage, deliveriesIn } from "./delivery.ts";
import { frameOf } from "./frame.ts";
import { propertyRandom } from "../../dev/testing/random.ts";
import { NatsStack } from "../../dev/servers/stack.ts";
import { printable, type Rejection, REJECTION_REASONS } from "../event.ts";
import { ENDS_HEADER, QUARANTINE, QUARANTINE_HEADER as H, quarantineSubject } from "../topology.ts";

const LETTERS = [
  "a",
  " ",
  "%",
  "%20",
  '"',
  ":",
  "\r\n",
  "\0",
  "ü",
  "映",
  "\u{1f3ac}",
  "\ud800",
  "\t",
];

Deno.test("any rejection is read from QUARANTINE unchanged, with the original bytes", async () => {
  const random = propertyRandom("quarantine round trip");
  await using stack = await NatsStack.start();
  const royalty = jetstream(await stack.connect("royalty"));
  const triage = jetstream(await stack.connect("triage"));
  const text = () => Array.from({ length: random.int(1, 80) }, () => random.pick(LETTERS)).join("");
  const sent = Array.from({ length: 200 }, (_, i) => {
    const rejection: Rejection = {
      reason: random.pick(REJECTION_REASONS),
      path: `$.${text()}`,
      detail: text(),
      build: random.chance(0.7) ? text() : undefined,
    };
    const bytes = Uint8Array.from({ length: random.int(0, 60) }, () => random.int(0, 255));
    return { rejection, bytes, sequence: i + 1 };
  });
  for (const { rejection, bytes, sequence } of sent) {
    const delivery = { bytes, sequence, index: sequence % 3, receivedAtMs: 1_700_000_000_000 };
    await quarantine(royalty, "royalty", { stream: "HEARTBEATS", delivery, rejection });
  }

  const durable = await triage.consumers.get(QUARANTINE, "triage");
  const received: JsMsg[] = [];
  for await (const message of await durable.fetch({ max_messages: sent.length })) {
    received.push(message);
  }
  assertEquals(received.length, sent.length);
  for (const [i, message] of received.entries()) {
    const reject = sent[i];
    assertExists(reject);
    const { rejection, bytes, sequence } = reject;
    const header = (name: string) => headerValue(message.headers?.get(name) ?? "");
    assertEquals(message.subject, quarantineSubject(rejection.reason));
    assertEquals(header(H.reason), rejection.reason);
    assertEquals(header(H.path), printable(rejection.path));
    assertEquals(header(H.detail), printable(rejection.detail));
    assertEquals(header(H.build), printable(rejection.build ?? ""));
    assertEquals(
      [header(H.stream), header(H.sequence), header(H.index)],
      ["HEARTBEATS", String(sequence), String(sequence % 3)],
    );
    assertEquals(new Uint8Array(message.data), bytes);
    assertEquals(deliveredMessage(message).sequence, i + 1);
  }
});

Deno.test("heartbeats are told apart in messages with and without ends, one behind the other", async () => {
  const random = propertyRandom("delivered messages");
  await using stack = await NatsStack.start();
  const js = jetstream(await stack.connect("ingest"));
  const sent = Array.from({ length: 300 }, () =>
    Array.from(
      { length: random.chance(0.5) ? 1 : random.int(2, 9) },
      () => Uint8Array.from({ length: random.int(1, 300) }, () => random.pick([10, 13, 32, 123])),
    ));
  for (const events of sent) {
    const { body, ends } = frameOf(events);
    const framing = headers();
    framing.set(ENDS_HEADER, ends);
    if (random.chance(0.3)) framing.set("Nats-Msg-Id", crypto.randomUUID());
    const isPlain = events.length === 1 && random.chance(0.5);
    await js.publish("hb.0.de", body, isPlain ? {} : { headers: framing });
  }
  const live = jetstream(await stack.connect("live"));
  const received: DeliveredMessage[] = [];
  for await (
    const message of await (await live.consumers.get("HEARTBEATS", "live")).fetch({
      max_messages: sent.length,
    })
  ) received.push(deliveredMessage(message));
  assertEquals(received.map(({ events }) => events.map((each) => new Uint8Array(each))), sent);
  assertEquals(received.map(({ deliverySequence }) => deliverySequence), sent.map((_, i) => i + 1));
  const deliveries = received.flatMap(deliveriesIn).map(({ index }) => index);
  assertEquals(deliveries, sent.flatMap((events) => events.map((_, index) => index)));
});

Deno.test("live and royalty rejecting the same heartbeat make one entry", async () => {
  await using stack = await NatsStack.start();
  const rejection: Rejection = { reason: "malformed", path: "$.ts", detail: "expected int" };
  const delivery = { bytes: new Uint8Array([1]), sequence: 9, index: 0, receivedAtMs: 1 };
  for (const role of ["live", "royalty", "live"] as const) {
    const js = jetstream(await stack.connect(role));
    await quarantine(js, role, { stream: "HEARTBEATS", delivery, rejection });
  }
  const js = jetstream(await stack.connect("live"));
  await quarantine(js, "live", { stream: "HEARTBEATS_1", delivery, rejection });
  // Another heartbeat of the same message.
  await quarantine(js, "live", {
    stream: "HEARTBEATS",
    delivery: { ...delivery, index: 1 },
    rejection,
  });
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const { state } = await jsm.streams.info(QUARANTINE);
  assertEquals(state.messages, 3);
  const first = await jsm.streams.getMessage(QUARANTINE, { seq: 1 });
  assert(first);
  assertEquals(first.header.get(H.rejectedBy), "live");
});
