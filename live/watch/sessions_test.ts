import { assert, assertEquals } from "@std/assert";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { ALL, CellTable, COUNT_STRIDE, DEFAULT_CELL_LIMITS } from "./cells.ts";
import { SessionTable, type WatchedHeartbeat } from "./sessions.ts";

const T0 = 1_795_000_000_000;

function beat(more: Partial<WatchedHeartbeat> & { at: number }): WatchedHeartbeat {
  const { at, ...rest } = more;
  return {
    session_id: "s",
    title_id: "t",
    region: "de",
    seq: Math.round(at),
    ts: T0 + at * 1_000,
    interval_ms: 10_000,
    state: "playing",
    played_ms: 10_000,
    rebuffer_ms: 0,
    device: { model: "tv", os: "os", build: "b" },
    ...rest,
  };
}

class Table extends SessionTable {
  constructor(capacity = 100, limits: Partial<typeof DEFAULT_CELL_LIMITS> = {}) {
    super(new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 1_000, ...limits }), capacity);
  }
  /** Takes in a heartbeat at the second of its `ts`, or `delayS` later. */
  send(more: Partial<WatchedHeartbeat> & { at: number }, delayS = 0): void {
    this.advance(T0 + (more.at + delayS) * 1_000);
    this.heartbeat(beat(more), T0 + (more.at + delayS) * 1_000);
  }
  /** Watching, stalled in 10, 20 and 60 s, starts, stuck, overdue, of all. */
  get all(): number[] {
    return [...this.cells.counts.subarray(ALL * COUNT_STRIDE, ALL * COUNT_STRIDE + 7)];
  }
}

Deno.test("a session is impaired by 1 s and 10 % of each span, until its next heartbeat", () => {
  const table = new Table();
  table.send({ at: 10, rebuffer_ms: 999 });
  assertEquals(table.all, [1, 0, 0, 0, 0, 0, 0]);
  table.send({ at: 20, rebuffer_ms: 1_001 });
  assertEquals(table.all, [1, 1, 1, 0, 0, 0, 0], "999 and 1,001 ms are 10 % of 20 s");
  table.send({ at: 30, rebuffer_ms: 5_000 });
  assertEquals(table.all, [1, 1, 1, 1, 0, 0, 0]);
  table.send({ at: 40 });
  assertEquals(table.all, [1, 0, 1, 1, 0, 0, 0]);
  table.send({ at: 60 });
  table.send({ at: 80 });
  assertEquals(table.all, [1, 0, 0, 0, 0, 0, 0]);
});

Deno.test("rebuffering now is impaired in every span, although no stalled time is reported", () => {
  const table = new Table();
  table.send({ at: 10, state: "rebuffering", played_ms: 0 });
  assertEquals(table.all.slice(0, 4), [1, 1, 1, 1]);
  table.send({ at: 20 });
  assertEquals(table.all.slice(0, 4), [1, 0, 0, 0]);
});

Deno.test("a heartbeat about 600 s weighs as its last 60 s", () => {
  const table = new Table();
  table.send({ at: 600, interval_ms: 600_000, rebuffer_ms: 60_000 });
  assertEquals(table.all.slice(0, 4), [1, 1, 1, 1], "10 % of each span");
  table.send({ at: 610 });
  assertEquals(table.all.slice(0, 4), [1, 0, 0, 0]);
});

Deno.test("a stall reported at its end, longer than the interval, reaches back", () => {
  const table = new Table();
  table.send({ at: 10 });
  table.send({ at: 20, interval_ms: 2_000, rebuffer_ms: 4_000, played_ms: 0 });
  assertEquals(table.all.slice(0, 4), [1, 1, 1, 0]);
});

Deno.test("irregular heartbeats of a second each add up like one of ten", () => {
  const table = new Table();
  for (let at = 1; at <= 40; at++) {
    table.send({ at, seq: at, interval_ms: 1_000, rebuffer_ms: 200, played_ms: 800 });
  }
  assertEquals(table.all.slice(0, 4), [1, 1, 1, 1]);
});

