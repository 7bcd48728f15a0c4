/**
 * Parsers of option values: numbers, days, instants, text, choices and paths.
 *
 * Pure.
 *
 * @module
 */
import type { Parser } from "./declaration.ts";
import { didYouMean, Misuse, nearest } from "./misuse.ts";

/** A whole number from `min` to `max`, in decimal; `max` is at most 2^53 - 1. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Parser<number> {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return {
    parse: (text) => {
      const value = Number(text);
      if (/^-?\d+$/.test(text) && Number.isSafeInteger(value) && value >= min && value <= max) {
        return value;
      }
      throw new Misuse(`is not a whole number ${bounds}`);
    },
  };
}

/** A number from `min` to `max`, in decimal, such as `0.5`. */
export function numberWithin(min: number, max: number): Parser<number> {
  return {
    parse: (text) => {
      const value = Number(text);
      if (/^-?\d+(\.\d+)?$/.test(text) && value >= min && value <= max) return value;
      throw new Misuse(`is not a number from ${min} to ${max}`);
    },
  };
}

/** A day of the calendar, written `YYYY-MM-DD`; the value is the text. */
export function day(): Parser<string> {
  return {
    parse: (text) => {
      if (isDay(text)) return text;
      throw new Misuse("is not a day; write it YYYY-MM-DD");
    },
  };
}

/** An instant in ISO 8601 with its zone, such as `2026-11-23T01:00:00Z`; in ms since the epoch. */
export function instant(): Parser<number> {
  const form =
    /^(\d{4}-\d{2}-\d{2})T([01]\d|2[0-3]):\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;
  return {
    parse: (text) => {
      const ms = Date.parse(text);
      if (isDay(form.exec(text)?.[1] ?? "") && !Number.isNaN(ms)) return ms;
      throw new Misuse("is not an instant; write it like 2026-11-23T01:00:00Z");
    },
  };
}

/** Text of 1 to `maxChars` code points without control characters and without outer spaces. */
export function text(maxChars: number): Parser<string> {
  return {
    parse: (given) => {
      const isClean = !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(given) && given.trim() === given;
      if (given !== "" && isClean && [...given].length <= maxChars) return given;
      throw new Misuse(
        `must be 1 to ${maxChars} characters without control characters or outer spaces`,
      );
    },
  };
}

/** One of `choices`. */
export function oneOf<const T extends string>(...choices: readonly T[]): Parser<T> {
  return {
    parse: (given) => {
      const choice = choices.find((each) => each === given);
      if (choice !== undefined) return choice;
      const near = didYouMean(nearest(given, choices));
      throw new Misuse(`is not one of ${choices.join(", ")}${near}`);
    },
  };
}

/** Text in which `problem` finds nothing wrong. */
export function checkedText(problem: (text: string) => string | undefined): Parser<string> {
  return {
    parse: (given) => {
      const wrong = problem(given);
      if (wrong === undefined) return given;
      throw new Misuse(`is wrong: ${wrong}`);
    },
  };
}

/** Text that matches `pattern` (from `^` to `$`); `what` is for messages: `a name`. */
export function matching(pattern: RegExp, what: string): Parser<string> {
  return {
    parse: (given) => {
      if (pattern.test(given)) return given;
      throw new Misuse(`is not ${what}`);
    },
  };
}

/** The path of a file or folder, which need not exist. */
export function filePath(): Parser<string> {
  return {
    parse: (given) => {
      if (given !== "" && !given.includes("\0")) return given;
      throw new Misuse("is not a path");
    },
  };
}

/** Whether `text` is a day of the calendar, written `YYYY-MM-DD`. */
function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const ms = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}
