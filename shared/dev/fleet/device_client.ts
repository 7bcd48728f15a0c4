/**
 * Sends heartbeats over HTTP as a fleet of players does: in every form that the edge accepts,
 * retried with the same bytes, and with a bounded number of requests in flight.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { messageOf } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";
import type { Send, Tick } from "./player.ts";
import { Random } from "../testing/random.ts";
import type { EventOutcome } from "./truth.ts";

/** Options of a {@link DeviceClient}. */
export interface DeviceClientOptions {
  /** The edge, `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Bearer key of the fleet. */
  readonly key: string;
  /** Seed of the choice of forms and sizes of bodies. */
  readonly seed: number;
  /** Maximum requests in flight, 16 by default; {@link DeviceClient.post} waits for one of them. */
  readonly concurrency?: number;
  /** Maximum attempts per body, 60 by default. */
  readonly attempts?: number;
  /** Timeout of one attempt, ms; 15,000 by default. */
  readonly timeoutMs?: number;
  /**
   * Receives every outcome of a send, and when the attempt began and was answered, by
   * `performance.now()`.
   */
  readonly record: (
    send: Send,
    outcome: EventOutcome,
    sentAtMs: number,
    answeredAtMs: number,
  ) => void;
}

/** Counts of a client so far. */
export interface ClientReport {
  readonly requests: number;
  /** Requests by status; 0 is a request without an answer. */
  readonly statuses: Readonly<Record<number, number>>;
  readonly acknowledged: number;
  readonly refused: number;
  /** Reasons of the first bodies that were given up. */
  readonly refusals: readonly string[];
}

const HEARTBEATS = "/v1/heartbeats";
const MAX_GROUP_EVENTS = 100;
const DEFAULTS = { concurrency: 16, attempts: 60, timeoutMs: 15_000 };
const MAX_REFUSALS = 5;

/** The connection of a fleet to the edge. */
export class DeviceClient {
  readonly #options: Required<DeviceClientOptions>;
  readonly #random: Random;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #counts = { requests: 0, acknowledged: 0, refused: 0 };
  readonly #statuses: Record<number, number> = {};
  readonly #refusals: string[] = [];

  constructor(options: DeviceClientOptions) {
    this.#options = { ...DEFAULTS, ...options };
    this.#random = new Random(options.seed);
  }

