/**
 * Closes each day by itself when its time has come, and keeps the statements' files complete.
 *
 * Several royalty processes may do so at once: one closes, the others find its statement.
 *
 * @module
 */
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import type { LogEvent } from "../../shared/process/log_events.ts";
import type { Closer, NextClose } from "./closer.ts";

/** Longest time between two looks: another process, or a person, may have closed meanwhile. */
const LOOK_MS = 10_000;
/** After a refusal: the first wait and the longest, because each try may recount a whole day. */
const RETRY_MS = 5_000;
const MOST_RETRY_MS = 600_000;
/** A day that is still open so long after its time is somebody's business. */
const OVERDUE_MS = 900_000;

/** What a scheduler uses besides the closer. */
export interface SchedulerOptions {
  readonly alert: (alert: PipelineAlert) => Promise<void>;
  readonly log: Log;
  readonly now: () => number;
  readonly report: SchedulerReport;
}

/** Receives figures for the metrics. */
export interface SchedulerReport {
  /** How long the oldest open day has been due, s. */
  overdue(seconds: number): void;
  /** A day was closed at this time, s since the epoch. */
  closed(atSeconds: number): void;
}

/** Closes the days of one closer. */
export class Scheduler {
  #filesComplete = false;
  #retryMs = RETRY_MS;
  #lastWarning = "";
  /** The day that an alert is open for. */
  #alerted: NextClose | undefined;

  constructor(
    readonly closer: Pick<Closer, "next" | "close" | "restoreFiles">,
    readonly options: SchedulerOptions,
  ) {}

  /** Works until `signal` is aborted; a close under way is finished first. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) await pause(await this.step(), signal);
  }

  /** Does what is due and returns after how many ms to look again. */
  async step(): Promise<number> {
    let next: NextClose | undefined;
    try {
      await this.#restoreFiles();
      next = await this.closer.next();
      await this.#noteOverdue(next);
      const waitMs = next ? next.due - this.options.now() : LOOK_MS;
      if (!next || waitMs > 0) return Math.min(waitMs, LOOK_MS);
      await this.#close(next.day);
      return 0;
    } catch (error) {
      return await this.#failed(error, next);
    }
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
      // Days close all the same: the statements are in Postgres.
      this.#warn("royalty.closing.files_retry", error);
    }
  }

  async #close(day: string): Promise<void> {
    const { outcome, statement, filesMissing } = await this.closer.close(day);
    this.#retryMs = RETRY_MS;
    this.#lastWarning = "";
    const { version, rows, events, ms, manifestSha256, manifest } = statement;
    // What the recount cost is part of it.
    const { recount } = JSON.parse(new TextDecoder().decode(manifest));
    this.options.report.closed(this.options.now() / 1_000);
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
    this.#warn("royalty.closing.files_retry", filesMissing);
  }

  async #failed(error: unknown, next: NextClose | undefined): Promise<number> {
    this.#warn("royalty.closing.retry", error);
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(waitMs * 2, MOST_RETRY_MS);
    if (next && error instanceof Refused) await this.#tellOverdue(next, error.message);
    return waitMs;
  }

  #warn(event: LogEvent, error: unknown): void {
    const warning = `${event}: ${messageOf(error)}`;
    if (warning !== this.#lastWarning) this.options.log.warn(event, { error });
    this.#lastWarning = warning;
  }

  async #noteOverdue(next: NextClose | undefined): Promise<void> {
    const { now, report } = this.options;
    report.overdue(next ? Math.max(0, now() - next.due) / 1_000 : 0);
    if (!this.#alerted || next?.day === this.#alerted.day) return;
    const summary = `${this.#alerted.day} is closed`;
    if (await this.#tell(this.#alertOf(this.#alerted, "resolved", summary))) {
      this.#alerted = undefined;
    }
  }

  async #tellOverdue(next: NextClose, reason: string): Promise<void> {
    if (this.#alerted || this.options.now() - next.due < OVERDUE_MS) return;
    const [summary = reason] = reason.split("\n");
    if (await this.#tell(this.#alertOf(next, "open", summary))) this.#alerted = next;
  }

  // That NATS cannot be reached keeps nobody from closing.
  async #tell(alert: PipelineAlert): Promise<boolean> {
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
