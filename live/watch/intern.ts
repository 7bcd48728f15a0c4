/**
 * Small numbers for the values of one dimension: titles, regions, builds.
 *
 * Bounded: at capacity a new value is {@link OTHER}, until a place is free. A value that several
 * viewers name takes the place of one that a single viewer names, so that invented values keep
 * out no real one for longer than {@link SKETCH_MS}.
 *
 * A value is what its name shows: printable and at most {@link MAX_VALUE_CHARS} code points. So no
 * two numbers in use have one name, and a name read back from an alert or a baseline is the value.
 *
 * Pure: the caller passes the time.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { printable } from "../../shared/contract/event.ts";

/** The number of every value beyond the capacity; its name is `_other`. */
export const OTHER = 0;
/** Maximum length of a value in code points; longer ones are cut. */
export const MAX_VALUE_CHARS = 64;

/** The name of {@link OTHER}. */
export const OTHER_NAME = "_other";
/** Time over which viewers of a value without a number are counted: a heartbeat of each. */
const SKETCH_MS = 10_000;
const SKETCH_SLOTS = 1 << 17;
/** Heartbeats within {@link SKETCH_MS} that make a value worth a place. */
const ADMIT_HEARTBEATS = 5;
/** Values looked at to find one that gives up its place. */
const MAX_VICTIMS_TRIED = 32;
/** A value with at most this many users may lose its place. */
const MAX_VICTIM_USERS = 1;

/** Gives each value a number while anything uses it. */
export class Interner {
  /** Values that got {@link OTHER}, by look-up. */
  others = 0;
  /** Values that lost their place to one with more viewers. */
  displaced = 0;
  readonly #ids = new Map([[OTHER_NAME, OTHER]]);
  /** Numbers of values that lost their place, while viewers or cells still have them. */
  readonly #displaced = new Map<string, number>();
  /** The value that a number stands for; undefined when none does any longer. */
  readonly #values: (string | undefined)[] = [undefined];
  readonly #names: string[] = [OTHER_NAME];
  readonly #users: Int32Array;
  readonly #kept: Int32Array;
  readonly #free: number[] = [];
  readonly #sketch = new Uint8Array(SKETCH_SLOTS);
  #sketchSinceMs = -Infinity;
  /** When a value last found no place. */
  #fullMs = -Infinity;
  #hand = 0;

  constructor(readonly capacity: number) {
    this.#users = new Int32Array(capacity + 1);
    this.#kept = new Int32Array(capacity + 1);
  }

  /** Values with a number, {@link OTHER} not included. */
  get size(): number {
    return this.#ids.size - 1;
  }

  /** Whether `id` stands for `value`. */
  is(id: number, value: string): boolean {
    const own = this.#values[id];
    return own === value || (own !== undefined && own === canonical(value));
  }

  /** Whether the value of `id`, a number in use, lost its place. */
  isDisplaced(id: number): boolean {
    return id !== OTHER && this.#values[id] === undefined;
  }

  /** The number of `value`; a new one if it has none and a place is free. */
  intern(value: string, nowMs: number): number {
    const text = canonical(value);
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const id = this.#placeFor(text, nowMs);
    if (id === undefined) {
      this.others += 1;
      return OTHER;
    }
    const own = text === value ? value : copied(text);
    this.#ids.set(own, id);
    this.#values[id] = own;
    this.#names[id] = own;
    return id;
  }

  /** The number of `value`, if it has one. */
  find(value: string): number | undefined {
    return this.#ids.get(canonical(value));
  }

  /** The value that `id` stands for, or did last. */
  name(id: number): string {
    return this.#names[id] ?? OTHER_NAME;
  }

  /** Notes a viewer that uses `id`. */
  use(id: number): void {
    this.#users[id] = (this.#users[id] ?? 0) + 1;
  }

  /** Notes that a viewer no longer uses `id`; an unused one is free again. */
  release(id: number): void {
    this.#users[id] = (this.#users[id] ?? 0) - 1;
    this.#freeIfUnused(id);
  }

