/**
 * Why events are not stored: what JetStream's acknowledgements last said of each stream, and what the
 * edge refuses, counted by reason and told in the log.
 *
 * Pure. Times are monotonic, in ms.
 *
 * @module
 */
import { RetryAfter } from "../shared/process/errors.ts";
import type { Log } from "../shared/process/log.ts";

/** Why events are refused, and what a person does about it. */
export const REFUSALS = {
  stream_full: "the stream is full: raise TWOFOLD_HEARTBEATS_MAX_BYTES and run deno task provision",
  quota: "nats-server may use no more storage: raise TWOFOLD_NATS_MAX_FILE_STORE and restart it",
  // A stream whose write has failed once writes nothing more, whatever space there is.
  disk: "NATS answers, but stores nothing: its disk is full or fails. Make space, then restart " +
    "nats-server: until then it stores nothing (of a cluster: the node that leads the stream)",
  no_quorum: "no server leads the stream: too few nodes of the cluster run, JetStream is off, or " +
    "the stream does not exist; see nats stream report",
  no_answer: "NATS acknowledges nothing in time: look at nats-server, its disk and the network",
  disconnected: "NATS is disconnected",
  in_flight: "more is in flight than the edge may hold: NATS or the edge is overloaded",
  fleet_share: "the fleet has spent its share",
  device_share: "a device has spent its share",
  other: "see the detail",
} as const;

/** One of {@link REFUSALS}. */
export type RefusalReason = keyof typeof REFUSALS;

/** Events were not stored, or not all of them, because of `reason`. */
export class NotStored extends RetryAfter {
  constructor(
    readonly reason: RefusalReason,
    message: string,
    retryAfterMs: number,
    options?: ErrorOptions,
  ) {
    super(message, retryAfterMs, options);
  }
}

/** Interval between two log lines about the same reason, in ms. */
const TELL_INTERVAL_MS = 10_000;

/** Refusals of one reason since the last log line. */
interface Untold {
  events: number;
  requests: number;
  toldMs: number;
  about: Readonly<Record<string, unknown>>;
}

/** Counts what is refused, and tells it in the log: at once, then at most once in 10 s a reason. */
export class RefusalCounts {
  readonly #untold = new Map<RefusalReason, Untold>();
  readonly #events = new Map<RefusalReason, number>();

  constructor(readonly log: Log) {}

  /** Events refused, by reason. */
  get events(): Iterable<[RefusalReason, number]> {
    return this.#events;
  }

  /** A request with `events` was refused; `about` becomes fields of the line. */
  add(
    reason: RefusalReason,
    events: number,
    nowMs: number,
    about: Readonly<Record<string, unknown>>,
  ): void {
    const untold = this.#untold.get(reason) ??
      { events: 0, requests: 0, toldMs: -Infinity, about };
    this.#untold.set(reason, untold);
    this.#events.set(reason, (this.#events.get(reason) ?? 0) + events);
    untold.events += events;
    untold.requests += 1;
    untold.about = about;
    this.tell(nowMs);
  }

  /** Logs what is due. Call it from time to time, so that the last refusals are told too. */
  tell(nowMs: number): void {
    for (const [reason, untold] of this.#untold) {
      const { events, requests, toldMs, about } = untold;
      if (requests === 0 || nowMs - toldMs < TELL_INTERVAL_MS) continue;
      this.log.warn("ingest.refusing", {
        reason,
        events,
        requests,
        remedy: REFUSALS[reason],
        ...about,
      });
      this.#untold.set(reason, { events: 0, requests: 0, toldMs: nowMs, about: {} });
    }
  }
}

/** What the last acknowledgement said of a stream that refuses. */
interface Refusal {
  readonly reason: RefusalReason;
  readonly detail: string;
  readonly sinceMs: number;
}

/**
 * Whether a stream stores events, by what was last acknowledged or refused. That it answers about
 * itself is no sign: an isolated leader and one with a full disk do.
 */
export class StreamOutcome {
  #refusal: Refusal | undefined;
  /** The reason in the last log line, until the stream stores again. */
  #told: RefusalReason | undefined;
  #toldMs = -Infinity;

  constructor(readonly stream: string, readonly log: Log) {}

  /** Whether the last events were refused. */
  get isRefusing(): boolean {
    return this.#refusal !== undefined;
  }

  /** Why the last events were refused; undefined when they were acknowledged. */
  get reason(): RefusalReason | undefined {
    return this.#refusal?.reason;
  }

  /** Why the last events were refused, for a person; undefined when they were acknowledged. */
  get refusing(): string | undefined {
    if (this.#refusal === undefined) return undefined;
    const { reason, detail } = this.#refusal;
    return `${this.stream}: ${reason}: ${detail}; ${REFUSALS[reason]}`;
  }

  /** JetStream acknowledged events. */
  stored(nowMs: number): void {
    if (this.#refusal === undefined) return;
    const { reason, sinceMs } = this.#refusal;
    this.#refusal = undefined;
    if (this.#told === undefined) return;
    this.#told = undefined;
    const refused_ms = Math.round(nowMs - sinceMs);
    this.log.info("ingest.landing.stores_again", { stream: this.stream, reason, refused_ms });
  }

  /** JetStream refused events, or did not acknowledge them in time. */
  refused({ reason, message }: NotStored, nowMs: number): void {
    const sinceMs = this.#refusal?.sinceMs ?? nowMs;
    this.#refusal = { reason, detail: message, sinceMs };
    // Refusals that alternate with acknowledgements do not fill the log.
    if (this.#told === reason || nowMs - this.#toldMs < TELL_INTERVAL_MS) return;
    this.#told = reason;
    this.#toldMs = nowMs;
    const remedy = REFUSALS[reason];
    this.log.warn("ingest.landing.refuses", {
      stream: this.stream,
      reason,
      detail: message,
      remedy,
    });
  }
}
