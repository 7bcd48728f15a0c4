/**
 * Starts the copies of rejects to QUARANTINE, with their metrics and their alert.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { reportFindings } from "../../shared/contract/pulses.ts";
import type { Metrics } from "../../shared/process/metrics.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import type { Service } from "../../shared/process/service.ts";
import { countedStreams, type royaltySettings } from "../settings.ts";
import { type CopyReport, RejectCopier } from "./copier.ts";
import { CopyWatch } from "./copy_watch.ts";

/** Starts them, and stops them with the service. `now` is the time of day, ms since the epoch. */
export function startCopies(
  { settings, metrics, log, signal, onStop }: Service<typeof royaltySettings>,
  nc: NatsConnection,
  now: () => number,
): void {
  const watch = new CopyWatch();
  const streams = countedStreams(settings);
  const report = reportTo(metrics, watch);
  const copier = new RejectCopier(nc, settings.TWOFOLD_POSTGRES_URL, streams, report, log, now);
  reportFindings(watch, {
    nc,
    mayAlert: () => copier.isLeading,
    nowMs: now,
    onAlert: ({ incident_id, status, summary }) =>
      log.warn("royalty.rejects.alert_published", { incident_id, status, summary }),
    onRetry: (error) => log.warn("royalty.rejects.alert_retry", { error: natsMessageOf(error) }),
  }, signal);
  const running = copier.run(signal);
  onStop("rejects", () => running);
}

function reportTo(metrics: Metrics, watch: CopyWatch): CopyReport {
  const waiting = new Map<string, number>();
  metrics.gaugeOf(
    "twofold_royalty_uncopied_rejects",
    "Rejects in the books that are not in QUARANTINE yet; exported by the process that copies",
    () => [...waiting].map(([stream, rejects]) => [{ stream }, rejects] as const),
    ["stream"],
  );
  const copies = metrics.counter(
    "twofold_royalty_copies_total",
    "Rejects by what became of their copy to QUARANTINE",
    ["stream", "outcome"],
  );
  return {
    counted: (stream, outcome, count) => copies.inc({ stream, outcome }, count),
    waiting: (stream, rejects) => {
      if (rejects === undefined) waiting.delete(stream);
      else waiting.set(stream, rejects);
    },
    lost: (copies) => watch.lost(copies, performance.now()),
    copied: () => watch.copied(),
    failed: (reason, uncopied) => watch.failed(reason, uncopied, performance.now()),
  };
}
