/**
 * The load generator of `deno task load` as a process of its own, so that its limits are seen apart
 * from those of the pipeline. Its argument is {@link GeneratorOptions} as JSON. It prints `ready`
 * once its bodies are encoded, reads the time to start at (ms since the epoch), and at the end
 * prints a {@link GeneratorResult} as JSON.
 *
 * @module
 */
import {
  type CellTotals,
  LoadBodies,
  LoadBody,
  loadRandom,
  type PlannedReport,
  type RequestOutcome,
  sendPlanned,
} from "../../dev/fleet/device_client_load.ts";
import { pause } from "../../process/retry.ts";
import { type CatalogueSize, LoadCatalogue } from "./catalogue.ts";
import { Latencies, type LatencyCounts } from "./latencies.ts";
import {
  dueAt,
  loadProfile,
  PREMIERE_BASE,
  type ProfileName,
  requestsOf,
  Rounds,
} from "./profile.ts";

/** What one generator sends. */
export interface GeneratorOptions extends CatalogueSize {
  readonly url: string;
  readonly key: string;
  readonly profile: ProfileName;
  /** Highest rate, heartbeats a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly perPost: number;
  readonly connections: number;
  readonly seed: number;
}

/** The requests that were due within one second of the run, and what was accepted in it. */
export interface GeneratorSecond {
  /** Heartbeats that were due. */
  readonly due: number;
  /** Heartbeats whose answer came in this second, of whatever second they were due in. */
  readonly accepted: number;
  /** From the due time to the answer. */
  readonly latency: LatencyCounts;
  /** From the first byte to the answer. */
  readonly service: LatencyCounts;
  /** How late the generator itself was, with a connection free. */
  readonly late: LatencyCounts;
  /** Requests for which no connection was free when they were due. */
  readonly waited: number;
  /** Requests that went out more than {@link LATE_MS} after they were due, or never. */
  readonly tooLate: number;
}

/** What one generator did. */
export interface GeneratorResult extends PlannedReport {
  readonly requests: number;
  readonly cells: readonly CellTotals[];
  readonly seconds: readonly GeneratorSecond[];
}

/** A request that goes out later than this was not sent at the rate of the profile, ms. */
export const LATE_MS = 1_000;
/** A connection that is free so soon after the due time was free: the start takes a while. */
const FREE_MS = 10;
/** Every device reports after this time, s. */
const DEVICE_SECONDS = 10;
/** What is still unsent so long after the end is never sent, ms. */
const OVERTIME_MS = 10_000;

/** What happened in one second. */
class Second {
  due = 0;
  accepted = 0;
  waited = 0;
  tooLate = 0;
  readonly latency = new Latencies();
  readonly service = new Latencies();
  readonly late = new Latencies();

  result(): GeneratorSecond {
    const { due, accepted, waited, tooLate } = this;
    return {
      ...{ due, accepted, waited, tooLate },
      latency: this.latency.counts(),
      service: this.service.counts(),
      late: this.late.counts(),
    };
  }
}

/** Enters every request in the second in which it was due. */
class Seconds {
  readonly all: Second[] = [];

  constructor(readonly startMs: number) {}

  note({ dueMs, freeMs, sentMs, answeredMs, events, refusal }: RequestOutcome): void {
    const second = this.#at(dueMs);
    second.due += events;
    // A request may go out up to a millisecond early.
    second.latency.add(answeredMs - Math.min(dueMs, sentMs));
    second.service.add(answeredMs - sentMs);
    if (freeMs <= dueMs + FREE_MS) second.late.add(Math.max(0, sentMs - dueMs));
    else second.waited++;
    if (sentMs - dueMs > LATE_MS) second.tooLate++;
    if (refusal === undefined) this.#at(answeredMs).accepted += events;
  }

  #at(ms: number): Second {
    const index = Math.max(0, Math.floor((ms - this.startMs) / 1_000));
    while (this.all.length <= index) this.all.push(new Second());
    const second = this.all[index];
    if (second === undefined) throw new RangeError(`there is no second ${index}`);
    return second;
  }
}

/** Sends the load; `started` resolves when it is to begin. */
async function generate(
  options: GeneratorOptions,
  started: () => Promise<void>,
): Promise<GeneratorResult> {
  const { perPost, rate, seconds, seed, connections, url, key } = options;
  const profile = loadProfile(options.profile, rate, seconds);
  const bodiesAt = (second: number) =>
    Math.max(1, Math.ceil(profile.rateAt(second) * DEVICE_SECONDS / perPost));
  const bodies = encodeBodies(options, Math.ceil(rate * DEVICE_SECONDS / perPost), seed);
  const rounds = new Rounds();
  const dueMs = (request: number) => dueAt(profile, request * perPost) * 1_000;
  const requests = requestsOf(profile, perPost);
  await started();
  const course = new Seconds(performance.now());
  const report = await sendPlanned({
    ...{ url, key, requests, dueMs },
    concurrency: connections,
    largestBytes: bodies.largestBytes,
    untilMs: seconds * 1_000 + OVERTIME_MS,
    bodyOf: (request) => bodies.at(rounds.next(bodiesAt(dueMs(request) / 1_000))),
    observe: (outcome) => course.note(outcome),
  });
  return {
    ...report,
    requests,
    cells: bodies.credit(),
    seconds: course.all.map((second) => second.result()),
  };
}

function encodeBodies(options: GeneratorOptions, count: number, seed: number): LoadBodies {
  const random = loadRandom(seed);
  const catalogue = new LoadCatalogue(random, options);
  const everyday = options.profile === "premiere" ? count * PREMIERE_BASE : count;
  return new LoadBodies(
    Array.from({ length: Math.max(1, count) }, (_, i) => {
      const drawn = () => i < everyday ? catalogue.everyday() : catalogue.premiere();
      return new LoadBody(random, options.perPost, drawn);
    }),
  );
}

/** Says that everything is ready, and waits until the time that standard input names. */
async function startSignal(): Promise<void> {
  console.log("ready");
  const bytes = new Uint8Array(64);
  const count = await Deno.stdin.read(bytes);
  const startAtMs = Number(new TextDecoder().decode(bytes.subarray(0, count ?? 0)));
  await pause(Math.max(0, startAtMs - Date.now()));
}

if (import.meta.main) {
  const [json] = Deno.args;
  if (json === undefined) throw new Error("the argument is missing: the options as JSON");
  const options: GeneratorOptions = JSON.parse(json);
  console.log(JSON.stringify(await generate(options, startSignal) satisfies GeneratorResult));
}