  /** Keeps `id` while it has no viewers, as a cell with a baseline does. */
  keep(id: number): void {
    this.#kept[id] = (this.#kept[id] ?? 0) + 1;
  }

  /** Undoes one {@link keep}. */
  unkeep(id: number): void {
    this.#kept[id] = (this.#kept[id] ?? 0) - 1;
    this.#freeIfUnused(id);
  }

  #freeIfUnused(id: number): void {
    if (id === OTHER || this.#users[id] !== 0 || this.#kept[id] !== 0) return;
    const value = this.#values[id];
    if (value !== undefined) this.#ids.delete(value);
    else this.#displaced.delete(this.name(id));
    this.#values[id] = undefined;
    this.#free.push(id);
  }

  // A value displaced whose number is still in use gets that one back: with another, it would have
  // two cells of one name, and an open incident would stay on the empty one. While values find no
  // place, one that is given up is for those that deserve it: invented ones look first.
  #placeFor(text: string, nowMs: number): number | undefined {
    const isCrowded = nowMs - this.#fullMs < SKETCH_MS;
    if ((isCrowded || !this.#hasPlace) && !this.#deserves(text, nowMs)) {
      if (!this.#hasPlace) this.#fullMs = nowMs;
      return undefined;
    }
    const own = this.#displaced.get(text);
    if (own === undefined) return this.#place() ?? this.#takePlace(nowMs);
    this.#displaced.delete(text);
    return own;
  }

  get #hasPlace(): boolean {
    return this.#free.length > 0 || this.#names.length <= this.capacity;
  }

  #place(): number | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#names.length > this.capacity) return undefined;
    this.#values.push(undefined);
    return this.#names.push("") - 1;
  }

  // Counts the look-ups of `text` in a sketch that starts anew every SKETCH_MS. Collisions admit
  // a value too soon at times, which costs an invented value its place.
  #deserves(text: string, nowMs: number): boolean {
    if (nowMs - this.#sketchSinceMs >= SKETCH_MS) {
      this.#sketch.fill(0);
      this.#sketchSinceMs = nowMs;
    }
    const slot = hash(text) & (SKETCH_SLOTS - 1);
    const count = Math.min(0xff, (this.#sketch[slot] ?? 0) + 1);
    this.#sketch[slot] = count;
    return count >= ADMIT_HEARTBEATS;
  }

  // A value displaced keeps its number until its last viewer leaves, which is at its next
  // heartbeat; a later look-up of the deserving value finds the place.
  #takePlace(nowMs: number): undefined {
    this.#fullMs = nowMs;
    for (let tried = 0; tried < MAX_VICTIMS_TRIED; tried++) {
      this.#hand = this.#hand % this.capacity + 1;
      const value = this.#values[this.#hand];
      const users = this.#users[this.#hand] ?? 0;
      if (value === undefined || users > MAX_VICTIM_USERS) continue;
      this.#ids.delete(value);
      this.#values[this.#hand] = undefined;
      this.#displaced.set(value, this.#hand);
      this.displaced += 1;
      this.#freeIfUnused(this.#hand);
      return undefined;
    }
    return undefined;
  }
}

// The value as a name shows it; applied again it changes nothing. Nearly all are plain ASCII.
function canonical(value: string): string {
  if (isShortAscii(value)) return value;
  // At most two units a code point, so that the cost is bounded too.
  const start = printable(value.slice(0, 2 * MAX_VALUE_CHARS));
  return start.length <= MAX_VALUE_CHARS ? start : [...start].slice(0, MAX_VALUE_CHARS).join("");
}

function isShortAscii(value: string): boolean {
  if (value.length > MAX_VALUE_CHARS) return false;
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) return false;
  }
  return true;
}

// A part of a string keeps the whole string in memory; a copy does not.
function copied(text: string): string {
  return Buffer.from(text, "utf16le").toString("utf16le");
}

// FNV-1a over UTF-16 units.
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h ^ (h >>> 15);
}
