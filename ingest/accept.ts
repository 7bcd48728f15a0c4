/**
 * Handles one request: reads its body, admits its events and publishes them.
 *
 * @module
 */
import { MAX_EVENT_BYTES } from "../shared/contract/event.ts";
import { fnv1aText } from "../shared/contract/hash.ts";
import { messageOf } from "../shared/process/errors.ts";
import type { Keyring } from "../shared/process/keyring.ts";
import type { LogFields } from "../shared/process/log.ts";
import type { Counter, Histogram, Metrics } from "../shared/process/metrics.ts";
import { admit, type RoutedEvent } from "./admit.ts";
import { BodyReader, ByteReservation, gunzip } from "./body.ts";
import { fleetShareSpent, type IngestProblem, ingestProblems } from "./problem.ts";
import { NotStored, type RefusalCounts, type RefusalReason } from "./refusals.ts";
import { type BudgetShare, FairBudget } from "./shares/fair_budget.ts";
import {
  AddressRates,
  DeviceRates,
  FleetRate,
  type Overspent,
  type RateLimits,
} from "./shares/rate_limits.ts";
import type { Framing } from "./split.ts";

/** Options of {@link Acceptor}; `settings.ts` describes them. */
export interface AcceptOptions {
  readonly fleetKeys: Keyring;
  readonly rateLimits: RateLimits;
  readonly partitions: number;
  readonly maxEventsPerBody: number;
  readonly bodyDeadlineMs: number;
  readonly maxInFlightBytes: number;
  readonly maxWaitingBodies: number;
}

/** Dependencies of {@link Acceptor}. */
export interface AcceptDependencies {
  /** Resolves once every event is durable; rejects with `RetryAfter`. */
  readonly publish: (events: readonly RoutedEvent[], fleet: string) => Promise<void>;
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

/** What is known of a fleet. */
interface Fleet {
  readonly name: string;
  readonly rate: FleetRate;
  /** Of its name: one address is another one in another fleet. */
  readonly hash: number;
  /** Bytes that its requests hold. */
  readonly held: BudgetShare;
  accepted: number;
  acceptedBytes: number;
  refused: number;
}

/** Accepts requests: authenticates, reads, admits, rate-limits and publishes. */
export class Acceptor {
  /** By name: as many as have a key. */
  readonly #fleets = new Map<string, Fleet>();
  readonly #devices: DeviceRates;
  readonly #addresses: AddressRates;
  readonly #budget: FairBudget;
  readonly #bodies: BodyReader;
  readonly #events: Counter<"outcome">;
  readonly #publishSeconds: Histogram;

  constructor(readonly options: AcceptOptions, readonly dependencies: AcceptDependencies) {
    this.#devices = new DeviceRates(options.rateLimits);
    this.#addresses = new AddressRates(options.rateLimits);
    this.#budget = new FairBudget(options.maxInFlightBytes);
    this.#bodies = new BodyReader(options.bodyDeadlineMs, options.maxWaitingBodies);
    this.#events = dependencies.metrics.counter(
      "twofold_ingest_events_total",
      "Events by outcome",
      ["outcome"],
    );
    for (const outcome of ["accepted", "refused"]) this.#events.inc({ outcome }, 0);
    this.#registerMetrics(dependencies);
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
   * Returns the number of events in the request of `address` once all of them are durable. Throws an
   * {@link IngestProblem} when the request is refused, and `RetryAfter` when not all of its events
   * could be stored.
   */
  async accept(request: Request, address = ""): Promise<number> {
    const fleet = this.#fleetOf(authenticate(request, this.options.fleetKeys));
    const framing = framingOf(request);
    const isGzip = isGzipped(request);
    const reservation = new ByteReservation(fleet.held);
    try {
      const sent = await this.#bodies.read(request, reservation);
      const body = isGzip ? gunzip(sent, reservation) : sent;
      const events = admitOrRefuse(body, framing, this.options);
      const from = (fleet.hash ^ fnv1aText(address)) >>> 0;
      const overspent = fleet.rate.spend(events, from, this.dependencies.nowMs());
      if (overspent) throw this.#tooFast(fleet, events, overspent);
      await this.#publish(events, fleet);
      return events.length;
    } finally {
      reservation.release();
    }
  }

