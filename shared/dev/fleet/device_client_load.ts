/**
 * A load generator for benchmarks: valid, distinct, current heartbeats over HTTP at a fixed rate.
 * Bodies are encoded once. For every request only the digits that differ are overwritten in place,
 * which leaves the CPU to what is measured.
 *
 * @module
 */
import { randomInt } from "node:crypto";
import { messageOf } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";
import { PostConnection } from "./device_client_socket.ts";
import { aHeartbeat, encode } from "../testing/heartbeats.ts";
import { Random } from "../testing/random.ts";
import { REGIONS } from "./simulator.ts";
import type { TitleTotals } from "./truth.ts";

/** A load, see {@link loadAtRate}. */
export interface LoadOptions {
  /** The edge, `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Bearer key of the fleet. */
  readonly key: string;
  /** Target rate; a slower edge lowers it. */
  readonly eventsPerSecond: number;
  readonly seconds: number;
  /** Heartbeats per request; the load consists of whole requests. Default 100. */
  readonly eventsPerRequest?: number;
  /** Maximum requests in flight. Default 8. */
  readonly concurrency?: number;
  readonly titles?: number;
  readonly regions?: number;
  readonly seed?: number;
}

/** What was sent, and what royalty must credit for it. */
export interface LoadReport {
  /** Acknowledged heartbeats, all distinct and valid. */
  readonly sent: number;
  readonly seconds: number;
  readonly eventsPerSecond: number;
  /** Credit per title once royalty has counted everything. */
  readonly titles: ReadonlyMap<string, TitleTotals>;
  readonly ms: number;
  /**
   * Attempts with an answer of 429 or 5xx, or without one, that were retried with the same bytes.
   */
  readonly repeated: number;
  /** Reason of the last retry. */
  readonly lastRefusal?: string | undefined;
}

const DEFAULTS = { eventsPerRequest: 100, concurrency: 8, titles: 40, regions: 24, seed: 1 };
const ATTEMPTS = 100;
/** Hexadecimal digits of the request number in an event_id. */
const ROUND_DIGITS = 8;

/** Sends at the given rate. Throws when the edge refuses a body permanently. */
export async function loadAtRate(options: LoadOptions): Promise<LoadReport> {
  const load = new Load({ ...DEFAULTS, ...options });
  return await load.run();
}

class Load {
  readonly #startMs = performance.now();
  readonly #requests: number;
  #next = 0;
  #repeated = 0;
  #lastRefusal: string | undefined;

  constructor(private readonly options: LoadOptions & typeof DEFAULTS) {
    const { eventsPerSecond, seconds, eventsPerRequest } = options;
    this.#requests = Math.ceil(eventsPerSecond * seconds / eventsPerRequest);
  }

  async run(): Promise<LoadReport> {
    // Different in every run, so that two runs against one stream share no event_id.
    const random = new Random(this.options.seed ^ randomInt(2 ** 32));
    const { concurrency } = this.options;
    const bodies = Array.from({ length: concurrency }, () => new LoadBody(random, this.options));
    await Promise.all(bodies.map((body) => this.#work(body)));
    const seconds = (performance.now() - this.#startMs) / 1000;
    const titles = creditOf(bodies);
    const totals = [...titles.values()];
    const sent = totals.reduce((sum, { events }) => sum + events, 0);
    return {
      sent,
      seconds,
      eventsPerSecond: sent / seconds,
      titles,
      ms: totals.reduce((sum, { ms }) => sum + ms, 0),
      repeated: this.#repeated,
      lastRefusal: this.#lastRefusal,
    };
  }

  async #work(body: LoadBody): Promise<void> {
    const { eventsPerRequest, eventsPerSecond, url, key } = this.options;
    const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
    using connection = new PostConnection(`${url}/v1/heartbeats`, headers, body.template.length);
    connection.body.set(body.template);
    while (this.#next < this.#requests) {
      const request = this.#next++;
      const dueMs = this.#startMs + request * eventsPerRequest * 1000 / eventsPerSecond;
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 1) await pause(earlyMs);
      body.stamp(connection.body, Date.now(), request);
      await this.#post(connection);
      body.acknowledged++;
    }
  }

  async #post(connection: PostConnection): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const answer = await connection.post().catch(messageOf);
      if (typeof answer !== "string" && answer.status === 202) return;
      this.#repeated++;
      this.#lastRefusal = typeof answer === "string" ? answer : `${answer.status} ${answer.text}`;
      if (typeof answer !== "string" && answer.status < 500 && answer.status !== 429) break;
      const waitMs = typeof answer === "string" ? undefined : answer.retryAfterMs;
      await pause(waitMs ?? 100);
    }
    throw new Error(`the edge refused a body permanently: ${this.#lastRefusal}`);
  }
}

