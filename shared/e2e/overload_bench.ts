/**
 * Live with more than it can read: `deno task bench overload [seconds] [events/s] [times]`.
 *
 * 1. A backlog of 2.5 million heartbeats, in which an incident begins and ends, and 5,000 fresh ones
 *    a second: a fresh incident has to page, the finished one must not.
 * 2. The load is `times` what live can read: its processor is held so that it reads that much and no
 *    more, as with many more devices on a whole processor. Incidents begin one after the other; the time from the begin of the stalls to the page is measured, and the lags of
 *    live and royalty are plotted into `overload.svg`.
 *
 * @module
 */
import { isPage } from "../contract/alert.ts";
import { alertSubject } from "../contract/topology.ts";
import { Observer } from "../dev/demo/observer.ts";
import { audience, AUDIENCE_INTERVAL_MS } from "../dev/fleet/audience.ts";
import { landBatch } from "../dev/fleet/filled_stream.ts";
import { Viewers } from "../dev/servers/live_rig.ts";
import { Pipeline } from "../dev/servers/pipeline.ts";
import type { ServiceProcess } from "../dev/servers/service_process.ts";
import { Workspace } from "../dev/servers/workspace.ts";
import { ChildProcess } from "../dev/testing/child_process.ts";
import { encode } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { pause } from "../process/retry.ts";
import { quantile } from "./detection/score.ts";
import { lagPlot, type LagSample } from "./overload_plot.ts";
import type { OverloadOptions } from "./overload_load.ts";

const BACKLOG_EVENTS = 2_500_000;
const BACKLOG_RATE = 5_000;
const BATCH_EVENTS = 1_000;
const BATCHES = 4;
/** Viewers of each incident, and the share of time that they stall. */
const INCIDENT_VIEWERS = 200;
const STALL_SHARE = 0.6;
/** Incidents of the overload, one after the other; each recovers before its title is used again. */
const TITLES = 12;
const INCIDENT_EVERY_MS = 10_000;
const STALLS_MS = 9_000;
/** Target from the first stall to the page, ms. */
const PAGE_TARGET_MS = 10_000;
const THROTTLE_MS = 100;
/** Share of a processor that live gets first, and how much it may change at one sample. */
const FIRST_SHARE = 0.07;
const SHARE_STEP = 1.1;
/** Live has to have learned who watches. */
const WARM_UP_MS = 30_000;
/** Time between two samples of the lags; a scrape costs live what a few hundred heartbeats do. */
const SAMPLE_MS = 2_000;
const ANSWER_TARGET_MS = 2_000;

/** Runs both and prints the figures; whether all targets were reached. */
export async function runOverloadBench(
  seconds = 300,
  eventsPerSecond = 22_000,
  times = 5,
): Promise<boolean> {
  const isFresh = await runBacklog();
  const isSeen = await runOverload(seconds, eventsPerSecond, times);
  return isFresh && isSeen;
}

async function runBacklog(): Promise<boolean> {
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace);
  const { live } = pipeline.services;
  await live.stop();
  await fillBacklog(pipeline);
  const observer = await Observer.start(pipeline);
  const ingest = await pipeline.connect("ingest");
  await using viewers = new Viewers(ingest, new Random(5), 1);
  const fresh = viewers.add(INCIDENT_VIEWERS, { title_id: "fresh", region: "r1" });
  await using load = startLoad(pipeline, BACKLOG_RATE);
  await live.restart();
  const answers = new Answers(live);
  await live.ready();
  const subject = alertSubject.rebuffer("r1", "fresh");
  const stallsMs = Date.now();
  viewers.stall(fresh, STALL_SHARE);
  const pagedMs = await paged(observer, subject, stallsMs);
  // No sleep: what must not come is waited for.
  await pause(20_000);
  const slowestMs = answers.end();
  const wrong = observer.alerts.filter(({ alert, subject: of }) =>
    isPage(alert) && of !== subject && alert.kind === "incident"
  );
  const told = observer.alerts.find(({ subject: of }) => of === alertSubject.pipeline("live-lag"));
  console.log(
    `backlog: ${BACKLOG_EVENTS.toLocaleString("en-US")} behind, ${BACKLOG_RATE} fresh a second: ` +
      `the fresh incident pages after ${(pagedMs / 1_000).toFixed(1)} s ` +
      `(target ${PAGE_TARGET_MS / 1_000}), ${wrong.length} pages of what is over; ` +
      `slowest answer of /metrics and /readyz ${slowestMs.toFixed(0)} ms`,
  );
  console.log(`backlog: on-call is told: ${told?.alert.summary ?? "nothing"}`);
  await load.stop();
  return pagedMs <= PAGE_TARGET_MS && wrong.length === 0 && slowestMs <= ANSWER_TARGET_MS;
}

