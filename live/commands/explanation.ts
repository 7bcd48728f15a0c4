/**
 * Replays heartbeats through a detector and notes, second by second, what it knew about one cell.
 *
 * Decides as live does: about each whole second of receipt time, before the heartbeats received in
 * that second count.
 *
 * Pure. Times are ms since the epoch as receipts are.
 *
 * @module
 */
import { CHANNELS, ruleOfSignal, type SignalRule, SIGNALS } from "../detect/channels.ts";
import { type Detector, type Explained as ExplainedNow, openKey } from "../detect/detector.ts";
import type { Finding, FindingSignal, Measurement } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { overlap } from "../detect/relation.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";

const STEP_MS = 1_000;

/** What is explained: a cell from `fromMs` to `toMs`, both included. */
export interface ExplainedSpan {
  readonly cell: CellName;
  readonly fromMs: number;
  readonly toMs: number;
}

/** One signal of the cell in one second. */
export interface ExplainedSignal extends ExplainedNow {
  /** The figures of each span of time that the signal is judged over, the shortest first. */
  readonly spans: readonly Measurement[];
  /** For `improbable`: an open incident that has sessions in common with the cell. */
  readonly near?: CellName;
}

/** The cell in one second, by signal. */
export interface ExplainedSecond {
  readonly atMs: number;
  readonly signals: readonly ExplainedSignal[];
}

/** The seconds of a cell and what the detector found meanwhile. */
export class Explanation {
  readonly seconds: ExplainedSecond[] = [];
  /** Opened and ended incidents, updates included, since the first heartbeat. */
  readonly findings: Finding[] = [];
  /** The cell as findings name it: what is not printable is replaced. */
  name: CellName;
  #nextMs: number | undefined;

  constructor(readonly detector: Detector, readonly span: ExplainedSpan) {
    this.name = span.cell;
  }

  /** Takes in a heartbeat, after the seconds before it are decided about. */
  heartbeat(heartbeat: WatchedHeartbeat, receivedAtMs: number): void {
    this.#nextMs ??= Math.floor(receivedAtMs / STEP_MS) * STEP_MS;
    if (receivedAtMs >= this.#nextMs) this.advance(receivedAtMs);
    this.detector.heartbeat(heartbeat, receivedAtMs);
  }

  /** Decides about the seconds until `nowMs`; none before the first heartbeat. */
  advance(nowMs: number): void {
    if (this.#nextMs === undefined) return;
    const { fromMs, toMs } = this.span;
    for (; this.#nextMs <= Math.min(nowMs, toMs); this.#nextMs += STEP_MS) {
      this.findings.push(...this.detector.tick(this.#nextMs));
      if (this.#nextMs >= fromMs) this.#note(this.#nextMs);
    }
  }

  #note(atMs: number): void {
    const explained = this.detector.explain(this.span.cell);
    const number = this.detector.cells.named(this.span.cell, atMs, false);
    if (number >= 0) this.name = this.detector.cells.name(number);
    const signals = explained.map((each): ExplainedSignal => {
      const rule = SIGNALS.find(({ signal }) => signal === each.signal);
      const spans = rule === undefined || number < 0 ? [] : this.#spans(number, rule);
      const near = each.decision === "improbable" ? this.#near(number, each.signal) : undefined;
      return { ...each, spans, ...(near === undefined ? {} : { near }) };
    });
    this.seconds.push({ atMs, signals });
  }

  #spans(cell: number, rule: SignalRule): Measurement[] {
    return Array.from(
      { length: rule.count },
      (_, i) => this.detector.measure(cell, rule, rule.first + i),
    );
  }

  #near(cell: number, signal: FindingSignal): CellName | undefined {
    const { cells, open } = this.detector;
    for (const incident of open.values()) {
      if (incident.signal !== signal) continue;
      const other = cells.named(incident.cell, 0, false);
      if (other >= 0 && overlap(cells, other, cell) !== "apart") return incident.cell;
    }
    return undefined;
  }
}

/** What is shown of an {@link Explanation}. */
export type ExplanationView = Pick<Explanation, "seconds" | "findings" | "span" | "name">;

/** One signal of a second, with its time. */
export interface SignalSecond extends ExplainedSignal {
  readonly atMs: number;
}

/** The seconds of one signal. */
export function secondsOf(
  seconds: readonly ExplainedSecond[],
  signal: FindingSignal,
): SignalSecond[] {
  return seconds.flatMap(({ atMs, signals }) => {
    const found = signals.find((each) => each.signal === signal);
    return found === undefined ? [] : [{ ...found, atMs }];
  });
}

/** Findings of one signal about the cell itself, and about the incidents that it is folded into. */
export function relevantFindings(
  { findings, name }: ExplanationView,
  seconds: readonly SignalSecond[],
  signal: FindingSignal,
): Finding[] {
  const cells = [name, ...seconds.flatMap(({ into, near }) => into ?? near ?? [])];
  const keys = new Set(cells.map((each) => openKey(signal, each)));
  return findings.filter((each) => keys.has(openKey(each.signal, each.cell)));
}

/** The lengths of the spans of a signal, in ms, the shortest first. */
export function spansOfSignal(signal: FindingSignal): number[] {
  const { first, count } = ruleOfSignal(signal);
  return CHANNELS.slice(first, first + count).map(({ spanMs }) => spanMs);
}

/** How near `now` is to being improbable: 1 is at the bound. */
export function nearness({ impaired, bound }: Measurement): number {
  return bound > 0 ? impaired / bound : 0;
}

/**
 * The span of time, by number, that decided: the one over which the first incident opened, or the
 * one that came nearest to its bound.
 */
export function decisiveSpan(
  seconds: readonly SignalSecond[],
  findings: readonly Finding[],
): number {
  const opened = findings.find(({ change }) => change === "open");
  const of = opened && spansOfSignal(opened.signal).indexOf(opened.now.spanMs);
  if (of !== undefined && of >= 0) return of;
  let best = { span: 0, nearness: 0 };
  for (const { spans } of seconds) {
    for (const [span, now] of spans.entries()) {
      if (nearness(now) > best.nearness) best = { span, nearness: nearness(now) };
    }
  }
  return best.span;
}
