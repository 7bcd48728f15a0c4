/**
 * What the answer of a receiver means for the message.
 *
 * Pure.
 *
 * @module
 */
import type { Receiver } from "./receiver.ts";

/** Longest wait that a receiver may ask for; a page must not wait for a day. */
const MAX_ASKED_WAIT_MS = 600_000;

/** An HTTP answer. */
export interface Answer {
  readonly status: number;
  /** The header `Retry-After`. */
  readonly retryAfter: string | null;
  /** The beginning of the body. */
  readonly text: string;
}

/** What to do after an answer. */
export type AnswerVerdict =
  | { readonly outcome: "delivered" }
  /** The same message will never be accepted. */
  | { readonly outcome: "refused"; readonly why: string }
  /** Try again; not before `waitMs`, if the receiver asks for that. */
  | { readonly outcome: "retry"; readonly why: string; readonly waitMs?: number };

/** Statuses below 500 with which the same request may be accepted later. */
const PASSING = [408, 423, 425, 429];

/** Judges an answer received at `nowMs`, ms since the epoch. */
export function judgeAnswer(kind: Receiver["kind"], answer: Answer, nowMs: number): AnswerVerdict {
  const { status } = answer;
  const why = `${status} ${answer.text}`.trim();
  if (status >= 200 && status < 300) {
    // PagerDuty accepts with 202 only; anything else is not PagerDuty, such as a portal.
    if (kind === "pagerduty" && status !== 202) return { outcome: "retry", why };
    return { outcome: "delivered" };
  }
  if (status < 500 && !PASSING.includes(status)) return { outcome: "refused", why };
  const waitMs = askedWaitMs(answer.retryAfter, nowMs);
  return { outcome: "retry", why, ...(waitMs === undefined ? {} : { waitMs }) };
}

/** The wait that `Retry-After` asks for, in seconds or as a date; undefined when it asks for none. */
function askedWaitMs(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  const isDate = /^[A-Z][a-z]{2,8},? /.test(text);
  const dateMs = isDate ? Date.parse(text) - nowMs : NaN;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : dateMs;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), MAX_ASKED_WAIT_MS) : undefined;
}
