/**
 * The edge under load: `deno run -A ingest/ingest_bench.ts [seconds]`.
 *
 * The edge, nats-server and the load generator are separate processes, so that the CPU of each is
 * measured. The floor is the client's own fast ingest of the same bytes, without HTTP, in the same
 * run.
 *
 * @module
 */
import { connect, type NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { startFastIngest } from "nats/jetstream/internal";
import { ChildProcess } from "../shared/dev/testing/child_process.ts";
import { aHeartbeat } from "../shared/dev/testing/heartbeats.ts";
import { type Figure, measure, rateOf, report } from "../shared/dev/testing/measure.ts";
import { Random } from "../shared/dev/testing/random.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { inboxPrefix } from "../shared/process/nats.ts";
import { pause } from "../shared/process/retry.ts";
import { admit, type RoutedEvent } from "./admit.ts";

/** Target rate of batched ingest on two cores, events per second. */
const TARGET = 45_000;
const BATCH_EVENTS = 500;
/** The key of the fleet that the generator is. */
export const BENCH_KEY = "bench-0123456789abcdef";
const WARM_UP_SECONDS = 2;
/** A device waits longer after a 503; a generator should not be idle. */
const REFUSED_PAUSE_MS = 200;

/** The load of a generator, which it reads from standard input as JSON. */
export interface Load {
  readonly target: { readonly edge: string } | { readonly nats: string; readonly password: string };
  readonly eventsPerRequest: number;
  /** Concurrent requests, or batches. */
  readonly workers: number;
  readonly seconds: number;
  /** Whether a 503 stores nothing and is followed by the next request, instead of ending the run. */
  readonly mayRefuse?: boolean;
}

/** Measures the floor, 100 events per request and one, and prints the figures. */
export async function runIngestBench(seconds = 5): Promise<Figure[]> {
  await using stack = await NatsStack.start({ duplicateWindowMs: 10_000 });
  const { nats } = stack;
  const target = { nats: nats.url, password: nats.passwords.ingest };
  const floor = await generate(
    "floor: raw fast ingest, batches of 500",
    { target, eventsPerRequest: BATCH_EVENTS, workers: 4, seconds },
    { nats: nats.pid },
  );
  const edge = await stack.service("ingest", {
    TWOFOLD_FLEET_KEYS: `bench:${BENCH_KEY}`,
    // On, but never reached by one generator that is all devices.
    TWOFOLD_FLEET_EVENTS_PER_SECOND: "10000000",
    TWOFOLD_FLEET_BYTES_PER_SECOND: String(2 ** 36),
    TWOFOLD_DEVICE_EVENTS_PER_SECOND: "10000000",
    TWOFOLD_DEVICE_BYTES_PER_SECOND: String(2 ** 36),
  });
  const http = (eventsPerRequest: number, workers: number): Load => {
    return { target: { edge: edge.url }, eventsPerRequest, workers, seconds };
  };
  const pids = { edge: edge.pid, nats: nats.pid };
  const batched = await generate("HTTP, 100 events per request", http(100, 48), pids);
  const single = await generate("HTTP, 1 event per request", http(1, 600), pids);
  console.log(report([floor]));
  console.log(report([batched], floor, TARGET));
  console.log(report([single], floor));
  for (const figure of [batched, single]) {
    const microseconds = (figure.cores.edge ?? NaN) * 1_000_000 / rateOf(figure);
    console.log(`${figure.name}: ${microseconds.toFixed(1)} µs of the edge's CPU per event`);
  }
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const { state } = await jsm.streams.info("HEARTBEATS");
  console.log(`stored ${state.messages.toLocaleString("en-US")} messages, warm-up included`);
  return [floor, batched, single];
}

/** Measures `load`, from the end of the generator's warm-up, which also warms up its target. */
export async function generate(
  name: string,
  load: Load,
  pids: Readonly<Record<string, number>>,
): Promise<Figure> {
  const program = new URL(import.meta.url).pathname;
  await using child = new ChildProcess(
    Deno.execPath(),
    ["run", "-A", "--quiet", program, "--generate"],
    { hasInput: true },
  );
  const timeoutMs = (WARM_UP_SECONDS + load.seconds + 30) * 1_000;
  const line = (index: number) =>
    waitFor(`line ${index + 1} of the load generator`, () => {
      if (child.exitCode) throw new Error(`${name}: the load generator failed: ${child.err}`);
      return child.out.split("\n").slice(0, -1)[index];
    }, { timeoutMs });
  await child.write(`${JSON.stringify(load)}\n`);
  await line(0);
  return await measure(name, { ...pids, generator: child.pid }, async () => {
    await child.write("go\n");
    return Number(await line(1));
  });
}

async function runGenerator(): Promise<void> {
  const orders = linesOf(Deno.stdin.readable);
  const { value: load } = await orders.next();
  if (load === undefined) throw new Error("standard input has no load");
  const parsed: Load = JSON.parse(load);
  const { target, eventsPerRequest, workers, seconds } = parsed;
  const bodies = new Bodies("edge" in target ? eventsPerRequest : 1);
  const send = "edge" in target
    ? postTo(target.edge, bodies, parsed.mayRefuse ?? false)
    : batchesTo(await connectIngest(target.nats, target.password), bodies, eventsPerRequest);
  await repeat(send, workers, WARM_UP_SECONDS);
  console.log("ready");
  await orders.next();
  console.log(await repeat(send, workers, seconds));
  Deno.exit(0);
}

// Runs `send`, which returns the number of events stored, in `workers` concurrent loops.
async function repeat(send: () => Promise<number>, workers: number, seconds: number) {
  const until = performance.now() + seconds * 1000;
  let events = 0;
  const worker = async () => {
    while (performance.now() < until) {
      const stored = await send();
      events += stored;
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
  return events;
}

function postTo(edge: string, bodies: Bodies, mayRefuse: boolean): () => Promise<number> {
  const headers = { "content-type": "application/json", authorization: `Bearer ${BENCH_KEY}` };
  return async () => {
    const request = { method: "POST", headers, body: bodies.next() };
    const response = await fetch(`${edge}/v1/heartbeats`, request);
    const answer = await response.json();
    // No sleep: a refused device waits.
    if (response.status === 503 && mayRefuse) return await pause(REFUSED_PAUSE_MS).then(() => 0);
    if (response.status !== 202) throw new Error(JSON.stringify(answer));
    return answer.accepted;
  };
}

function batchesTo(nc: NatsConnection, bodies: Bodies, events: number): () => Promise<number> {
  return async () => {
    const [first, ...rest] = Array.from({ length: events }, () => routed(bodies.next()));
    const final = rest.pop();
    if (!first || !final) throw new Error("a batch has at least two events");
    const batch = await startFastIngest(nc, first.subject, first.bytes, {
      ackInterval: events,
      allowGaps: false,
      inboxPrefix: inboxPrefix("ingest"),
      maxOutstandingAcks: 3,
      msgID: first.msgId,
    });
    for (const { subject, bytes, msgId } of rest) void batch.add(subject, bytes, { msgID: msgId });
    const ack = await batch.last(final.subject, final.bytes, { msgID: final.msgId });
    return ack.count;
  };
}

function routed(body: Uint8Array): RoutedEvent {
  const admission = admit(body, "json", { partitions: 1, maxEvents: 1 });
  if (admission.kind !== "admitted") throw new Error(admission.kind);
  const [event] = admission.events;
  if (event === undefined) throw new Error("the body holds no event");
  return event;
}

function connectIngest(servers: string, pass: string): Promise<NatsConnection> {
  return connect({ servers, user: "ingest", pass, inboxPrefix: inboxPrefix("ingest") });
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    const lines = (text + decoder.decode(chunk, { stream: true })).split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}

/** Bodies whose events all differ: a counter is rewritten inside a template. */
class Bodies {
  readonly #template: Uint8Array<ArrayBuffer>;
  readonly #idsAt: readonly number[];
  #count = Math.floor(Math.random() * 2 ** 32);

  constructor(eventsPerBody: number) {
    const random = new Random(1);
    const heartbeats = Array.from(
      { length: eventsPerBody },
      () => aHeartbeat(random, 1_780_000_000_000),
    );
    const json = JSON.stringify(eventsPerBody === 1 ? heartbeats[0] : heartbeats);
    this.#template = new TextEncoder().encode(json);
    // The last 12 digits of each event's UUID.
    this.#idsAt = heartbeats.map(({ event_id }) => json.indexOf(event_id) + 24);
  }

  next(): Uint8Array<ArrayBuffer> {
    const body = this.#template.slice();
    for (const at of this.#idsAt) {
      let count = this.#count++;
      for (let digit = 11; digit >= 0; digit--) {
        body[at + digit] = 0x30 + count % 10;
        count = Math.floor(count / 10);
      }
    }
    return body;
  }
}

if (import.meta.main) {
  if (Deno.args[0] === "--generate") await runGenerator();
  else await runIngestBench(Number(Deno.args[0] ?? 5));
}
