/**
 * What a request to the finance API asks for. A parameter that is misspelt or given twice is refused:
 * ignoring it would hand out another file than the one that was meant.
 *
 * @module
 */
import { isDay } from "../statement/business_day.ts";
import { financeProblems } from "./problem.ts";

/** The query of a URL, only with parameters in `allowed`, each at most once and not empty. */
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

/** A day as it is written in a path or a parameter. */
export function readDay(text: string): string {
  // The calendar of Postgres has no year 0.
  if (isDay(text) && !text.startsWith("0000")) return text;
  throw financeProblems.problem(
    "bad-day",
    `"${text}" is not a day; write it YYYY-MM-DD, like 2026-11-22.`,
  );
}

/** A version, or undefined for the newest. */
export function readVersion(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw financeProblems.problem(
    "bad-parameter",
    `"${text}" is not a version; versions are 1, 2, 3 and so on.`,
  );
}

/** A studio, or undefined for all. */
export function readStudio(text: string | undefined): string | undefined {
  if (text === undefined || !/\p{Cc}/u.test(text)) return text;
  throw financeProblems.problem("bad-parameter", "The name of a studio has no control characters.");
}

/** How many days a page has. */
export function readLimit(text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  if (/^[1-9]\d{0,3}$/.test(text) && Number(text) <= most) return Number(text);
  throw financeProblems.problem("bad-parameter", `limit must be a whole number from 1 to ${most}.`);
}