Deno.test("copies and older heartbeats change nothing; a player that counts anew is heard", () => {
  const table = new Table();
  table.send({ at: 10, seq: 5 });
  table.send({ at: 20, seq: 6 });
  table.send({ at: 20, seq: 6, rebuffer_ms: 9_000 }, 1);
  table.send({ at: 10, seq: 5, rebuffer_ms: 9_000 }, 12);
  assertEquals(table.all.slice(0, 2), [1, 0]);
  assertEquals(table.counters.copies, 2);
  table.send({ at: 30, seq: 0, rebuffer_ms: 9_000 });
  assertEquals(table.all.slice(0, 2), [1, 1]);
  assertEquals(table.counters.restarted, 1);
});

Deno.test("a session without heartbeats is overdue, expires, and is forgotten", () => {
  const table = new Table();
  for (const at of [-20, -10, 0]) table.send({ at, seq: at + 20 });
  const at = (second: number) => {
    table.advance(T0 + second * 1_000);
    return [table.all[0], table.all[6], table.rows];
  };
  assertEquals(at(17), [1, 0, 1]);
  assertEquals(at(19), [1, 1, 1]);
  assertEquals(at(26), [0, 0, 1]);
  assertEquals(at(601), [0, 0, 0]);
  assertEquals(table.cells.size, 1);
  table.send({ at: 700, interval_ms: 30_000 });
  assertEquals(at(770)[0], 1, "2.5 of its own intervals");
  assertEquals(at(777)[0], 0);
});

Deno.test("an ended session leaves at once, a paused one is not overdue", () => {
  const table = new Table();
  table.send({ at: 0 });
  table.send({ at: 0, session_id: "paused", state: "paused" });
  table.send({ at: 5, state: "ended" });
  assertEquals(table.all[0], 1);
  table.advance(T0 + 20_000);
  assertEquals([table.all[0], table.all[6]], [1, 0]);
});

Deno.test("a session is stuck after ten seconds without a first frame, heard from or not", () => {
  const table = new Table();
  const starting = { state: "starting", played_ms: 0 } as const;
  table.send({ at: 0, seq: 0, interval_ms: 0, ...starting });
  assertEquals(table.all.slice(4, 6), [1, 0]);
  table.advance(T0 + 11_000);
  assertEquals(table.all.slice(4, 6), [1, 1]);
  table.advance(T0 + 26_000);
  assertEquals([table.all[0], table.counters.neverStarted], [0, 1]);
  table.send({ at: 30, session_id: "ok", seq: 0, interval_ms: 0, ...starting });
  table.send({ at: 33, session_id: "ok", seq: 1, interval_ms: 3_000 });
  assertEquals(table.all.slice(4, 6), [1, 0]);
  for (let at = 43; at < 100; at += 10) table.send({ at, session_id: "ok" });
  assertEquals(table.all.slice(4, 6), [0, 0], "it no longer starts");
});

Deno.test("lateness is measured against the session's own clock", () => {
  const table = new Table();
  const slow = (at: number, delayS = 120, more: Partial<WatchedHeartbeat> = {}) =>
    table.send({ at, session_id: "slow", ...more }, delayS);
  slow(10);
  assertEquals([table.all[0], table.counters.unconfirmed], [0, 1], "slow, or late?");
  slow(20);
  assertEquals(table.all[0], 1, "in step: slow");
  slow(25, 138, { rebuffer_ms: 9_000 });
  assertEquals([table.counters.late, table.all[1]], [1, 0]);
  slow(52, 128, { rebuffer_ms: 9_000 });
  assertEquals(table.all[1], 1, "8 s late is about now");
});

Deno.test("what was held back shows that its session is there, and nothing else", () => {
  const table = new Table();
  const stalled = { state: "rebuffering", rebuffer_ms: 8_000, played_ms: 2_000 } as const;
  for (const at of [10, 20, 30]) table.send({ at });
  // Cut off from 30 to 90 s; then all comes within two seconds.
  for (const at of [40, 50, 60, 70, 80, 90]) table.send({ at, ...stalled }, 91 + at / 100 - at);
  assertEquals(table.all.slice(0, 4), [1, 0, 0, 0], "in order");
  table.send({ at: 101, rebuffer_ms: 8_000 });
  assertEquals(table.all.slice(0, 4), [1, 1, 1, 1], "the next one is about now");
  for (const at of [10, 20, 30]) table.send({ at: 200 + at, session_id: "newest first" });
  for (const at of [290, 280, 270]) {
    table.send({ at, session_id: "newest first", ...stalled }, 291 - at);
  }
  assertEquals(table.all.slice(0, 4), [1, 0, 0, 0], "the newest first");
});

