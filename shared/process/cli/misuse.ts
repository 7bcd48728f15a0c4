/**
 * A command line that cannot be understood, and the words to say so: what was given, and what was
 * probably meant.
 *
 * Pure.
 *
 * @module
 */
import { safeText } from "./table.ts";

/** Characters of a wrong value that a message shows. */
const SHOWN_CHARS = 60;

/** A command line that cannot be understood; the process exits with 2. */
export class Misuse extends Error {
  override readonly name = "Misuse";
}

/** A wrong argument for a message: as it is when it is plain, else quoted, safe and cut. */
export function quoted(argument: string): string {
  const chars = [...argument];
  const shown = chars.length > SHOWN_CHARS ? `${chars.slice(0, SHOWN_CHARS).join("")}…` : argument;
  return /^[\w./:+@=-]+$/.test(shown) ? shown : `"${safeText(shown)}"`;
}

/** The end of a message that names what was probably meant, if anything was. */
export function didYouMean(near: string | undefined): string {
  return near === undefined ? "" : `; did you mean ${near}?`;
}

/** The candidate that `given` begins, or that is a few slips of the hand away from it. */
export function nearest(given: string, candidates: readonly string[]): string | undefined {
  if (given.length > SHOWN_CHARS) return undefined;
  const begun = candidates.filter((each) => given.length > 2 && each.startsWith(given));
  if (begun.length === 1) return begun[0];
  const letters = (word: string) => word.replaceAll("-", "").length;
  const near = candidates
    .map((name) => ({ name, slips: slipsBetween(given, name) }))
    .filter(({ name, slips }) => slips <= Math.max(1, Math.floor(letters(name) / 3)))
    .sort((a, b) => a.slips - b.slips);
  return near[0]?.name;
}

/** Letters added, left out, replaced or swapped with the next between two words. */
function slipsBetween(a: string, b: string): number {
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
