import { assert, assertEquals } from "@std/assert";
import { alertSubject } from "../../shared/contract/topology.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { Detector } from "../detect/detector.ts";
import { alertCell } from "../incidents/incident.ts";
import { type CellName, CellTable, DEFAULT_CELL_LIMITS, DIMENSIONS } from "./cells.ts";
import { FIRST_DIMENSION, KIND_COUNT, KINDS, SECOND_DIMENSION } from "./cells.ts";
import { Interner, OTHER } from "./intern.ts";
import { SessionTable, type WatchedHeartbeat } from "./sessions.ts";

const T0 = 1_795_000_000_000;
const FILM = "\u{1f3ac}";

Deno.test("a value is the name it shows", () => {
  const interner = new Interner(20);
  const names: [string, string][] = [
    ["a\x01b", "a\ufffdb"],
    ["a\x1bb", "a\ufffdb"],
    ["\ud800", "\ufffd"],
    [FILM.repeat(64), FILM.repeat(64)],
    [FILM.repeat(65), FILM.repeat(64)],
    ["x".repeat(100_000), "x".repeat(64)],
    [`x${FILM.repeat(5_000)}`, `x${FILM.repeat(63)}`],
    [`${"x".repeat(63)}${FILM}`, `${"x".repeat(63)}${FILM}`],
    ["\u00fc", "\u00fc"],
    ["u\u0308", "u\u0308"],
    ["__proto__", "__proto__"],
    ["", ""],
  ];
  for (const [value, name] of names) {
    const id = interner.intern(value, T0);
    const what = JSON.stringify(value.slice(0, 80));
    assertEquals(interner.name(id), name, what);
    assert(interner.is(id, value) && interner.is(id, name), what);
    assertEquals([interner.find(value), interner.find(name), interner.intern(name, T0)], [
      ...[id, id, id],
    ], what);
  }
  assertEquals(interner.size, new Set(names.map(([, name]) => name)).size);
  assertEquals([interner.intern("_other", T0), interner.find("_other")], [OTHER, OTHER]);
  assertEquals(interner.others, 0, "there is room");
});

Deno.test("a value displaced whose cells are kept gets its number back, not a second one", () => {
  const interner = new Interner(2);
  const kept = interner.intern("kept", T0);
  interner.keep(kept);
  const busy = interner.intern("busy", T0);
  for (let i = 0; i < 5; i++) interner.use(busy);
  for (let i = 0; i < 10; i++) assertEquals(interner.intern("new", T0), OTHER);
  assertEquals([interner.displaced, interner.find("kept"), interner.is(kept, "kept")], [
    ...[1, undefined, false],
  ]);
  const ids = Array.from({ length: 6 }, () => interner.intern("kept", T0));
  assertEquals(ids.at(-1), kept);
  assertEquals(interner.is(kept, "kept"), true);
});

Deno.test("a place that nothing uses is free once its value is displaced", () => {
  const interner = new Interner(1);
  interner.intern("unused", T0);
  for (let i = 0; i < 6; i++) interner.intern("new", T0);
  assertEquals([interner.name(1), interner.size, interner.find("unused")], ["new", 1, undefined]);
});

const PARTS = [
  ..."ab. *>_%-~\t\n\0\x7f",
  ...["\x1b[2J", "\x9b", "\u202e", "\u200b", "\u2028", "\ufeff", "\ufffd", FILM],
  ...["\ud800", "\udfff", "\u00fc", "u\u0308", "_other", "%5F", "de", "x".repeat(62)],
];

function anyText(random: Random): string {
  const length = random.pick([0, 1, 1, 2, 3, 64, 200]);
  if (random.chance(0.3)) return random.pick(PARTS).repeat(length);
  return Array.from({ length }, () => random.pick(PARTS)).join("");
}

function anyName(random: Random): CellName {
  const kind = random.int(0, KIND_COUNT - 1);
  const fixed = [FIRST_DIMENSION[kind] ?? -1, SECOND_DIMENSION[kind] ?? -1]
    .flatMap((dimension) => DIMENSIONS[dimension] ?? []);
  const values = fixed.map((dimension) => [dimension, anyText(random)]);
  return { kind: KINDS[kind] ?? "all", ...Object.fromEntries(values) };
}

