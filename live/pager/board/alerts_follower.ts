/**
 * Follows ALERTS for the board: the last message of each subject, then every new one, by direct
 * gets. It has no consumer, so any number of pagers do so, and nothing is acknowledged.
 *
 * @module
 */
import type { JetStreamManager, StoredMsg } from "nats/jetstream";
import { alertSchema } from "../../../shared/contract/alert.ts";
import { ALERTS } from "../../../shared/contract/topology.ts";
import { natsMessageOf } from "../../../shared/process/nats.ts";
import { pause } from "../../../shared/process/retry.ts";
import { jsonOf, keptMessages, lastMessages } from "../../../shared/process/kept/kept_messages.ts";
import type { OpenIncidents } from "./open_incidents.ts";

const EVERYTHING = "alerts.>";
/** Interval between two reads, in ms. */
const POLL_MS = 1_000;
/** How often it is checked whether the stream is still the same one. */
const CHECK_MS = 10_000;

/** See the module. */
export class AlertsFollower {
  /** When a read that was complete began, by the monotonic clock; undefined: none was. */
  #readMs: number | undefined;
  #problem: string | undefined = "ALERTS is not read yet";
  /** The sequence to read next; 0: nothing was read. */
  #next = 0;
  #created: string | undefined;
  #checkedMs = -Infinity;

  constructor(readonly jsm: JetStreamManager, readonly incidents: OpenIncidents) {}

  /** Since ALERTS was last read completely, in ms; undefined: never. */
  get readAgeMs(): number | undefined {
    return this.#readMs === undefined ? undefined : performance.now() - this.#readMs;
  }

  /** Why the last read failed; undefined: it did not. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Follows until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const startMs = performance.now();
      try {
        await this.#check(startMs);
        await this.#read();
        this.#readMs = startMs;
        this.#problem = undefined;
      } catch (error) {
        this.#problem = natsMessageOf(error);
      }
      await pause(POLL_MS, signal);
    }
  }

  // A stream that was made anew has other messages under the same sequences.
  async #check(nowMs: number): Promise<void> {
    if (nowMs - this.#checkedMs < CHECK_MS) return;
    const { created } = await this.jsm.streams.info(ALERTS);
    if (created !== this.#created) {
      this.incidents.clear();
      this.#next = 0;
    }
    this.#created = created;
    this.#checkedMs = nowMs;
  }

  async #read(): Promise<void> {
    if (this.#next > 0) {
      for await (const message of keptMessages(this.jsm, ALERTS, EVERYTHING, this.#next)) {
        this.#take(message);
        this.#next = Math.max(this.#next, message.seq + 1);
      }
      return;
    }
    // Only the last of each is parsed: the stream may keep a week.
    const last = new Map<string, StoredMsg>();
    let next = 1;
    for await (const message of lastMessages(this.jsm, ALERTS, EVERYTHING)) {
      last.set(message.subject, message);
      next = Math.max(next, message.seq + 1);
    }
    this.incidents.clear();
    for (const message of last.values()) this.#take(message);
    this.#next = next;
  }

  #take({ subject, data }: StoredMsg): void {
    const alert = alertSchema.safeParse(jsonOf(data)).data;
    // Who reads alerts counts what is none; it does not end what is open.
    if (alert !== undefined) this.incidents.take(subject, alert);
  }
}
