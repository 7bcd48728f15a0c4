import { assertEquals } from "@std/assert";
import { ALERT_EXAMPLES } from "../../../shared/contract/alert_examples.ts";
import type { LiveView } from "../../../shared/contract/view/live_view.ts";
import { OpenIncidents, SERIES_MS } from "./open_incidents.ts";

const NOW_MS = ALERT_EXAMPLES.regionOpens.at;
const ID = ALERT_EXAMPLES.regionOpens.incident_id;
const SUBJECT = "alerts.rebuffer.de._";

function viewOf(share: number): LiveView {
  const viewed = { subject: SUBJECT, watching: 100, impaired: 40, baseline: 0.004, bound: 12 };
  return {
    v: 1,
    at: NOW_MS,
    instance: "live-1",
    coverage: 1,
    lag_ms: 40,
    streams: [],
    incidents: [{ incident_id: ID, share, ...viewed }],
  };
}

Deno.test("an incident is open until it ends, and its series ends with it", () => {
  const incidents = new OpenIncidents();
  assertEquals(incidents.all(), []);
  incidents.take(SUBJECT, ALERT_EXAMPLES.regionOpens);
  assertEquals(incidents.all().map(({ subject }) => subject), [SUBJECT]);
  assertEquals(incidents.series(ID, NOW_MS).length, 1);
  incidents.take(SUBJECT, { ...ALERT_EXAMPLES.regionRecovers, incident_id: ID });
  assertEquals(incidents.all(), []);
  incidents.prune(NOW_MS);
  assertEquals(incidents.series(ID, NOW_MS), []);
});

Deno.test("a series has one point a moment, in order, of the last 15 minutes", () => {
  const incidents = new OpenIncidents();
  incidents.take(SUBJECT, ALERT_EXAMPLES.regionOpens);
  incidents.view(viewOf(0.9), NOW_MS - 1);
  assertEquals(incidents.series(ID, NOW_MS), [[NOW_MS, 0.4, 0.004]]);
  for (let i = 1; i <= 600; i++) incidents.view(viewOf(0.5), NOW_MS + i * 2_000);
  const lastMs = NOW_MS + 1_200_000;
  const series = incidents.series(ID, lastMs);
  assertEquals([series.length, series.at(-1)], [450, [lastMs, 0.5, 0.004]]);
  assertEquals(incidents.series(ID, lastMs + SERIES_MS - 2_000).length, 2);
});

Deno.test("what does not fit is counted, and what nobody spoke of for 8 days is forgotten", () => {
  const incidents = new OpenIncidents();
  for (let i = 0; i < 10_003; i++) {
    const alert = { ...ALERT_EXAMPLES.regionOpens, incident_id: `id-${i}` };
    incidents.take(`${SUBJECT}${i}`, alert);
  }
  assertEquals([incidents.all().length, incidents.overflow], [10_000, 3]);
  incidents.prune(NOW_MS + 7 * 86_400_000);
  assertEquals(incidents.all().length, 10_000);
  incidents.prune(NOW_MS + 9 * 86_400_000);
  assertEquals(incidents.all().length, 0);
});