  get report(): ClientReport {
    return { ...this.#counts, statuses: { ...this.#statuses }, refusals: [...this.#refusals] };
  }

  /** Sends; resolves when every body is in flight, which may wait for earlier ones. */
  async post(sends: readonly Send[], signal?: AbortSignal): Promise<void> {
    for (const group of grouped(this.#random, sends)) {
      while (this.#inFlight.size >= this.#options.concurrency) {
        await Promise.race(this.#inFlight);
      }
      const done = this.#deliver(bodyOf(this.#random, group), signal);
      this.#inFlight.add(done);
      void done.finally(() => this.#inFlight.delete(done));
    }
  }

  /** Resolves once no request is in flight. */
  async drain(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight);
  }

  async #deliver(body: Body, signal?: AbortSignal): Promise<void> {
    const { attempts, key, record, timeoutMs, url } = this.#options;
    let why = "";
    let sentAtMs = 0;
    let answeredAtMs = 0;
    for (let attempt = 1; attempt <= attempts && !signal?.aborted; attempt++) {
      sentAtMs = performance.now();
      const answer = await attemptPost(`${url}${HEARTBEATS}`, key, body, timeoutMs);
      answeredAtMs = performance.now();
      this.#counts.requests++;
      this.#statuses[answer.status] = (this.#statuses[answer.status] ?? 0) + 1;
      if (answer.kind === "accepted") {
        this.#counts.acknowledged += body.sends.length;
        for (const send of body.sends) record(send, "acknowledged", sentAtMs, answeredAtMs);
        return;
      }
      why = answer.why;
      if (answer.kind === "refused") break;
      if (answer.kind === "unknown") {
        for (const send of body.sends) record(send, "unknown", sentAtMs, answeredAtMs);
      }
      await pause(answer.retryAfterMs ?? Math.min(100 * 2 ** attempt, 2_000), signal);
    }
    this.#counts.refused += body.sends.length;
    if (this.#refusals.length < MAX_REFUSALS) this.#refusals.push(why);
    for (const send of body.sends) record(send, "refused", sentAtMs, answeredAtMs);
  }
}

/**
 * Posts every tick when it is due; `startAtMs` is the start of the run, `performance.now()`. When
 * the edge is slower than the timeline, the run falls behind; requests do not pile up. Resolves
 * after the last answer.
 */
export async function drive(
  client: DeviceClient,
  ticks: Iterable<Tick>,
  { startAtMs, signal }: { readonly startAtMs: number; readonly signal?: AbortSignal },
): Promise<void> {
  for (const { atMs, sends } of ticks) {
    const earlyMs = startAtMs + atMs - performance.now();
    if (earlyMs > 0) await pause(earlyMs, signal);
    if (signal?.aborted) break;
    await client.post(sends, signal);
  }
  await client.drain();
}

/** Splits sends into groups of 1 to {@link MAX_GROUP_EVENTS}, mostly large. */
function grouped(random: Random, sends: readonly Send[]): Send[][] {
  const groups: Send[][] = [];
  for (let from = 0; from < sends.length;) {
    const size = random.chance(0.1) ? 1 : random.int(2, MAX_GROUP_EVENTS);
    groups.push(sends.slice(from, from + size));
    from += size;
  }
  return groups;
}

interface Body {
  readonly sends: readonly Send[];
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly gzip: boolean;
  /** As `navigator.sendBeacon` sends: without headers, with the key in the query. */
  readonly beacon: boolean;
}

function bodyOf(random: Random, sends: readonly Send[]): Body {
  const beacon = random.chance(0.1);
  const gzip = !beacon && random.chance(0.2);
  const lines = sends.some((send) => send.framing === "line") || random.chance(0.4);
  const [first, ...others] = sends;
  const plain = first !== undefined && others.length === 0
    ? first.bytes
    : lines
    ? joined(sends, "", "\n", "\n")
    : joined(sends, "[", ",", "]");
  const type = beacon ? "text/plain" : lines ? "application/x-ndjson" : "application/json";
  return {
    sends,
    bytes: gzip ? new Uint8Array(gzipSync(plain, { level: 1 })) : plain,
    type,
    gzip,
    beacon,
  };
}

function joined(
  sends: readonly Send[],
  open: string,
  between: string,
  close: string,
): Uint8Array<ArrayBuffer> {
  const length = sends.reduce((sum, send) => sum + send.bytes.length + 1, 1);
  const out = new Uint8Array(length);
  let at = 0;
  const put = (char: string) => char && (out[at++] = char.charCodeAt(0));
  put(open);
  sends.forEach((send, index) => {
    if (index > 0) put(between);
    out.set(send.bytes, at);
    at += send.bytes.length;
  });
  put(close);
  return out.subarray(0, at);
}

interface Answer {
  readonly kind: "accepted" | "again" | "unknown" | "refused";
  readonly status: number;
  readonly why: string;
  readonly retryAfterMs?: number | undefined;
}

async function attemptPost(
  url: string,
  key: string,
  body: Body,
  timeoutMs: number,
): Promise<Answer> {
  const headers: Record<string, string> = { "content-type": body.type };
  if (body.gzip) headers["content-encoding"] = "gzip";
  if (!body.beacon) headers.authorization = `Bearer ${key}`;
  const target = body.beacon ? `${url}?key=${encodeURIComponent(key)}` : url;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(target, { method: "POST", headers, body: body.bytes, signal });
    return answerOf(response, await response.text());
  } catch (error) {
    return { kind: "unknown", status: 0, why: messageOf(error) };
  }
}

function answerOf(response: Response, text: string): Answer {
  const { status } = response;
  const why = `${status} ${text.slice(0, 300)}`;
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  const retryAfterMs = seconds >= 0 ? seconds * 1000 : undefined;
  if (response.ok) return { kind: "accepted", status, why };
  // 429 and 408 refuse before anything is stored; after 5xx a part of the body may be stored.
  if (status === 429 || status === 408) return { kind: "again", status, why, retryAfterMs };
  if (status >= 500) return { kind: "unknown", status, why, retryAfterMs };
  return { kind: "refused", status, why };
}