/** One array of heartbeats whose ids, times and sequence numbers are overwritten in place. */
class LoadBody {
  readonly template: Uint8Array;
  /** How often it was acknowledged. */
  acknowledged = 0;
  /** Credit of one request. */
  readonly credit = new Map<string, TitleTotals>();
  readonly #places: readonly Place[];

  constructor(random: Random, { eventsPerRequest, titles, regions }: typeof DEFAULTS) {
    const used = REGIONS.slice(0, regions);
    const heartbeats = Array.from({ length: eventsPerRequest }, () => {
      const titleId = `title-${random.int(1, titles)}`;
      const { ms, events } = this.credit.get(titleId) ?? { ms: 0, events: 0 };
      const playedMs = random.int(8_000, 10_000);
      this.credit.set(titleId, { ms: ms + playedMs, events: events + 1 });
      return aHeartbeat(random, TEMPLATE_TS, {
        session_id: `load-${random.uuidv7(0)}`,
        title_id: titleId,
        region: random.pick(used),
        seq: TEMPLATE_SEQ,
        played_ms: playedMs,
      });
    });
    this.template = encode(heartbeats);
    this.#places = placesOf(new TextDecoder().decode(this.template));
  }

  /**
   * Makes every heartbeat of `bytes`, a copy of the template, a new event that ends at `nowMs`. The
   * number `request` makes its ids unique.
   */
  stamp(bytes: Uint8Array, nowMs: number, request: number): void {
    const time = digits(nowMs, 16, 12);
    const ts = digits(nowMs, 10, 13);
    const number = digits(request, 16, ROUND_DIGITS);
    const seq = digits(TEMPLATE_SEQ + request, 10, 7);
    for (const place of this.#places) {
      bytes.set(time.subarray(0, 8), place.id);
      bytes.set(time.subarray(8), place.id + 9);
      bytes.set(number, place.id + 36 - ROUND_DIGITS);
      bytes.set(ts, place.ts);
      bytes.set(seq, place.seq);
    }
  }
}

/** Where a heartbeat's event_id, seq and ts begin. */
interface Place {
  readonly id: number;
  readonly seq: number;
  readonly ts: number;
}

function placesOf(text: string): Place[] {
  const places: Place[] = [];
  const after = (name: string, from: number) => text.indexOf(name, from) + name.length;
  for (let at = text.indexOf(ID); at >= 0; at = text.indexOf(ID, at + 1)) {
    places.push({ id: at + ID.length, seq: after('"seq":', at), ts: after('"ts":', at) });
  }
  return places;
}

const ID = '"event_id":"';
const TEMPLATE_TS = 1_700_000_000_000;
const TEMPLATE_SEQ = 1_000_000;

const encoder = new TextEncoder();
function digits(value: number, radix: number, length: number): Uint8Array {
  return encoder.encode(value.toString(radix).padStart(length, "0"));
}

function creditOf(bodies: readonly LoadBody[]): Map<string, TitleTotals> {
  const titles = new Map<string, TitleTotals>();
  for (const { credit, acknowledged } of bodies) {
    for (const [titleId, { ms, events }] of credit) {
      const sum = titles.get(titleId) ?? { ms: 0, events: 0 };
      titles.set(titleId, {
        ms: sum.ms + ms * acknowledged,
        events: sum.events + events * acknowledged,
      });
    }
  }
  return titles;
}
