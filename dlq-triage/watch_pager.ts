/**
 * Watches the pulse of the pager, which watches everybody else's.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { watchPulses } from "../shared/contract/pulses.ts";
import { natsMessageOf } from "../shared/process/nats.ts";
import type { Service } from "../shared/process/service.ts";
import type { triageSettings } from "./settings.ts";

/** Opens and resolves `alerts.pipeline.pager-silent` and `-stalled` until the service stops. */
export function watchPager(
  { log, metrics, signal }: Service<typeof triageSettings>,
  nc: NatsConnection,
  nowMs: () => number,
): void {
  const watch = watchPulses({
    nc,
    services: ["pager"],
    mayAlert: () => true,
    nowMs,
    onAlert: ({ incident_id, status, summary }) =>
      log.warn("triage.pager.alert_published", { incident_id, status, summary }),
    onRetry: (error) => log.warn("triage.pager.alert_retry", { error: natsMessageOf(error) }),
  }, signal);
  metrics.gaugeOf(
    "twofold_triage_pager_pulse_age_seconds",
    "Time since the last pulse of a pager; absent while one that was never heard may be starting",
    () =>
      watch.ages(performance.now()).map(([service, ageMs]) =>
        [{ service }, ageMs / 1_000] as const
      ),
    ["service"],
  );
}
