import { assert, assertEquals, assertExists, assertMatch } from "@std/assert";
import type { JetStreamClient } from "nats/jetstream";
import { alertSchema, type IncidentAlert, isOpen, isPage } from "../../shared/contract/alert.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Log } from "../../shared/process/log.ts";
import type { Finding, FindingSignal, Measurement } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { idMsOf } from "./incident.ts";
import { Incidents, type LiveAlert, messageIdOf, type OpenAlerts, subjectOf } from "./incidents.ts";
import { Outbox } from "./outbox.ts";
import type { Silence } from "./silence.ts";
import { safeJson } from "../../shared/process/cli/json_output.ts";

const OPTIONS = { pagesPerMinute: 10, silenceMs: 30_000 };
const START_MS = 1_764_000_000_000;
const log = new Log("live-test", "error");

function titleCell(title: string, region = "de"): CellName {
  return { kind: "title_region", title, region };
}

function measured(impaired: number, watching: number): Measurement {
  return {
    watching,
    impaired,
    spanMs: 20_000,
    share: watching === 0 ? 0 : impaired / watching,
    baseline: 0.004,
    bound: 4,
    rebufferMs: impaired * 1_000,
    playedMs: (watching - impaired) * 10_000,
  };
}

/** A finding about 40 of 100 viewers, 8 s after the onset. */
function finding(
  change: Finding["change"],
  cell: CellName,
  atMs: number,
  parts: Partial<Finding> = {},
): Finding {
  const now = parts.now ?? measured(40, 100);
  return {
    change,
    signal: "rebuffer",
    cell,
    atMs,
    onsetMs: atMs - 8_000,
    receivedAtMs: atMs - 5,
    now,
    peak: now,
    evidence: 25,
    worst: [],
    folded: 0,
    ...parts,
  };
}

function moment(nowMs: number) {
  return { nowMs, coverage: 1 };
}

/** The only alert. */
function one(alerts: readonly IncidentAlert[]): IncidentAlert {
  const [alert] = alerts;
  assertEquals(alerts.length, 1);
  assertExists(alert);
  return alert;
}

/** Incidents under test, with the last message of each subject as ALERTS keeps it. */
class Rig {
  incidents: Incidents;
  nowMs = START_MS;
  readonly last: OpenAlerts = new Map();
  readonly published: IncidentAlert[] = [];

  constructor(readonly options = OPTIONS) {
    this.incidents = new Incidents(options);
  }

  /** Decides `afterMs` later. */
  decide(afterMs: number, ...findings: ((nowMs: number) => Finding)[]): IncidentAlert[] {
    this.nowMs += afterMs;
    const alerts = this.incidents.decide(
      findings.map((make) => make(this.nowMs)),
      moment(this.nowMs),
    );
    for (const alert of alerts) {
      assertEquals(alertSchema.parse(JSON.parse(safeJson(alert))), alert);
      this.last.set(subjectOf(alert), alert);
    }
    this.published.push(...alerts);
    return alerts;
  }

  /** Another process takes over from what ALERTS has. */
  restart(): void {
    const open = [...this.last].filter(([, alert]) => isOpen(alert));
    const read = open.map(([subject, alert]): [string, LiveAlert] => {
      const parsed = alertSchema.parse(JSON.parse(safeJson(alert)));
      assert(parsed.kind === "incident");
      return [subject, parsed];
    });
    const ids = [...this.last.values()].map(({ incident_id }) => idMsOf(incident_id));
    this.incidents = new Incidents(this.options, new Map(read), Math.max(0, ...ids));
  }
}

function small(change: Finding["change"], title: string, parts: Partial<Finding> = {}) {
  return (atMs: number) =>
    finding(change, titleCell(title), atMs, { now: measured(5, 100), ...parts });
}

