/**
 * Handles one request: reads its body, admits its events and publishes them.
 *
 * @module
 */
import { MAX_EVENT_BYTES } from "../shared/contract/event.ts";
import { messageOf } from "../shared/process/errors.ts";
import type { Keyring } from "../shared/process/keyring.ts";
import type { LogFields } from "../shared/process/log.ts";
import type { Counter, Histogram, Metrics } from "../shared/process/metrics.ts";
import { admit, type RoutedEvent } from "./admit.ts";
import { ByteBudget, ByteReservation, gunzip, readBody } from "./body.ts";
import { FleetLimits } from "./shares/fleets.ts";
import { type IngestProblem, ingestProblems } from "./problem.ts";
import { NotStored, type RefusalCounts, type RefusalReason } from "./refusals.ts";
import type { Framing } from "./split.ts";

/** Options of {@link Acceptor}; `settings.ts` describes them. */
export interface AcceptOptions {
  readonly fleetKeys: Keyring;
  readonly fleetEventsPerSecond: number;
  readonly partitions: number;
  readonly maxEventsPerBody: number;
  readonly bodyDeadlineMs: number;
  readonly maxInFlightBytes: number;
}

/** Dependencies of {@link Acceptor}. */
export interface AcceptDependencies {
  /** Resolves once every event is durable; rejects with `RetryAfter`. */
  readonly publish: (events: readonly RoutedEvent[]) => Promise<void>;
  readonly refusals: RefusalCounts;
  readonly metrics: Metrics;
  /** A monotonic clock, in ms. */
  readonly nowMs: () => number;
}

const FRAMINGS: ReadonlyMap<string, Framing> = new Map([
  ["application/json", "json"],
  ["application/x-ndjson", "ndjson"],
  ["text/plain", "sniff"],
]);

/** Accepts requests: authenticates, reads, admits, rate-limits and publishes. */
export class Acceptor {
  readonly #limits: FleetLimits;
  readonly #budget: ByteBudget;
  readonly #events: Counter<"outcome">;
  readonly #publishSeconds: Histogram;

  constructor(readonly options: AcceptOptions, readonly dependencies: AcceptDependencies) {
    const { fleetEventsPerSecond, maxEventsPerBody } = options;
    // With a burst smaller than the largest body, that body would always be refused.
    const burst = Math.max(fleetEventsPerSecond, maxEventsPerBody);
    this.#limits = new FleetLimits(fleetEventsPerSecond, burst);
    this.#budget = new ByteBudget(options.maxInFlightBytes);
    this.#events = dependencies.metrics.counter(
      "twofold_ingest_events_total",
      "Events by outcome",
      ["outcome"],
    );
    for (const outcome of ["accepted", "refused"]) this.#events.inc({ outcome }, 0);
    dependencies.metrics.counterOf(
      "twofold_ingest_refused_events_total",
      "Events refused, by reason",
      () => [...dependencies.refusals.events].map(([reason, n]) => [{ reason }, n] as const),
      ["reason"],
    );
    this.#publishSeconds = dependencies.metrics.histogram(
      "twofold_ingest_publish_seconds",
      "Time from admission of a request to the acknowledgement of all its events",
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    );
  }

  /** Bytes held by requests in progress. */
  get heldBytes(): number {
    return this.#budget.held;
  }

  /**
   * Returns the number of events in the request once all of them are durable. Throws an
   * {@link IngestProblem} when the request is refused, and `RetryAfter` when not all of its events
   * could be stored.
   */
  async accept(request: Request): Promise<number> {
    const fleet = authenticate(request, this.options.fleetKeys);
    const framing = framingOf(request);
    const isGzip = isGzipped(request);
    const reservation = new ByteReservation(this.#budget);
    try {
      const sent = await readBody(request, reservation, this.options.bodyDeadlineMs);
      const body = isGzip ? gunzip(sent, reservation) : sent;
      const events = admitOrRefuse(body, framing, this.options);
      const waitMs = this.#limits.take(fleet, events.length, this.dependencies.nowMs());
      if (waitMs > 0) {
        this.#refuse("fleet_share", events.length, { fleet });
        throw fleetTooFast(waitMs);
      }
      await this.#publish(events, fleet);
      return events.length;
    } finally {
      reservation.release();
    }
  }

  async #publish(events: readonly RoutedEvent[], fleet: string): Promise<void> {
    const startMs = this.dependencies.nowMs();
    try {
      await this.dependencies.publish(events);
    } catch (error) {
      const reason = error instanceof NotStored ? error.reason : "other";
      this.#refuse(reason, events.length, { fleet, detail: messageOf(error) });
      throw error;
    }
    this.#events.inc({ outcome: "accepted" }, events.length);
    this.#publishSeconds.observe((this.dependencies.nowMs() - startMs) / 1000);
  }

  #refuse(reason: RefusalReason, events: number, about: LogFields): void {
    this.#events.inc({ outcome: "refused" }, events);
    this.dependencies.refusals.add(reason, events, this.dependencies.nowMs(), about);
  }
}

// A beacon cannot set headers, so the key may be in the query.
function authenticate(request: Request, keys: Keyring): string {
  const fleet = keys.nameOfRequest(request, ["bearer", "query"]);
  if (fleet !== undefined) return fleet;
  throw ingestProblems.problem(
    "unknown-key",
    "Send the fleet's key as `Authorization: Bearer <key>`, or as `?key=` with a beacon.",
  );
}

function framingOf(request: Request): Framing {
  const [type = ""] = request.headers.get("content-type")?.split(";") ?? [];
  const framing = FRAMINGS.get(type.trim().toLowerCase());
  if (framing !== undefined) return framing;
  const detail = `Send one of ${[...FRAMINGS.keys()].join(", ")}.`;
  throw ingestProblems.problem("unsupported-content-type", detail);
}

function isGzipped(request: Request): boolean {
  const encoding = request.headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding === "gzip" || encoding === "x-gzip") return true;
  if (encoding === "identity" || encoding === "") return false;
  const detail = "Send the body plain or with Content-Encoding: gzip.";
  throw ingestProblems.problem("unsupported-encoding", detail);
}

function admitOrRefuse(
  body: Uint8Array,
  framing: Framing,
  options: AcceptOptions,
): readonly RoutedEvent[] {
  const maxEvents = options.maxEventsPerBody;
  const admission = admit(body, framing, { partitions: options.partitions, maxEvents });
  switch (admission.kind) {
    case "admitted":
      return admission.events;
    case "no_events":
      throw ingestProblems.problem(
        "no-events",
        "Send a heartbeat as a JSON object, several as a JSON array or as NDJSON (one per line).",
      );
    case "too_many_events":
      throw ingestProblems.problem(
        "too-many-events",
        `A request holds at most ${maxEvents} events; nothing was stored. Send several requests.`,
      );
    case "event_too_large":
      throw ingestProblems.problem(
        "event-too-large",
        `Event ${admission.index} has ${admission.bytes} bytes, the maximum is ` +
          `${MAX_EVENT_BYTES}; nothing was stored. Send the others without it.`,
        { members: { event_index: admission.index } },
      );
  }
}

function fleetTooFast(retryAfterMs: number): IngestProblem {
  const detail =
    "The fleet exceeds its rate limit; nothing was stored. Send the same bytes again later.";
  return ingestProblems.problem("fleet-limit", detail, { retryAfterMs });
}
