/**
 * An explanation as JSON: every second, every signal, what was found and the verdicts.
 *
 * Pure.
 *
 * @module
 */
import { toJson } from "../../shared/process/cli/json_output.ts";
import type { Finding, Measurement } from "../detect/finding.ts";
import type { Explanation } from "./explanation.ts";

/** What the JSON says besides the seconds. */
export interface ExplanationFacts {
  readonly explanation: Pick<Explanation, "seconds" | "findings" | "span">;
  readonly baselines:
    | { readonly snapshot: { readonly cells: readonly unknown[] }; readonly savedMs: number }
    | { readonly reason: string };
  readonly readFromMs: number;
  readonly readUntilMs: number;
  readonly heartbeats: number;
  readonly unusable: number;
}

/** The JSON text. */
export function explanationJson(
  { explanation: { seconds, findings, span }, baselines, ...read }: ExplanationFacts,
  verdicts: readonly { readonly signal: string; readonly sentence: string }[],
): string {
  return toJson({
    cell: span.cell,
    fromMs: span.fromMs,
    toMs: span.toMs,
    ...read,
    baselines: "snapshot" in baselines
      ? { source: "saved", cells: baselines.snapshot.cells.length, savedMs: baselines.savedMs }
      : { source: "replay", reason: baselines.reason },
    seconds: seconds.map(({ atMs, signals }) => ({
      atMs,
      signals: signals.map(({ signal, decision, into, near, expected, spans }) => ({
        signal,
        decision,
        into,
        near,
        expected,
        spans: spans.map(figures),
      })),
    })),
    findings: findings.map(plainFinding),
    verdicts: verdicts.map(({ signal, sentence }) => ({ signal, sentence })),
  });
}

// What does not exist is not finite: no number would be improbable.
function figures({ spanMs, watching, impaired, share, baseline, bound }: Measurement) {
  const isPossible = Number.isFinite(bound) && bound <= watching;
  return { spanMs, watching, impaired, share, baseline, bound: isPossible ? bound : null };
}

function plainFinding({ change, signal, cell, atMs, onsetMs, now, why, folded }: Finding) {
  return { change, signal, cell, atMs, onsetMs, now: figures(now), why, folded };
}
