/**
 * Incidents as on-call knows them: alerts made from decisions, and which of them are open.
 *
 * Each incident is opened once and resolved once. Messages of one subject keep their order, so the
 * last message of a subject is the state of its incident; that is what a new process starts from.
 *
 * @module
 */
import type { Alert, PipelineAlert, RebufferAlert } from "../../shared/contract/alert.ts";
import { alertSubject, token } from "../../shared/contract/topology.ts";
import type { Decision } from "../detect/rules.ts";
import type { Key } from "../watch/window.ts";

/** What every rebuffer alert says of its ratio. */
export const DEFINITION =
  "sum(rebuffer_ms) / sum(played_ms + rebuffer_ms) of the heartbeats in the window, start-up excluded";

/** `alerts.pipeline.<this>`: no heartbeat arrives. */
export const NO_DATA = "no-data";

/** What alert payloads need besides the decision. */
export interface AlertOptions {
  readonly bucketMs: number;
  readonly openRatio: number;
  readonly resolveRatio: number;
  readonly silenceMs: number;
}

/** Incidents as on-call knows them: the newest message of each subject that is open. */
export type OpenAlerts = Map<string, Alert>;

/** Makes alerts of decisions and remembers which are open. */
export class Incidents {
  constructor(readonly options: AlertOptions, readonly open: OpenAlerts = new Map()) {}

  /** Open rebuffer incidents. */
  get rebufferKeys(): Key[] {
    return [...this.open.values()].flatMap((alert) =>
      alert.kind === "rebuffer" ? [{ titleId: alert.title_id, region: alert.region }] : []
    );
  }
  /** Whether silence is an open incident. */
  get silent(): boolean {
    return this.open.has(alertSubject.pipeline(NO_DATA));
  }

  /** The alert of a decision on rebuffering, made at `nowMs`. */
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
      definition: DEFINITION,
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
    this.#remember(subject, alert);
    return alert;
  }

  /** The alert of a silence that began or ended, made at `nowMs`. */
  silence(change: "opened" | "resolved", nowMs: number): PipelineAlert {
    const subject = alertSubject.pipeline(NO_DATA);
    const { silenceMs } = this.options;
    const alert: PipelineAlert = {
      ...this.#common(subject, change === "opened", nowMs, NO_DATA),
      kind: "pipeline",
      what: NO_DATA,
      summary: change === "opened"
        ? `No heartbeat has arrived for ${silenceMs / 1000} s: rebuffering cannot be seen`
        : "Heartbeats arrive again",
      limit: silenceMs,
    };
    this.#remember(subject, alert);
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

  #remember(subject: string, alert: Alert): void {
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
    : `${where} is closed without recovery: nobody has watched for minutes`;
}

/** Where `alert` is published. */
export function subjectOf(alert: RebufferAlert | PipelineAlert): string {
  return alert.kind === "rebuffer"
    ? alertSubject.rebuffer(alert.region, alert.title_id)
    : alertSubject.pipeline(alert.what);
}

export type OwnAlert = RebufferAlert | PipelineAlert;
