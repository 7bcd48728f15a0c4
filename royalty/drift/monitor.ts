/**
 * Compares the totals that live publishes with what royalty has posted, and alerts on-call when they
 * differ.
 *
 * It changes no statement: it observes batches after their commit, keeps totals in memory and writes
 * nothing but alerts. After a restart of either side, an interval that was not read completely is
 * not compared. Whether an incident is open is read from ALERTS, so that a restart neither repeats
 * nor forgets it.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { type PipelineAlert, pipelineAlertSchema } from "../../shared/contract/alert.ts";
import type { natsSettings } from "../../shared/process/config.ts";
import { messageOf } from "../../shared/process/errors.ts";
import type { RejectionReason } from "../../shared/contract/event.ts";
import type { Service, ServiceSettings } from "../../shared/process/service.ts";
import type { Log } from "../../shared/process/log.ts";
import type { Metrics } from "../../shared/process/metrics.ts";
import {
  IntervalTally,
  type IntervalTotals,
  type LiveTotals,
  liveTotalsSchema,
} from "../../shared/contract/totals.ts";
import { ALERTS, alertSubject, liveTotalsSubject } from "../../shared/contract/topology.ts";
import type { Accrual, Claim } from "../posting/accrue.ts";
import type { PostingObserver } from "../posting/worker.ts";
import {
  DRIFT,
  Drift,
  driftAlert,
  type DriftRules,
  type DriftVerdict,
  type Side,
} from "./drift.ts";
import { type countedSettings, countedStreams, type driftSettings } from "../settings.ts";

const SUBJECT = alertSubject.pipeline(DRIFT);
const OPEN_AFTER = 2;
const RESOLVE_AFTER = 5;
/** One side may be this many intervals behind and still be compared: a day of minutes. */
const MAX_WAITING = 1_440;
const UNTIMELY: ReadonlySet<string> = new Set<RejectionReason>(["too_late", "from_the_future"]);

/**
 * Starts the comparison. The returned observer has to receive every batch that is posted. `now` is ms
 * since the epoch.
 */
export function startDriftMonitor(
  service: Service<
    ServiceSettings & typeof driftSettings & typeof countedSettings & typeof natsSettings
  >,
  nc: NatsConnection,
  now: () => number,
): PostingObserver {
  const { settings, metrics, log } = service;
  const intervalMs = settings.TWOFOLD_TOTALS_INTERVAL_MS;
  const rules = {
    limit: settings.TWOFOLD_DRIFT_LIMIT_RATIO,
    minEvents: settings.TWOFOLD_DRIFT_MIN_EVENTS,
    openAfter: OPEN_AFTER,
    resolveAfter: RESOLVE_AFTER,
    maxWaiting: MAX_WAITING,
  };
  const reporter = new AlertReporter(nc, rules.limit, now, log);
  const streams = countedStreams(settings);
  const monitor = new DriftMonitor(streams, intervalMs, rules, reporter);
  registerDriftMetrics(metrics, monitor);
  const subscription = nc.subscribe(liveTotalsSubject("*"), {
    callback: (error, message) => {
      const problem = error ? messageOf(error) : monitor.receive(message.data);
      if (problem) log.warn("royalty.drift.not_compared", { problem });
    },
  });
  service.onStop("drift", () => subscription.unsubscribe());
  return monitor;
}

function registerDriftMetrics(metrics: Metrics, monitor: DriftMonitor): void {
  metrics.counterOf(
    "twofold_royalty_drift_intervals_total",
    "Intervals compared with live's totals, or uncompared because one side had not read all of them",
    () =>
      monitor.streams.flatMap(([stream, { drift }]) =>
        [
          [{ stream, outcome: "compared" }, drift.compared],
          [{ stream, outcome: "uncompared" }, drift.uncompared],
        ] as const
      ),
    ["stream", "outcome"],
  );
  metrics.gaugeOf(
    "twofold_royalty_drift_waiting_intervals",
    "Intervals that royalty has posted and live has not reported yet",
    () => monitor.streams.map(([stream, { drift }]) => [{ stream }, drift.waiting] as const),
    ["stream"],
  );
  metrics.gaugeOf(
    "twofold_royalty_drift_ratio",
    "Relative difference of live's and royalty's totals in the newest sample, 0 to 1",
    () =>
      monitor.streams.flatMap(([stream, { newestShare }]) =>
        newestShare === undefined ? [] : [[{ stream }, newestShare] as const]
      ),
    ["stream"],
  );
}

/** A stream that both sides read, and what royalty has posted of the current interval. */
interface ComparedStream {
  readonly drift: Drift;
  readonly tally: IntervalTally;
  /** Relative difference in the newest sample, 0 to 1. */
  newestShare: number | undefined;
}

/** Totals what royalty posts, and compares it with live's totals. */
class DriftMonitor implements PostingObserver {
  readonly #streams: ReadonlyMap<string, ComparedStream>;

