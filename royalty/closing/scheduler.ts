/**
 * Closes days automatically when they are due, and writes missing statement files.
 *
 * Several royalty processes may run a scheduler: one closes a day, the others find its statement.
 *
 * @module
 */
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import type { LogEvent } from "../../shared/process/log_events.ts";
import type { Closer, NextClose } from "./closer.ts";

/** Maximum time between two steps, because another process or a command may close days too. */
const POLL_MS = 10_000;
/** First and maximum wait after a failure; each attempt may recount a whole day. */
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 600_000;
/** A day that cannot close this long after it was due is reported to on-call. */
const OVERDUE_MS = 900_000;

/** What a {@link Scheduler} needs besides the closer. */
export interface SchedulerOptions {
  /** Publishes an alert; rejects when it could not be published. */
  readonly alert: (alert: PipelineAlert) => Promise<void>;
  readonly log: Log;
  /** The clock, ms since the epoch. */
  readonly now: () => number;
  readonly report: SchedulerReport;
}

/** Receives values for the metrics. */
export interface SchedulerReport {
  /** How long the oldest open day has been due to close, s; 0 when it is not due. */
  overdue(seconds: number): void;
  /** The newest statement was issued at this time, s since the epoch. */
  closed(atSeconds: number): void;
}

function notOpenedText(day: string): string {
  return `minutes are credited since ${day}, and nobody has decided the first day that gets a ` +
    "statement: deno task royalty open --day YYYY-MM-DD --by PERSON";
}

/** Who closes days by itself. */
const SERVICE = "royalty service";

/** Closes days when they are due, with the given closer. */
export class Scheduler {
  #filesComplete = false;
  #retryMs = RETRY_MS;
  #lastWarning = "";
  /** The day for which an incident is open. */
  #alertedClose: NextClose | undefined;

  constructor(
    readonly closer: Pick<Closer, "next" | "close" | "restoreFiles" | "lastCloseMs">,
    readonly options: SchedulerOptions,
  ) {}

  /** Runs until `signal` is aborted; a step in progress is finished first. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) await pause(await this.step(), signal);
  }

  /** Closes the next day if it is due. Returns the wait before the next step, ms. */
  async step(): Promise<number> {
    let next: NextClose | undefined;
    try {
      await this.#restoreFiles();
      await this.#reportLastClose();
      next = await this.closer.next();
      await this.#reportOverdue(next);
      const waitMs = next ? next.due - this.options.now() : POLL_MS;
      if (!next || waitMs > 0) return Math.min(waitMs, POLL_MS);
      if (!next.isOpened) return await this.#tellNotOpened(next);
      await this.#close(next.day);
      return 0;
    } catch (error) {
      return await this.#handleFailure(error, next);
    }
  }

  async #tellNotOpened(next: NextClose): Promise<number> {
    const reason = notOpenedText(next.day);
    this.#warnOnce("royalty.closing.retry", reason);
    await this.#alertOverdue(next, reason);
    return POLL_MS;
  }

  async #reportLastClose(): Promise<void> {
    const lastCloseMs = await this.closer.lastCloseMs();
    if (lastCloseMs !== undefined) this.options.report.closed(lastCloseMs / 1_000);
  }

  async #restoreFiles(): Promise<void> {
    if (this.#filesComplete) return;
    try {
      const written = await this.closer.restoreFiles();
      if (written > 0) {
        this.options.log.info("royalty.closing.files_written", { statements: written });
      }
      this.#filesComplete = true;
    } catch (error) {
      // Days close without files too: the statements are in Postgres.
      this.#warnOnce("royalty.closing.files_retry", error);
    }
  }

  async #close(day: string): Promise<void> {
    const { outcome, statement, filesMissing } = await this.closer.close(day, { by: SERVICE });
    this.#retryMs = RETRY_MS;
    this.#lastWarning = "";
    const { version, rows, events, ms, manifestSha256, manifest } = statement;
    // Logged with its duration.
    const { recount } = JSON.parse(new TextDecoder().decode(manifest));
    const event = outcome === "closed" ? "closed" : "closed_elsewhere";
    this.options.log.info(`royalty.closing.${event}`, {
      day,
      version,
      rows,
      manifest_sha256: manifestSha256,
      recount,
      events: String(events),
      ms: String(ms),
    });
    if (filesMissing === undefined) return;
    this.#filesComplete = false;
    this.#warnOnce("royalty.closing.files_retry", filesMissing);
  }

  async #handleFailure(error: unknown, next: NextClose | undefined): Promise<number> {
    this.#warnOnce("royalty.closing.retry", error);
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(waitMs * 2, MAX_RETRY_MS);
    if (next && error instanceof Refused) await this.#alertOverdue(next, error.message);
    return waitMs;
  }

  // The same warning in a row is logged once.
  #warnOnce(event: LogEvent, error: unknown): void {
    const warning = `${event}: ${messageOf(error)}`;
    if (warning !== this.#lastWarning) this.options.log.warn(event, { error });
    this.#lastWarning = warning;
  }

  async #reportOverdue(next: NextClose | undefined): Promise<void> {
    const { now, report } = this.options;
    report.overdue(next ? Math.max(0, now() - next.due) / 1_000 : 0);
    if (!this.#alertedClose || next?.day === this.#alertedClose.day) return;
    const summary = `${this.#alertedClose.day} is closed`;
    if (await this.#publish(this.#alertOf(this.#alertedClose, "resolved", summary))) {
      this.#alertedClose = undefined;
    }
  }

  async #alertOverdue(next: NextClose, reason: string): Promise<void> {
    if (this.#alertedClose || this.options.now() - next.due < OVERDUE_MS) return;
    const [summary = reason] = reason.split("\n");
    if (await this.#publish(this.#alertOf(next, "open", summary))) this.#alertedClose = next;
  }

  // Whether the alert was published. A failure does not keep days from closing.
  async #publish(alert: PipelineAlert): Promise<boolean> {
    try {
      await this.options.alert(alert);
      return true;
    } catch (error) {
      this.options.log.warn("royalty.closing.alert_retry", { error });
      return false;
    }
  }

  #alertOf({ day, due }: NextClose, status: "open" | "resolved", summary: string): PipelineAlert {
    const now = this.options.now();
    return {
      v: 1,
      kind: "pipeline",
      what: "royalty-close",
      incident_id: `royalty-close:${day}`,
      status,
      severity: "page",
      opened_at: due,
      at: now,
      summary,
      value: now - due,
      limit: OVERDUE_MS,
    };
  }
}
