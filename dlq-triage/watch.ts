/**
 * Evaluates the limits on a clock of its own: an alert must resolve when nothing arrives.
 *
 * @module
 */
import type { Consumer } from "nats/jetstream";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import type { Metrics } from "../shared/process/metrics.ts";
import { pause } from "../shared/process/retry.ts";
import type { Service } from "../shared/process/service.ts";
import type { Alarm, Evaluation } from "./alarm.ts";
import type { triageSettings } from "./settings.ts";

/** What the watch looks at. */
export interface WatchParts {
  readonly alarm: Pick<Alarm, "evaluate">;
  readonly durable: Pick<Consumer, "info">;
  /** The clock, ms since the epoch. */
  readonly now: () => number;
}

/** Evaluates until the service stops. Rejects with what is not worth another try. */
export async function watchLimits(
  { settings, metrics, health, log, signal }: Service<typeof triageSettings>,
  { alarm, durable, now }: WatchParts,
): Promise<void> {
  const part = health.rounds("watching", 2 * settings.TWOFOLD_TRIAGE_EVALUATE_MS + 10_000);
  const show = gauges(metrics);
  while (!signal.aborted) {
    try {
      show(await alarm.evaluate(now()), await lagOf(durable));
      part.works();
    } catch (error) {
      if (!(error instanceof RetryAfter)) throw error;
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
    "Alerts of the quarantine that are open",
  );
  const lag = metrics.gauge("twofold_triage_lag_entries", "Entries in QUARANTINE not yet kept");
  return ({ pressure, openAlerts }, entries) => {
    depth.set(pressure.depth);
    growth.set(pressure.growthPerMinute);
    groups.set(pressure.groups);
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
