/**
 * Silences and maintenance windows: which alerts do not page, from when until when, by whom and why.
 * They suppress delivery, not detection: the alert is published and says `suppressed_by`.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { z } from "zod";
import type { Suppression } from "../../shared/contract/alert.ts";
import { isSubjectPattern, subjectMatches } from "../../shared/contract/topology.ts";

/** Longest silence, in ms: 30 days. ALERTS itself is kept for 7. */
export const MAX_SILENCE_MS = 30 * 86_400_000;

/** A silence as it is stored in `SILENCES`, one a key. */
export const silenceSchema = z.object({
  v: z.literal(1),
  id: z.string().regex(/^[a-z0-9-]{1,64}$/),
  /** Subjects of alerts; see {@link isAlertPattern}. */
  subject: z.string().max(2_048).refine(isAlertPattern, "expected a pattern of alerts.>"),
  from: z.int(),
  /** Exclusive. */
  until: z.int(),
  by: z.string().min(1).max(400),
  reason: z.string().min(1).max(1_000),
  created_at: z.int(),
  /** Who ended it early; `until` is then when. */
  ended_by: z.string().min(1).max(400).exactOptional(),
}).refine(
  ({ from, until }) => until - from <= MAX_SILENCE_MS,
  "expected at most 30 days",
);

/** See {@link silenceSchema}. */
export type Silence = Readonly<z.infer<typeof silenceSchema>>;

/** Whether `pattern` is a pattern of subjects below `alerts`. */
export function isAlertPattern(pattern: string): boolean {
  return isSubjectPattern(pattern) && pattern.startsWith("alerts.");
}

/** What becomes of a silence. */
export type SilenceState = "planned" | "active" | "over";

/** The state of `silence` at `nowMs`. */
export function silenceState({ from, until }: Silence, nowMs: number): SilenceState {
  if (nowMs >= until) return "over";
  return nowMs < from ? "planned" : "active";
}

/** The active silence that matches `subject` and ends last; undefined without one. */
export function suppressionOf(
  silences: readonly Silence[],
  subject: string,
  nowMs: number,
): Suppression | undefined {
  let last: Silence | undefined;
  for (const silence of silences) {
    if (silenceState(silence, nowMs) !== "active") continue;
    if (!subjectMatches(silence.subject, subject)) continue;
    if (last === undefined || silence.until > last.until) last = silence;
  }
  if (last === undefined) return undefined;
  const { id, subject: pattern, until, by, reason } = last;
  return { silence_id: id, subject: pattern, until, by, reason };
}
