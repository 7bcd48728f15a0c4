/**
 * The convention for all JSON that Twofold prints or returns:
 *
 * - Keys are snake_case with the unit last: `credited_ms`, `size_bytes`.
 * - Counts and milliseconds are numbers while they are safe integers (up to 2^53 - 1), and decimal
 *   strings beyond, so that no reader rounds them. The same applies to `bigint`.
 * - What does not exist is left out (`undefined`); what is not known is `null`.
 * - Keys that are data, such as the streams of a count by stream, are passed in a `Map` and
 *   unchanged.
 * - Bytes have no default form: the caller encodes them as text, hex or base64.
 * - Strings are safe to print on a terminal: control characters, format characters (bidirectional
 *   overrides), unassigned characters and line separators are `\u` escapes.
 *
 * Pure.
 *
 * @module
 */

/** Control and format characters (of direction, too), line separators, private use, unassigned. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** A JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/**
 * `value` as JSON text by the convention above, indented by two spaces, with a line break at the
 * end.
 *
 * @throws {TypeError} For values that {@link snakeCased} refuses.
 */
export function toJson(value: unknown): string {
  // JSON.stringify escapes up to U+001F and lone surrogates; its line breaks between values stay.
  const text = JSON.stringify(snakeCased(value), null, 2);
  return text.replace(/[^\n\P{C}]|[\p{Zl}\p{Zp}]/gu, escaped) + "\n";
}

/** `value` as JSON in which every invisible character is escaped; it parses to the same value. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value).replace(
    INVISIBLE,
    (char) =>
      Array.from(
        { length: char.length },
        (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`,
      ).join(""),
  );
}

/**
 * `value` as a JSON value by the convention above: camelCase keys become snake_case at every depth,
 * whole numbers become numbers or decimal strings. Accepts null, booleans, finite numbers, bigints,
 * strings, arrays, plain objects and maps with string keys; other keys are unchanged.
 *
 * @throws {TypeError} For any other value, which JSON would drop or change: bytes, dates and other
 * class instances, functions, NaN and infinities, undefined outside of an object, a value that
 * contains itself, two keys that become the same. The message has the path of the value.
 */
export function snakeCased(value: unknown): Json {
  return converted(value, "$", []);
}

function converted(value: unknown, at: string, parents: readonly unknown[]): Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "bigint") return wholeJson(value);
  if (typeof value === "number") return numberJson(value, at);
  if (typeof value !== "object") throw new TypeError(`${at} is ${typeof value}`);
  if (parents.includes(value)) throw new TypeError(`${at} contains itself`);
  const within = [...parents, value];
  if (Array.isArray(value)) {
    return Array.from(value, (each: unknown, index) => converted(each, `${at}[${index}]`, within));
  }
  if (value instanceof Map) return membersJson(mapMembers(value, at), at, within);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    throw new TypeError(`${at} is bytes; give them as text, hex or base64`);
  }
  if (!isPlain(value)) throw new TypeError(`${at} is an instance of ${value.constructor.name}`);
  const members = Object.entries(value).map(([key, each]) => [snakeKey(key), each] as const);
  return membersJson(members, at, within);
}

type Members = readonly (readonly [key: string, value: unknown])[];

function membersJson(members: Members, at: string, within: readonly unknown[]): Json {
  const json = new Map<string, Json>();
  for (const [key, value] of members) {
    if (value === undefined) continue;
    if (json.has(key)) throw new TypeError(`${at} has two keys that become ${key}`);
    json.set(key, converted(value, `${at}.${key}`, within));
  }
  return Object.fromEntries(json);
}

function mapMembers(map: ReadonlyMap<unknown, unknown>, at: string): Members {
  return [...map].map(([key, value]) => {
    if (typeof key !== "string") throw new TypeError(`${at} has a key that is a ${typeof key}`);
    return [key, value];
  });
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function numberJson(value: number, at: string): number | string {
  if (!Number.isFinite(value)) throw new TypeError(`${at} is ${value}`);
  return Number.isInteger(value) ? wholeJson(BigInt(value)) : value;
}

function wholeJson(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function snakeKey(key: string): string {
  if (!/^[a-z][A-Za-z0-9]*$/.test(key)) return key;
  return key
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase();
}

function escaped(char: string): string {
  const units = char.split("").map((unit) => unit.charCodeAt(0).toString(16).padStart(4, "0"));
  return units.map((unit) => `\\u${unit}`).join("");
}
