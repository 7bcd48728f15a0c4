import { assert, assertEquals } from "@std/assert";
import { ALERT_EXAMPLES } from "../../../shared/contract/alert_examples.ts";
import type { BoardIncident, IncidentList, PipelineState } from "./board_schema.ts";
import { incidentList } from "./board_view.ts";
import { OpenIncidents } from "./open_incidents.ts";
import {
  blindSpots,
  boardVerdictOf,
  cellText,
  headlineOf,
  PAGE_FUNCTIONS,
  pagedText,
  pagerStateText,
  plotOf,
  shownText,
} from "./page_model.ts";

const NOW_MS = 1_795_694_408_000;
const LIST: IncidentList = { v: 1, at: NOW_MS, read_age_ms: 100, open: 0, incidents: [] };
const LIVE: NonNullable<PipelineState["live"]> = {
  instance: "live-1",
  view_age_ms: 500,
  coverage: 1,
  lag_ms: 40,
  streams: [],
};
const PAGER = {
  instance: "a",
  delivers: true,
  is_delivered: true,
  deliverer: "a",
  receivers: [{ receiver: "ops", waiting: 0 }],
};
const SERVICE: PipelineState["services"][number] = {
  service: "live",
  state: "well",
  pulse_age_ms: 100,
  idle_ms: 0,
  instances: [],
};
const STATE: PipelineState = {
  v: 1,
  at: NOW_MS,
  read_age_ms: 100,
  pager: PAGER,
  live: LIVE,
  services: [SERVICE],
};
const INCIDENT = openIncident();
const FRAME = { width: 100, height: 100, fromMs: NOW_MS - 100_000, toMs: NOW_MS };

function openIncident(): BoardIncident {
  const incidents = new OpenIncidents();
  const alert = ALERT_EXAMPLES.regionOpens;
  incidents.take("alerts.rebuffer.de._", alert);
  const parts = { nowMs: alert.at, readAgeMs: 0, heard: undefined, deliveries: undefined };
  const [incident] = incidentList({ ...parts, incidents }).incidents;
  assert(incident);
  return incident;
}

Deno.test("an incident is named by what it is about, not by figures of an earlier moment", () => {
  assertEquals(headlineOf(INCIDENT), "Rebuffering: region de");
  const { figures: _, ...pipeline } = INCIDENT;
  assertEquals(
    headlineOf({ ...pipeline, summary: "no\u202e heartbeats" }),
    "no\\u{202e} heartbeats",
  );
});

Deno.test("nothing open is well only while everything is known and nothing is old", () => {
  assertEquals(boardVerdictOf(LIST, STATE, 100).level, "ok");
  assertEquals(boardVerdictOf(undefined, STATE, 100).level, "stale");
  assertEquals(boardVerdictOf(LIST, undefined, 100).level, "stale");
  assertEquals(boardVerdictOf(LIST, STATE, undefined).level, "stale");
  const ill: Partial<PipelineState>[] = [
    { pager: null },
    { pager: { ...PAGER, is_delivered: false } },
    { live: null },
    { live: { ...LIVE, view_age_ms: 7_000 } },
    { live: { ...LIVE, lag_ms: null } },
    { live: { ...LIVE, lag_ms: 5_001 } },
    { live: { ...LIVE, coverage: 0.99 } },
    { services: [] },
    ...(["not_ready", "stalled", "silent", "unheard"] as const).map((state) => ({
      services: [SERVICE, { ...SERVICE, state }],
    })),
  ];
  for (const change of ill) {
    const verdict = boardVerdictOf(LIST, { ...STATE, ...change }, 100);
    assertEquals(verdict.level, "blind", JSON.stringify(change));
    assert(verdict.detail.startsWith("Not everything works: "), verdict.detail);
  }
});

Deno.test("old data are said to be old, without NATS and without the pager", () => {
  const cutOff = boardVerdictOf({ ...LIST, read_age_ms: 9_000 }, {
    ...STATE,
    problem: "no\u202eservers",
  }, 1_000);
  assertEquals(cutOff.level, "stale");
  assertEquals(
    cutOff.detail,
    "What is shown is 10 s old. Do not rely on it. no\\u{202e}servers",
  );
  const never = boardVerdictOf({ ...LIST, read_age_ms: null }, STATE, 0);
  assert(never.detail.startsWith("It has not been read yet."), never.detail);
  const gone = boardVerdictOf(LIST, STATE, 65_000);
  assertEquals([gone.level, gone.detail], [
    "stale",
    "What is shown is 1 min 5 s old. Do not rely on it.",
  ]);
});

