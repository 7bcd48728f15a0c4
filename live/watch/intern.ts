/**
 * Small numbers for the values of one dimension: titles, regions, builds.
 *
 * Bounded: at capacity a new value is {@link OTHER}, until a place is free. A value that several
 * viewers name takes the place of one that a single viewer names, so that invented values keep
 * out no real one for longer than {@link SKETCH_MS}.
 *
 * Pure: the caller passes the time.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { printable } from "../../shared/contract/event.ts";

/** The number of every value beyond the capacity; its name is `_other`. */
export const OTHER = 0;
/** Maximum length of a value; longer ones are cut. */
export const MAX_VALUE_CHARS = 64;

/** Time over which viewers of a value without a number are counted: a heartbeat of each. */
const SKETCH_MS = 10_000;
const SKETCH_SLOTS = 1 << 15;
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
  readonly #ids = new Map<string, number>();
  /** The value that a number stands for; undefined when none does any longer. */
  readonly #values: (string | undefined)[] = [undefined];
  readonly #names: string[] = ["_other"];
  readonly #users: Int32Array;
  readonly #kept: Int32Array;
  readonly #free: number[] = [];
  readonly #sketch = new Uint16Array(SKETCH_SLOTS);
  #sketchSinceMs = -Infinity;
  #hand = 0;

  constructor(readonly capacity: number) {
    this.#users = new Int32Array(capacity + 1);
    this.#kept = new Int32Array(capacity + 1);
  }

  /** Values with a number, {@link OTHER} not included. */
  get size(): number {
    return this.#ids.size;
  }

  /** Whether `id` stands for `value`. */
  is(id: number, value: string): boolean {
    return this.#values[id] === value;
  }

  /** The number of `value`; a new one if it has none and a place is free. */
  intern(value: string, nowMs: number): number {
    const text = bounded(value);
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const id = this.#place() ?? (this.#deserves(text, nowMs) ? this.#takePlace() : undefined);
    if (id === undefined) {
      this.others += 1;
      return OTHER;
    }
    const own = text === value ? value : copied(text);
    this.#ids.set(own, id);
    this.#values[id] = own;
    this.#names[id] = printable(own);
    return id;
  }

  /** The number of `value`, if it has one. */
  find(value: string): number | undefined {
    return this.#ids.get(bounded(value));
  }

  /** `value` for display: control characters are replaced. */
  name(id: number): string {
    return this.#names[id] ?? "_other";
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
    this.#values[id] = undefined;
    this.#free.push(id);
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
    const count = Math.min(0xffff, (this.#sketch[slot] ?? 0) + 1);
    this.#sketch[slot] = count;
    return count >= ADMIT_HEARTBEATS;
  }

  // A value displaced keeps its number until its last viewer leaves, which is at its next
  // heartbeat; the next look-up of the deserving value finds the place.
  #takePlace(): undefined {
    for (let tried = 0; tried < MAX_VICTIMS_TRIED; tried++) {
      this.#hand = this.#hand % this.capacity + 1;
      const value = this.#values[this.#hand];
      const users = this.#users[this.#hand] ?? 0;
      if (value === undefined || users > MAX_VICTIM_USERS) continue;
      this.#ids.delete(value);
      this.#values[this.#hand] = undefined;
      this.displaced += 1;
      return undefined;
    }
    return undefined;
  }
}

function bounded(value: string): string {
  return value.length <= MAX_VALUE_CHARS ? value : value.slice(0, MAX_VALUE_CHARS);
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