/** Stores the backlog: in its second quarter everybody in one region stalls. */
async function fillBacklog(pipeline: Pipeline): Promise<void> {
  const nc = await pipeline.connect("ingest");
  const random = new Random(1);
  const sessions = BACKLOG_EVENTS / 10;
  const startMs = Date.now() - 10 * AUDIENCE_INTERVAL_MS;
  const viewers = audience(random, sessions, startMs);
  for (let pass = 0; pass < 10; pass++) {
    const stalls = pass >= 2 && pass < 5;
    const land = (first: number) => {
      const bodies = viewers.slice(first, first + BATCH_EVENTS).map((viewer) => {
        const ts = startMs + pass * AUDIENCE_INTERVAL_MS;
        const worse = stalls && viewer.region === "r0"
          ? { played_ms: 4_000, rebuffer_ms: 6_000 }
          : {};
        return encode({
          ...viewer,
          event_id: random.uuidv7(ts),
          seq: viewer.seq + pass,
          ts,
          ...worse,
        });
      });
      return landBatch(nc, bodies, (i) => `backlog-${pass}-${first + i}`);
    };
    for (let first = 0; first < sessions; first += BATCHES * BATCH_EVENTS) {
      const starts = Array.from({ length: BATCHES }, (_, i) => first + i * BATCH_EVENTS);
      await Promise.all(starts.filter((start) => start < sessions).map(land));
    }
  }
}

async function runOverload(
  seconds: number,
  eventsPerSecond: number,
  times: number,
): Promise<boolean> {
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace);
  const { live } = pipeline.services;
  const observer = await Observer.start(pipeline);
  const ingest = await pipeline.connect("ingest");
  await using viewers = new Viewers(ingest, new Random(5), 1);
  const audiences = Array.from({ length: TITLES }, (_, i) => ({
    subject: alertSubject.rebuffer("r1", `fresh-${i}`),
    viewers: viewers.add(INCIDENT_VIEWERS, { title_id: `fresh-${i}`, region: "r1" }),
  }));
  await using load = startLoad(pipeline, eventsPerSecond);
  using throttle = new Throttle(live, eventsPerSecond / times);
  const answers = new Answers(live);
  const sampler = new LagSampler(pipeline, observer, eventsPerSecond, throttle);
  // No sleep: live has to meet the load first.
  await pause(WARM_UP_MS);
  const before = await live.metrics();
  const startMs = Date.now();
  const latencies: number[] = [];
  let missed = 0;
  for (let i = 0; Date.now() - startMs < seconds * 1_000; i++) {
    const { subject, viewers: stalling } = audiences[i % TITLES] ?? audiences[0]!;
    const stallsMs = Date.now();
    viewers.stall(stalling, STALL_SHARE);
    const page = paged(observer, subject, stallsMs).then(
      (tookMs) => void latencies.push(tookMs),
      () => void missed++,
    );
    // No sleep: the rate of incidents is part of the load.
    await Promise.race([pause(STALLS_MS), page.then(() => pause(500))]);
    await page;
    viewers.recover(stalling);
    // No sleep: the rate of incidents is part of the load.
    await pause(Math.max(0, stallsMs + INCIDENT_EVERY_MS - Date.now()));
  }
  const tookS = (Date.now() - startMs) / 1_000;
  const after = await live.metrics();
  const read = (after.get("twofold_live_events_total") ?? 0) -
    (before.get("twofold_live_events_total") ?? 0);
  const slowestMs = answers.end();
  const samples = sampler.end();
  await load.stop();
  await Deno.writeTextFile("overload.svg", lagPlot(samples));
  const p99Ms = quantile(latencies, 0.99) ?? Infinity;
  const royaltyS = Math.max(...samples.map(({ royaltySeconds }) => royaltySeconds));
  console.log(
    `overload: ${eventsPerSecond} events/s for ${tookS.toFixed(0)} s, live reads ` +
      `${(read / tookS).toFixed(0)} a second: ${
        (eventsPerSecond * tookS / read).toFixed(1)
      } times ` +
      `what it can; ${latencies.length} incidents paged, ${missed} missed, from the first stall to the ` +
      `page p50 ${secondsText(quantile(latencies, 0.5))} s, p99 ${secondsText(p99Ms)} s ` +
      `(target ${PAGE_TARGET_MS / 1_000}); slowest answer ${
        slowestMs.toFixed(0)
      } ms; royalty is at most ` +
      `${royaltyS.toFixed(1)} s behind; the plot is overload.svg`,
  );
  const backMs = await comesBack(live);
  console.log(
    `overload: each, s: ${latencies.toSorted((a, b) => a - b).map(secondsText).join(" ")}`,
  );
  console.log(
    `overload: once live has its processor back, it sees everything after ${secondsText(backMs)} s`,
  );
  return p99Ms <= PAGE_TARGET_MS && missed === 0;
}

function secondsText(ms = NaN): string {
  return (ms / 1_000).toFixed(1);
}

