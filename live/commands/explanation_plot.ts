/**
 * What a plot shows of an explanation.
 *
 * Pure.
 *
 * @module
 */
import { openKey } from "../detect/detector.ts";
import type { FindingSignal, Measurement } from "../detect/finding.ts";
import { cellPhrase } from "../incidents/wording.ts";
import {
  decisiveSpan,
  type ExplanationView,
  relevantFindings,
  secondsOf,
  type SignalSecond,
  spansOfSignal,
} from "./explanation.ts";
import { clock, IMPAIRED_WORDS } from "./explanation_text.ts";
import type { Plot, PlotMark, PlotSecond } from "./plot.ts";

/** The plot of one signal of the cell. */
export function explanationPlot(
  explained: ExplanationView,
  signal: FindingSignal,
): Plot {
  const { cell, fromMs } = explained.span;
  const seconds = secondsOf(explained.seconds, signal);
  const findings = relevantFindings(explained, seconds, signal);
  const decisive = decisiveSpan(seconds, findings);
  const spanS = (spansOfSignal(signal)[decisive] ?? 0) / 1_000;
  const own = openKey(signal, explained.name);
  return {
    title: cellPhrase(cell),
    subtitle: `${signal}, ${new Date(fromMs).toISOString().slice(0, 10)}; red: an incident is ` +
      "open; amber: folded into another",
    shareName: signal === "silent"
      ? IMPAIRED_WORDS.silent
      : `${IMPAIRED_WORDS[signal]} in ${spanS} s`,
    seconds: seconds.map((second) => plotSecond(second, decisive)),
    marks: findings.filter(({ change }) => change !== "update").map((each): PlotMark => {
      const verb = { open: "opened", update: "", resolve: "resolved", close: "closed" };
      const isOwn = openKey(each.signal, each.cell) === own;
      const of = isOwn ? "" : `${cellPhrase(each.cell)} `;
      return { atMs: each.atMs, text: `${of}${verb[each.change]} ${clock(each.atMs)}` };
    }),
  };
}

function plotSecond({ atMs, spans, decision }: SignalSecond, decisive: number): PlotSecond {
  const now: Measurement | undefined = spans[decisive];
  const watching = now?.watching ?? 0;
  return {
    atMs,
    watching,
    share: now?.share ?? 0,
    bound: now === undefined || watching === 0 ? 2 : now.bound / watching,
    baseline: now?.baseline ?? 0,
    others: spans.filter((_, i) => i !== decisive).map(({ share }) => share),
    state: decision === "open" || decision === "folded" ? decision : "none",
  };
}
