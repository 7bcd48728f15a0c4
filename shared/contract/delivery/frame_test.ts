import { assertEquals } from "@std/assert";
import { propertyRandom } from "../../dev/testing/random.ts";
import { eventsOf, frameOf, MAX_FRAME_EVENTS } from "./frame.ts";

const BYTES = [10, 10, 13, 0x7b, 0x7d, 0, 255, 0x2c];

Deno.test("any events are read from their frame unchanged, line feeds in them included", () => {
  const random = propertyRandom("frame");
  for (let round = 0; round < 500; round++) {
    const events = Array.from(
      { length: random.int(1, random.chance(0.1) ? MAX_FRAME_EVENTS : 5) },
      () => Uint8Array.from({ length: random.int(1, 40) }, () => random.pick(BYTES)),
    );
    const { body, ends } = frameOf(events);
    assertEquals(eventsOf(body, ends), events);
  }
});

Deno.test("a message without ends is one event, whatever is in it", () => {
  const body = new Uint8Array([123, 10, 125]);
  assertEquals(eventsOf(body, undefined), [body]);
  assertEquals(eventsOf(new Uint8Array(), undefined), [new Uint8Array()]);
});

const BODY = new TextEncoder().encode("aa\nbbb\nc");
for (
  const ends of [
    "",
    "2",
    "2,6",
    "2,6,9",
    "2,6,8,10",
    "2,2,8",
    "6,2,8",
    "2,7,8",
    "0,8",
    "-2,8",
    "2, 6,8",
    "2.0,6,8",
    "2,,8",
    "2,6,8,",
    "x",
    "2,6,1e1",
    Array(MAX_FRAME_EVENTS + 1).fill("2").join(","),
  ]
) {
  Deno.test(`ends that do not fit the body make it one event: "${ends.slice(0, 20)}"`, () => {
    assertEquals(eventsOf(BODY, ends), [BODY]);
  });
}

Deno.test("ends that fit are where the events end", () => {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(eventsOf(BODY, "2,6,8").map(text), ["aa", "bbb", "c"]);
  assertEquals(eventsOf(BODY, "8").map(text), ["aa\nbbb\nc"]);
  assertEquals(eventsOf(BODY, "6,8").map(text), ["aa\nbbb", "c"]);
});
