/**
 * The whole pipeline under the seed load: `deno task bench pipeline [seconds] [events/s]`.
 *
 * Load generator, edge, nats-server, live, royalty, Postgres and dlq-triage share the machine.
 * During the load small cohorts start to stall one after the other; the time from the answer of the
 * edge to the alert is the latency of live. Afterwards the books must contain every millisecond.
 *
 * @module
 */
import { jetstream, jetstreamManager } from "nats/jetstream";
import { startFastIngest } from "nats/jetstream/internal";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { cpuSecondsOfTree, type Figure, measure, rateOf, report } from "../dev/testing/measure.ts";
import { Observer } from "../dev/demo/observer.ts";
import { Pipeline } from "../dev/servers/pipeline.ts";
import { Random } from "../dev/testing/random.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { Workspace } from "../dev/servers/workspace.ts";
import { Stop } from "../process/errors.ts";
import { inboxPrefix } from "../process/nats.ts";
import { DURABLE } from "../contract/topology.ts";
import { StallingCohorts } from "./stalling_cohorts.ts";
import type { LoadResult } from "./load_main.ts";
import { ChildProcess } from "../dev/testing/child_process.ts";

/** Two billion events a day. */
const TARGET = 23_148;
const EVENTS_A_DAY = 2e9;
/** Target of live for p99, ms. */
const ALERT_TARGET_MS = 5_000;
const ROYALTY_LAG_TARGET_SECONDS = 10;
/** Keep-alive connections of the load; a real edge has thousands. */
const LOAD_CONNECTIONS = 32;
const FLOOR_SECONDS = 5;
const BATCH = 500;

/** Runs the load and prints the figures; resolves to whether all targets were reached. */
export async function runPipelineBench(seconds = 60, eventsPerSecond = 24_000): Promise<boolean> {
  const floor = await rawPath();
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace, {
    durable: true,
    // One fleet is all devices.
    services: {
      ingest: { TWOFOLD_FLEET_EVENTS_PER_SECOND: "0", TWOFOLD_FLEET_BYTES_PER_SECOND: "0" },
    },
  });
  const observer = await Observer.start(pipeline);
  await load(pipeline, 3, eventsPerSecond / 4);
  const pids = {
    ...Object.fromEntries(
      Object.values(pipeline.services).map((service) => [service.name, service.pid]),
    ),
    "nats-server": pipeline.nats.pid,
    postgres: pipeline.postgres.pid,
  };
  const incidents = new StallingCohorts(pipeline);
  let lagAtEnd = 0;
  let loaded: LoadResult | undefined;
  const figure = await measure("whole pipeline, HTTP to books and alerts", pids, async () => {
    const stop = new AbortController();
    const stalling = incidents.run(stop.signal);
    loaded = await load(pipeline, seconds, eventsPerSecond);
    lagAtEnd = (await observer.snapshot()).lag.royalty;
    stop.abort();
    await stalling;
    return loaded.sent;
  });
  const drainedS = await drained(observer);
  const latencies = await incidents.latenciesMs(observer);
  const { exact, events, messages } = await booksHold(pipeline, observer);
  const lagS = lagAtEnd * events / messages / rateOf(figure);
  const p99Ms = quantile(latencies, 0.99);
  console.log(report([floor]));
  console.log(report([figure], floor, TARGET));
  console.log(perEvent(figure));
  console.log(
    `alerts: ${latencies.length} incidents, answer to alert p50 ${quantile(latencies, 0.5)} ms, ` +
      `p99 ${p99Ms} ms (target ${ALERT_TARGET_MS})`,
  );
  console.log(
    `royalty: ${lagAtEnd.toLocaleString("en-US")} messages behind at the end of the load, ` +
      `${lagS.toFixed(1)} s (target ${ROYALTY_LAG_TARGET_SECONDS}); drained ${
        drainedS.toFixed(1)
      } s later`,
  );
  console.log(`books: ${exact}`);
  console.log(await streamSize(pipeline, events));
  if (loaded && loaded.repeated > 0) {
    console.log(`load: ${loaded.repeated} requests repeated, last ${loaded.lastRefusal}`);
  }
  return rateOf(figure) >= TARGET && p99Ms <= ALERT_TARGET_MS && lagS <= ROYALTY_LAG_TARGET_SECONDS;
}

/**
 * The floor: fast ingest of ready bytes and two readers that only acknowledge; no HTTP, no books.
 */
async function rawPath(): Promise<Figure> {
  await using stack = await NatsStack.start({ duplicateWindowMs: 10_000 });
  const pids = { "one client": Deno.pid, "nats-server": stack.nats.pid };
  return await measure("raw: fast ingest and two readers, ack all", pids, async () => {
    const until = performance.now() + FLOOR_SECONDS * 1000;
    const sent = publishUntil(stack, until);
    const readers = [DURABLE.live, DURABLE.royalty].map((durable) => readAll(stack, durable, sent));
    await Promise.all(readers);
    return await sent;
  });
}

