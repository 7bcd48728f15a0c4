import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { eventsOf, MAX_FRAME_BYTES } from "../../shared/contract/delivery/frame.ts";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import type { RoutedEvent } from "../admit.ts";
import { messagesOf } from "./messages.ts";

function event(subject: string, bytes: Uint8Array): RoutedEvent {
  return { subject, bytes, partition: 0, msgId: `id of ${bytes}`, device: 0 };
}

Deno.test("the events of a subject share messages, within the limits, in their order", () => {
  const random = propertyRandom("messages");
  for (let round = 0; round < 100; round++) {
    const events = Array.from({ length: random.int(1, 500) }, () =>
      event(
        `hb.0.${random.pick(["de", "br", "jp"])}`,
        new Uint8Array(random.int(1, random.chance(0.1) ? 16_384 : 400)).fill(random.int(0, 255)),
      ));
    const messages = messagesOf(events);
    for (const [subject, expected] of Map.groupBy(events, (each) => each.subject)) {
      const own = messages.filter((message) => message.subject === subject);
      const found = own.flatMap(({ bytes, ends }) => eventsOf(bytes, ends));
      assertEquals(found, expected.map(({ bytes }) => bytes));
    }
    for (const { bytes, ends } of messages) {
      assert(bytes.length <= MAX_FRAME_BYTES);
      assert(eventsOf(bytes, ends).length <= 200);
    }
  }
});

Deno.test("a lone event is a message of its own bytes and id", () => {
  const alone = event("hb.0.de", new Uint8Array([1, 10, 2]));
  assertEquals(messagesOf([alone]), [{
    subject: "hb.0.de",
    bytes: alone.bytes,
    msgId: alone.msgId,
    ends: undefined,
  }]);
});

Deno.test("the id of a message says which events it has, and where each ends", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const idOf = (...texts: string[]) =>
    messagesOf(texts.map((text) => event("hb.0.de", bytes(text))))[0]?.msgId;
  assertEquals(idOf("a", "b"), idOf("a", "b"));
  assertNotEquals(idOf("a", "b"), idOf("b", "a"));
  // The same body, with other ends.
  assertNotEquals(idOf("a\nb", "c"), idOf("a", "b\nc"));
});

Deno.test("an event as large as allowed is stored, alone or with others", () => {
  const large = new Uint8Array(16_384).fill(97);
  const messages = messagesOf(Array.from({ length: 9 }, () => event("hb.0.de", large)));
  assertEquals(messages.map(({ bytes, ends }) => eventsOf(bytes, ends).length), [3, 3, 3]);
});
