/** Whatever devices send: live does not fail, and every alert follows the published contract. */
import { Ajv } from "ajv";
import { assert, assertEquals, assertExists } from "@std/assert";
import { type IncidentAlert, isOpen } from "../../shared/contract/alert.ts";
import { heartbeatSchema } from "../../shared/contract/event.ts";
import { isSubjectPattern } from "../../shared/contract/topology.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { anAlertCell } from "../../shared/dev/fleet/alert_cells.ts";
import { HeardStream } from "../../shared/dev/fleet/heard_stream.ts";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { Detector } from "../detect/detector.ts";
import type { Finding, Measurement } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { Decider } from "./decider.ts";
import { Incidents, messageIdOf, type OpenAlerts, subjectOf } from "./incidents.ts";
import { safeJson } from "../../shared/process/cli/json_output.ts";

const START_MS = 1_795_000_000_000;
const OPTIONS = { pagesPerMinute: 10, silenceMs: 30_000 };
const SCHEMA = JSON.parse(
  await Deno.readTextFile(new URL("../../shared/contract/alert.schema.json", import.meta.url)),
);
const follows = new Ajv({ strict: true }).compile(SCHEMA);

/** What subjects, terminals, shells and JSON could act on. */
const BYTES = [
  ..."a. *>'\"\\$`!;&|<()#~\n\r\t\0%_-",
  ...["\x1b[2J", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\u{e0041}", "\u{1f3ac}"],
  ...["\ud800", "\ufeff", "日", "_other", "__proto__"],
];

function hostileText(random: Random): string {
  return Array.from({ length: random.int(0, 64) }, () => random.pick(BYTES)).join("");
}

/** Asserts what on-call may rely on in what is published; returns what on-call reads. */
function assertContract(alert: IncidentAlert): string {
  const text = safeJson(alert);
  assert(follows(JSON.parse(text)), `${JSON.stringify(follows.errors)} in ${text}`);
  assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(text), text);
  assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test([alert.summary, ...alert.next].join("")), text);
  const subject = subjectOf(alert);
  assert(isSubjectPattern(subject) && !/[*>]/.test(subject), subject);
  assert(subject.length <= 2_048 && text.length <= 32_000, `${text.length} bytes on ${subject}`);
  const tokens = subject.split(".").length;
  assert(tokens === 4 || tokens === 5, subject);
  return subject;
}

function hostileCell(random: Random): CellName {
  return anAlertCell(random, () => hostileText(random));
}

const STALLING: Measurement = {
  watching: 100,
  impaired: 40,
  spanMs: 20_000,
  share: 0.4,
  baseline: 0.004,
  bound: 5,
  rebufferMs: 1,
  playedMs: 9,
};

Deno.test("property: no text of a device breaks a subject or a payload, nor the recovery", () => {
  const random = propertyRandom("hostile text");
  for (let i = 0; i < 1_500; i++) {
    const finding: Finding = {
      change: "open",
      cell: hostileCell(random),
      atMs: START_MS,
      onsetMs: START_MS - 8_000,
      signal: random.pick(["rebuffer", "start", "silent"]),
      receivedAtMs: START_MS,
      now: STALLING,
      peak: STALLING,
      evidence: 20,
      folded: 3,
      worst: [{ cell: hostileCell(random), now: STALLING }],
    };
    const [open] = new Incidents(OPTIONS).decide([finding], { nowMs: START_MS, coverage: 1 });
    assertExists(open);
    const subject = assertContract(open);
    // The next process finds the incident by the cell that the detector names.
    const next = new Incidents(OPTIONS, new Map([[subject, open]]));
    const [restored] = next.openCells;
    assertExists(restored);
    const atMs = START_MS + 1_000;
    const resolve: Finding = { ...finding, change: "resolve", cell: restored.cell, atMs };
    const [resolved] = next.decide([resolve], { nowMs: atMs, coverage: 1 });
    assertExists(resolved);
    assertEquals(assertContract(resolved), subject);
    assertEquals([resolved.incident_id, resolved.update], [open.incident_id, 2]);
  }
});

/** Viewers who do whatever the contract lets them; half of them stall now and then. */
class OddViewers {
  readonly #texts: readonly string[];
  readonly #clocksMs: number[];
  readonly #seqs: number[];

  constructor(readonly random: Random, readonly count: number) {
    const isLabel = heartbeatSchema.shape.title_id;
    this.#texts = Array.from({ length: 40 }, () => hostileText(random))
      .filter((text) => isLabel.safeParse(text).success).concat("premiere", "_other", "_");
    const years = () => random.int(-20, 20) * 365 * 86_400_000;
    this.#clocksMs = Array.from({ length: count }, () => random.chance(0.5) ? 0 : years());
    this.#seqs = Array.from({ length: count }, () => random.int(0, 500));
  }

