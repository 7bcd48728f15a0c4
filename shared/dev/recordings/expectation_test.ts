import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEFAULT_RULE, type Expected, StallCurve, type ViewedInterval } from "./expectation.ts";

const DURATION_MS = 400_000;

Deno.test("most of many viewers clearly impaired must alert, from the first stall on", () => {
  assertEquals(expected(viewers(40, [stall(50_000, 3_000)])), {
    alert: "must",
    sinceMs: 50_000,
    evidentMs: 53_000,
  });
  assertEquals(expected(viewers(8, [stall(50_000, 3_000)])).alert, "either");
  assertEquals(expected(viewers(3, [stall(50_000, 3_000)])).alert, "must_not");
});

Deno.test("stalls far shorter than live's limits must not alert, those near them may", () => {
  // 10 % of 10 s is the limit; the margin to it is half. A stall itself shows for its second.
  const staggered = (ms: number) =>
    Array.from({ length: 40 }, (_, i) => sessionOf([stall(50_000 + i * 1_000, ms)]));
  assertEquals(expected(staggered(400)).alert, "must_not");
  assertEquals(expected(staggered(900)).alert, "either");
});

Deno.test("stalls are judged in wall time, which is shorter in an accelerated run", () => {
  const short = viewers(40, [stall(50_000, 3_000)]);
  assertEquals(expected(short, 1).alert, "must");
  // 300 ms.
  const reading = expected(short, 10);
  assert(reading.alert === "either", "while the stall lasts, all viewers rebuffer");
  assertStringIncludes(reading.why, "100 %");
  assertEquals(expected(viewers(40, [stall(50_000, 40_000)]), 10).alert, "must");
});

Deno.test("viewers who wait long for the first frame may alert", () => {
  const waiting = (ms: number): ViewedInterval[] => [
    { fromMs: 0, toMs: ms, stalledMs: 0, isWaiting: true },
    { fromMs: ms, toMs: 60_000, stalledMs: 0, isWaiting: false },
  ];
  const many = (ms: number) => Array.from({ length: 40 }, () => waiting(ms));
  assertEquals(expected(many(9_000)).alert, "must_not");
  assertEquals(expected(many(28_000)).alert, "either");
  assertEquals(expected(many(28_000), 10).alert, "must_not");
});

Deno.test("a small share may alert once live has learned what is usual", () => {
  const few = (atMs: number) => [...viewers(45, []), ...viewers(5, [stall(atMs, 3_000)])];
  assertEquals(expected(few(50_000)).alert, "must_not");
  assertEquals(expected(few(200_000)).alert, "either");
});

function expected(sessions: readonly ViewedInterval[][], acceleration = 1): Expected {
  const curve = new StallCurve(DURATION_MS, DEFAULT_RULE, acceleration);
  for (const session of sessions) curve.add(session);
  return curve.expected();
}

function viewers(count: number, stalls: readonly ViewedInterval[]): ViewedInterval[][] {
  return Array.from({ length: count }, () => sessionOf(stalls));
}

/** A session from the beginning to the end that has `stalls`. */
function sessionOf(stalls: readonly ViewedInterval[]): ViewedInterval[] {
  return [playing(0), ...stalls, playing(DURATION_MS - 1_000)];
}

function playing(fromMs: number): ViewedInterval {
  return { fromMs, toMs: fromMs + 1_000, stalledMs: 0, isWaiting: false };
}

function stall(fromMs: number, ms: number): ViewedInterval {
  return { fromMs, toMs: fromMs + ms, stalledMs: ms, isWaiting: false };
}
