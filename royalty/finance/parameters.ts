/**
 * Parses path and query of requests to the finance API. Every function throws a problem of
 * {@link financeProblems} for a wrong value. A misspelled or repeated parameter is refused, because
 * ignoring it would serve another file than the one intended.
 *
 * @module
 */
import { isDay } from "../statement/business_day.ts";
import { financeProblems } from "./problem.ts";

/** The query of `url`: parameters in `allowed`, each at most once and not empty. */
export function readParameters<N extends string>(
  url: string,
  allowed: readonly N[],
): ReadonlyMap<N, string> {
  const read = new Map<N, string>();
  for (const [given, value] of new URL(url).searchParams) {
    const name = allowed.find((each) => each === given);
    if (name === undefined) {
      const known = allowed.length === 0 ? "no parameters" : allowed.join(" and ");
      throw financeProblems.problem(
        "bad-parameter",
        `There is no parameter ${given} here, only ${known}.`,
      );
    }
    if (read.has(name)) throw financeProblems.problem("bad-parameter", `${name} is given twice.`);
    if (value === "") {
      throw financeProblems.problem("bad-parameter", `${name} is empty; leave it out.`);
    }
    read.set(name, value);
  }
  return read;
}

/** Parses a day of a path or parameter, `YYYY-MM-DD`. */
export function readDay(text: string): string {
  // Postgres has no year 0.
  if (isDay(text) && !text.startsWith("0000")) return text;
  throw financeProblems.problem(
    "bad-day",
    `"${text}" is not a day; write it YYYY-MM-DD, like 2026-11-22.`,
  );
}

/** Parses a version; undefined stands for the newest. */
export function readVersion(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw financeProblems.problem(
    "bad-parameter",
    `"${text}" is not a version; versions are 1, 2, 3 and so on.`,
  );
}

/** Parses the name of a studio; undefined stands for all studios. */
export function readStudio(text: string | undefined): string | undefined {
  if (text === undefined || !/\p{Cc}/u.test(text)) return text;
  throw financeProblems.problem("bad-parameter", "studio must not have control characters.");
}

/** Parses `limit`, the days per page. */
export function readLimit(text: string | undefined, defaultDays: number, maxDays: number): number {
  if (text === undefined) return defaultDays;
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= maxDays) return Number(text);
  throw financeProblems.problem(
    "bad-parameter",
    `limit must be a whole number from 1 to ${maxDays}.`,
  );
}
