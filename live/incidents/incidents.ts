/**
 * Makes alerts from decisions and tracks which incidents are open.
 *
 * Each incident is opened once and resolved once. Messages of one subject keep their order, so the
 * last message of a subject is the state of its incident; a new process recovers from it.
 *
 * @module
 */
import type { Alert, PipelineAlert, RebufferAlert } from "../../shared/contract/alert.ts";
import { alertSubject, token } from "../../shared/contract/topology.ts";
import type { Decision } from "../detect/rules.ts";
import type { Key } from "../watch/window.ts";

/** The definition of `ratio`, part of every rebuffer alert. */
export const REBUFFER_RATIO_DEFINITION =
  "sum(rebuffer_ms) / sum(played_ms + rebuffer_ms) of the heartbeats in the window, start-up excluded";

/** Last token of `alerts.pipeline.no-data`: no heartbeat arrives. */
export const NO_DATA = "no-data";

/** Values of alert payloads that are not part of a decision. */
export interface AlertOptions {
  readonly bucketMs: number;
  readonly openRatio: number;
  readonly resolveRatio: number;
  readonly silenceMs: number;
}

/** The open incidents: their newest alert by subject. */
export type OpenAlerts = Map<string, Alert>;

/** Makes alerts from decisions and tracks which incidents are open. */
export class Incidents {
  constructor(readonly options: AlertOptions, readonly open: OpenAlerts = new Map()) {}

  /** Title and region of each open rebuffer incident. */
  get rebufferKeys(): Key[] {
    return [...this.open.values()].flatMap((alert) =>
      alert.kind === "rebuffer" ? [{ titleId: alert.title_id, region: alert.region }] : []
    );
  }
  /** Whether the incident about missing heartbeats is open. */
  get isSilent(): boolean {
    return this.open.has(alertSubject.pipeline(NO_DATA));
  }

  /** The alert of a rebuffering decision made at `nowMs`, ms since the epoch. */
  rebuffer(decision: Decision, nowMs: number): RebufferAlert {
    const { key: { titleId, region }, evidence } = decision;
    const { openRatio, resolveRatio, bucketMs } = this.options;
    const subject = alertSubject.rebuffer(region, titleId);
    const opened = decision.change === "opened";
    const alert: RebufferAlert = {
      ...this.#common(subject, opened, nowMs, `${token(region)}.${token(titleId)}`),
      kind: "rebuffer",
      summary: rebufferSummary(decision),
      title_id: titleId,
      region,
      definition: REBUFFER_RATIO_DEFINITION,
      ratio: evidence.ratio,
      threshold: opened ? openRatio : resolveRatio,
      window_ms: evidence.buckets * bucketMs,
      heartbeats: evidence.heartbeats,
      played_ms: evidence.playedMs,
      rebuffer_ms: evidence.rebufferMs,
      stalled_sessions: evidence.stalledSessions,
      received_at: evidence.receivedAt,
      ...(decision.change === "resolved" ? { outcome: decision.outcome } : {}),
    };
    this.#track(subject, alert);
    return alert;
  }

  /** The alert of silence that began or ended at `nowMs`, ms since the epoch. */
  silence(change: "opened" | "resolved", nowMs: number): PipelineAlert {
    const subject = alertSubject.pipeline(NO_DATA);
    const { silenceMs } = this.options;
    const alert: PipelineAlert = {
      ...this.#common(subject, change === "opened", nowMs, NO_DATA),
      kind: "pipeline",
      what: NO_DATA,
      summary: change === "opened"
        ? `No heartbeat has arrived for ${silenceMs / 1000} s: rebuffering cannot be detected`
        : "Heartbeats arrive again",
      limit: silenceMs,
    };
    this.#track(subject, alert);
    return alert;
  }

  #common(subject: string, opened: boolean, nowMs: number, name: string) {
    const known = this.open.get(subject);
    return {
      v: 1 as const,
      incident_id: known?.incident_id ?? `${name}.${nowMs}`,
      status: opened ? "open" as const : "resolved" as const,
      severity: "page" as const,
      opened_at: known?.opened_at ?? nowMs,
      at: nowMs,
    };
  }

  #track(subject: string, alert: Alert): void {
    if (alert.status === "open") this.open.set(subject, alert);
    else this.open.delete(subject);
  }
}

function rebufferSummary(decision: Decision): string {
  const { key: { titleId, region }, evidence } = decision;
  const where = `${titleId} in ${region}`;
  const percent = `${(evidence.ratio * 100).toFixed(1)} %`;
  if (decision.change === "opened") {
    return `${where} rebuffers: ${percent} of viewing time stalled, about ${evidence.stalledSessions} sessions`;
  }
  return decision.outcome === "recovered"
    ? `${where} has recovered: ${percent} of viewing time stalled`
    : `${where} is closed without recovery: no heartbeats for minutes`;
}

/** The subject that `alert` is published on. */
export function subjectOf(alert: RebufferAlert | PipelineAlert): string {
  return alert.kind === "rebuffer"
    ? alertSubject.rebuffer(alert.region, alert.title_id)
    : alertSubject.pipeline(alert.what);
}

/** An alert that live publishes. */
export type LiveAlert = RebufferAlert | PipelineAlert;
