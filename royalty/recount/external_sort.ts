/**
 * External merge sort of fixed-size records: sorted runs are written to disk, then merged.
 *
 * Records are compared as bytes, from the first to the last. Memory holds one run (`runRecords`
 * records, twice while it is written) and, while merging, one read buffer per run. Every `fanIn` runs
 * are merged into a longer one, so the number of open files and buffers is bounded.
 *
 * @module
 */
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Options of {@link ExternalSort}. */
export interface ExternalSortOptions {
  /**
   * An existing folder for the runs, which are written to a temporary folder in it. Not needed when
   * one run holds all records.
   */
  readonly folder: string | undefined;
  /** Size of a record, at least 6. */
  readonly recordBytes: number;
  /** Records per run, at most 2^20, which is the default. */
  readonly runRecords?: number | undefined;
  /** Runs per merge; the default is 128. */
  readonly fanIn?: number;
}

const INDEX_BITS = 20;
const MAX_RUN_RECORDS = 2 ** INDEX_BITS;
const INDEX_MASK = MAX_RUN_RECORDS - 1;
const FAN_IN = 128;
const BUFFER_BYTES = 256 * 1024;

/** Sorts records: {@link add} all of them, then read {@link sorted} once. Dispose it when done. */
export class ExternalSort implements AsyncDisposable {
  readonly #recordBytes: number;
  readonly #runRecords: number;
  readonly #fanIn: number;
  readonly #run: Uint8Array<ArrayBuffer>;
  #count = 0;
  #folder: ScratchFolder | undefined;
  #files = 0;
  /** Paths of runs by level; runs of one level have about the same length. */
  readonly #levels: string[][] = [];

  constructor(readonly options: ExternalSortOptions) {
    const { recordBytes, runRecords = MAX_RUN_RECORDS, fanIn = FAN_IN } = options;
    this.#recordBytes = recordBytes;
    this.#runRecords = Math.min(runRecords, MAX_RUN_RECORDS);
    this.#fanIn = fanIn;
    this.#run = new Uint8Array(this.#runRecords * recordBytes);
  }

  /**
   * Adds a copy of `record`. When a promise is returned, await it before adding the next record. It
   * rejects with {@link Refused} when no folder is set or it cannot be written.
   */
  add(record: Uint8Array): Promise<void> | undefined {
    if (this.#count === this.#runRecords) return this.#spill().then(() => this.add(record));
    this.#run.set(record, this.#count * this.#recordBytes);
    this.#count += 1;
  }

  /** All records in order, in chunks of whole records. Each chunk is valid until the next is read. */
  async *sorted(): AsyncGenerator<Uint8Array> {
    if (this.#files === 0) {
      // All records are in memory.
      yield sortRecords(this.#run.subarray(0, this.#count * this.#recordBytes), this.#recordBytes);
      return;
    }
    await this.#spill();
    yield* merge(this.#levels.flat(), this.#recordBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder?.[Symbol.asyncDispose]();
  }

  async #spill(): Promise<void> {
    const bytes = this.#run.subarray(0, this.#count * this.#recordBytes);
    const sorted = sortRecords(bytes, this.#recordBytes);
    await this.#addRun(0, [sorted]);
    this.#count = 0;
  }

  async #addRun(level: number, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.#folder ??= await this.#makeFolder();
    const path = `${this.#folder.path}/${this.#files++}`;
    await this.#write(path, chunks);
    const runs = this.#levels[level] ??= [];
    runs.push(path);
    if (runs.length < this.#fanIn) return;
    this.#levels[level] = [];
    await this.#addRun(level + 1, merge(runs, this.#recordBytes));
    await Promise.all(runs.map((run) => Deno.remove(run)));
  }

  async #makeFolder(): Promise<ScratchFolder> {
    const { folder } = this.options;
    if (folder === undefined) {
      throw new Refused(
        `more than ${this.#runRecords} records need a folder to be sorted in; ` +
          "set TWOFOLD_RECOUNT_DIR",
      );
    }
    try {
      return await ScratchFolder.make(folder);
    } catch (error) {
      throw unwritable(folder, error);
    }
  }

  async #write(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    try {
      using file = await Deno.open(path, { createNew: true, write: true });
      for await (const chunk of chunks) {
        for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
      }
    } catch (error) {
      throw unwritable(path, error);
    }
  }
}

function unwritable(path: string, error: unknown): Refused {
  return new Refused(`${path} cannot be used for sorting: ${messageOf(error)}`, { cause: error });
}

// The engine sorts 64-bit integers natively, several times faster than with a comparison function.
// The first 44 bits of a record and its index form such an integer; it is written as two 32-bit
// halves, low half first, because Deno runs on little-endian machines only. Records that agree in
// those bits are compared whole.
function sortRecords(records: Uint8Array, recordBytes: number): Uint8Array {
  const count = records.length / recordBytes;
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  const keys = new BigUint64Array(count);
  const halves = new DataView(keys.buffer);
  for (let i = 0; i < count; i++) {
    const at = i * recordBytes;
    halves.setUint32(8 * i, (view.getUint16(at + 4) >>> 4) * MAX_RUN_RECORDS + i, true);
    halves.setUint32(8 * i + 4, view.getUint32(at), true);
  }
  keys.sort();
  const sorted = new Uint8Array(records.length);
  let filled = 0;
  for (const index of orderOf(halves, view, recordBytes)) {
    const at = index * recordBytes;
    sorted.set(records.subarray(at, at + recordBytes), filled);
    filled += recordBytes;
  }
  return sorted;
}

