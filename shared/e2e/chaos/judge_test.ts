import { assertEquals } from "@std/assert";
import type { AlertCell } from "../../contract/alert.ts";
import { chaosChecks, type ChaosRun, type FaultDone, type Page } from "./judge.ts";
import type { FaultKind } from "./schedule.ts";

const START_MS = 1_800_000_000_000;
const INCIDENT = { cdn: "cdn-b", region: "de", beginMs: 10_000, endMs: 45_000 };

function done(kind: FaultKind, target: string, beginMs: number, endMs: number): FaultDone {
  const fault = { kind, target, beginMs, endMs };
  return { fault, fromMs: START_MS + beginMs, toMs: START_MS + endMs };
}

function pipelinePage(what: string, atMs: number): Page {
  return { atMs: START_MS + atMs, what };
}

function incidentPage(cell: Omit<AlertCell, "kind">, atMs: number): Page {
  const opened_at = START_MS + atMs;
  const kind = "region_cdn";
  const said = { signal: "rebuffer", cell: { kind, ...cell }, opened_at, summary: "" } as const;
  return { atMs: opened_at, what: "incident", said };
}

function failing(run: Partial<ChaosRun>): string[] {
  const { done = [] } = run;
  return chaosChecks({
    startMs: START_MS,
    nodes: 1,
    incidents: [],
    planned: done.length,
    done,
    mistakes: [],
    pages: [],
    ended: [],
    mended: [],
    ill: [],
    ...run,
  }).filter(({ ok }) => !ok).map(({ name }) => name);
}

Deno.test("a page of an incident has 15 s from its begin, or from the end of what was in its way", () => {
  const incidents = [INCIDENT];
  const missing = ["page about cdn-b in de, from 10.0 s"];
  const page = (atMs: number) => [incidentPage({ cdn: "cdn-b", region: "de" }, atMs)];
  assertEquals(failing({ incidents }), missing);
  assertEquals(failing({ incidents, pages: page(24_000) }), []);
  assertEquals(failing({ incidents, pages: page(26_000) }), missing);
  const inTheWay = [done("freeze", "live", 8_000, 20_000)];
  assertEquals(failing({ incidents, done: inTheWay, pages: page(34_000) }), []);
  assertEquals(failing({ incidents, done: inTheWay, pages: page(36_000) }), missing);
  const beside = [done("freeze", "postgres", 8_000, 20_000)];
  assertEquals(failing({ incidents, done: beside, pages: page(34_000) }), missing);
});

Deno.test("a page about another cell, or from before, is not the page of an incident", () => {
  const incidents = [INCIDENT];
  const missing = ["page about cdn-b in de, from 10.0 s"];
  const alsoFalse = [...missing, "pages about viewers that are healthy"];
  const pages = (cell: Omit<AlertCell, "kind">) => [incidentPage(cell, 12_000)];
  assertEquals(failing({ incidents, pages: pages({ cdn: "cdn-b" }) }), []);
  assertEquals(failing({ incidents, pages: pages({ region: "de" }) }), []);
  assertEquals(failing({ incidents, pages: pages({ cdn: "cdn-a", region: "de" }) }), alsoFalse);
  assertEquals(failing({ incidents, pages: pages({ region: "us-east" }) }), alsoFalse);
  assertEquals(failing({ incidents, pages: [incidentPage({ region: "de" }, 9_000)] }), alsoFalse);
});

Deno.test("an incident is paged by the pager that stands by, up to 7 s later", () => {
  const incidents = [INCIDENT];
  const page = (atMs: number) => [incidentPage({ cdn: "cdn-b", region: "de" }, atMs)];
  const one = done("kill", "pager", 8_000, 20_000);
  assertEquals(failing({ incidents, done: [one], pages: page(31_000) }), []);
  assertEquals(failing({ incidents, done: [one], pages: page(33_000) }).length, 1);
  const both = [one, done("cut", "pager-2→nats", 10_000, 15_000)];
  assertEquals(failing({ incidents, done: both, pages: page(36_000) }), []);
});

const LONG = done("freeze", "royalty", 2_000, 26_000);
const MISSING = ["page about freeze royalty, 2.0 s to 26.0 s"];

