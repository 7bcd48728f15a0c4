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

Deno.test("the board only reads, under names of its own", async () => {
  const board = {
    list: incidentList({
      nowMs: 0,
      readAgeMs: 0,
      heard: undefined,
      incidents: new OpenIncidents(),
      deliveries: undefined,
    }),
    state: pipelineState({
      nowMs: 0,
      readAgeMs: 0,
      heard: undefined,
      problem: undefined,
      pager: undefined,
      services: [],
    }),
  };
  const status = { metrics: new Metrics(), notReady: () => undefined };
  const app = boardApp(status, board, ["board.example.org"]);
  const statusOf = async (url: string, method = "GET") =>
    (await app.request(url, { method })).status;
  for (const host of ["127.0.0.1:8084", "[::1]:8084", "localhost", "pager", "board.example.org"]) {
    assertEquals(await statusOf(`http://${host}/v1/incidents`), 200, host);
    assertEquals(await statusOf(`http://${host}/`), 200, host);
  }
  assertEquals(await statusOf("http://attacker.example/v1/state"), 421);
  assertEquals(await statusOf("http://attacker.example/"), 421);
  assertEquals(await statusOf("http://Board.Example.org./"), 200);
  assertEquals(await statusOf("http://pager/v1/state", "OPTIONS"), 405);
  assertEquals(await statusOf("http://pager.twofold.svc.cluster.local/readyz"), 200);
  assertEquals(await statusOf("http://pager/v1/incidents", "DELETE"), 405);
  assertEquals(await statusOf("http://pager/", "POST"), 405);
});
