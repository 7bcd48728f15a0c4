/**
 * Heartbeats that V8's `JSON.parse` misreads, see `shared/contract/json.ts`.
 *
 * @module
 */
import type { Heartbeat } from "../../contract/event.ts";
import type { Random } from "./random.ts";

/** `char` as a JSON escape. */
export function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * Makes V8 misread the key with the spelling `spelling` in `text`: at each position of an object,
 * V8 expects the key that it saw there before, which now is the beginning of the spelling.
 */
export function poison(text: string, spelling: string, decodedLength: number): void {
  JSON.parse(text.replace(`"${spelling}"`, JSON.stringify(spelling.slice(0, decodedLength))));
}

/** `heartbeat` with one character of a key escaped, such that V8 misreads that key. */
export function misreadable(random: Random, heartbeat: Heartbeat): Uint8Array {
  const [key, value] = random.pick(Object.entries(heartbeat));
  const escapedAt = random.int(0, key.length - 1);
  const spelling = [...key].map((char, at) => at === escapedAt ? escaped(char) : char).join("");
  // A unique first key: after it V8 expects only the key of the poisoned text.
  const first = `x${random.int(0, 2 ** 48)}`;
  const rest = JSON.stringify({ ...heartbeat, [key]: undefined }).slice(1);
  const text = `{"${first}":1,"${spelling}":${JSON.stringify(value)},${rest}`;
  poison(text, spelling, key.length);
  return new TextEncoder().encode(text);
}
