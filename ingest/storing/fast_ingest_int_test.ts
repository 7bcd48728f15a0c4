import { assertEquals, assertExists, assertRejects } from "@std/assert";
import { type Msg, type NatsConnection, TimeoutError } from "nats";
import { JetStreamApiError, jetstreamManager } from "nats/jetstream";
import { NatsStack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { FastIngest } from "./fast_ingest.ts";
import type { OutgoingMessage } from "./messages.ts";

/** The stream's side of the protocol, scripted by the test on a real server. */
class ScriptedStream {
  readonly received: Msg[] = [];

  static async start(stack: NatsStack): Promise<[ScriptedStream, NatsConnection]> {
    const ops = await stack.connect("ops");
    await (await jetstreamManager(ops)).streams.delete("HEARTBEATS");
    const stream = new ScriptedStream();
    ops.subscribe("hb.>", { callback: (_, message) => void stream.received.push(message) });
    await ops.flush();
    return [stream, await stack.connect("ingest")];
  }

  async receivedEvents(count: number): Promise<void> {
    await waitFor(`${count} events`, () => this.received.length >= count);
  }
  answer(index: number, answer: unknown): void {
    const message = this.received[index];
    assertExists(message);
    message.respond(JSON.stringify(answer));
  }
  /** `<flow>.<gaps>.<seq>.<operation>` of the messages received. */
  protocol(): string[] {
    return this.received.map(({ reply = "" }) => reply.split(".").slice(-5, -1).join("."));
  }
}

function someMessages(count: number): OutgoingMessage[] {
  return Array.from({ length: count }, (_, i) => ({
    bytes: new TextEncoder().encode(String(i)),
    subject: "hb.0.none",
    msgId: `id-${i}`,
    ends: undefined,
  }));
}

Deno.test("a batch is sent whole, and has landed once all of it is acknowledged", async () => {
  await using stack = await NatsStack.start();
  const [stream, nc] = await ScriptedStream.start(stack);
  let hasLanded = false;
  const landed = new FastIngest(nc, "_INBOX_ingest").land(someMessages(4), 5_000)
    .then(() => hasLanded = true);
  await stream.receivedEvents(4);
  const sent = ["1.0", "2.1", "3.1", "4.2"].map((rest) => `4.fail.${rest}`);
  assertEquals(stream.protocol(), sent);
  assertEquals(stream.received.map((m) => m.string()), ["0", "1", "2", "3"]);
  assertEquals(stream.received[3]?.headers?.get("Nats-Msg-Id"), "id-3");
  stream.answer(0, { type: "ack", seq: 0, msgs: 1 });
  stream.answer(3, { type: "ack", seq: 4, msgs: 2 });
  await nc.flush();
  assertEquals(hasLanded, false, "flow control says nothing about the whole batch");
  stream.answer(3, { stream: "HEARTBEATS", seq: 4, batch: "b", count: 4 });
  await landed;
});

Deno.test("an acknowledgement of fewer events than were sent is a failure", async () => {
  await using stack = await NatsStack.start();
  const [stream, nc] = await ScriptedStream.start(stack);
  const landed = new FastIngest(nc, "_INBOX_ingest").land(someMessages(3), 5_000);
  await stream.receivedEvents(3);
  stream.answer(0, { type: "ack", seq: 0, msgs: 10 });
  stream.answer(1, { type: "gap", last_seq: 1, seq: 3 });
  stream.answer(2, { stream: "HEARTBEATS", seq: 2, batch: "b", count: 2 });
  await assertRejects(() => landed, Error, "counts 2 of 3");
});

Deno.test("a server error fails its batch, and no other batch", async () => {
  await using stack = await NatsStack.start();
  const [stream, nc] = await ScriptedStream.start(stack);
  const fast = new FastIngest(nc, "_INBOX_ingest");
  const refused = fast.land(someMessages(2), 5_000);
  const other = fast.land(someMessages(2), 5_000);
  await stream.receivedEvents(4);
  const error = { code: 503, err_code: 10077, description: "maximum messages exceeded" };
  stream.answer(0, { error, stream: "HEARTBEATS", seq: 0 });
  const { code } = await assertRejects(() => refused, JetStreamApiError, "maximum messages");
  assertEquals(code, 10077);
  stream.answer(3, { stream: "HEARTBEATS", seq: 2, batch: "b", count: 2 });
  await other;
});

Deno.test("no answer is a timeout; no stream is an immediate error", async () => {
  await using stack = await NatsStack.start();
  const [, nc] = await ScriptedStream.start(stack);
  await assertRejects(
    () => new FastIngest(nc, "_INBOX_ingest").land(someMessages(2), 20),
    TimeoutError,
  );
  const unrouted = someMessages(2).map((event) => ({ ...event, subject: "hb2" }));
  const ops = await stack.connect("ops");
  await assertRejects(() => new FastIngest(ops, "_INBOX_ops").land(unrouted, 5_000), Error, "503");
});

Deno.test("an acknowledgement of duplicates only does not say that they are stored", async () => {
  await using stack = await NatsStack.start();
  const fast = new FastIngest(await stack.connect("ingest"), "_INBOX_ingest");
  const land = (count: number) => fast.land(someMessages(count), 5_000);
  assertEquals([await land(4), await land(4), await land(6), await land(6)], [
    true,
    false,
    true,
    false,
  ]);
});