Deno.test("coverage and lag are said with their figures, also while something is open", () => {
  const state = { ...STATE, live: { ...LIVE, lag_ms: 9_000, coverage: 0.4 } };
  assertEquals(blindSpots(state), ["live is 9 s behind", "live sees 40 %"]);
  const verdict = boardVerdictOf({ ...LIST, open: 250 }, state, 0);
  assertEquals([verdict.level, verdict.title], ["open", "250 incidents are open, none pages"]);
  assertEquals(verdict.detail, "Not everything works: live is 9 s behind; live sees 40 %.");
});

Deno.test("hostile names are shown, bounded, and hide nothing", () => {
  const title = `\u202e\u{e0041}\ud800\u200b\x1b\ue000<b>${"x".repeat(99)}`;
  const shown = cellText({ kind: "title", title });
  assert(!/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u.test(shown), shown);
  assert(shown.startsWith("title \\u{202e}\\u{e0041}"), shown);
  assertEquals([...shownText("x".repeat(99), 64)].length, 64);
  assertEquals(shownText("premiere", 64), "premiere");
});

Deno.test("a plot has a line between points, and a dot for one alone and for the newest", () => {
  const none = plotOf([], FRAME);
  assertEquals([none.share, none.top], [{ line: "", dots: "" }, 0.01]);
  const one = plotOf([[NOW_MS - 50_000, 0.4, 0.1]], FRAME);
  assertEquals(one.share, { line: "", dots: "M50.0 20.0h0" });
  assertEquals(one.baseline, { line: "", dots: "M50.0 80.0h0" });
  assertEquals(one.top, 0.5);
  const many = plotOf([
    [NOW_MS - 200_000, 0.5, 0.1],
    [NOW_MS - 90_000, 0.5, 0.1],
    [NOW_MS - 20_000, 0, 0.1],
    [NOW_MS, 0.25, 0.1],
  ], FRAME);
  assertEquals(many.share, { line: "M80.0 100.0L100.0 50.0", dots: "M10.0 0.0h0M100.0 50.0h0" });
  assertEquals(many.baseline, { line: "M80.0 80.0L100.0 80.0", dots: "M10.0 80.0h0" });
});

Deno.test("the functions run by their source text alone, as in the page", () => {
  const run = new Function(
    "list",
    "state",
    `${PAGE_FUNCTIONS}; return boardVerdictOf(list, state, 0)`,
  );
  assertEquals(run(LIST, STATE), boardVerdictOf(LIST, STATE, 0));
});

Deno.test("a pager without receivers does not look well", () => {
  const state = { ...STATE, pager: { ...PAGER, receivers: [] } };
  assertEquals(blindSpots(state), ["no receiver is configured, nobody is paged"]);
});

Deno.test("an incident is paged only once a receiver has its page", () => {
  const text = (deliveries: BoardIncident["deliveries"], pages = true) =>
    pagedText({ ...INCIDENT, pages, deliveries });
  assertEquals(text({ ops: "delivered", old: "refused" }), "paged");
  assertEquals(text({ ops: "waiting", old: "refused" }), "page waits");
  assertEquals(text({ ops: "refused" }), "page refused");
  assertEquals(text({}), "pages nobody");
  assertEquals(text(null), "pages");
  assertEquals(text({}, false), "not paged");
});

Deno.test("a pager that nobody hears, or whose pages wait, does not look well", () => {
  const of = (pager: Partial<NonNullable<PipelineState["pager"]>>) =>
    pagerStateText({ ...PAGER, ...pager });
  assertEquals(of({ receivers: [] }), { isWell: false, text: "no receivers" });
  assertEquals(of({ is_delivered: false, delivers: false }), {
    isWell: false,
    text: "nobody delivers",
  });
  const receivers = [{ receiver: "ops", waiting: 2 }];
  assertEquals(of({ delivers: true, receivers }), { isWell: false, text: "messages wait" });
  const state = { ...STATE, pager: { ...PAGER, receivers } };
  assertEquals(blindSpots(state), ["messages wait for ops"]);
  assertEquals(of({ delivers: false, receivers: [{ receiver: "ops", waiting: null }] }), {
    isWell: true,
    text: "stands by",
  });
});
