/**
 * Measures the detector alone: `deno run -A live/detect/detector_bench.ts [SESSIONS]`.
 *
 * Prints CPU time: ns a heartbeat (with and without decoding), ms an evaluation (healthy, in a regional and
 * in a global outage), and bytes a session and a cell. Viewers are spread over 20,000 titles and 50
 * regions by Zipf's law.
 *
 * @module
 */
import process from "node:process";
import { audience, AUDIENCE_INTERVAL_MS } from "../../shared/dev/fleet/audience.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { type Heartbeat, judge } from "../../shared/contract/event.ts";
import { Detector } from "./detector.ts";

const START_MS = 1_795_000_000_000;

/** What stalls in a second of the bench. */
type Fault = (heartbeat: Heartbeat) => boolean;

if (import.meta.main) run(Number(Deno.args[0] ?? 231_000));

function run(sessions: number): void {
  const before = residentBytes();
  const viewers = audience(new Random(1), sessions, START_MS);
  const detector = new Detector();
  const loaded = residentBytes();
  let second = 0;
  const phase = (name: string, seconds: number, fault: Fault) => {
    const times = simulate(detector, viewers, second, seconds, fault);
    second += seconds;
    console.log(`${name}: ${report(times)}; ${detector.open.size} open`);
  };
  phase("filling", 20, () => false);
  const filled = residentBytes();
  phase("learning", 120, () => false);
  phase("healthy", 60, () => false);
  phase("regional outage", 60, ({ region }) => region === "r0");
  phase("recovery", 120, () => false);
  phase("global outage", 60, () => true);
  phase("recovery", 120, () => false);
  phase("every second region", 60, ({ region }) => Number(region.slice(1)) % 2 === 0);
  phase("recovery", 120, () => false);
  const { rows, cells } = detector.counters;
  const bytes = filled - loaded;
  console.log(
    `${rows} sessions, ${cells} cells: ${Math.round(bytes / rows)} bytes a session with its cells`,
  );
  console.log(`viewers of the bench itself: ${Math.round((loaded - before) / 1e6)} MB`);
  decoding(detector, viewers, second);
}

/** Times of each second: heartbeats in ns each, the evaluation in ms. */
interface Times {
  readonly heartbeatNs: number[];
  readonly tickMs: number[];
}

function simulate(
  detector: Detector,
  viewers: readonly Heartbeat[],
  first: number,
  seconds: number,
  fault: Fault,
): Times {
  const times: Times = { heartbeatNs: [], tickMs: [] };
  for (let second = first; second < first + seconds; second++) {
    const nowMs = START_MS + second * 1_000;
    const slice = second % 10;
    const beats: Heartbeat[] = [];
    for (let i = slice; i < viewers.length; i += 10) {
      const viewer = viewers[i];
      if (viewer === undefined) continue;
      viewer.seq += 1;
      viewer.ts = nowMs;
      const isStalled = fault(viewer) || (i * 7919 + second * 31) % 1_000 < 3;
      viewer.rebuffer_ms = isStalled ? 6_000 : 0;
      viewer.played_ms = AUDIENCE_INTERVAL_MS - viewer.rebuffer_ms;
      beats.push(viewer);
    }
    const startMs = cpuMs();
    for (const beat of beats) detector.heartbeat(beat, nowMs);
    const fedMs = cpuMs();
    detector.tick(nowMs + 999);
    times.tickMs.push(cpuMs() - fedMs);
    times.heartbeatNs.push((fedMs - startMs) * 1e6 / Math.max(1, beats.length));
  }
  return times;
}

function decoding(detector: Detector, viewers: readonly Heartbeat[], second: number): void {
  const nowMs = START_MS + second * 1_000 + 10_000;
  const bodies = viewers.slice(0, 100_000).map((viewer) =>
    new TextEncoder().encode(JSON.stringify({ ...viewer, seq: viewer.seq + 1, ts: nowMs }))
  );
  const startMs = cpuMs();
  for (const body of bodies) {
    const judgement = judge(body);
    if (judgement.ok) detector.heartbeat(judgement.heartbeat, nowMs);
  }
  const perEvent = (cpuMs() - startMs) * 1_000 / bodies.length;
  const perSecond = Math.round(1e6 / perEvent).toLocaleString("en-US");
  console.log(`with decoding: ${perEvent.toFixed(2)} µs an event, ${perSecond} events/s a core`);
}

function report({ heartbeatNs, tickMs }: Times): string {
  const at = (values: readonly number[], part: number) =>
    [...values].sort((a, b) => a - b)[Math.floor(part * (values.length - 1))] ?? 0;
  return `${at(heartbeatNs, 0.5).toFixed(0)} ns a heartbeat; evaluation ` +
    `${at(tickMs, 0.5).toFixed(1)} ms median, ${at(tickMs, 1).toFixed(1)} ms at most`;
}

// CPU time, because a shared machine's clock also counts what others do.
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function residentBytes(): number {
  return Deno.memoryUsage().rss;
}