Deno.test("an alert contains its evidence and matches the schema", () => {
  const rig = new Rig();
  const worst = [{
    cell: { kind: "region_build", region: "de", build: "9.2" } as const,
    now: measured(39, 40),
  }];
  const alert = one(
    rig.decide(0, (at) => finding("open", titleCell("a.b *"), at, { worst, folded: 3 })),
  );
  assertEquals(subjectOf(alert), "alerts.rebuffer.de.a%2Eb%20%2A");
  assertEquals([alert.status, alert.update, alert.severity, alert.page], [
    ...["open", 1, "critical", true],
  ]);
  assertEquals([alert.watching, alert.impaired, alert.share, alert.baseline], [
    100,
    40,
    0.4,
    0.004,
  ]);
  assertEquals(alert.ratio, 40_000 / 640_000);
  assertEquals([alert.onset_at, alert.received_at, alert.detected_ms, alert.paged_at], [
    ...[START_MS - 8_000, START_MS - 5, 8_000, START_MS],
  ]);
  assertEquals(alert.dimensions, [{
    cell: { kind: "region_build", region: "de", build: "9.2" },
    watching: 40,
    impaired: 39,
    share: 39 / 40,
    baseline: 0.004,
  }]);
  assertEquals([alert.evidence, alert.folded, alert.coverage], [25, 3, 1]);
  assertEquals(
    alert.summary,
    "a.b * in de: 40 of 100 viewers stall (40 %, usual 0.4 %); worst: build 9.2 in de, 39 of 40 (98 %)",
  );
  assertEquals(alert.next, [
    "npx -y deno@2.9.6 task live explain --title 'a.b *' --region de --at 2025-11-24T16:00:00.000Z",
  ]);
});

Deno.test("an alert from a part of the heartbeats says so, and which part", () => {
  const found = finding("open", titleCell("a"), START_MS);
  const [degraded] = new Incidents(OPTIONS).decide([found], {
    ...moment(START_MS),
    coverage: 0.372,
  });
  assertEquals([degraded?.coverage, degraded?.degraded], [0.372, true]);
  assertMatch(degraded?.summary ?? "", /; seen are 37 % of the heartbeats$/);
  const [full] = new Incidents(OPTIONS).decide([found], moment(START_MS));
  assertEquals(full?.degraded, undefined);
});

Deno.test("open and resolve have the same incident_id, the next incident has another", () => {
  const rig = new Rig();
  const cell = titleCell("a.b *");
  const opened = one(rig.decide(0, (at) => finding("open", cell, at)));
  assertEquals(rig.incidents.openCells.map(({ cell }) => cell), [cell]);
  const resolved = one(rig.decide(89_000, (at) => finding("resolve", cell, at)));
  assertEquals(resolved.incident_id, opened.incident_id);
  assertEquals([resolved.status, resolved.outcome, resolved.page, resolved.update], [
    ...["resolved", "recovered", false, 2],
  ]);
  assertEquals([resolved.opened_at, resolved.at], [START_MS, START_MS + 89_000]);
  assertEquals(rig.incidents.openCells, []);
  // In the same millisecond too.
  const again = one(rig.decide(0, (at) => finding("open", cell, at)));
  assert(again.incident_id !== opened.incident_id);
  // And where another process decides about that second once more.
  rig.decide(0, (at) => finding("resolve", cell, at));
  rig.restart();
  const afterwards = one(rig.decide(-89_000, (at) => finding("open", cell, at)));
  assertEquals(afterwards.opened_at, opened.opened_at);
  assert(![opened, again].some(({ incident_id }) => incident_id === afterwards.incident_id));
});

Deno.test("what ends without recovery is closed and says why", () => {
  for (const why of ["gone", "chronic", "folded"] as const) {
    const rig = new Rig();
    rig.decide(0, (at) => finding("open", titleCell("t"), at));
    const closed = one(rig.decide(1_000, (at) => finding("close", titleCell("t"), at, { why })));
    assertEquals([closed.status, closed.outcome], ["closed", why]);
    assert(!closed.summary.includes("recovered;"), closed.summary);
  }
});

Deno.test("a critical incident pages at once, another when it has lasted 20 s, a blip never", () => {
  const rig = new Rig();
  assert(one(rig.decide(0, (at) => finding("open", titleCell("bad"), at))).page);
  const opened = rig.decide(0, small("open", "lasting"), small("open", "blip"));
  assertEquals(opened.map(({ severity, page }) => [severity, page]), [
    ["info", false],
    ["info", false],
  ]);
  assertEquals(rig.decide(11_000), []);
  const ended = one(rig.decide(500, small("resolve", "blip")));
  assertEquals([ended.page, ended.paged_at], [false, undefined]);
  const page = one(rig.decide(500));
  assertEquals([page.cell.title, page.status, page.severity, page.page, page.why], [
    ...["lasting", "update", "warning", true, "severity"],
  ]);
  assertEquals(rig.decide(60_000), []);
});

