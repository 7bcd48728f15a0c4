/**
 * Devices that send to an edge until they are accepted, and the judgement: what was acknowledged is
 * stored, once.
 *
 * @module
 */
import type { Heartbeat } from "../contract/event.ts";
import type { ServiceProcess } from "../dev/servers/service_process.ts";
import type { NatsStack } from "../dev/servers/stack.ts";
import { storedMessages } from "../dev/fleet/stored_events.ts";
import { assertEquals } from "../dev/testing/assert.ts";
import { aHeartbeat } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { publishedId, rawEventsIn, type RawMessage } from "../process/raw/stored_message.ts";
import { pause } from "../process/retry.ts";

const KEY = "0123456789abcdef";
const DEVICES = 8;
const EVENTS_PER_REQUEST = 5;
const REFUSED_PAUSE_MS = 200;
/** Longer than the edge ever takes to answer. */
const ANSWER_MS = 15_000;
const WAIT_MS = 90_000;

/** The setting of the edge that knows these devices. */
export const EDGE_LOAD_SETTINGS = { TWOFOLD_FLEET_KEYS: `tv:${KEY}` } as const;

/** A load on one edge, from its construction to {@link EdgeLoad.end}. */
export class EdgeLoad {
  readonly #random = new Random(11);
  readonly #acknowledged = new Set<string>();
  readonly #end = new AbortController();
  readonly #devices: Promise<void>[];
  #newestMs = performance.now();
  #longestMs = 0;

  constructor(readonly edge: ServiceProcess) {
    this.#devices = Array.from({ length: DEVICES }, () => this.#send());
  }

  /** Events answered 202. */
  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** Waits for so many more events answered 202. */
  async goesOn(events = 200): Promise<void> {
    const before = this.acknowledged;
    await waitFor(`${events} more 202s`, () => this.acknowledged >= before + events, {
      timeoutMs: WAIT_MS,
    });
  }

  /** Does `fault`; returns the longest time without a 202 until the load goes on, ms. */
  async through(fault: () => Promise<void> | void): Promise<number> {
    await this.goesOn();
    this.#longestMs = 0;
    await fault();
    await this.goesOn();
    return this.#longestMs;
  }

  /** Ends the devices. */
  async end(): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#devices);
  }

  /**
   * Ends the devices, and compares what was acknowledged with what HEARTBEATS of `stack` has: all of it,
   * and no message twice. An event may be there twice, in other company: its readers know it by its id.
   */
  async isStored(stack: NatsStack): Promise<void> {
    await this.end();
    const nc = await stack.connect("ops");
    // Read again while something is missing: a node that was cut off answers from its old copy.
    const messages = await waitFor("all that was acknowledged in HEARTBEATS", async () => {
      const messages = await storedMessages(nc);
      const ids = new Set(messages.flatMap(rawEventsIn).map(eventId));
      const missing = [...this.#acknowledged].filter((id) => !ids.has(id));
      return missing.length === 0
        ? messages
        : Promise.reject(new Error(`${missing.length} are lost`));
    }, { timeoutMs: WAIT_MS });
    assertEquals(new Set(messages.map(publishedId)).size, messages.length, "stored twice");
  }

  async #send(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      const events = Array.from(
        { length: EVENTS_PER_REQUEST },
        () => aHeartbeat(this.#random, Date.now()),
      );
      const body = JSON.stringify(events);
      while (!signal.aborted && !await this.#isAccepted(body)) {
        // No sleep: a refused device waits.
        await pause(REFUSED_PAUSE_MS);
      }
      if (!signal.aborted) this.#note(events);
    }
  }

  async #isAccepted(body: string): Promise<boolean> {
    const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const request = { method: "POST", headers, body, signal };
      const response = await fetch(`${this.edge.url}/v1/heartbeats`, request);
      await response.body?.cancel();
      return response.status === 202;
    } catch {
      return false;
    }
  }

  #note(events: readonly Heartbeat[]): void {
    for (const { event_id } of events) this.#acknowledged.add(event_id);
    const nowMs = performance.now();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#newestMs);
    this.#newestMs = nowMs;
  }
}

function eventId({ bytes }: RawMessage): string {
  return JSON.parse(new TextDecoder().decode(bytes)).event_id;
}
