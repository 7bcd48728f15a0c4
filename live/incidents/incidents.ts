/**
 * Alerts to on-call: made from decisions, published until acknowledged, recovered at a start.
 *
 * Each incident is opened once and resolved once. Messages of one subject keep their order, so the
 * last message of a subject is the state of its incident; that is what a new process starts from. A
 * publish whose outcome is unknown is repeated with the same message id (`<incident_id>.<status>`),
 * which the stream absorbs; beyond its duplicate window on-call sees the same id and status again.
 *
 * @module
 */
import type { JetStreamClient, JetStreamManager } from "nats/jetstream";
import {
  type Alert,
  alertSchema,
  type PipelineAlert,
  type RebufferAlert,
} from "../../shared/contract/alert.ts";
import { messageOf } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/lifecycle.ts";
import type { Log } from "../../shared/process/log.ts";
import { ALERTS, alertSubject, token } from "../../shared/contract/topology.ts";
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

const PAGE = 1_000;

/**
 * The alerts that an earlier process left open, by subject. Reads the alerts of the stream in pages:
 * `multi_last` would be one request, and is refused when more than 1,024 subjects had one.
 */
export async function openAlerts(jsm: JetStreamManager, log: Log): Promise<OpenAlerts> {
  const open: OpenAlerts = new Map();
  for (const filter of ["alerts.rebuffer.>", alertSubject.pipeline(NO_DATA)]) {
    for (let next = 1; next > 0;) next = await readPage(jsm, filter, next, open, log);
  }
  return open;
}

/** Applies a page of alerts from sequence `from` on; returns the next page's, or 0 at the end. */
async function readPage(
  jsm: JetStreamManager,
  next_by_subj: string,
  from: number,
  open: OpenAlerts,
  log: Log,
): Promise<number> {
  let last = 0;
  try {
    const page = await jsm.direct.getBatch(ALERTS, { seq: from, batch: PAGE, next_by_subj });
    for await (const { subject, seq, data } of page) {
      last = seq;
      const alert = readAlert(data);
      if (!alert) log.warn("an alert that cannot be read is left alone", { subject, seq });
      else if (alert.status === "open") open.set(subject, alert);
      else open.delete(subject);
    }
  } catch (error) {
    // Nothing from there on. The client does not export the class of this error.
    if ((error as { code?: unknown }).code !== 404) throw error;
  }
  return last === 0 ? 0 : last + 1;
}

function readAlert(data: Uint8Array): Alert | undefined {
  try {
    return alertSchema.safeParse(JSON.parse(new TextDecoder().decode(data))).data;
  } catch {
    return undefined;
  }
}

type OwnAlert = RebufferAlert | PipelineAlert;

const CONCURRENCY = 64;
const RETRY_MS = 250;

/** Publishes alerts in order until JetStream has acknowledged each. */
export class Outbox {
  readonly #waiting: OwnAlert[] = [];
  #sending?: Promise<void>;

  constructor(
    readonly js: JetStreamClient,
    readonly capacity: number,
    readonly log: Log,
    /** Told of each alert once it is acknowledged. */
    readonly published: (alert: OwnAlert) => void,
  ) {}

  /** No room: decide nothing now, because it could not be said. */
  get full(): boolean {
    return this.#waiting.length >= this.capacity;
  }

  /** Publishes `alert` after those before it. */
  add(alert: OwnAlert): void {
    this.#waiting.push(alert);
    this.#sending ??= this.#send();
  }

  /** Resolves once nothing waits. */
  async flush(): Promise<void> {
    await this.#sending;
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#nextBatch();
      await Promise.all(batch.map((alert) => this.#publish(alert)));
      this.#waiting.splice(0, batch.length);
    }
    this.#sending = undefined;
  }

  // Together, but no two of one subject: a resolve must not overtake its open.
  #nextBatch(): OwnAlert[] {
    const subjects = new Set<string>();
    const batch: OwnAlert[] = [];
    for (const alert of this.#waiting.slice(0, CONCURRENCY)) {
      const subject = subjectOf(alert);
      if (subjects.has(subject)) break;
      subjects.add(subject);
      batch.push(alert);
    }
    return batch;
  }

  async #publish(alert: OwnAlert): Promise<void> {
    const msgID = `${alert.incident_id}.${alert.status}`;
    for (;;) {
      try {
        await this.js.publish(subjectOf(alert), JSON.stringify(alert), { msgID, timeout: 2_000 });
        return this.published(alert);
      } catch (error) {
        this.log.warn("alert not published yet", { msgID, error: messageOf(error) });
        await pause(RETRY_MS);
      }
    }
  }
}
