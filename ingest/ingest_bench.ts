/**
 * The edge under load: `deno run -A ingest/ingest_bench.ts [seconds]`.
 *
 * The edge, nats-server and the load generator are processes of their own, so that each one's CPU
 * shows. The floor is raw fast ingest of the same bytes, without HTTP, in the same run.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { startFastIngest } from "nats/jetstream/internal";
import { freePort } from "../shared/dev/free_port.ts";
import { aHeartbeat } from "../shared/dev/heartbeats.ts";
import { type Figure, measure, rateOf, report } from "../shared/dev/measure.ts";
import { Random } from "../shared/dev/random.ts";
import { Service } from "../shared/dev/service.ts";
import { NatsStack } from "../shared/dev/stack.ts";
import { inboxPrefix } from "../shared/nats/connection.ts";
import { admit, type RoutedEvent } from "./admit.ts";

/** Batched ingest should reach this on two cores, events a second. */
const AIM = 45_000;
const BATCH_EVENTS = 500;
const BATCHES_UNDER_WAY = 4;
const KEY = "bench-0123456789abcdef";

/** Measures the floor, one event per request and 100 per request, and prints the figures. */
export async function runIngestBench(seconds = 5): Promise<Figure[]> {
  await using stack = await NatsStack.start({ duplicateWindowMs: 10_000 });
  const pid = stack.nats.pid;
  const nc = await stack.connect("ingest");
  await fastIngest(nc, 1);
  const floor = await measure(
    "raw fast ingest, batches of 500",
    { generator: Deno.pid, nats: pid },
    () => fastIngest(nc, seconds),
  );
  const edge = await Service.start(stack.workspace, "ingest", {
    httpPort: freePort(),
    reach: [stack.nats.url],
    settings: { ...stack.nats.settings("ingest"), TWOFOLD_FLEET_KEYS: `bench:${KEY}` },
  });
  const pids = { edge: edge.pid, generator: Deno.pid, nats: pid };
  await post(edge.url, 100, 32, 2);
  const batched = await measure(
    "HTTP, 100 events per request",
    pids,
    () => post(edge.url, 100, 32, seconds),
  );
  const single = await measure(
    "HTTP, 1 event per request",
    pids,
    () => post(edge.url, 1, 256, seconds),
  );
  await edge.stop();
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const { state } = await jsm.streams.info("HEARTBEATS");
  console.log(report([floor]));
  console.log(report([batched], floor, AIM));
  console.log(report([single], floor));
  for (const figure of [batched, single]) {
    const microseconds = figure.cores.edge * 1_000_000 / rateOf(figure);
    console.log(`${figure.name}: ${microseconds.toFixed(1)} µs of the edge's CPU per event`);
  }
  console.log(`stored ${state.messages.toLocaleString("en-US")} events`);
  return [floor, batched, single];
}

async function fastIngest(nc: NatsConnection, seconds: number): Promise<number> {
  const events = new Events(1);
  const until = performance.now() + seconds * 1000;
  let landed = 0;
  const worker = async () => {
    while (performance.now() < until) {
      const batch = Array.from({ length: BATCH_EVENTS }, () => routed(events.next()));
      const [first, ...rest] = batch;
      const final = rest.pop()!;
      const fast = await startFastIngest(nc, first.subject, first.bytes, {
        ackInterval: BATCH_EVENTS,
        allowGaps: false,
        inboxPrefix: inboxPrefix("ingest"),
        maxOutstandingAcks: 3,
        msgID: first.msgId,
      });
      for (const { subject, bytes, msgId } of rest) void fast.add(subject, bytes, { msgID: msgId });
      const ack = await fast.last(final.subject, final.bytes, { msgID: final.msgId });
      landed += ack.count;
    }
  };
  await Promise.all(Array.from({ length: BATCHES_UNDER_WAY }, worker));
  return landed;
}

// Posts for `seconds` with `workers` requests at a time; returns how many events were accepted.
async function post(
  url: string,
  eventsPerRequest: number,
  workers: number,
  seconds: number,
): Promise<number> {
  const events = new Events(eventsPerRequest);
  const headers = { "content-type": "application/json", authorization: `Bearer ${KEY}` };
  const until = performance.now() + seconds * 1000;
  let accepted = 0;
  const worker = async () => {
    while (performance.now() < until) {
      const request = { method: "POST", headers, body: events.next() };
      const response = await fetch(`${url}/v1/heartbeats`, request);
      const answer = await response.json();
      if (response.status !== 202) throw new Error(JSON.stringify(answer));
      accepted += answer.accepted;
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
  return accepted;
}

function routed(body: Uint8Array): RoutedEvent {
  const admission = admit(body, "json", { partitions: 1, maxEvents: 1 });
  if (admission.kind !== "admitted") throw new Error(admission.kind);
  return admission.events[0];
}

/** Bodies whose events all differ, for the price of rewriting a counter inside a template. */
class Events {
  readonly #template: Uint8Array<ArrayBuffer>;
  readonly #idsAt: number[] = [];
  static #count = 0;

  constructor(eventsPerBody: number) {
    const random = new Random(1);
    const heartbeats = Array.from(
      { length: eventsPerBody },
      () => aHeartbeat(random, 1_780_000_000_000),
    );
    const json = JSON.stringify(eventsPerBody === 1 ? heartbeats[0] : heartbeats);
    this.#template = new TextEncoder().encode(json);
    // The last 12 digits of each event's UUID.
    for (const { event_id } of heartbeats) this.#idsAt.push(json.indexOf(event_id) + 24);
  }

  next(): Uint8Array<ArrayBuffer> {
    const body = this.#template.slice();
    for (const at of this.#idsAt) {
      let count = Events.#count++;
      for (let digit = 11; digit >= 4; digit--) {
        body[at + digit] = 0x30 + count % 10;
        count = Math.floor(count / 10);
      }
    }
    return body;
  }
}

if (import.meta.main) await runIngestBench(Number(Deno.args[0] ?? 5));
