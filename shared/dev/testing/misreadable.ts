/**
 * Heartbeats that V8's `JSON.parse` misreads, see `shared/json.ts`.
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
 * Brings V8 to misread the key that is spelled `spelling` in `text`: in an object, V8 expects what
 * came at that place in one with as many keys, which now looks like the beginning of the spelling.
 */
export function poison(text: string, spelling: string, decodedLength: number): void {
  JSON.parse(text.replace(`"${spelling}"`, JSON.stringify(spelling.slice(0, decodedLength))));
}

/** `heartbeat` with one character of a key escaped, such that V8 misreads that key. */
export function misreadable(random: Random, heartbeat: Heartbeat): Uint8Array {
  const [key, value] = random.pick(Object.entries(heartbeat));
  const escapedAt = random.int(0, key.length - 1);
  const spelling = [...key].map((char, at) => at === escapedAt ? escaped(char) : char).join("");
  // A first key of its own: V8 expects nothing after it but what it is brought to.
  const first = `x${random.int(0, 2 ** 48)}`;
  const rest = JSON.stringify({ ...heartbeat, [key]: undefined }).slice(1);
  const text = `{"${first}":1,"${spelling}":${JSON.stringify(value)},${rest}`;
  poison(text, spelling, key.length);
  return new TextEncoder().encode(text);
}