Deno.test("the stalls of a late heartbeat end when it was sent", () => {
  const table = new Table();
  for (const at of [10, 20, 30]) table.send({ at });
  table.send({ at: 40, rebuffer_ms: 4_000 }, 13);
  assertEquals(table.all.slice(0, 4), [1, 0, 1, 0], "its interval is 10 to 20 s ago");
});

Deno.test("a session that is heard is not overdue, whatever its clock says; an end is an end", () => {
  const table = new Table();
  for (const at of [10, 20, 30]) table.send({ at });
  for (let at = 40; at < 100; at += 10) {
    table.advance(T0 + at * 1_000);
    table.heartbeat(beat({ at, ts: T0 + (at + at * 7_200) * 1_000 }), T0 + at * 1_000);
    table.advance(T0 + (at + 9) * 1_000);
    assertEquals([table.all[0], table.all[6]], [1, 0], `${at}`);
  }
  table.send({ at: 100, state: "ended" }, 0);
  assertEquals(table.all[0], 0);
});

Deno.test("a session is missed once it has sent three heartbeats over 20 s", () => {
  const table = new Table();
  const overdue = (id: string, ats: readonly number[], endS: number): number => {
    for (const [seq, at] of ats.entries()) table.send({ at, seq, session_id: id });
    table.advance(T0 + endS * 1_000);
    return table.all[6] ?? -1;
  };
  assertEquals(overdue("one", [0], 20), 0);
  assertEquals(overdue("fast", [100, 101, 102, 103], 122), 0);
  assertEquals(overdue("steady", [200, 210, 220], 239), 1);
});

Deno.test("forgiven stalls are gone, and what is reported later counts from then on", () => {
  const table = new Table();
  const late = { session_id: "30 s", interval_ms: 30_000 } as const;
  for (const at of [10, 20]) table.send({ at, rebuffer_ms: 9_000 });
  table.send({ at: 15, ...late });
  table.forgive([ALL], T0 + 25_000);
  assertEquals(table.all.slice(0, 4), [2, 0, 0, 0]);
  table.send({ at: 30, rebuffer_ms: 5_000 });
  assertEquals(table.all.slice(0, 4), [2, 0, 0, 0], "all of it may have been before");
  table.send({ at: 40, rebuffer_ms: 5_000 });
  assertEquals(table.all.slice(0, 4), [2, 1, 1, 0]);
  table.send({ at: 45, rebuffer_ms: 14_000, ...late });
  assertEquals(table.all.slice(0, 4), [2, 2, 2, 0], "10 s before, at least 4 s since");
});

Deno.test("a clock that is set is followed", () => {
  const table = new Table();
  for (const at of [10, 20]) table.send({ at });
  const set = (at: number, byS: number) => {
    table.advance(T0 + at * 1_000);
    table.heartbeat(beat({ at, ts: T0 + (at + byS) * 1_000 }), T0 + at * 1_000);
  };
  for (const at of [30, 40, 50, 60]) set(at, -100);
  assertEquals(table.counters.late, 3, "three that may be late deliveries");
  for (const at of [70, 80, 90]) set(at, 3e8);
  assertEquals([table.counters.late, table.counters.unconfirmed, table.all[0]], [3, 1, 1]);
});

Deno.test("a session that changes its title or region is in its new cells only", () => {
  const table = new Table();
  table.send({ at: 10, rebuffer_ms: 9_000 });
  table.send({ at: 20, title_id: "u", region: "fr" });
  assertEquals(table.all.slice(0, 2), [1, 0], "what it stalled before is not held against them");
  assertEquals(table.cells.named({ kind: "region", region: "de" }, 0, false), -1);
  const cell = table.cells.named({ kind: "title_region", title: "u", region: "fr" }, 0, false);
  assertEquals(table.cells.watching(cell), 1);
  assertEquals(table.counters.moved, 1);
});

Deno.test("a full table gives up the sessions heard longest ago", () => {
  const table = new Table(50);
  for (let i = 0; i < 50; i++) table.send({ at: i / 100, session_id: `s${i}` });
  for (let i = 0; i < 5; i++) table.send({ at: 5 + i, session_id: `new${i}` });
  assertEquals([table.all[0], table.counters.evicted, table.rows], [50, 5, 50]);
  table.send({ at: 11, session_id: "s49" });
  assertEquals(table.counters.evicted, 5, "the newest were kept");
});