Deno.test("property: two cells never share a subject, and an alert names its cell", () => {
  const random = propertyRandom("subjects of cells");
  const cells = new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 20_000, region: 5_000, cdn: 5_000 });
  const cellsBySubject = new Map<string, number>();
  for (let i = 0; i < 5_000; i++) {
    const asked = anyName(random);
    const cell = cells.named(asked, T0, true);
    assert(cell >= 0, JSON.stringify(asked));
    // As an incident is published and as the next process reads it.
    const read: CellName = JSON.parse(JSON.stringify(alertCell(cells.name(cell))));
    const subject = alertSubject.incident("rebuffer", read);
    assertEquals(cellsBySubject.get(subject) ?? cell, cell, subject);
    cellsBySubject.set(subject, cell);
    assertEquals(cells.named(read, T0, false), cell, subject);
    assertEquals(cells.name(cell), read, subject);
    const next = new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 100 });
    if (i % 50 === 0) assertEquals(next.name(next.named(read, T0, true)), read);
  }
});

function beat(values: Partial<WatchedHeartbeat>, second: number): WatchedHeartbeat {
  return {
    session_id: "s",
    title_id: "t",
    region: "de",
    seq: second,
    ts: T0 + second * 1_000,
    interval_ms: 10_000,
    state: "playing",
    played_ms: 10_000,
    rebuffer_ms: 0,
    device: { model: "tv", os: "os", build: "b" },
    ...values,
  };
}

Deno.test("a restored cell is the one that its viewers come to, and they do not move", () => {
  const odd = ["cd\x01n", "\ud800", FILM.repeat(64), "x".repeat(500), "_other", "u\u0308"];
  for (const value of odd) {
    const values = { title_id: value, cdn: value, isp: value };
    const before = new SessionTable(new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 100 }), 10);
    for (let second = 10; second < 60; second += 10) {
      before.heartbeat(beat(values, second), T0 + second * 1_000);
    }
    assertEquals(before.counters.moved, 0, value);
    const cell = before.cells.find(KINDS.indexOf("region_cdn"), ...idsOf(before.cells, value));
    const read = alertCell(before.cells.name(cell));
    const after = new SessionTable(new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 100 }), 10);
    const restored = after.cells.named(read, T0, true);
    after.heartbeat(beat(values, 60), T0 + 60_000);
    assertEquals([after.cells.watching(restored), after.cells.name(restored)], [1, read]);
  }
});

function idsOf(cells: CellTable, cdn: string): [number, number] {
  return [cells.interner(2).find(cdn) ?? -1, cells.interner(0).find("de") ?? -1];
}

Deno.test("a name without a number is not the cell of the others", () => {
  const cells = new CellTable({ ...DEFAULT_CELL_LIMITS, cells: 100, cdn: 1 });
  assert(cells.named({ kind: "cdn", cdn: "a" }, T0, true) > 0);
  assertEquals(cells.named({ kind: "cdn", cdn: "b" }, T0, true), -1);
  const others = cells.named({ kind: "cdn", cdn: "_other" }, T0, true);
  assertEquals(cells.name(others), { kind: "cdn", cdn: "_other" });
});

Deno.test("invented values that had an audience keep no real one out once they have none", () => {
  const detector = new Detector({ maxSessions: 1_000, limits: { cells: 1_000, cdn: 8 } });
  const interner = detector.cells.interner(2);
  let foundS = -1;
  for (let second = 0; second < 500; second++) {
    for (let i = second % 10; i < 160; i += 10) {
      const send = (session_id: string, cdn: string) =>
        detector.heartbeat(beat({ session_id, cdn }, second), T0 + second * 1_000);
      if (second < 300) send(`invented${i}`, `invented${i % 8}`);
      if (second >= 350) send(`real${i}`, "real");
    }
    detector.tick(T0 + second * 1_000 + 500);
    if (foundS < 0 && interner.find("real") !== undefined) foundS = second;
  }
  assert(foundS >= 350 && foundS < 350 + 90, `${foundS}`);
});

Deno.test("a place given up is not for the next invented value that looks", () => {
  const limits = { ...DEFAULT_CELL_LIMITS, cells: 50_000, title: 100 };
  const table = new SessionTable(new CellTable(limits), 5_000);
  const titles = table.cells.interner(1);
  let foundS = -1;
  for (let second = 1; second <= 60; second++) {
    for (let i = second % 10; i < 4_000; i += 10) {
      const name = `invented${i}`;
      table.heartbeat(beat({ session_id: name, title_id: name }, second), T0 + second * 1_000);
    }
    for (let i = second % 10; i < 20 && second > 20; i += 10) {
      const real = { session_id: `real${i}`, title_id: "real" };
      table.heartbeat(beat(real, second), T0 + second * 1_000 + 500);
    }
    if (foundS < 0 && titles.find("real") !== undefined) foundS = second;
  }
  assert(foundS > 0 && foundS <= 40, `${foundS}`);
  assert(titles.displaced < 20, `${titles.displaced} lost their place to one`);
  const cell = table.cells.named({ kind: "title", title: "real" }, T0, false);
  assertEquals(table.cells.watching(cell), 20);
});