Deno.test("an incident that gets worse updates, and does not page twice", () => {
  const rig = new Rig();
  rig.decide(0, small("open", "t", { onsetMs: START_MS - 20_000 }));
  const worse = one(rig.decide(1_000, small("update", "t", { now: measured(40, 100) })));
  assertEquals([worse.severity, worse.page, worse.why], ["critical", false, "severity"]);
  const better = rig.decide(1_000, small("update", "t", { now: measured(10, 100), why: "halved" }));
  assertEquals(better, [], "not so soon");
  const update = one(rig.decide(9_000));
  assertEquals([update.severity, update.impaired, update.why], ["critical", 10, "halved"]);
  assertEquals(update.paged_at, START_MS);
});

Deno.test("updates of one incident are at most one in 10 s, whatever the detector says", () => {
  const rig = new Rig();
  rig.decide(0, (at) => finding("open", titleCell("t"), at));
  for (let i = 0; i < 100; i++) {
    rig.decide(1_000, (at) => finding("update", titleCell("t"), at, { why: "doubled" }));
  }
  assertEquals(rig.published.length, 11);
});

Deno.test("silence is a separate incident, and a silence can keep it from paging", () => {
  const incidents = new Incidents(OPTIONS);
  const opened = incidents.noData("opened", 1_000);
  assertEquals(alertSchema.parse(opened), opened);
  assert(incidents.isSilent && isPage(opened));
  assertEquals(incidents.openCells, []);
  const recovered = new Incidents(OPTIONS, new Map([[subjectOf(opened), opened]]));
  assert(recovered.isSilent);
  const resolved = recovered.noData("resolved", 2_000);
  assertEquals([resolved.incident_id, resolved.opened_at], [opened.incident_id, 1_000]);
  assert(!recovered.isSilent);
  recovered.silences = [aSilence("alerts.pipeline.*", 0, 10_000)];
  assert(!isPage(recovered.noData("opened", 3_000)));
});

function aSilence(subject: string, from: number, until: number): Silence {
  return { v: 1, id: "s", subject, from, until, by: "ada", reason: "upgrade", created_at: from };
}

Deno.test("a silence suppresses the page and not the alert; when it ends, what goes on pages", () => {
  const rig = new Rig();
  rig.incidents.silences = [aSilence("alerts.*.de.>", START_MS, START_MS + 60_000)];
  const opened = one(rig.decide(0, (at) => finding("open", titleCell("t"), at)));
  assertEquals([opened.status, opened.page, opened.paged_at], ["open", false, undefined]);
  assertEquals(opened.suppressed_by, {
    silence_id: "s",
    subject: "alerts.*.de.>",
    until: START_MS + 60_000,
    by: "ada",
    reason: "upgrade",
  });
  assert(one(rig.decide(0, (at) => finding("open", titleCell("t", "br"), at))).page);
  assertEquals(rig.decide(59_999), []);
  const page = one(rig.decide(1));
  assertEquals([page.status, page.page, page.suppressed_by], ["update", true, undefined]);
});

Deno.test("a silence that is ended early lets the page through at once", () => {
  const rig = new Rig();
  rig.incidents.silences = [aSilence("alerts.>", START_MS, START_MS + 60_000)];
  rig.decide(0, (at) => finding("open", titleCell("t"), at));
  rig.incidents.silences = [aSilence("alerts.>", START_MS, START_MS + 1_000)];
  assert(one(rig.decide(1_000)).page);
});

