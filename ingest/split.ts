/**
 * Splits a request body into its events without changing their bytes.
 *
 * Pure, iterative and linear in the size of the body: each event is a view of it. Framing (a byte
 * order mark at the start, white space, the brackets and commas of an array, line ends) is part of
 * no event. Malformed content is split as far as possible; the consumers judge it.
 *
 * @module
 */

/** How a body frames its events; `sniff` detects it, for senders that cannot set a content type. */
export type Framing = "json" | "ndjson" | "sniff";

/** Limits of one request; {@link split} stops at the first one exceeded. */
export interface SplitLimits {
  readonly maxEvents: number;
  readonly maxEventBytes: number;
}

/** The events of a body in order, or the limit it exceeds; `index` counts events from 0. */
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

/** Splits `body` into its events; a body that holds only framing has none. */
export function split(body: Uint8Array, framing: Framing, limits: SplitLimits): Split {
  const found = new EventCollector(body, limits);
  const start = skipBlank(body, hasByteOrderMark(body) ? 3 : 0);
  if (start === body.length) return found.result();
  if (framing === "ndjson") splitLines(body, start, found);
  else if (body[start] === OPEN_ARRAY) splitArray(body, start + 1, found);
  else if (framing === "json" || isOneValue(body, start)) found.add(start, body.length);
  else splitLines(body, start, found);
  return found.result();
}

/** Collects the trimmed events; stops at the first limit exceeded. */
class EventCollector {
  readonly #events: Uint8Array[] = [];
  #exceeded: Split | undefined;

  constructor(readonly body: Uint8Array, readonly limits: SplitLimits) {}

  /** Adds the trimmed bytes from `start` to `end`, unless blank; false once a limit is exceeded. */
  add(start: number, end: number): boolean {
    const first = skipBlank(this.body, start, end);
    if (first === end) return true;
    let last = end;
    while (isBlank(this.body[last - 1])) last -= 1;
    const bytes = last - first;
    if (bytes > this.limits.maxEventBytes) {
      this.#exceeded = { kind: "event_too_large", index: this.#events.length, bytes };
    } else if (this.#events.length === this.limits.maxEvents) {
      this.#exceeded = { kind: "too_many_events" };
    } else {
      this.#events.push(this.body.subarray(first, last));
    }
    return this.#exceeded === undefined;
  }

  result(): Split {
    return this.#exceeded ?? { kind: "events", events: this.#events };
  }
}

// Depth counts both kinds of bracket alike: an element with mismatched brackets ends where the
// depth returns to the array's, so the elements after it are still split correctly.
function splitArray(body: Uint8Array, start: number, found: EventCollector): void {
  let at = start;
  for (;;) {
    const end = endOfElement(body, at);
    if (!found.add(at, end) || end === body.length) return;
    at = end + 1;
    if (body[end] === CLOSE_ARRAY) break;
  }
  // Text after the array is not JSON; it is stored, and the consumers reject it.
  found.add(at, body.length);
}

// Index of the comma or bracket that ends the element at `start`, or the end of the body.
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

// Index of the closing quote of the string whose content begins at `start`, or the end of the body.
function endOfString(body: Uint8Array, start: number): number {
  let at = start;
  while (at < body.length && body[at] !== QUOTE) at += body[at] === BACKSLASH ? 2 : 1;
  return Math.min(at, body.length);
}

function splitLines(body: Uint8Array, start: number, found: EventCollector): void {
  let at = start;
  while (at < body.length) {
    const newline = body.indexOf(NEWLINE, at);
    const end = newline < 0 ? body.length : newline;
    if (!found.add(at, end)) return;
    at = end + 1;
  }
}

// An object that fills the body is one event, even over several lines; otherwise it is NDJSON.
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

function hasByteOrderMark(body: Uint8Array): boolean {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
}

function skipBlank(body: Uint8Array, start: number, end = body.length): number {
  let at = start;
  while (at < end && isBlank(body[at])) at += 1;
  return Math.min(at, end);
}

// JSON's white space: space, tab, line feed, carriage return. False beyond the end of the body.
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === NEWLINE || byte === 0x0d;
}
