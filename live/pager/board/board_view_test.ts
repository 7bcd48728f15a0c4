import { assertEquals } from "@std/assert";
import { ALERT_EXAMPLES } from "../../../shared/contract/alert_examples.ts";
import type { LiveView } from "../../../shared/contract/view/live_view.ts";
import { incidentListSchema, pipelineStateSchema } from "./board_schema.ts";
import { incidentList, type ListParts, pipelineState, type StateParts } from "./board_view.ts";
import { OpenIncidents } from "./open_incidents.ts";

const OPENS = ALERT_EXAMPLES.regionOpens;
const VIEW: LiveView = {
  v: 1,
  at: OPENS.at + 60_000,
  instance: "live-1",
  coverage: 0.5,
  lag_ms: 9_000,
  streams: [{ stream: "HEARTBEATS", lag_ms: 9_000 }],
  incidents: [{
    incident_id: OPENS.incident_id,
    subject: "alerts.rebuffer.de._",
    watching: 10,
    impaired: 1,
    share: 0.1,
    baseline: 0.004,
    bound: 2,
  }],
};

function listOf(changes: Partial<ListParts> = {}) {
  const incidents = new OpenIncidents();
  incidents.take("alerts.rebuffer.de._", OPENS);
  const parts = { nowMs: OPENS.at, readAgeMs: 5.4, heard: undefined, deliveries: undefined };
  return incidentListSchema.parse(incidentList({ incidents, ...parts, ...changes }));
}

function stateOf(changes: Partial<StateParts> = {}) {
  const service = "live";
  const parts: StateParts = {
    nowMs: OPENS.at,
    readAgeMs: 5,
    problem: undefined,
    pager: undefined,
    heard: undefined,
    services: [{ service, state: "well", pulseAgeMs: 5, idleMs: 0, instances: [] }],
  };
  return pipelineStateSchema.parse(pipelineState({ ...parts, ...changes }));
}

Deno.test("figures are live's while its view is new, else of the last alert, and say which", () => {
  const figures = (ageMs: number) => listOf({ heard: { view: VIEW, ageMs } }).incidents[0]?.figures;
  const { impaired, at, is_current } = figures(6_000) ?? {};
  assertEquals([impaired, at, is_current], [1, VIEW.at, true]);
  const old = figures(6_001);
  assertEquals([old?.impaired, old?.at, old?.is_current], [OPENS.impaired, OPENS.at, false]);
});

Deno.test("an answer says how old it is; null: ALERTS was never read", () => {
  assertEquals(listOf().read_age_ms, 5);
  assertEquals(listOf({ readAgeMs: undefined }).read_age_ms, null);
  const state = stateOf({ readAgeMs: undefined, problem: "no servers" });
  assertEquals([state.read_age_ms, state.problem, state.live, state.pager], [
    null,
    "no servers",
    null,
    null,
  ]);
});

Deno.test("without NATS no service is heard, whatever was heard before", () => {
  assertEquals(stateOf().services.map(({ state }) => state), ["well"]);
  for (const readAgeMs of [undefined, 5_001]) {
    const [service] = stateOf({ readAgeMs }).services;
    assertEquals([service?.state, service?.pulse_age_ms], ["unheard", null]);
  }
});

Deno.test("lag, coverage and age of live's view are told as they are", () => {
  const { live } = stateOf({ heard: { view: VIEW, ageMs: 70_000 } });
  assertEquals([live?.coverage, live?.lag_ms, live?.view_age_ms], [0.5, 9_000, 70_000]);
});

Deno.test("all of 1,200 open incidents count, 1,000 are listed, with at most 20,000 points", () => {
  const incidents = new OpenIncidents();
  for (let i = 0; i < 1_200; i++) {
    const alert = { ...OPENS, incident_id: `id-${i}` };
    for (let n = 0; n < 40; n++) {
      incidents.take(`alerts.rebuffer.de.${i}`, { ...alert, at: OPENS.at + n });
    }
  }
  const list = listOf({ incidents, nowMs: OPENS.at + 40 });
  assertEquals([list.open, list.incidents.length], [1_200, 1_000]);
  const series = list.incidents.map((each) => each.series);
  assertEquals(series.reduce((sum, { length }) => sum + length, 0), 20_000);
  assertEquals(series[0]?.at(-1)?.[0], OPENS.at + 39, "the newest point stays");
});

Deno.test("what became of a page is known by the pager that delivers only", () => {
  assertEquals(listOf().incidents[0]?.deliveries, null);
  const record = {
    v: 1,
    incident_id: OPENS.incident_id,
    subject: "alerts.rebuffer.de._",
    last: OPENS,
    receivers: { a: { page: "delivered", order: 1 } },
  } as const;
  const deliveries = { receivers: ["a", "b"], records: [record] };
  const [incident] = listOf({ deliveries }).incidents;
  assertEquals(incident?.deliveries, { a: "delivered", b: "waiting" });
});