Deno.test("beyond the pages of a minute the rest is one incident, which pages and ends", () => {
  const rig = new Rig();
  const titles = Array.from({ length: 1_000 }, (_, i) => `t${i}`);
  const opens = titles.map((title) => (at: number) => finding("open", titleCell(title), at));
  const alerts = rig.decide(0, ...opens);
  assertEquals(alerts.length, 10);
  assert(alerts.every(({ page }) => page));
  const many = alerts.at(-1);
  assertExists(many);
  assertEquals([subjectOf(many), many.withheld, many.dimensions.length], [
    "alerts.rebuffer._._",
    { incidents: 991, alone: true },
    10,
  ]);
  assertEquals(
    many.summary,
    "991 more incidents than may page: 39640 of 99100 viewers stall (40 %, usual 0.4 %); " +
      "the largest is t9 in de, 40 of 100 (40 %)",
  );
  assertEquals([rig.incidents.openCount, rig.incidents.withheldCount], [10, 991]);
  const resolves = titles.map((title) => (at: number) => finding("resolve", titleCell(title), at));
  const ended = rig.decide(1_000, ...resolves);
  assertEquals(ended.length, 10);
  assertEquals(ended.at(-1)?.incident_id, many.incident_id);
  assert(ended.every(({ status }) => status === "resolved"));
  assertEquals([rig.incidents.openCount, rig.incidents.withheldCount], [0, 0]);
});

Deno.test("many incidents and one of everything are one subject with one open", () => {
  const rig = new Rig({ ...OPTIONS, pagesPerMinute: 2 });
  const all: CellName = { kind: "all" };
  const three = ["a", "b", "c"].map((t) => (at: number) => finding("open", titleCell(t), at));
  const [, many] = rig.decide(0, ...three);
  assertEquals(many?.withheld, { incidents: 2, alone: true });
  assertEquals(rig.decide(1_000, (at) => finding("open", all, at)), []);
  const joined = one(rig.decide(10_000));
  assertEquals([joined.why, joined.withheld, joined.incident_id], [
    ...["dimension", { incidents: 2, alone: false }, many?.incident_id],
  ]);
  assertEquals(rig.decide(1_000, (at) => finding("resolve", all, at)), []);
  const ended = rig.decide(
    1_000,
    (at) => finding("resolve", titleCell("b"), at),
    (at) => finding("close", titleCell("c"), at, { why: "gone" }),
  );
  assertEquals(ended.map((alert) => [subjectOf(alert), alert.status, alert.outcome]), [
    ["alerts.rebuffer._._", "closed", "gone"],
  ]);
});

Deno.test("after a restart nothing that was paged or withheld pages again", () => {
  const rig = new Rig({ ...OPTIONS, pagesPerMinute: 3 });
  const titles = ["a", "b", "c", "d", "e"];
  const opens = titles.map((title) => (at: number) => finding("open", titleCell(title), at));
  rig.decide(0, ...opens);
  const before = rig.published.length;
  rig.restart();
  assertEquals(rig.incidents.openCells.map(({ cell }) => cell.title), ["a", "b"]);
  assertEquals(rig.decide(70_000, ...opens), []);
  const resolves = titles.map((title) => (at: number) => finding("resolve", titleCell(title), at));
  rig.decide(10_000, ...resolves);
  // Others might still be found.
  rig.decide(65_000);
  const ended = rig.published.slice(before);
  assertEquals(ended.map(({ cell, status }) => [cell.title, status]), [
    ["a", "resolved"],
    ["b", "resolved"],
    [undefined, "resolved"],
  ]);
});

Deno.test("withheld incidents that nobody finds again after a restart are closed, not resolved", () => {
  const rig = new Rig({ ...OPTIONS, pagesPerMinute: 1 });
  rig.decide(0, (at) => finding("open", titleCell("a"), at));
  rig.restart();
  assertEquals(rig.decide(1_000), []);
  assertEquals(rig.decide(74_000), []);
  const closed = one(rig.decide(1_000));
  assertEquals([closed.status, closed.outcome], ["closed", "gone"]);
});

const CELLS: readonly CellName[] = [
  { kind: "all" },
  { kind: "region", region: "de" },
  { kind: "title", title: "_" },
  ...["a", "b", "c", "d", "\u202ehostile\x9b"].map((title) => titleCell(title)),
  titleCell("a", "br"),
  { kind: "build", build: "9.2" },
  { kind: "region_cdn", region: "de", cdn: "" },
];
const SIGNALS: readonly FindingSignal[] = ["rebuffer", "rebuffer", "start", "silent"];
const CHANGES = ["open", "open", "update", "resolve", "close"] as const;
const WHY = [undefined, "doubled", "halved", "dimension", "folded", "gone", "chronic"] as const;
const ODD = [NaN, Infinity, -1, 1e300, 0.5];