/** Waits until `subject` pages after `sinceMs`; the time since then, ms. */
async function paged(observer: Observer, subject: string, sinceMs: number): Promise<number> {
  return await waitFor(`the page ${subject}`, () => {
    const page = observer.alerts.find((each) =>
      each.subject === subject && isPage(each.alert) && each.heardAtMs >= sinceMs
    );
    return page === undefined ? undefined : page.heardAtMs - sinceMs;
  }, { timeoutMs: 60_000 });
}

async function comesBack(live: ServiceProcess): Promise<number> {
  const startMs = performance.now();
  await waitFor("live to see everything", async () => {
    const metrics = await live.metrics();
    return metrics.get("twofold_live_coverage_ratio") === 1;
  }, { timeoutMs: 120_000 });
  return performance.now() - startMs;
}

function startLoad(pipeline: Pipeline, eventsPerSecond: number): ChildProcess {
  const { nats } = pipeline;
  const options: OverloadOptions = {
    url: nats.url,
    password: nats.passwords.ingest,
    eventsPerSecond,
  };
  const program = new URL("overload_load.ts", import.meta.url).pathname;
  return new ChildProcess(Deno.execPath(), [
    ...["run", "--quiet", "-A", program, JSON.stringify(options)],
  ]);
}

/** Lets live run for a share of the time, as a limit of its processor does: what it needs to read that much. */
class Throttle implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;
  #share = FIRST_SHARE;
  #last: { readonly atMs: number; readonly events: number } | undefined;

  constructor(readonly process: ServiceProcess, readonly eventsPerSecond: number) {
    // No sleep: it is the throttle.
    this.#timer = setInterval(() => {
      this.#signal("SIGCONT");
      // No sleep: the process runs meanwhile.
      setTimeout(() => this.#signal("SIGSTOP"), this.#share * THROTTLE_MS);
    }, THROTTLE_MS);
  }

  /** Live has read `events` in all. */
  adapt(events: number): void {
    const atMs = performance.now();
    if (this.#last !== undefined && events > this.#last.events) {
      const rate = (events - this.#last.events) / (atMs - this.#last.atMs) * 1_000;
      const wanted = this.eventsPerSecond / rate;
      this.#share *= Math.min(Math.max(wanted, 1 / SHARE_STEP), SHARE_STEP);
      this.#share = Math.min(this.#share, 1);
    }
    this.#last = { atMs, events };
  }

  #signal(signal: Deno.Signal): void {
    try {
      Deno.kill(this.process.pid, signal);
    } catch { /* it has ended */ }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    // No sleep: after the last stop.
    setTimeout(() => this.#signal("SIGCONT"), THROTTLE_MS);
  }
}

/** Asks `/metrics` and `/readyz` all the time. */
class Answers {
  #slowestMs = 0;
  #isOver = false;

  constructor(readonly process: ServiceProcess) {
    void this.#ask();
  }

  /** The slowest answer, ms. */
  end(): number {
    this.#isOver = true;
    return this.#slowestMs;
  }

  async #ask(): Promise<void> {
    while (!this.#isOver) {
      for (const path of ["metrics", "readyz"]) {
        const startMs = performance.now();
        const response = await fetch(`${this.process.statusUrl}/${path}`).catch(() => undefined);
        await response?.body?.cancel();
        if (response !== undefined && !this.#isOver) {
          this.#slowestMs = Math.max(this.#slowestMs, performance.now() - startMs);
        }
      }
      // No sleep: it is how often answers are asked for, as Prometheus does.
      await pause(5_000);
    }
  }
}

/** Samples both lags, and tells the throttle what live has read. */
class LagSampler {
  readonly #samples: LagSample[] = [];
  readonly #startMs = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(
    readonly pipeline: Pipeline,
    observer: Observer,
    eventsPerSecond: number,
    throttle: Throttle,
  ) {
    const { live } = pipeline.services;
    // No sleep: it is how often the lags are sampled.
    this.#timer = setInterval(async () => {
      const [metrics, snapshot] = await Promise.all([
        live.metrics(),
        observer.snapshot().catch(() => undefined),
      ]);
      throttle.adapt(metrics.get("twofold_live_events_total") ?? 0);
      if (snapshot === undefined) return;
      this.#samples.push({
        atSeconds: (performance.now() - this.#startMs) / 1_000,
        liveSeconds: metrics.get('twofold_live_lag_seconds{stream="HEARTBEATS"}') ?? NaN,
        royaltySeconds: snapshot.lag.royalty / eventsPerSecond,
        coverage: metrics.get("twofold_live_coverage_ratio") ?? NaN,
      });
    }, SAMPLE_MS);
  }

  end(): readonly LagSample[] {
    clearInterval(this.#timer);
    return this.#samples;
  }
}

if (import.meta.main) {
  const [seconds, eventsPerSecond, times] = Deno.args.map(Number);
  const isReached = await runOverloadBench(seconds, eventsPerSecond, times);
  console.log(isReached ? "every target is reached" : "a target is missed");
}
