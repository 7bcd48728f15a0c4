import { assert, assertEquals } from "@std/assert";
import { STATES } from "../../shared/contract/event.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { BatchBuilder, ObservationBatch } from "./observation_batch.ts";

const END = { heard_to: 1_764_000_000_000, lag_ms: 0, by: "test" };
const TEXTS = ["", "de", "a\u0000b", '\u2028"\\', "\ud83d\ude00", "x".repeat(5_000)];

function anyHeartbeat(random: Random, i: number): WatchedHeartbeat {
  const text = () => TEXTS[random.int(0, TEXTS.length - 1)] ?? "";
  return {
    session_id: `${text()}-${i}`,
    region: text(),
    title_id: text(),
    ts: random.int(0, 4_000_000_000_000),
    seq: random.int(0, 2 ** 40),
    interval_ms: random.int(0, 300_000),
    played_ms: random.int(0, 300_000),
    rebuffer_ms: random.int(0, 300_000),
    state: STATES[random.int(0, STATES.length - 1)] ?? "playing",
    device: { build: text(), model: text(), os: "" },
    ...(random.chance(0.5) ? { cdn: text() } : {}),
    ...(random.chance(0.5) ? { isp: text() } : {}),
  };
}

function rowsOf(batch: ObservationBatch): [number, number, WatchedHeartbeat][] {
  const rows: [number, number, WatchedHeartbeat][] = [];
  while (batch.next < batch.head.rows) {
    rows.push([batch.sequence(batch.next), batch.receivedAtMs, batch.take()]);
  }
  return rows;
}

Deno.test("property: a batch tells what was added, also when the builder is used again", () => {
  const random = propertyRandom("observation batches");
  const builder = new BatchBuilder();
  for (let round = 0; round < 20; round++) {
    const added: [number, number, WatchedHeartbeat][] = [];
    let sequence = random.int(1, 2 ** 40);
    const first = sequence;
    let events = 0;
    for (let i = random.int(1, 3_000); i > 0; i--) {
      const together = random.chance(0.2) ? random.int(2, 5) : 1;
      events += together;
      builder.cover(sequence, together);
      for (let index = 0; index < together; index++) {
        // Some cannot be used.
        if (random.chance(0.1)) continue;
        const heartbeat = anyHeartbeat(random, i);
        builder.add(heartbeat, 1_764_000_000_000 + i);
        added.push([sequence, 1_764_000_000_000 + i, heartbeat]);
      }
      sequence += random.int(1, 3);
    }
    const most = builder.maxBytes;
    const bytes = builder.finish(END);
    assert(bytes.byteLength <= most + 1_000, `${bytes.byteLength} bytes, not ${most}`);
    const batch = ObservationBatch.of(bytes);
    assert(batch !== undefined);
    assertEquals(
      [batch.head.first, batch.head.events, batch.head.heard_to],
      [first, events, END.heard_to],
    );
    assertEquals(rowsOf(batch), added);
  }
});

Deno.test("a batch of nothing says how far the stream was heard and covers no sequence", () => {
  const builder = new BatchBuilder();
  const batch = ObservationBatch.of(builder.finish(END));
  assert(batch !== undefined);
  assert(batch.head.first > batch.head.last);
  assertEquals([batch.head.rows, batch.head.heard_to, batch.receivedAtMs], [
    0,
    END.heard_to,
    Infinity,
  ]);
});

Deno.test("bytes that are no batch are none, whatever is cut off or changed", () => {
  const random = propertyRandom("observation batches");
  const builder = new BatchBuilder();
  builder.cover(1, 1);
  builder.add(anyHeartbeat(random, 1), 1);
  const bytes = builder.finish(END);
  for (let length = 0; length < bytes.length; length++) {
    assertEquals(ObservationBatch.of(bytes.slice(0, length)), undefined);
  }
  assertEquals(ObservationBatch.of(new TextEncoder().encode("not a batch at all")), undefined);
  for (let i = 0; i < 500; i++) {
    const changed = bytes.slice();
    changed[random.int(0, changed.length - 1)] = random.int(0, 255);
    const batch = ObservationBatch.of(changed);
    if (batch !== undefined) assertEquals(rowsOf(batch).length, 1);
  }
});
