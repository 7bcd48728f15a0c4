/**
 * Closes each day by itself when its time has come, and keeps the statements' files complete.
 *
 * Several royalty processes may do so at once: one closes, the others find its statement.
 *
 * @module
 */
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/lifecycle.ts";
import type { Log } from "../../shared/process/log.ts";
import type { Gauge } from "../../shared/process/metrics.ts";
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
  /** How long the oldest open day has been due, s. */
  readonly overdue: Pick<Gauge, "set">;
}

/** Closes the days of one closer. */
export class Scheduler {
  #filesComplete = false;
  #retryMs = RETRY_MS;
  #lastTrouble = "";
  /** The day that on-call was told about. */
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
      return await this.#troubled(error, next);
    }
  }

  async #restoreFiles(): Promise<void> {
    if (this.#filesComplete) return;
    try {
      const written = await this.closer.restoreFiles();
      if (written > 0) this.options.log.info("statement files written", { statements: written });
      this.#filesComplete = true;
    } catch (error) {
      // Days close all the same: the statements are in Postgres.
      this.#warn("statement files are missing", error);
    }
  }

  async #close(day: string): Promise<void> {
    const { outcome, statement, filesMissing } = await this.closer.close(day);
    this.#retryMs = RETRY_MS;
    this.#lastTrouble = "";
    const { version, rows, events, ms, manifestSha256, manifest } = statement;
    // What the recount cost is part of it.
    const { recount } = JSON.parse(new TextDecoder().decode(manifest));
    this.options.log.info(outcome === "closed" ? "day closed" : "day was closed elsewhere", {
      ...{ day, version, rows, manifestSha256, recount },
      ...{ events: String(events), ms: String(ms) },
    });
    if (filesMissing === undefined) return;
    this.#filesComplete = false;
    this.#warn("statement files are missing", filesMissing);
  }

  async #troubled(error: unknown, next: NextClose | undefined): Promise<number> {
    this.#warn("no day is closed, trying again", error);
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(waitMs * 2, MOST_RETRY_MS);
    if (next && error instanceof Refused) await this.#tellOverdue(next, error.message);
    return waitMs;
  }

  #warn(what: string, error: unknown): void {
    const trouble = `${what}: ${messageOf(error)}`;
    if (trouble !== this.#lastTrouble) this.options.log.warn(what, { error: messageOf(error) });
    this.#lastTrouble = trouble;
  }

  async #noteOverdue(next: NextClose | undefined): Promise<void> {
    const { now, overdue } = this.options;
    overdue.set(next ? Math.max(0, now() - next.due) / 1000 : 0);
    if (!this.#alerted || next?.day === this.#alerted.day) return;
    const summary = `${this.#alerted.day} is closed`;
    if (await this.#tell(this.#alertOf(this.#alerted, "resolved", summary))) {
      this.#alerted = undefined;
    }
  }

  async #tellOverdue(next: NextClose, reason: string): Promise<void> {
    if (this.#alerted || this.options.now() - next.due < OVERDUE_MS) return;
    if (await this.#tell(this.#alertOf(next, "open", reason.split("\n")[0]))) this.#alerted = next;
  }

  // That NATS cannot be reached keeps nobody from closing.
  async #tell(alert: PipelineAlert): Promise<boolean> {
    try {
      await this.options.alert(alert);
      return true;
    } catch (error) {
      this.options.log.warn("on-call cannot be told", { error: messageOf(error) });
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
