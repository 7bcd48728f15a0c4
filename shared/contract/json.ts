/**
 * Parses the JSON that devices send, with the same result in every process at any time.
 *
 * V8 (in Deno 2.9.6 and Node 24) may read a key with an escape as another key that it has parsed
 * before, if the source text of the key begins like that key: `"\u0065vent_id"` as `\u0065ve`, once
 * it has parsed `"\\u0065ve"` (github.com/nodejs/node/issues/63785). The value of a heartbeat would
 * then depend on what its reader has parsed before, and the books and a recount could differ. This
 * module removes unnecessary escapes from keys before V8 parses them; no key of the heartbeat needs
 * an escape.
 *
 * Pure.
 *
 * @module
 */

/**
 * `JSON.parse(text)` without V8's defect for keys that need no escape. Throws the `SyntaxError` of
 * `JSON.parse`.
 */
export function parseJson(text: string): unknown {
  return JSON.parse(text.includes("\\") ? unescapeKeys(text) : text);
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;

// A loop and not a regular expression, so that every character is read once, whatever the text.
function unescapeKeys(text: string): string {
  let result = "";
  let done = 0;
  for (let start = text.indexOf('"'); start >= 0;) {
    const { end, isEscaped } = endOfString(text, start + 1);
    if (isEscaped && isKey(text, end)) {
      result += text.slice(done, start) + unescaped(text.slice(start, end));
      done = end;
    }
    start = text.indexOf('"', end);
  }
  return result + text.slice(done);
}

// The index after the closing quote of the string whose content begins at `start`.
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

// An invalid key stays unchanged; JSON.parse refuses it.
function unescaped(key: string): string {
  try {
    return JSON.stringify(JSON.parse(key));
  } catch {
    return key;
  }
}