  constructor(
    streams: readonly string[],
    readonly intervalMs: number,
    rules: DriftRules,
    readonly reporter: Pick<AlertReporter, "report">,
  ) {
    this.#streams = new Map(streams.map((stream) => {
      const drift = new Drift(rules);
      const finished = (totals: IntervalTotals) => this.#add(stream, "royalty", totals);
      const tally = new IntervalTally(intervalMs, finished);
      return [stream, { drift, tally, newestShare: undefined }];
    }));
  }

  /** The streams that are compared, by name. */
  get streams(): [string, ComparedStream][] {
    return [...this.#streams];
  }

  leadStarted(stream: string): void {
    this.#streams.get(stream)?.tally.interrupt();
  }

  posted(stream: string, accrual: Accrual): void {
    const tally = this.#streams.get(stream)?.tally;
    for (const { delivery, playedMs } of usableForLive(accrual)) {
      tally?.add(delivery.receivedAtMs, playedMs);
    }
  }

  /** Receives a message of live; returns why it cannot be used, or undefined. */
  receive(data: Uint8Array): string | undefined {
    const totals = readTotals(data);
    if (!totals) return "a message is not one of live's totals";
    const { stream, interval_ms, from, quiet_since: quietSinceMs, events, played_ms } = totals;
    if (interval_ms !== this.intervalMs) {
      return `live totals ${interval_ms} ms and royalty ${this.intervalMs}; ` +
        "TWOFOLD_TOTALS_INTERVAL_MS has to be the same for both";
    }
    if (!this.#streams.has(stream)) return `live reads ${stream}, royalty does not`;
    this.#add(stream, "live", { from, quietSinceMs, events, playedMs: played_ms });
  }

  #add(stream: string, side: Side, totals: IntervalTotals): void {
    const compared = this.#streams.get(stream);
    for (const verdict of compared?.drift.add(side, totals) ?? []) {
      if (compared) compared.newestShare = verdict.sample.share;
      this.reporter.report(stream, verdict);
    }
  }
}

/**
 * The events of a batch that live uses too, in the order of the stream. Live accepts events that
 * royalty refuses as too late or from the future.
 */
function usableForLive(
  { claims, refusals }: Accrual,
): readonly Pick<Claim, "delivery" | "playedMs">[] {
  const untimely = refusals.flatMap(({ delivery, rejection: { reason }, msAtRisk: playedMs }) =>
    UNTIMELY.has(reason) && playedMs !== undefined ? [{ delivery, playedMs }] : []
  );
  if (untimely.length === 0) return claims;
  return [...claims, ...untimely].sort((a, b) => a.delivery.sequence - b.delivery.sequence);
}

function readTotals(data: Uint8Array): LiveTotals | undefined {
  try {
    return liveTotalsSchema.safeParse(JSON.parse(new TextDecoder().decode(data))).data;
  } catch {
    return undefined;
  }
}

/** Opens and resolves the incident. An alert that fails is published with the next verdict. */
class AlertReporter {
  /** The newest verdict of each stream that was not handled yet. */
  readonly #pending = new Map<string, DriftVerdict>();
  #isReporting = false;

  constructor(
    readonly nc: NatsConnection,
    readonly limit: number,
    readonly now: () => number,
    readonly log: Log,
  ) {}

  report(stream: string, verdict: DriftVerdict): void {
    this.#pending.set(stream, verdict);
    if (!this.#isReporting) void this.#reportPending();
  }

  async #reportPending(): Promise<void> {
    this.#isReporting = true;
    for (const [stream, verdict] of this.#pending) {
      this.#pending.delete(stream);
      try {
        await this.#publish(stream, verdict);
      } catch (error) {
        this.log.warn("royalty.drift.alert_retry", { stream, error });
      }
    }
    this.#isReporting = false;
  }

  async #publish(stream: string, verdict: DriftVerdict): Promise<void> {
    if (verdict.standing === "steady") return;
    const jsm = await jetstreamManager(this.nc, { checkAPI: false });
    const last = await jsm.direct.getMessage(ALERTS, { last_by_subj: SUBJECT });
    const alert = driftAlert(stream, verdict, this.limit, readAlert(last?.data), this.now());
    if (!alert) return;
    const { incident_id, status, summary } = alert;
    const msgID = `${incident_id}.${status}`;
    await jsm.jetstream().publish(SUBJECT, JSON.stringify(alert), { msgID });
    this.log.warn("royalty.drift.alert_published", { incident_id, status, summary });
  }
}

function readAlert(data: Uint8Array | undefined): PipelineAlert | undefined {
  if (!data) return undefined;
  try {
    return pipelineAlertSchema.safeParse(JSON.parse(new TextDecoder().decode(data))).data;
  } catch {
    return undefined;
  }
}