async function publishUntil(stack: NatsStack, until: number): Promise<number> {
  const nc = await stack.connect("ingest");
  const bytes = encode(aHeartbeat(new Random(1), Date.now()));
  let count = 0;
  const worker = async () => {
    while (performance.now() < until) {
      const id = () => ({ msgID: `floor-${count++}` });
      const batch = await startFastIngest(nc, "hb.0.de", bytes, {
        ackInterval: BATCH,
        allowGaps: false,
        inboxPrefix: inboxPrefix("ingest"),
        maxOutstandingAcks: 3,
        ...id(),
      });
      for (let i = 2; i < BATCH; i++) void batch.add("hb.0.de", bytes, id());
      await batch.last("hb.0.de", bytes, id());
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return count;
}

async function readAll(stack: NatsStack, durable: string, sent: Promise<number>): Promise<void> {
  const user = durable === DURABLE.live ? "live" : "royalty";
  const consumer = await jetstream(await stack.connect(user)).consumers.get("HEARTBEATS", durable);
  let total = Infinity;
  void sent.then((count) => total = count);
  let read = 0;
  while (read < total) {
    const messages = await consumer.fetch({ max_messages: 10_000, expires: 1_000 });
    let last;
    for await (const message of messages) {
      read++;
      last = message;
    }
    last?.ack();
  }
}

async function load(
  { services, fleetKey }: Pipeline,
  seconds: number,
  eventsPerSecond: number,
): Promise<LoadResult> {
  const options = {
    url: services.ingest.url,
    key: fleetKey,
    seconds,
    eventsPerSecond,
    concurrency: LOAD_CONNECTIONS,
  };
  const script = new URL("./load_main.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "-A", script, JSON.stringify(options)];
  const child = new ChildProcess(Deno.execPath(), args);
  const before = performance.now();
  // No sleep: the CPU time is sampled while the child runs.
  const cpu = setInterval(() => lastCpu = cpuSecondsOfTree(child.pid), 250);
  let lastCpu = 0;
  const { code, out, err } = await child.ended;
  clearInterval(cpu);
  if (code !== 0) throw new Stop(`the load generator failed: ${err}`);
  const share = lastCpu / ((performance.now() - before) / 1000);
  console.log(`load generator: ${(share * 100).toFixed(0)}% of a core`);
  return JSON.parse(out);
}

/** Seconds until every reader has caught up. */
async function drained(observer: Observer): Promise<number> {
  const start = performance.now();
  await waitFor("every consumer to finish", async () => {
    const { lag } = await observer.snapshot();
    return lag.live + lag.royalty + lag.triage === 0;
  }, { timeoutMs: 300_000 });
  return (performance.now() - start) / 1000;
}

/** What the books and the stream have after a run. */
interface Kept {
  readonly exact: string;
  readonly events: number;
  readonly messages: number;
}

async function booksHold(pipeline: Pipeline, observer: Observer): Promise<Kept> {
  const { accepted, messages } = await observer.snapshot();
  const status = JSON.parse(await pipeline.cli("royalty", ["status", "--json"]));
  const [{ events, counted, duplicates, quarantined, gaps, identity_holds }] = status.streams;
  const exact = accepted === events && counted === events && identity_holds &&
    duplicates + quarantined + gaps === 0;
  if (!exact) {
    throw new Stop(`the books are wrong: ${accepted} accepted, ${JSON.stringify(status)}`);
  }
  const exactly = `${counted.toLocaleString("en-US")} accepted, stored and counted once each, ` +
    `${(events / messages).toFixed(1)} in a message`;
  return { exact: exactly, events, messages };
}

async function streamSize(pipeline: Pipeline, events: number): Promise<string> {
  const jsm = await jetstreamManager(await pipeline.connect("ops"));
  const { state } = await jsm.streams.info("HEARTBEATS");
  const bytes = state.bytes / events;
  return `stream: ${Math.round(bytes)} bytes a heartbeat on disk; two billion a day are ` +
    `${Math.round(bytes * EVENTS_A_DAY / 1e9)} GB a day and replica`;
}

function perEvent(figure: Figure): string {
  const each = Object.entries(figure.cores).map(([who, share]) =>
    `${who} ${(share * 1e6 / rateOf(figure)).toFixed(1)}`
  );
  return `CPU µs per event: ${each.join(", ")}`;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted.at(Math.min(sorted.length - 1, Math.floor(sorted.length * q))) ?? NaN;
}

if (import.meta.main) {
  const [seconds, rate] = Deno.args.map(Number);
  await runPipelineBench(seconds, rate);
}
