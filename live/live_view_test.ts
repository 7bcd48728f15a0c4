import { assertEquals } from "@std/assert";
import { liveViewSchema, MAX_VIEWED } from "../shared/contract/view/live_view.ts";
import { Detector } from "./detect/detector.ts";
import type { OpenCell } from "./incidents/incidents.ts";
import { liveView } from "./live_view.ts";

const AT_MS = 1_795_000_000_000;

function anOpenCell(title: string, impaired: number): OpenCell {
  const now = {
    watching: 100,
    impaired,
    share: impaired / 100,
    baseline: 0.004,
    spanMs: 10_000,
    bound: 12,
    rebufferMs: 0,
    playedMs: 0,
  };
  const cell = { kind: "title", title } as const;
  return {
    id: `rebuffer._.${title}.1`,
    subject: `alerts.rebuffer._.${title}`,
    signal: "rebuffer",
    cell,
    openedMs: AT_MS,
    onsetMs: AT_MS,
    now,
    peak: now,
  };
}

function viewOf(
  openCells: OpenCell[],
  lags: readonly (readonly [string, number | undefined])[],
) {
  const detector = new Detector({ maxSessions: 100, limits: { cells: 100 } });
  return liveView({
    decider: { detector },
    incidents: { openCells },
    instance: "a",
    nowMs: AT_MS + 0.5,
    coverage: 1,
    lags,
  });
}

Deno.test("a view has the figures of what is open, those with most viewers first, bounded", () => {
  const many = Array.from({ length: MAX_VIEWED + 50 }, (_, i) => anOpenCell(`t${i}`, i % 100));
  const view = viewOf(many, [["HEARTBEATS", 40]]);
  assertEquals(liveViewSchema.safeParse(view).error, undefined);
  assertEquals(view.incidents.length, MAX_VIEWED);
  const [first, ...rest] = view.incidents;
  assertEquals(first?.impaired, 99);
  assertEquals(rest.every((each, i) => each.impaired <= (rest[i - 1]?.impaired ?? 99)), true);
});

Deno.test("what an earlier process knew stands in for a cell that the detector does not know", () => {
  const [viewed] = viewOf([anOpenCell("t", 40)], []).incidents;
  assertEquals(viewed, {
    incident_id: "rebuffer._.t.1",
    subject: "alerts.rebuffer._.t",
    watching: 100,
    impaired: 40,
    share: 0.4,
    baseline: 0.004,
    bound: 12,
  });
});

Deno.test("the lag is that of the slowest stream, and unknown while one is", () => {
  assertEquals(viewOf([], [["A", 3], ["B", 7_000.4]]).lag_ms, 7_000);
  assertEquals(viewOf([], [["A", 3], ["B", undefined]]).lag_ms, null);
  assertEquals(viewOf([], []).lag_ms, null);
  assertEquals(liveViewSchema.safeParse(viewOf([], [["A", NaN]])).success, true);
});