  /** The next heartbeat of viewer `index`. */
  next(index: number, nowMs: number, isOutage: boolean): WatchedHeartbeat {
    const { random } = this;
    // Clocks are set, counters go back, sessions move.
    if (random.chance(0.02)) this.#clocksMs[index] = random.int(-5, 5) * 86_400_000 * 365;
    const stepped = (this.#seqs[index] ?? 0) + (random.chance(0.05) ? -random.int(1, 400) : 1);
    this.#seqs[index] = Math.max(0, stepped);
    const ts = Math.max(0, nowMs + (this.#clocksMs[index] ?? 0) - random.int(0, 500));
    const isStalled = isOutage && index % 2 === 0;
    const rebuffer_ms = isStalled ? 5_000 : 0;
    const isOdd = random.chance(0.1);
    return aHeartbeat(random, ts, {
      session_id: `s-${index}`,
      seq: this.#seqs[index] ?? 0,
      rebuffer_ms,
      played_ms: 10_000 - rebuffer_ms,
      state: isOdd ? random.pick(heartbeatSchema.shape.state.options) : "playing",
      interval_ms: isOdd ? random.pick([0, 600_000]) : 10_000,
      region: isOdd ? random.pick(["zz", "--", "unknown-region"]) : index % 3 === 0 ? "br" : "de",
      title_id: isOdd ? random.pick(this.#texts) : "premiere",
      ...(random.chance(0.5) ? { cdn: hostileText(random), isp: hostileText(random) } : {}),
      device: {
        model: random.pick(this.#texts),
        os: "x",
        build: isStalled ? random.pick(this.#texts.slice(0, 2)) : "9.1",
      },
    });
  }
}

/** A decider that leads with `incidents` and hears what `clock` has heard. */
function aDecider(
  incidents: Incidents,
  clock: HeardStream<WatchedHeartbeat>,
  alerts: IncidentAlert[],
) {
  const decider = new Decider({
    newDetector: () => new Detector({ maxSessions: 1_000, limits: { cells: 1_500, isp: 50 } }),
    timeline: clock,
    canDecide: () => true,
    onAlert: (alert) => void alerts.push(alert),
    onDecided: () => {},
    monotonicMs: () => 0,
  });
  decider.lead(incidents);
  return decider;
}

Deno.test("property: odd clocks, counters, moves and text: no failure, incidents stay whole", () => {
  const random = propertyRandom("odd viewers");
  for (let run = 0; run < 3; run++) {
    const viewers = new OddViewers(random, 200);
    const clock = new HeardStream<WatchedHeartbeat>(START_MS);
    const alerts: IncidentAlert[] = [];
    let decider = aDecider(new Incidents(OPTIONS), clock, alerts);
    for (let second = 0; second < 400; second++) {
      const isOutage = second >= 150 && second < 300;
      for (let i = 0; i < 20; i++) {
        clock.toMs = START_MS + second * 1_000 + i * 50;
        const index = (second % 10) * 20 + i;
        clock.add(viewers.next(index, clock.toMs, isOutage), clock.toMs);
      }
      decider.advance();
      if (random.chance(0.01)) decider = restarted(decider, clock, alerts);
    }
    assert(alerts.some(({ page }) => page), "the outage pages");
    assertWhole(alerts);
  }
});

const COHORT_CDNS = ["plain", "bad\ncdn", "_other", "\u{1f3ac}".repeat(70), "c".repeat(5_000)];

Deno.test("an incident of a CDN goes on after a restart, whatever the CDN is called", () => {
  for (const cdn of COHORT_CDNS) {
    const random = new Random(1);
    const clock = new HeardStream<WatchedHeartbeat>(START_MS);
    const alerts: IncidentAlert[] = [];
    let decider = aDecider(new Incidents(OPTIONS), clock, alerts);
    for (let second = 0; second < 260; second++) {
      for (let i = 0; i < 60; i++) {
        clock.toMs = START_MS + second * 1_000 + i * 15;
        const viewer = second % 10 * 60 + i;
        const isOfCdn = viewer % 4 === 0;
        const rebuffer_ms = isOfCdn && second >= 130 && second < 200 ? 5_000 : 0;
        const heartbeat = aHeartbeat(random, clock.toMs, {
          session_id: `s-${viewer}`,
          seq: 5 + Math.floor(second / 10),
          region: "de",
          title_id: `t-${viewer % 37}`,
          cdn: isOfCdn ? cdn : "good",
          rebuffer_ms,
          played_ms: 10_000 - rebuffer_ms,
          device: { model: `m-${viewer % 7}`, os: "x", build: `b-${viewer % 5}` },
        });
        clock.add(heartbeat, clock.toMs);
      }
      decider.advance();
      if (second === 160) decider = restarted(decider, clock, alerts);
    }
    const told = alerts.filter(({ status }) => status !== "update");
    assertEquals(told.map(({ status }) => status), ["open", "resolved"], cdn.slice(0, 64));
    assert(told.every(({ cell }) => cell.cdn !== undefined), cdn.slice(0, 64));
    assertWhole(alerts);
    assertEquals(decider.detector.counters.moved, 0);
  }
});

/** What a new process has after a kill: the newest alerts, and the baselines. */
function restarted(
  before: Decider,
  clock: HeardStream<WatchedHeartbeat>,
  alerts: IncidentAlert[],
): Decider {
  const open: OpenAlerts = new Map();
  for (const alert of alerts) {
    if (isOpen(alert)) open.set(subjectOf(alert), alert);
    else open.delete(subjectOf(alert));
  }
  const incidents = new Incidents(OPTIONS, open);
  const decider = aDecider(incidents, clock, alerts);
  decider.detector.load(before.detector.snapshot(), clock.toMs);
  decider.detector.restore(incidents.openCells, clock.toMs);
  return decider;
}

/** Each follows the contract; opens and ends of a subject alternate; pages are bounded. */
function assertWhole(alerts: readonly IncidentAlert[]): void {
  const open = new Map<string, string>();
  for (const alert of alerts) {
    const subject = assertContract(alert);
    assertEquals(open.get(subject), alert.status === "open" ? undefined : alert.incident_id);
    if (isOpen(alert)) open.set(subject, alert.incident_id);
    else open.delete(subject);
  }
  assertEquals(new Set(alerts.map(messageIdOf)).size, alerts.length);
  const pages = alerts.filter(({ page }) => page);
  assertEquals(new Set(pages.map(({ incident_id }) => incident_id)).size, pages.length);
  for (const { at } of pages) {
    const minute = pages.filter((page) => page.at >= at && page.at < at + 60_000);
    assert(minute.length <= OPTIONS.pagesPerMinute, `${minute.length} pages in a minute`);
  }
}
