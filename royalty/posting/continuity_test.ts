import { assertEquals } from "@std/assert";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import type { DeliveredMessage } from "../../shared/contract/delivery/delivery.ts";
import { follow } from "./continuity.ts";

const EVENTS = [new Uint8Array()];

function delivered(sequence: number, deliverySequence: number, redelivered = false) {
  return { events: EVENTS, sequence, deliverySequence, receivedAtMs: sequence * 10, redelivered };
}

function cursor(lastSeq: number, deliveries = 0) {
  return { lastSeq, lastReceivedAtMs: lastSeq * 10, deliveries };
}

Deno.test("after a reset the message at the cursor is delivered again and skipped", () => {
  const result = follow(cursor(5), [delivered(5, 1), delivered(6, 2), delivered(7, 3)]);
  if (result.kind !== "continues") throw new Error(result.reason);
  assertEquals(result.fresh.map(({ sequence }) => sequence), [6, 7]);
  assertEquals(result.gaps, []);
  assertEquals(result.cursor, cursor(7, 3));
});

Deno.test("a jump in sequence without a missing delivery is a gap", () => {
  const result = follow(cursor(5, 8), [delivered(6, 9), delivered(10, 10)]);
  if (result.kind !== "continues") throw new Error(result.reason);
  assertEquals(result.gaps, [{ firstSeq: 7, lastSeq: 9 }]);
  assertEquals(result.fresh.length, 2);
});

Deno.test("a missing delivery is broken, never a gap", () => {
  const result = follow(cursor(5), [delivered(6, 1), delivered(8, 3)]);
  assertEquals(result, { kind: "broken", reason: "expected delivery 2, received 3" });
});

Deno.test("redeliveries of sequences accounted for are skipped", () => {
  const result = follow(cursor(9, 9), [delivered(3, 10, true), delivered(10, 11)]);
  if (result.kind !== "continues") throw new Error(result.reason);
  assertEquals(result.fresh.map(({ sequence }) => sequence), [10]);
});

Deno.test("an old sequence that is not a redelivery is broken", () => {
  assertEquals(follow(cursor(9, 9), [delivered(3, 10)]).kind, "broken");
});

Deno.test("another message at the cursor's sequence means that the stream was rewritten", () => {
  const other = { ...delivered(5, 1), receivedAtMs: 51 };
  assertEquals(follow(cursor(5), [other]).kind, "rewritten");
});

Deno.test("fresh deliveries and gaps cover every sequence exactly once", () => {
  const random = propertyRandom("continuity against a naive model");
  for (let run = 0; run < 300; run++) {
    const stored = holes(random, 200);
    let at = cursor(0);
    const covered: number[] = [];
    let number = 0;
    for (let i = 0; i < stored.length;) {
      const size = random.int(0, 30);
      const again = covered.length > 0 && random.chance(0.2)
        ? [delivered(random.int(1, at.lastSeq), ++number, true)]
        : [];
      // A redelivery may be of any earlier sequence.
      const batch: DeliveredMessage[] = [
        ...again,
        ...stored.slice(i, i + size).map((sequence) => delivered(sequence, ++number)),
      ];
      i += size;
      const result = follow(at, batch);
      if (result.kind !== "continues") throw new Error(result.reason);
      for (const { firstSeq, lastSeq } of result.gaps) {
        for (let missing = firstSeq; missing <= lastSeq; missing++) covered.push(missing);
      }
      covered.push(...result.fresh.map(({ sequence }) => sequence));
      at = result.cursor;
    }
    const all = Array.from({ length: stored.at(-1) ?? 0 }, (_, i) => i + 1);
    assertEquals(covered.sort((a, b) => a - b), all);
  }
});

function holes(random: Random, upTo: number): number[] {
  const all = Array.from({ length: upTo }, (_, i) => i + 1);
  return all.filter(() => !random.chance(0.1));
}
