import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { ALL, CellTable, COUNT_STRIDE, DEFAULT_CELL_LIMITS } from "../watch/cells.ts";
import { CELL_STRIDE, SessionTable, STALLED_10, WATCHING } from "../watch/sessions.ts";
import { Groups } from "./groups.ts";
import { Passes } from "./passes.ts";
import { overlap } from "./relation.ts";

const START_MS = 1_795_000_000_000;
type Random = ReturnType<typeof propertyRandom>;

/** Sessions with few values of each dimension, so that cells overlap; some stall. */
function sessionsOf(random: Random): SessionTable {
  const table = new SessionTable(new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 5_000 }), 1_000);
  for (let i = random.int(1, 200); i > 0; i--) {
    table.heartbeat({
      session_id: `s${i}`,
      title_id: `t${random.int(0, 5)}`,
      region: `r${random.int(0, 3)}`,
      seq: 100,
      ts: START_MS,
      interval_ms: 10_000,
      state: "playing",
      played_ms: 4_000,
      rebuffer_ms: random.next() < 0.3 ? 6_000 : 0,
      ...(random.next() < 0.8 ? { cdn: `c${random.int(0, 2)}` } : {}),
      ...(random.next() < 0.8 ? { isp: `i${random.int(0, 2)}` } : {}),
      device: { model: `m${random.int(0, 2)}`, os: "os", build: `b${random.int(0, 2)}` },
    }, START_MS);
  }
  return table;
}

function cellsOf(table: SessionTable, row: number): number[] {
  return [ALL, ...table.cellIds.subarray(row * CELL_STRIDE, (row + 1) * CELL_STRIDE)];
}

/** Sessions of `cell` in no group, and those that stalled, one by one. */
function naive(table: SessionTable, cell: number, groups: readonly number[]) {
  const outside = { of: 0, impaired: 0 };
  for (let row = 0; row < table.end; row++) {
    const cells = cellsOf(table, row);
    if (!cells.includes(cell) || groups.some((group) => cells.includes(group))) continue;
    outside.of += 1;
    if ((table.flags[row] ?? 0) & STALLED_10) outside.impaired += 1;
  }
  return outside;
}

Deno.test("for any groups and sessions, overlaps and sessions outside are those of a naive model", () => {
  const random = propertyRandom("groups");
  let exact = 0;
  for (let round = 0; round < 30; round++) {
    const table = sessionsOf(random);
    const { cells } = table;
    const groups = new Groups(cells);
    // Added, removed and added again: nothing of the former ones stays.
    for (const size of [random.int(0, 5), random.int(0, 5)]) {
      groups.clear();
      for (let i = 0; i < size; i++) groups.add(random.int(0, cells.end - 1));
    }
    const all = Array.from({ length: cells.end }, (_, cell) => cell);
    const asked = all.map((cell) => ({ cell, ofFlag: WATCHING, impairedFlag: STALLED_10 }));
    const passed = new Passes(table).outside(asked, groups, (_, impaired) => impaired >= 2);
    for (const cell of all) {
      const text = `${JSON.stringify(cells.name(cell))} of ${
        groups.cells.map((group) => JSON.stringify(cells.name(group)))
      }`;
      const isPartly = groups.cells.some((group) => overlap(cells, group, cell) === "partly");
      assertEquals(groups.arePartly(cell), isPartly, text);
      const expected = naive(table, cell, groups.cells);
      const { impaired } = expected;
      assertEquals(passed[cell], { of: impaired >= 2 ? expected.of : 0, impaired }, text);
      assert(groups.outsideAtLeast(cell, 0) <= expected.of, text);
      const counted = groups.outsideOf(cell, 0, 1);
      if (counted === undefined) continue;
      assertEquals(counted, expected, text);
      exact += 1;
    }
  }
  assert(exact > 0, "counts of cells told of no cell");
});

Deno.test("sums of cells are those of their sessions, one by one", () => {
  const random = propertyRandom("sums of cells");
  const nowMs = START_MS + 5_000;
  for (let round = 0; round < 20; round++) {
    const table = sessionsOf(random);
    const asked = new Set(
      Array.from({ length: random.int(1, 8) }, () => random.int(0, table.cells.end - 1)),
    );
    const sums = new Passes(table).sums(asked, nowMs);
    for (const cell of asked) {
      const rows = Array.from({ length: table.end }, (_, row) => row)
        .filter((row) => cellsOf(table, row).includes(cell));
      const sum = (of: (row: number) => number) => rows.reduce((total, row) => total + of(row), 0);
      const { history } = table;
      const found = sums.get(cell);
      assertEquals(rows.length, table.cells.counts[cell * COUNT_STRIDE]);
      assertEquals(
        found?.rebufferMs,
        sum((row) => history.stalledWithin(row, nowMs >>> 0, 60_000)),
      );
      assertEquals(found?.playedMs, sum((row) => history.playedWithin60s(row, nowMs >>> 0)));
      const stalled = rows.filter((row) => (table.flags[row] ?? 0) & STALLED_10);
      assertEquals(found?.sinceMs, stalled.map((row) => table.sinceMs[row] ?? 0));
    }
  }
});
