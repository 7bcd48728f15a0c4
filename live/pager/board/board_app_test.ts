import { assert, assertEquals } from "@std/assert";
import { ALERT_EXAMPLES } from "../../../shared/contract/alert_examples.ts";
import { Metrics } from "../../../shared/process/metrics.ts";
import { boardApp } from "./board_app.ts";
import { incidentListSchema, pipelineStateSchema } from "./board_schema.ts";
import { incidentList, pipelineState } from "./board_view.ts";
import { OpenIncidents } from "./open_incidents.ts";

/** Escape, C1 control, direction, tag, line separator, private use, lone surrogate. */
const HOSTILE = "a\x1b[2J\x9b\u202e\u{e0041}\u2028\ue000\ud800";

Deno.test("the read API shows nothing invisible, and parses to what was said", async () => {
  const incidents = new OpenIncidents();
  const alert = { ...ALERT_EXAMPLES.regionOpens, summary: HOSTILE };
  incidents.take("alerts.rebuffer.de._", alert);
  const known = { nowMs: alert.at, readAgeMs: 0, heard: undefined };
  const list = incidentList({ ...known, incidents, deliveries: undefined });
  const state = pipelineState({ ...known, problem: HOSTILE, pager: undefined, services: [] });
  const status = { metrics: new Metrics(), notReady: () => undefined };
  const app = boardApp(status, { list, state });
  const bodies: string[] = [];
  for (const path of ["/v1/incidents", "/v1/state"]) {
    const response = await app.request(path);
    assertEquals(response.headers.get("content-type"), "application/json");
    assertEquals(response.headers.get("x-content-type-options"), "nosniff");
    const body = await response.text();
    assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(body), body);
    bodies.push(body);
  }
  const [listBody = "", stateBody = ""] = bodies;
  assertEquals(incidentListSchema.parse(JSON.parse(listBody)).incidents[0]?.summary, HOSTILE);
  assertEquals(pipelineStateSchema.parse(JSON.parse(stateBody)).problem, HOSTILE);
});