function randomFinding(random: Random, atMs: number): Finding {
  const watching = random.int(0, 1_000);
  const now = measured(random.int(0, watching), watching);
  const why = random.pick(WHY);
  return finding(random.pick(CHANGES), random.pick(CELLS), atMs, {
    signal: random.pick(SIGNALS),
    onsetMs: atMs - random.int(-1_000, 100_000),
    now: random.chance(0.05) ? { ...now, share: random.pick(ODD), bound: random.pick(ODD) } : now,
    evidence: random.chance(0.05) ? random.pick(ODD) : random.int(1, 300),
    folded: random.int(0, 5),
    ...(why === undefined ? {} : { why }),
  });
}

Deno.test("property: open and end alternate, ids are stable and unique, pages are bounded", () => {
  const random = propertyRandom("incidents");
  for (let run = 0; run < 40; run++) {
    const pagesPerMinute = random.int(1, 6);
    const rig = new Rig({ ...OPTIONS, pagesPerMinute });
    for (let step = 0; step < 120; step++) {
      if (random.chance(0.05)) rig.restart();
      if (random.chance(0.1)) {
        const until = rig.nowMs + random.int(-5_000, 60_000);
        const pattern = random.pick(["alerts.>", "alerts.*.de.*", "alerts.cohort.>"]);
        rig.incidents.silences = [aSilence(pattern, rig.nowMs, until)];
      }
      const findings = Array.from({ length: random.int(0, 6) }, () => {
        return (atMs: number) => randomFinding(random, atMs);
      });
      rig.decide(random.pick([0, 1_000, 1_000, 20_000]), ...findings);
    }
    assertAlternates(rig.published);
    const ids = rig.published.map(messageIdOf);
    assertEquals(new Set(ids).size, ids.length, "message ids");
  }
});

Deno.test("property: at most so many pages in any minute, and one for an incident", () => {
  const random = propertyRandom("pages");
  for (let run = 0; run < 40; run++) {
    const pagesPerMinute = random.int(1, 6);
    const rig = new Rig({ ...OPTIONS, pagesPerMinute });
    for (let step = 0; step < 120; step++) {
      const findings = Array.from({ length: random.int(0, 8) }, () => {
        return (atMs: number) => randomFinding(random, atMs);
      });
      rig.decide(random.pick([0, 1_000, 7_000]), ...findings);
    }
    const pages = rig.published.filter(({ page }) => page);
    assertEquals(new Set(pages.map(({ incident_id }) => incident_id)).size, pages.length);
    for (const { at } of pages) {
      const minute = pages.filter((other) => other.at >= at && other.at < at + 60_000);
      assert(minute.length <= pagesPerMinute, `${minute.length} pages in a minute`);
    }
  }
});

/** By subject: an open, updates that count, an end, and again. */
function assertAlternates(alerts: readonly IncidentAlert[]): void {
  const open = new Map<string, IncidentAlert>();
  const ids = new Set<string>();
  for (const alert of alerts) {
    const subject = subjectOf(alert);
    const before = open.get(subject);
    if (alert.status === "open") {
      assertEquals(before, undefined, `${subject} opens twice`);
      assert(!ids.has(alert.incident_id), `${alert.incident_id} again`);
      assertEquals(alert.update, 1);
      ids.add(alert.incident_id);
    } else {
      assertExists(before, `${subject}: ${alert.status} of nothing`);
      assertEquals(alert.incident_id, before.incident_id);
      assertEquals(alert.update, before.update + 1);
      assertEquals(alert.opened_at, before.opened_at);
    }
    if (isOpen(alert)) open.set(subject, alert);
    else open.delete(subject);
  }
}

/** A stub of JetStream: records publishes, which can be made to fail or to wait. */
class Publishes {
  readonly log: string[] = [];
  failures = 0;
  gate: Promise<void> = Promise.resolve();

  readonly client = {
    publish: async (_subject: string, _body: string, options: { msgID: string }) => {
      await this.gate;
      if (this.failures-- > 0) {
        this.log.push(`failed ${options.msgID}`);
        throw new Error("timeout");
      }
      return { seq: this.log.push(options.msgID) };
    },
  } as unknown as JetStreamClient;
}