// The indexes of the records in their final order. `halves` are those of the sorted integers, whose
// ties are resolved by comparing records.
function orderOf(halves: DataView, view: DataView, recordBytes: number): Uint32Array {
  const count = halves.byteLength / 8;
  const order = new Uint32Array(count);
  for (let start = 0; start < count;) {
    const low = halves.getUint32(8 * start, true) >>> INDEX_BITS;
    const high = halves.getUint32(8 * start + 4, true);
    let end = start;
    do {
      order[end] = halves.getUint32(8 * end, true) & INDEX_MASK;
      end += 1;
    } while (
      end < count && halves.getUint32(8 * end + 4, true) === high &&
      halves.getUint32(8 * end, true) >>> INDEX_BITS === low
    );
    if (end - start > 1) {
      order.subarray(start, end).sort((a, b) =>
        compare(view, a * recordBytes, view, b * recordBytes, recordBytes)
      );
    }
    start = end;
  }
  return order;
}

function compare(a: DataView, atA: number, b: DataView, atB: number, length: number): number {
  for (let i = 0; i < length; i++) {
    const difference = a.getUint8(atA + i) - b.getUint8(atB + i);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Reads one run record by record. */
class RunReader implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  /** Offset of the current record in `view`. */
  at = 0;
  #end = 0;

  constructor(path: string, readonly recordBytes: number) {
    this.#file = Deno.openSync(path);
    this.#buffer = new Uint8Array(Math.ceil(BUFFER_BYTES / recordBytes) * recordBytes);
    this.view = new DataView(this.#buffer.buffer);
  }

  /** Whether the current record is the last in the buffer, so that {@link refill} has to follow. */
  get isSpent(): boolean {
    return this.at + this.recordBytes >= this.#end;
  }

  /** Reads the next part of the run into the buffer; false at the end of the run. */
  async refill(): Promise<boolean> {
    this.at = 0;
    this.#end = 0;
    while (this.#end < this.#buffer.length) {
      const read = await this.#file.read(this.#buffer.subarray(this.#end));
      if (read === null) break;
      this.#end += read;
    }
    return this.#end > 0;
  }

  /** The current record. */
  record(): Uint8Array {
    return this.#buffer.subarray(this.at, this.at + this.recordBytes);
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

async function* merge(paths: readonly string[], recordBytes: number): AsyncGenerator<Uint8Array> {
  using readers = new DisposableStack();
  const heap = new ReaderHeap();
  for (const path of paths) {
    const reader = readers.use(new RunReader(path, recordBytes));
    if (await reader.refill()) heap.push(reader);
  }
  const chunk = new Uint8Array(Math.ceil(BUFFER_BYTES / recordBytes) * recordBytes);
  let filled = 0;
  for (let reader = heap.min(); reader; reader = heap.min()) {
    chunk.set(reader.record(), filled);
    filled += recordBytes;
    if (!reader.isSpent) {
      reader.at += recordBytes;
      heap.sink();
    } else if (await reader.refill()) heap.sink();
    else heap.drop();
    if (filled === chunk.length) {
      yield chunk;
      filled = 0;
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled);
}

/** A binary min-heap of readers by their current records. */
class ReaderHeap {
  readonly #readers: RunReader[] = [];

  push(reader: RunReader): void {
    const readers = this.#readers;
    let at = readers.length;
    for (; at > 0; at = (at - 1) >> 1) {
      const parent = readers[(at - 1) >> 1];
      if (!parent || !isLess(reader, parent)) break;
      readers[at] = parent;
    }
    readers[at] = reader;
  }

  /** The reader with the smallest record. */
  min(): RunReader | undefined {
    return this.#readers[0];
  }

  /** Restores the heap after the smallest reader moved to its next record. */
  sink(): void {
    const readers = this.#readers;
    const reader = readers[0];
    if (!reader) return;
    let at = 0;
    for (let child = 1; child < readers.length; child = 2 * at + 1) {
      let smaller = readers[child];
      const right = child + 1 < readers.length ? readers[child + 1] : undefined;
      if (smaller && right && isLess(right, smaller)) {
        smaller = right;
        child += 1;
      }
      if (!smaller || !isLess(smaller, reader)) break;
      readers[at] = smaller;
      at = child;
    }
    readers[at] = reader;
  }

  /** Removes the reader with the smallest record. */
  drop(): void {
    const last = this.#readers.pop();
    if (!last || this.#readers.length === 0) return;
    this.#readers[0] = last;
    this.sink();
  }
}

function isLess(a: RunReader, b: RunReader): boolean {
  const difference = a.view.getUint32(a.at) - b.view.getUint32(b.at);
  if (difference !== 0) return difference < 0;
  return compare(a.view, a.at, b.view, b.at, a.recordBytes) < 0;
}