function told(atMs: number): Page[] {
  return [pipelinePage("royalty-silent", atMs)];
}

Deno.test("an outage of more than 20 s has to be paged within 20 s, a shorter one not", () => {
  assertEquals(failing({ done: [LONG] }), MISSING);
  assertEquals(failing({ done: [LONG], pages: told(22_000) }), []);
  assertEquals(failing({ done: [LONG], pages: told(23_000) }), MISSING);
  assertEquals(failing({ done: [LONG], pages: [pipelinePage("live-silent", 15_000)] }), MISSING);
  assertEquals(failing({ done: [done("freeze", "royalty", 2_000, 21_000)] }), []);
  assertEquals(failing({ done: [done("slow", "royalty→nats", 2_000, 26_000)] }), []);
});

Deno.test("no outage is hidden by one pager, which only costs a takeover", () => {
  const lost = done("kill", "pager", 10_000, 12_000);
  assertEquals(failing({ done: [LONG, lost] }), MISSING);
  assertEquals(failing({ done: [LONG, lost], pages: told(28_000) }), []);
  assertEquals(failing({ done: [LONG, done("kill", "triage", 10_000, 12_000)] }), MISSING);
});

Deno.test("an outage is paged once NATS or a pager is back, unless it is over too soon then", () => {
  for (const backMs of [5_000, 7_000]) {
    const nats = done("kill", "nats-0", 3_000, backMs);
    const both = ["pager", "pager-2"].map((pager) => done("freeze", pager, 3_000, backMs));
    for (const tellers of [[nats], both]) {
      assertEquals(failing({ done: [LONG, ...tellers] }), backMs === 5_000 ? MISSING : []);
      assertEquals(failing({ done: [LONG, ...tellers], pages: told(25_000) }), []);
    }
  }
});

Deno.test("a cluster of NATS is out while two servers are, or while it elects", () => {
  const long = done("freeze", "royalty", 2_000, 34_000);
  const name = ["page about freeze royalty, 2.0 s to 34.0 s"];
  const judged = (...others: FaultDone[]) => failing({ nodes: 3, done: [long, ...others] });
  assertEquals(judged(done("kill", "nats-0", 3_000, 20_000)), name);
  assertEquals(judged(done("kill", "nats-0", 5_000, 6_000)), []);
  assertEquals(judged(done("kill", "nats-0", 1, 20_000), done("kill", "nats-1", 5, 15_000)), []);
  const incident = (kind: FaultKind) => [done(kind, "nats-1", 9_000, 30_000)];
  const pages = [incidentPage({ cdn: "cdn-b", region: "de" }, 32_000)];
  assertEquals(failing({ nodes: 3, incidents: [INCIDENT], done: incident("disk"), pages }), []);
  const late = [incidentPage({ cdn: "cdn-b", region: "de" }, 35_000)];
  assertEquals(
    failing({ nodes: 3, incidents: [INCIDENT], done: incident("disk"), pages: late }).length,
    1,
  );
});

Deno.test("an outage of NATS is for any pager to tell, one of a node or a pager for nobody", () => {
  const missing = ["page about freeze nats-0, 2.0 s to 26.0 s"];
  const long = done("freeze", "nats-0", 2_000, 26_000);
  assertEquals(failing({ done: [long] }), missing);
  assertEquals(failing({ done: [long], pages: [pipelinePage("nats-silent", 18_000)] }), []);
  assertEquals(failing({ nodes: 3, done: [long] }), []);
  assertEquals(failing({ done: [done("freeze", "pager", 2_000, 26_000)] }), []);
});

Deno.test("faults that were not caused, mistakes and what is ill fail", () => {
  assertEquals(failing({ planned: 1 }), ["faults that were caused"]);
  assertEquals(failing({ mistakes: ["kill live: no"] }), ["faults that could not be"]);
  assertEquals(failing({ ill: ["live: lags"] }), ["ill at the end"]);
  assertEquals(failing({ ended: ["live with 1"] }), []);
  assertEquals(failing({ mended: ["nats-0"] }), []);
});
