/**
 * Errors about invalid command lines, with suggestions for misspelled names.
 *
 * Pure.
 *
 * @module
 */
import { safeText } from "./table.ts";

/** Maximum characters of a value in a message. */
const MAX_SHOWN_CHARS = 60;

/** An invalid command line; the process exits with 2. */
export class Misuse extends Error {
  override readonly name = "Misuse";
}

/** An argument as a message shows it: unchanged if plain, else quoted, escaped and truncated. */
export function quoted(argument: string): string {
  const chars = [...argument];
  const shown = chars.length > MAX_SHOWN_CHARS
    ? `${chars.slice(0, MAX_SHOWN_CHARS).join("")}…`
    : argument;
  return /^[\w./:+@=-]+$/.test(shown) ? shown : `"${safeText(shown)}"`;
}

/** The suggestion at the end of a message; empty if `near` is undefined. */
export function didYouMean(near: string | undefined): string {
  return near === undefined ? "" : `; did you mean ${near}?`;
}

/**
 * The candidate closest to `given`: the only one that starts with it, or the one with the smallest
 * edit distance, up to a third of its letters; undefined if there is none.
 */
export function nearest(given: string, candidates: readonly string[]): string | undefined {
  if (given.length > MAX_SHOWN_CHARS) return undefined;
  const begun = candidates.filter((each) => given.length > 2 && each.startsWith(given));
  if (begun.length === 1) return begun[0];
  const letters = (word: string) => word.replaceAll("-", "").length;
  const near = candidates
    .map((name) => ({ name, distance: editDistance(given, name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(letters(name) / 3)))
    .sort((a, b) => a.distance - b.distance);
  return near[0]?.name;
}

/**
 * Edit distance of two words: insertions, deletions, substitutions and transpositions of neighbours
 * (optimal string alignment; F. J. Damerau, "A technique for computer detection and correction of
 * spelling errors", 1964).
 */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = [];
  let row: readonly number[] = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const at = (cells: readonly number[], index: number) => cells[index] ?? Infinity;
      const isSwap = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j];
      next.push(Math.min(
        at(row, j) + (a[i] === b[j] ? 0 : 1),
        at(row, j + 1) + 1,
        at(next, j) + 1,
        isSwap ? at(before, j - 1) + 1 : Infinity,
      ));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? Infinity;
}