  #fleetOf(name: string): Fleet {
    const known = this.#fleets.get(name);
    if (known) return known;
    const rate = new FleetRate(this.options.rateLimits, this.#devices, this.#addresses);
    const held = this.#budget.shareOf(name);
    const hash = fnv1aText(name);
    const fleet = { name, rate, hash, held, accepted: 0, acceptedBytes: 0, refused: 0 };
    this.#fleets.set(name, fleet);
    return fleet;
  }

  async #publish(events: readonly RoutedEvent[], fleet: Fleet): Promise<void> {
    const startMs = this.dependencies.nowMs();
    try {
      await this.dependencies.publish(events, fleet.name);
    } catch (error) {
      const reason = error instanceof NotStored ? error.reason : "other";
      this.#refuse(reason, fleet, events.length, { detail: messageOf(error) });
      throw reason === "fleet_share" ? fleetShareSpent() : error;
    }
    this.#events.inc({ outcome: "accepted" }, events.length);
    fleet.accepted += events.length;
    for (const { bytes } of events) fleet.acceptedBytes += bytes.length;
    this.#publishSeconds.observe((this.dependencies.nowMs() - startMs) / 1000);
  }

  #tooFast(fleet: Fleet, events: readonly RoutedEvent[], overspent: Overspent): IngestProblem {
    if (overspent.of === "fleet") {
      this.#refuse("fleet_share", fleet, events.length, {});
      return fleetTooFast(overspent.waitMs);
    }
    this.#refuse("device_share", fleet, events.length, {});
    return deviceTooFast(overspent.waitMs, overspent.index);
  }

  #refuse(reason: RefusalReason, fleet: Fleet, events: number, about: LogFields): void {
    const { refusals, nowMs } = this.dependencies;
    this.#events.inc({ outcome: "refused" }, events);
    fleet.refused += events;
    refusals.add(reason, events, nowMs(), { fleet: fleet.name, ...about });
  }

  #registerMetrics({ metrics, refusals }: AcceptDependencies): void {
    const fleets = this.#fleets;
    metrics.counterOf(
      "twofold_ingest_refused_events_total",
      "Events refused, by reason",
      () => [...refusals.events].map(([reason, n]) => [{ reason }, n] as const),
      ["reason"],
    );
    metrics.counterOf(
      "twofold_ingest_fleet_events_total",
      "Events of a fleet by outcome",
      () =>
        [...fleets.values()].flatMap(({ name: fleet, accepted, refused }) => [
          [{ fleet, outcome: "accepted" }, accepted] as const,
          [{ fleet, outcome: "refused" }, refused] as const,
        ]),
      ["fleet", "outcome"],
    );
    metrics.counterOf(
      "twofold_ingest_fleet_bytes_total",
      "Bytes of events of a fleet that were accepted",
      () => [...fleets.values()].map((each) => [{ fleet: each.name }, each.acceptedBytes] as const),
      ["fleet"],
    );
    metrics.gaugeOf(
      "twofold_ingest_fleet_held_bytes",
      "Bytes held by requests of a fleet in progress",
      () => [...fleets.values()].map(({ name, held }) => [{ fleet: name }, held.held] as const),
      ["fleet"],
    );
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

function deviceTooFast(retryAfterMs: number, index: number): IngestProblem {
  const detail =
    `The device of event ${index} exceeds its rate limit; nothing was stored. Send the same bytes ` +
    "again later, or the events of other devices without it.";
  return ingestProblems.problem("device-limit", detail, {
    retryAfterMs,
    members: { event_index: index },
  });
}
