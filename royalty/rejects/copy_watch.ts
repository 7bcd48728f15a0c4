/**
 * Decides when on-call has to know that rejects do not reach QUARANTINE.
 *
 * Pure. Times are monotonic, in ms.
 *
 * @module
 */
import type { LostCopies } from "./copier.ts";
import { Convalescence, type PipelineFinding } from "../../shared/contract/pulse_watch.ts";

/** `what` of the alert and last token of its subject: `alerts.pipeline.quarantine-behind`. */
export const BEHIND = "quarantine-behind";
/** Time without a copy, while rejects wait or QUARANTINE does not answer, that pages. */
const BEHIND_AFTER_MS = 8_000;
/** `what` of the alert about rejects that get no copy. */
export const INCOMPLETE = "quarantine-incomplete";
/** Time after the last of them until that alert resolves. */
const INCOMPLETE_MS = 600_000;
const WELL_AFTER_MS = { [BEHIND]: 5_000 } as const;
const WHY = {
  gone: "the raw stream does not have their bytes any more",
  too_large: "they are larger than NATS or QUARANTINE takes; their bytes are in the raw stream",
} as const;

/** See the module. */
export class CopyWatch {
  /** Since when rounds fail; undefined while they do not. */
  #failingSinceMs: number | undefined;
  #reason = "";
  #uncopied = 0;
  #isKnown = false;
  #lost: LostCopies | undefined;
  #lostMs = 0;
  readonly #ill = new Convalescence<typeof BEHIND>(WELL_AFTER_MS);

  /** A round ended with everything copied. */
  copied(): void {
    this.#isKnown = true;
    this.#failingSinceMs = undefined;
    this.#uncopied = 0;
  }

  /** A round failed at `nowMs` because of `reason`, and `uncopied` rejects wait. */
  failed(reason: string, uncopied: number, nowMs: number): void {
    this.#isKnown = true;
    this.#failingSinceMs ??= nowMs;
    this.#reason = reason;
    this.#uncopied = uncopied;
  }

  /** `copies` are not made, found at `nowMs`. */
  lost(copies: LostCopies, nowMs: number): void {
    this.#lost = copies;
    this.#lostMs = nowMs;
  }

  /** Nothing could be known before `nowMs`. */
  restart(nowMs: number): void {
    if (this.#failingSinceMs !== undefined) this.#failingSinceMs = nowMs;
  }

  /** Another process copies: nothing is known here. */
  standBy(): void {
    this.#isKnown = false;
    this.#failingSinceMs = undefined;
    this.#lost = undefined;
    this.#ill.clear();
  }

  /** What is known at `nowMs`. */
  findings(nowMs: number): PipelineFinding[] {
    return this.#isKnown ? [...this.#behind(nowMs), this.#incomplete(nowMs)] : [];
  }

  #incomplete(nowMs: number): PipelineFinding {
    if (this.#lost === undefined || nowMs - this.#lostMs >= INCOMPLETE_MS) {
      return { what: INCOMPLETE, isIll: false, summary: "no reject lost its copy lately" };
    }
    const { stream, why, rejects, firstSeq, lastSeq } = this.#lost;
    const summary =
      `${rejects} rejects of ${stream}, between sequences ${firstSeq} and ${lastSeq}, ` +
      `get no copy in QUARANTINE: ${WHY[why]}. The books have them, with their reasons`;
    return { what: INCOMPLETE, isIll: true, summary };
  }

  #behind(nowMs: number): PipelineFinding[] {
    const sinceMs = this.#failingSinceMs;
    const isIll = sinceMs !== undefined && nowMs - sinceMs >= BEHIND_AFTER_MS;
    // While it fails and is not ill yet, an alert that is open stays open.
    if (sinceMs !== undefined && !isIll) return [];
    if (!this.#ill.isSettled(BEHIND, isIll, nowMs)) return [];
    const summary = isIll
      ? `QUARANTINE takes no copies (${this.#reason.slice(0, 300).toWellFormed()}): ` +
        `${this.#uncopied} rejects wait for theirs, the books do not. If it is full, raise ` +
        "TWOFOLD_QUARANTINE_MAX_BYTES and run deno task provision, before the raw heartbeats expire"
      : "QUARANTINE has a copy of every reject again";
    return [{ what: BEHIND, isIll, summary }];
  }
}
