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

/** Requests that are due at times of their own, whatever the answers do. */
export interface PlannedLoad {
  readonly url: string;
  readonly key: string;
  /** Each is a connection of its own. */
  readonly concurrency: number;
  readonly requests: number;
  /** Of a body. */
  readonly largestBytes: number;
  /** When a request is due, ms since the start; never before the one before. */
  readonly dueMs: (request: number) => number;
  /** The body of a request; called once for each that is sent, in order. */
  readonly bodyOf: (request: number) => LoadBody;
  /** Starts no request later than this, ms since the start. */
  readonly untilMs?: number;
  /** Receives every answer. */
  readonly observe?: (outcome: RequestOutcome) => void;
}

/** One request, once it is accepted or given up. Times as `performance.now` has them. */
export interface RequestOutcome {
  readonly dueMs: number;
  /** When a connection was free for it: before `dueMs` unless all were busy. */
  readonly freeMs: number;
  /** When its first byte went out. */
  readonly sentMs: number;
  readonly answeredMs: number;
  readonly events: number;
  /** Why it was given up; undefined of one that was accepted. */
  readonly refusal: string | undefined;
}

/** What a planned load came to. */
export interface PlannedReport {
  /** Requests accepted, given up, and never sent because they were too late. */
  readonly accepted: number;
  readonly lost: number;
  readonly unsent: number;
  readonly repeated: number;
  readonly lastRefusal?: string | undefined;
}

const DEFAULTS = { eventsPerRequest: 100, concurrency: 8, titles: 40, regions: 24, seed: 1 };
const ATTEMPTS = 100;
/** Hexadecimal digits of the request number in an event_id. */
const ROUND_DIGITS = 8;

/** Sends at the given rate. Throws when the edge refuses a body permanently. */
export async function loadAtRate(options: LoadOptions): Promise<LoadReport> {
  const { titles, regions, seed, concurrency, eventsPerRequest, ...rest } = {
    ...DEFAULTS,
    ...options,
  };
  const random = loadRandom(seed);
  const used = REGIONS.slice(0, regions);
  const drawn = () => ({ titleId: `title-${random.int(1, titles)}`, region: random.pick(used) });
  const bodies = new LoadBodies(
    Array.from({ length: concurrency }, () => new LoadBody(random, eventsPerRequest, drawn)),
  );
  const { eventsPerSecond } = rest;
  const startMs = performance.now();
  const { repeated, lastRefusal } = await sendPlanned({
    ...rest,
    concurrency,
    largestBytes: bodies.largestBytes,
    requests: Math.ceil(eventsPerSecond * rest.seconds / eventsPerRequest),
    dueMs: (request) => request * eventsPerRequest * 1000 / eventsPerSecond,
    bodyOf: (request) => bodies.at(request % concurrency),
    observe: ({ refusal }) => {
      if (refusal) throw new Error(`the edge refused a body permanently: ${refusal}`);
    },
  });
  const seconds = (performance.now() - startMs) / 1000;
  const totals = titleTotals(bodies.credit());
  const sum = (part: (each: TitleTotals) => number) =>
    [...totals.values()].reduce((total, each) => total + part(each), 0);
  const sent = sum(({ events }) => events);
  return {
    sent,
    seconds,
    eventsPerSecond: sent / seconds,
    titles: totals,
    ms: sum(({ ms }) => ms),
    repeated,
    lastRefusal,
  };
}

/** Randomness that differs in every run, so that two runs against one stream share no event_id. */
export function loadRandom(seed: number): Random {
  return new Random(seed ^ randomInt(2 ** 32));
}

/** Sends each request when it is due, or as soon as a connection is free. */
export async function sendPlanned(plan: PlannedLoad): Promise<PlannedReport> {
  const load = new Load(plan);
  return await load.run();
}

class Load {
  readonly #startMs = performance.now();
  #next = 0;
  #accepted = 0;
  #lost = 0;
  #unsent = 0;
  #repeated = 0;
  #lastRefusal: string | undefined;

  constructor(private readonly plan: PlannedLoad) {}