Deno.test("invented titles keep no real one out", () => {
  const table = new Table(5_000, { title: 200, cells: 20_000 });
  const random = new Random(1);
  let seq = 0;
  for (let second = 0; second < 40; second++) {
    for (let i = 0; i < 100; i++) {
      const name = `invented${(second % 10) * 100 + i}`;
      table.send({ at: second, seq, session_id: name, title_id: name });
    }
    // A premiere of 50 viewers.
    for (let i = second % 10; i < 50 && second >= 20; i += 10) {
      table.send({ at: second + random.next() / 10, seq, session_id: `r${i}`, title_id: "real" });
    }
    seq += 1;
  }
  const cell = table.cells.named({ kind: "title", title: "real" }, 0, false);
  assertEquals(cell >= 0 && table.cells.watching(cell), 50);
  assert(table.cells.interner(1).size <= 200);
});

Deno.test("for any heartbeats the counts are those of a naive model", () => {
  const random = propertyRandom("counts of cells");
  const table = new Table(500, { cells: 4_000 });
  const seqs = new Map<string, number>();
  for (let second = 1; second <= 400; second++) {
    for (let i = random.int(0, 20); i > 0; i--) anyBeat(random, table, second, seqs);
    table.advance(T0 + second * 1_000);
    if (second % 20 === 0) assertCounts(table);
  }
  table.advance(T0 + 2_000_000);
  assertEquals([table.cells.size, table.all, table.rows], [1, [0, 0, 0, 0, 0, 0, 0], 0]);
  for (const interner of table.cells.interners) assertEquals(interner.size, 0);
});

function anyBeat(random: Random, table: Table, second: number, seqs: Map<string, number>): void {
  const session_id = `s${random.int(0, 80)}`;
  const seq = (seqs.get(session_id) ?? 0) + random.pick([0, 1, 1, 1, 1, 2, -3]);
  seqs.set(session_id, Math.max(0, seq));
  const sticky = Number(session_id.slice(1));
  table.heartbeat(
    beat({
      at: second - random.pick([0, 0, 0, 0, 1, 20, 300, -400]),
      session_id,
      seq: Math.max(0, seq),
      title_id: `t${random.chance(0.1) ? random.int(0, 9) : sticky % 7}`,
      region: random.chance(0.05) ? "fr" : "de",
      ...(random.chance(0.5) ? { cdn: `c${random.int(0, 2)}` } : {}),
      ...(random.chance(0.3) ? { isp: "i" } : {}),
      interval_ms: random.pick([0, 1_000, 10_000, 10_000, 30_000, 600_000]),
      rebuffer_ms: random.pick([0, 0, 0, 500, 1_500, 9_000, 1e9]),
      state: random.pick([
        "playing",
        "playing",
        "starting",
        "rebuffering",
        "paused",
        "ad",
        "ended",
      ]),
    }),
    T0 + second * 1_000,
  );
}

// Recounts every cell from the flags of the sessions.
function assertCounts(table: SessionTable): void {
  const expected = new Map<number, number[]>();
  const add = (cell: number, flags: number) => {
    const counts = expected.get(cell) ?? [0, 0, 0, 0, 0, 0, 0];
    expected.set(cell, counts.map((count, bit) => count + (flags >>> bit & 1)));
  };
  for (let row = 0; row < table.end; row++) {
    const flags = table.flags[row] ?? 0;
    if ((flags & 1) === 0) continue;
    add(ALL, flags);
    for (const cell of table.cellIds.subarray(row * 9, row * 9 + 9)) {
      if (cell >= 0) add(cell, flags);
    }
  }
  for (let cell = 0; cell < table.cells.end; cell++) {
    if (!table.cells.has(cell)) continue;
    const at = cell * COUNT_STRIDE;
    const counts = [...table.cells.counts.subarray(at, at + 7)];
    const what = JSON.stringify(table.cells.name(cell));
    assertEquals(counts, expected.get(cell) ?? [0, 0, 0, 0, 0, 0, 0], what);
    assert(cell === ALL || counts[0] !== 0, `${what} is kept empty`);
    expected.delete(cell);
  }
  assertEquals([...expected.keys()], []);
}
