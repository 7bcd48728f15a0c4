/**
 * Reads a backlog as live does: `deno run -A live/watch/live_bench.ts [events]`.
 *
 * One process reads a filled stream in three ways: raw (the floor: the same durable with ack-all,
 * the bytes ignored), judging every heartbeat, and as live does, with window and rules.
 *
 * @module
 */
import { jetstream, jetstreamManager } from "nats/jetstream";
import { landBatch } from "../../shared/dev/fleet/filled_stream.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { type Figure, measure, rateOf, report } from "../../shared/dev/testing/measure.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { NatsStack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { judge } from "../../shared/contract/event.ts";
import { Log } from "../../shared/process/log.ts";
import { DURABLE } from "../../shared/contract/topology.ts";
import { Reader } from "./reader.ts";
import { Monitor } from "../detect/monitor.ts";
import { Rules } from "../detect/rules.ts";
import { Window } from "./window.ts";

/** Target rate of live, events per second and core. */
const AIM = 100_000;
const STREAM = "HEARTBEATS";
const ROUNDS = 2;
/** Heartbeats per fast-ingest batch when the stream is filled. */
const BATCH_EVENTS = 1_000;
const DISTINCT_EVENTS = 10 * BATCH_EVENTS;
const ACK_INTERVAL_EVENTS = 10_000;

/** Fills a stream with `events` heartbeats, reads it in three ways and prints the figures. */
export async function runLiveBench(events = 100_000): Promise<Figure[]> {
  await using stack = await NatsStack.start();
  await fill(stack, events);
  const pids = { live: Deno.pid, nats: stack.nats.pid };
  const ways: readonly [string, () => Promise<void>][] = [
    ["raw consume, ack all", () => readRaw(stack, events, () => {})],
    ["consume and judge", () => readRaw(stack, events, (bytes) => judge(bytes))],
    ["live: judge, window and rules", () => readAsLive(stack, events)],
  ];
  const best = new Map<string, Figure>();
  // The first round warms up; the best of the others counts, because other load on the machine can
  // only slow a round down.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, read] of ways) {
      await recreateDurable(stack);
      const figure = await measure(name, pids, async () => {
        await read();
        return events;
      });
      const before = best.get(name);
      const isBest = before === undefined || rateOf(figure) > rateOf(before);
      if (round > 0 && isBest) best.set(name, figure);
    }
  }
  const figures = [...best.values()];
  print(figures);
  return figures;
}

function print(figures: readonly Figure[]): void {
  const [floor, ...others] = figures;
  if (floor === undefined) return;
  console.log(report([floor]));
  console.log(report(others, floor, AIM));
  for (const { name, cores, events, seconds } of figures) {
    const microseconds = (share = NaN) => share * seconds * 1e6 / events;
    const perCore = Math.round(1e6 / microseconds(cores.live)).toLocaleString("en-US");
    console.log(
      `${name}: ${microseconds(cores.live).toFixed(1)} µs of live's CPU and ` +
        `${microseconds(cores.nats).toFixed(1)} µs of nats-server's per event, ` +
        `${perCore} events/s per core of live`,
    );
  }
}

async function fill(stack: NatsStack, events: number): Promise<void> {
  const nc = await stack.connect("ingest");
  const random = new Random(1);
  const startMs = Date.now() - 60_000;
  // Heartbeats of one minute in time order; 0.5 % of them stalled.
  const bodies = Array.from({ length: DISTINCT_EVENTS }, (_, i) => {
    const ts = startMs + Math.floor(i * 60_000 / DISTINCT_EVENTS);
    const stalled = random.chance(0.005) ? { played_ms: 8_000, rebuffer_ms: 2_000 } : {};
    return encode(aHeartbeat(random, ts, stalled));
  });
  // With a message id each, as ingest stores them, so that they are delivered with headers.
  const land = (first: number) => {
    const count = Math.min(BATCH_EVENTS, events - first);
    const at = first % DISTINCT_EVENTS;
    const batch = bodies.slice(at, at + count);
    const msgIdOf = (i: number) => `${(first + i).toString(16).padStart(36, "0")}.01234567`;
    return landBatch(nc, batch, msgIdOf);
  };
  for (let first = 0; first < events; first += 4 * BATCH_EVENTS) {
    const starts = [0, 1, 2, 3].map((i) => first + i * BATCH_EVENTS).filter((start) =>
      start < events
    );
    await Promise.all(starts.map(land));
  }
}

async function recreateDurable(stack: NatsStack): Promise<void> {
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await jsm.consumers.delete(STREAM, DURABLE.live);
  await stack.provision();
}

async function readRaw(
  stack: NatsStack,
  events: number,
  use: (bytes: Uint8Array) => void,
): Promise<void> {
  const js = jetstream(await stack.connect("live"));
  const consumer = await js.consumers.get(STREAM, DURABLE.live);
  let seen = 0;
  const done = Promise.withResolvers<void>();
  const messages = await consumer.consume({
    max_messages: 20_000,
    expires: 1_000,
    callback: (message) => {
      use(message.data);
      seen += 1;
      if (seen % ACK_INTERVAL_EVENTS === 0) message.ack();
      if (seen === events) done.resolve();
    },
  });
  await done.promise;
  messages.stop();
}

async function readAsLive(stack: NatsStack, events: number): Promise<void> {
  const monitor = newMonitor();
  const reader = new Reader({
    js: jetstream(await stack.connect("live")),
    stream: STREAM,
    copies: { submit: () => {} },
    log: new Log("live", "error"),
    onHeartbeat: (heartbeat, receivedAt) => monitor.heartbeat(heartbeat, receivedAt),
  });
  const abort = new AbortController();
  const reading = reader.run(abort.signal);
  await waitFor("all heartbeats", () => reader.events === events, { timeoutMs: 120_000 });
  abort.abort();
  await reading;
  await reader.finish();
}

function newMonitor(): Monitor {
  return new Monitor({
    window: new Window({
      windowMs: 60_000,
      bucketMs: 1_000,
      maxKeys: 50_000,
      rewindAfterTicks: 10,
    }),
    rules: new Rules({
      openRatio: 0.05,
      resolveRatio: 0.02,
      minHeartbeats: 25,
      minStalledSessions: 3,
      openAfterEvaluations: 2,
      resolveAfterMs: 15_000,
      closeWithoutDataMs: 300_000,
      heartbeatMs: 10_000,
      windowBuckets: 60,
    }),
    canDecide: () => true,
    onDecision: () => {},
    nowMs: () => performance.now(),
  });
}

if (import.meta.main) await runLiveBench(Number(Deno.args[0] ?? 100_000));