  async run(): Promise<PlannedReport> {
    await Promise.all(Array.from({ length: this.plan.concurrency }, () => this.#work()));
    return {
      accepted: this.#accepted,
      lost: this.#lost,
      unsent: this.#unsent,
      repeated: this.#repeated,
      lastRefusal: this.#lastRefusal,
    };
  }

  async #work(): Promise<void> {
    const { url, key, requests, dueMs, bodyOf, untilMs = Infinity } = this.plan;
    const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
    using connection = new PostConnection(`${url}/v1/heartbeats`, headers, this.plan.largestBytes);
    while (this.#next < requests) {
      const request = this.#next++;
      const due = this.#startMs + dueMs(request);
      const freeMs = performance.now();
      if (freeMs - this.#startMs > untilMs) {
        this.#unsent++;
        continue;
      }
      if (due - freeMs > 1) await pause(due - freeMs);
      const body = bodyOf(request);
      body.stamp(connection.take(body.template), Date.now(), request);
      const sentMs = performance.now();
      const refusal = await this.#post(connection);
      if (refusal === undefined) {
        this.#accepted++;
        body.acknowledged++;
      } else {
        this.#lost++;
      }
      const answeredMs = performance.now();
      const { events } = body;
      this.plan.observe?.({ dueMs: due, freeMs, sentMs, answeredMs, events, refusal });
    }
  }

  /** Posts until it is accepted; resolves to why it was given up, if it was. */
  async #post(connection: PostConnection): Promise<string | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const answer = await connection.post().catch(messageOf);
      if (typeof answer !== "string" && answer.status === 202) return undefined;
      this.#repeated++;
      this.#lastRefusal = typeof answer === "string" ? answer : `${answer.status} ${answer.text}`;
      if (typeof answer !== "string" && answer.status < 500 && answer.status !== 429) break;
      const waitMs = typeof answer === "string" ? undefined : answer.retryAfterMs;
      await pause(waitMs ?? 100);
    }
    return this.#lastRefusal;
  }
}

/** Who watches what, where. */
export interface LoadCell {
  readonly titleId: string;
  readonly region: string;
}

/** What royalty must credit a title in a region. */
export interface CellTotals extends LoadCell, TitleTotals {}

/**
 * The heartbeats of one request, each of a session of its own; ids, times and sequence numbers are
 * overwritten in place. One heartbeat alone is an object, several are an array.
 */
export class LoadBody {
  readonly template: Uint8Array;
  /** How often it was acknowledged. */
  acknowledged = 0;
  /** Credit of one request. */
  readonly credit: readonly CellTotals[];
  readonly #places: readonly Place[];
  #stamped = 0;

  /** `drawn` gives the cell of each of the `events` sessions. */
  constructor(random: Random, readonly events: number, drawn: () => LoadCell) {
    const heartbeats = Array.from({ length: events }, () => {
      const { titleId, region } = drawn();
      return aHeartbeat(random, TEMPLATE_TS, {
        session_id: `load-${random.uuidv7(0)}`,
        title_id: titleId,
        region,
        seq: TEMPLATE_SEQ,
        played_ms: random.int(8_000, 10_000),
      });
    });
    this.credit = heartbeats.map(({ title_id, region, played_ms }) => ({
      titleId: title_id,
      region,
      ms: played_ms,
      events: 1,
    }));
    this.template = encode(events === 1 ? heartbeats[0] : heartbeats);
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
    const seq = digits(TEMPLATE_SEQ + this.#stamped++, 10, 7);
    for (const place of this.#places) {
      bytes.set(time.subarray(0, 8), place.id);
      bytes.set(time.subarray(8), place.id + 9);
      bytes.set(number, place.id + 36 - ROUND_DIGITS);
      bytes.set(ts, place.ts);
      bytes.set(seq, place.seq);
    }
  }
}

/** The bodies of a load. */
export class LoadBodies {
  constructor(readonly bodies: readonly LoadBody[]) {}

  get largestBytes(): number {
    return this.bodies.reduce((most, { template }) => Math.max(most, template.length), 0);
  }

  /** Throws a `RangeError` where there is none. */
  at(index: number): LoadBody {
    const body = this.bodies[index];
    if (body === undefined) throw new RangeError(`there is no body ${index}`);
    return body;
  }

  /** What royalty must credit for what was acknowledged so far. */
  credit(): CellTotals[] {
    const cells = new Map<string, { -readonly [K in keyof CellTotals]: CellTotals[K] }>();
    for (const { credit, acknowledged } of this.bodies) {
      if (acknowledged === 0) continue;
      for (const { titleId, region, ms, events } of credit) {
        const key = `${titleId} ${region}`;
        const sum = cells.get(key) ?? { titleId, region, ms: 0, events: 0 };
        sum.ms += ms * acknowledged;
        sum.events += events * acknowledged;
        cells.set(key, sum);
      }
    }
    return [...cells.values()];
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

function titleTotals(cells: readonly CellTotals[]): Map<string, TitleTotals> {
  const titles = new Map<string, TitleTotals>();
  for (const { titleId, ms, events } of cells) {
    const sum = titles.get(titleId) ?? { ms: 0, events: 0 };
    titles.set(titleId, { ms: sum.ms + ms, events: sum.events + events });
  }
  return titles;
}