Deno.test("a publish is retried with the same message id, and the resolve waits for its open", async () => {
  const publishes = new Publishes();
  publishes.failures = 2;
  const published: string[] = [];
  const outbox = new Outbox(publishes.client, 10, log, ({ status }) => published.push(status));
  const rig = new Rig();
  const open = rig.decide(0, (at) => finding("open", titleCell("t"), at));
  const resolve = rig.decide(1, (at) => finding("resolve", titleCell("t"), at));
  for (const alert of [...open, ...resolve]) outbox.add(alert);
  await outbox.flush();
  const id = `rebuffer.de.t.${START_MS}`;
  assertEquals(publishes.log, [`failed ${id}.1`, `failed ${id}.1`, `${id}.1`, `${id}.2`]);
  assertEquals(published, ["open", "resolved"]);
});

Deno.test("the outbox is full at its capacity, and accepts alerts again after publishing", async () => {
  const publishes = new Publishes();
  const gate = Promise.withResolvers<void>();
  publishes.gate = gate.promise;
  const outbox = new Outbox(publishes.client, 3, log, () => {});
  const rig = new Rig();
  for (const title of ["a", "b", "c"]) {
    assert(!outbox.full);
    outbox.add(one(rig.decide(0, (at) => finding("open", titleCell(title), at))));
  }
  assert(outbox.full);
  gate.resolve();
  await waitFor("room", () => !outbox.full);
  await outbox.flush();
  assertEquals(publishes.log.length, 3);
});

Deno.test("an audience that left reads as nobody, not as health", () => {
  const rig = new Rig();
  const peak = measured(40, 100);
  rig.decide(1_000, (atMs) => finding("open", titleCell("a"), atMs));
  const [update] = rig.decide(
    20_000,
    (atMs) => finding("update", titleCell("a"), atMs, { why: "halved", now: measured(0, 0), peak }),
  );
  assertEquals(
    update?.summary,
    "a in de: nobody watches any more; at the peak: 40 of 100 viewers stall (40 %)",
  );
});

Deno.test("a page has the figures of its second, and does not wait for the next finding", () => {
  const incidents = new Incidents(OPTIONS);
  let now = measured(9, 100);
  const decide = (second: number, ...findings: Finding[]) =>
    incidents.decide(findings, {
      nowMs: START_MS + second * 1_000,
      coverage: 1,
      current: (_, summed) => summed ? now : { ...now, rebufferMs: 0, playedMs: 0 },
    });
  const open = one(decide(0, finding("open", titleCell("a"), START_MS, { now })));
  assertEquals([open.severity, open.page], ["info", false]);
  now = measured(40, 100);
  const page = one(decide(1));
  assertEquals([page.severity, page.page, page.impaired, page.peak.impaired], [
    "critical",
    true,
    40,
    40,
  ]);
  assertEquals(page.ratio, 40 * 1_000 / (40 * 1_000 + 60 * 10_000));
  // Four who are left, all impaired, are neither the peak nor the news.
  now = measured(4, 4);
  assertEquals(decide(2), []);
});

Deno.test("a silence on one place does not silence what is wider and joins its incident", () => {
  const rig = new Rig();
  const region: CellName = { kind: "region", region: "br" };
  const silence = aSilence("alerts.*.br.>", START_MS, START_MS + 600_000);
  rig.incidents.silences = [silence];
  const [open] = rig.decide(1_000, (atMs) => finding("open", region, atMs));
  assertEquals([open?.page, open?.suppressed_by?.silence_id], [false, silence.id]);
  const joined = (cell: CellName) => (atMs: number) =>
    finding("update", region, atMs, {
      why: "dimension",
      worst: [{ cell, now: measured(40, 100) }],
    });
  const [inside] = rig.decide(11_000, joined({ kind: "region_cdn", region: "br", cdn: "c1" }));
  assertEquals([inside?.page, inside?.suppressed_by?.silence_id], [false, silence.id]);
  rig.restart();
  rig.incidents.silences = [silence];
  const [wider] = rig.decide(11_000, joined({ kind: "all" }));
  assertEquals([wider?.page, wider?.suppressed_by], [true, undefined]);
});
