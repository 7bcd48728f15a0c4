/**
 * Reads the JSON that devices send, the same way in every process and at every time.
 *
 * V8 (in Deno 2.9.6 and Node 24 alike) may read a key that is spelled with an escape as another key
 * that it read before, if the spelling begins like that key: `"\u0065vent_id"` as `\u0065ve`, once
 * somebody sent `"\\u0065ve"` (github.com/nodejs/node/issues/63785). What a heartbeat says would then
 * depend on what its reader had seen, and the books and a recount of them could differ. Here the
 * keys that need no escape are spelled without any before V8 sees them; a key of the heartbeat
 * never needs one.
 *
 * Pure.
 *
 * @module
 */

/**
 * What `JSON.parse` makes of `text`, without V8's mistake about keys that need no escape; throws its
 * `SyntaxError`.
 */
export function parseJson(text: string): unknown {
  return JSON.parse(text.includes("\\") ? spellKeysPlainly(text) : text);
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;

// By hand, not by a pattern: each character is looked at once, whatever was sent.
function spellKeysPlainly(text: string): string {
  let spelled = "";
  let done = 0;
  for (let start = text.indexOf('"'); start >= 0;) {
    const { end, isEscaped } = endOfString(text, start + 1);
    if (isEscaped && isKey(text, end)) {
      spelled += text.slice(done, start) + plainly(text.slice(start, end));
      done = end;
    }
    start = text.indexOf('"', end);
  }
  return spelled + text.slice(done);
}

// Just after the closing quote of the string whose content begins at `start`.
function endOfString(text: string, start: number): { end: number; isEscaped: boolean } {
  let at = start;
  let isEscaped = false;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) {
    const isEscape = text.charCodeAt(at) === BACKSLASH;
    isEscaped ||= isEscape;
    at += isEscape ? 2 : 1;
  }
  return { end: at + 1, isEscaped };
}

function isKey(text: string, end: number): boolean {
  let at = end;
  while (isBlank(text.charCodeAt(at))) at += 1;
  return text.charCodeAt(at) === COLON;
}

// JSON's white space: space, tab, line feed, carriage return.
function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

// A broken spelling stays, for JSON.parse to refuse.
function plainly(spelling: string): string {
  try {
    return JSON.stringify(JSON.parse(spelling));
  } catch {
    return spelling;
  }
}
