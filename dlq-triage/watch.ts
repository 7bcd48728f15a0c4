/**
 * Evaluates the limits periodically, so that an alert also resolves when no entry arrives, and deletes
 * entries that are too old.
 *
 * @module
 */
import type { Consumer } from "nats/jetstream";
import { messageOf, Refused, RetryAfter } from "../shared/process/errors.ts";
import type { Metrics } from "../shared/process/metrics.ts";
import { pause } from "../shared/process/retry.ts";
import type { Service } from "../shared/process/service.ts";
import type { Alarm, Evaluation } from "./alarm.ts";
import type { Quarantine } from "./quarantine.ts";
import type { triageSettings } from "./settings.ts";

/** Dependencies of {@link watchLimits}. */
export interface WatchDependencies {
  readonly alarm: Pick<Alarm, "evaluate">;
  readonly store: Pick<Quarantine, "forget">;
  readonly durable: Pick<Consumer, "info">;
  /** The time of day, ms since the epoch. Rejects while clocks differ or cannot be read. */
  readonly nowMs: () => Promise<number>;
  /** Called with the number of entries in QUARANTINE that are not stored yet. */
  readonly onLag?: (entries: number) => void;
}

/**
 * Evaluates the limits and sets the gauges until the service stops. Retries after
 * {@link RetryAfter}, and while clocks differ; rejects with any other error.
 */
export async function watchLimits(
  { settings, metrics, health, log, signal }: Service<typeof triageSettings>,
  { alarm, store, durable, nowMs, onLag }: WatchDependencies,
): Promise<void> {
  const part = health.rounds("watching", 2 * settings.TWOFOLD_TRIAGE_EVALUATE_MS + 10_000);
  const setGauges = gauges(metrics);
  while (!signal.aborted) {
    try {
      const atMs = await nowMs();
      const [evaluation, lag] = [await alarm.evaluate(atMs), await lagOf(durable)];
      setGauges(evaluation, lag);
      onLag?.(lag);
      await store.forget(atMs, settings.TWOFOLD_TRIAGE_MAX_AGE_MS);
      part.works();
    } catch (error) {
      if (!(error instanceof RetryAfter || error instanceof Refused)) throw error;
      part.fails(error.message);
      log.warn("triage.limits.retry", { error });
    }
    await pause(settings.TWOFOLD_TRIAGE_EVALUATE_MS, signal);
  }
}

function gauges(metrics: Metrics): (evaluation: Evaluation, lag: number) => void {
  const depth = metrics.gauge("twofold_triage_depth_entries", "Entries within the depth window");
  const growth = metrics.gauge("twofold_triage_minute_entries", "Entries within the last minute");
  const groups = metrics.gauge("twofold_triage_groups", "Groups of reason, path and build");
  const open = metrics.gauge(
    "twofold_triage_open_alerts",
    "Open alerts of the quarantine",
  );
  const lag = metrics.gauge("twofold_triage_lag_entries", "Entries in QUARANTINE not yet stored");
  return ({ measured, openAlerts }, entries) => {
    depth.set(measured.depth);
    growth.set(measured.growthPerMinute);
    groups.set(measured.groups);
    open.set(openAlerts);
    lag.set(entries);
  };
}

async function lagOf(durable: Pick<Consumer, "info">): Promise<number> {
  try {
    const info = await durable.info();
    return info.num_pending + info.num_ack_pending;
  } catch (error) {
    throw new RetryAfter(`QUARANTINE: ${messageOf(error)}`, 1_000, { cause: error });
  }
}
