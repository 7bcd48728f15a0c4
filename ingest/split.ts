/**
 * Splits a request body into its events without changing a byte of them.
 *
 * Pure, iterative and linear in the bytes: each event is a view of the body. What frames events
 * (a byte order mark at the start, white space, the brackets and commas of an array, line ends) is
 * not part of any. Malformed content is split as far as it goes; judging it is the consumers' part.
 *
 * @module
 */

/** How a body frames its events; `sniff` is for senders that cannot name their content type. */
export type Framing = "json" | "ndjson" | "sniff";

export interface SplitLimits {
  readonly maxEvents: number;
  readonly maxEventBytes: number;
}

export type Split =
  | { readonly kind: "events"; readonly events: readonly Uint8Array[] }
  | { readonly kind: "too_many_events" }
  | { readonly kind: "event_too_large"; readonly index: number; readonly bytes: number };

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const NEWLINE = 0x0a;

/** The events of `body`; none when there is nothing but framing in it. */
export function split(body: Uint8Array, framing: Framing, limits: SplitLimits): Split {
  const found = new Events(body, limits);
  const start = skipBlank(body, hasMark(body) ? 3 : 0);
  if (start === body.length) return found.result();
  if (framing === "ndjson") splitLines(body, start, found);
  else if (body[start] === OPEN_ARRAY) splitArray(body, start + 1, found);
  else if (framing === "json" || isOneValue(body, start)) found.add(start, body.length);
  else splitLines(body, start, found);
  return found.result();
}

/** Events found so far, trimmed; stops taking them at the first broken limit. */
class Events {
  readonly #events: Uint8Array[] = [];
  #broken: Split | undefined;

  constructor(readonly body: Uint8Array, readonly limits: SplitLimits) {}

  /** Adds the trimmed bytes from `start` to `end`, unless blank; false once a limit is broken. */
  add(start: number, end: number): boolean {
    const first = skipBlank(this.body, start, end);
    if (first === end) return true;
    let last = end;
    while (isBlank(this.body[last - 1])) last -= 1;
    const bytes = last - first;
    if (bytes > this.limits.maxEventBytes) {
      this.#broken = { kind: "event_too_large", index: this.#events.length, bytes };
    } else if (this.#events.length === this.limits.maxEvents) {
      this.#broken = { kind: "too_many_events" };
    } else {
      this.#events.push(this.body.subarray(first, last));
    }
    return this.#broken === undefined;
  }

  result(): Split {
    return this.#broken ?? { kind: "events", events: this.#events };
  }
}

// Brackets of either kind count alike: a mismatch ends the element where its depth returns to the
// array's, so the elements after a broken one are whole again.
function splitArray(body: Uint8Array, start: number, found: Events): void {
  let at = start;
  for (;;) {
    const end = endOfElement(body, at);
    if (!found.add(at, end) || end === body.length) return;
    at = end + 1;
    if (body[end] === CLOSE_ARRAY) break;
  }
  // What follows the array is no JSON; it is landed for the consumers to reject.
  found.add(at, body.length);
}

// The comma or bracket that ends the element at `start`, or the end of the body.
function endOfElement(body: Uint8Array, start: number): number {
  let depth = 0;
  for (let at = start; at < body.length; at++) {
    const byte = body[at];
    if (byte === QUOTE) {
      at = endOfString(body, at + 1);
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth += 1;
    } else if (depth === 0) {
      if (byte === COMMA || byte === CLOSE_ARRAY) return at;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1;
    }
  }
  return body.length;
}

// The closing quote of the string whose content begins at `start`, or the end of the body.
function endOfString(body: Uint8Array, start: number): number {
  let at = start;
  while (at < body.length && body[at] !== QUOTE) at += body[at] === BACKSLASH ? 2 : 1;
  return Math.min(at, body.length);
}

function splitLines(body: Uint8Array, start: number, found: Events): void {
  let at = start;
  while (at < body.length) {
    const newline = body.indexOf(NEWLINE, at);
    const end = newline < 0 ? body.length : newline;
    if (!found.add(at, end)) return;
    at = end + 1;
  }
}

// A pretty-printed object spans lines and is one event; an object with more after it is a line.
function isOneValue(body: Uint8Array, start: number): boolean {
  if (body[start] !== OPEN_OBJECT) return false;
  let depth = 0;
  for (let at = start; at < body.length; at++) {
    const byte = body[at];
    if (byte === QUOTE) at = endOfString(body, at + 1);
    else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) depth -= 1;
    if (depth === 0) return skipBlank(body, at + 1) === body.length;
  }
  return false;
}

function hasMark(body: Uint8Array): boolean {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
}

function skipBlank(body: Uint8Array, start: number, end = body.length): number {
  let at = start;
  while (at < end && isBlank(body[at])) at += 1;
  return Math.min(at, end);
}

// JSON's white space: space, tab, line feed, carriage return. Beyond the body there is none.
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === NEWLINE || byte === 0x0d;
}
