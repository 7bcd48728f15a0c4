/**
 * Sums the scores of all trials of a scenario, and of all scenarios.
 *
 * Pure.
 *
 * @module
 */
import type { CellName } from "../../../live/watch/cells.ts";
import type { DetectionScenario } from "./scenarios.ts";
import { poissonUpper95, quantile, type Score } from "./score.ts";

/** Milliseconds to open or to close. */
export interface Spread {
  readonly medianMs: number;
  readonly p95Ms: number;
}

/** How one detector did in one scenario. */
export interface Result {
  readonly incidents: number;
  readonly found: number;
  readonly named: number;
  /** Incidents of which something was still open at the end. */
  readonly leftOpen: number;
  readonly falseRecoveries: number;
  readonly pages: number;
  readonly pagesPerIncident: number;
  readonly falsePages: number;
  /** Pages about what may page and need not. */
  readonly optionalPages: number;
  readonly coldPages: number;
  readonly open?: Spread;
  readonly close?: Spread;
  /** The first false pages, for their cause. */
  readonly examples: readonly FalsePage[];
}

/** A false page; `atMs` is since the start of the world. */
export interface FalsePage {
  readonly seed: number;
  readonly atMs: number;
  readonly signal: string;
  readonly cell: CellName;
  readonly watching: number;
  readonly impaired: number;
  readonly baseline: number;
}

/** The results of a scenario, by the name of the detector. */
export interface ScenarioResult {
  readonly scenario: DetectionScenario;
  readonly results: ReadonlyMap<string, Result>;
}

/** The healthy run. */
export interface HealthyResult extends HealthySize, HealthyName {
  readonly falsePages: number;
  /** Per 100,000 keys of the catalogue and day; `upper` is the one-sided 95 % bound. */
  readonly perDay: number;
  readonly perDayUpper: number;
  /** The same per 100,000 keys with a viewer. */
  readonly perDayActive: number;
  readonly perDayActiveUpper: number;
  readonly examples: readonly FalsePage[];
}

const MAX_EXAMPLES = 5;
const KEYS_OF_BUDGET = 100_000;

/** Sums `scores`, one of each seed. */
export function resultOf(scores: ReadonlyMap<number, Score>): Result {
  const all = [...scores.values()];
  const found = all.flatMap((score) => score.found);
  const hits = found.filter(({ openMs }) => openMs !== undefined);
  const pages = found.reduce((sum, each) => sum + each.pages, 0);
  const optional = all.flatMap((score) => score.optional);
  const open = spreadOf(hits.map(({ openMs }) => openMs));
  const close = spreadOf(hits.map(({ closeMs }) => closeMs));
  return {
    incidents: found.length,
    found: hits.length,
    named: found.filter(({ isNamed }) => isNamed).length,
    leftOpen: hits.filter(({ closeMs }) => closeMs === undefined).length,
    falseRecoveries: found.reduce((sum, each) => sum + each.falseRecoveries, 0),
    pages,
    pagesPerIncident: hits.length === 0 ? 0 : pages / hits.length,
    falsePages: all.reduce((sum, score) => sum + score.falsePages.length, 0),
    optionalPages: optional.reduce((sum, each) => sum + each.pages, 0),
    coldPages: all.reduce((sum, score) => sum + score.coldPages, 0),
    ...(open ? { open } : {}),
    ...(close ? { close } : {}),
    examples: examplesOf(scores),
  };
}

function spreadOf(values: readonly (number | undefined)[]): Spread | undefined {
  const known = values.filter((value) => value !== undefined);
  const [medianMs, p95Ms] = [quantile(known, 0.5), quantile(known, 0.95)];
  return medianMs === undefined || p95Ms === undefined ? undefined : { medianMs, p95Ms };
}

function examplesOf(scores: ReadonlyMap<number, Score>): FalsePage[] {
  return [...scores].flatMap(([seed, score]) =>
    score.falsePages.map(({ atMs, finding: { signal, cell, now } }) => ({
      seed,
      atMs,
      signal,
      cell,
      watching: now.watching,
      impaired: now.impaired,
      baseline: now.baseline,
    }))
  ).slice(0, MAX_EXAMPLES);
}

/** Which healthy run it is: its world, and the detector. */
export interface HealthyName {
  readonly world: string;
  readonly name: string;
}

/** How much a healthy run was. */
export interface HealthySize {
  readonly hours: number;
  readonly wallMs: number;
  /** Titles × regions of the catalogue; with a viewer and with five, on average. */
  readonly catalogueKeys: number;
  readonly activeKeys: number;
  readonly keysOfFive: number;
  readonly viewers: number;
}

/** The false pages of a healthy run per 100,000 keys and day. */
export function healthyResult(
  name: HealthyName,
  size: HealthySize,
  score: Score,
): HealthyResult {
  const falsePages = score.falsePages.length;
  const upper = poissonUpper95(falsePages);
  const days = size.hours / 24;
  const per = (count: number, keys: number) => count / days / keys * KEYS_OF_BUDGET;
  return {
    ...name,
    ...size,
    falsePages,
    perDay: per(falsePages, size.catalogueKeys),
    perDayUpper: per(upper, size.catalogueKeys),
    perDayActive: per(falsePages, size.activeKeys),
    perDayActiveUpper: per(upper, size.activeKeys),
    examples: examplesOf(new Map([[0, score]])),
  };
}

/** Precision and recall of one detector over `all` scenarios, 0 to 1. */
export function detectionTotals(
  all: readonly ScenarioResult[],
  name: string,
): { readonly precision: number; readonly recall: number; readonly falsePages: number } {
  const results = all.flatMap(({ results }) => results.get(name) ?? []);
  const sum = (of: (result: Result) => number) => results.reduce((n, each) => n + of(each), 0);
  const falsePages = sum((each) => each.falsePages);
  const truePages = sum((each) => each.pages) + sum((each) => each.optionalPages);
  const incidents = sum((each) => each.incidents);
  return {
    precision: truePages + falsePages === 0 ? 1 : truePages / (truePages + falsePages),
    recall: incidents === 0 ? 1 : sum((each) => each.found) / incidents,
    falsePages,
  };
}
