/**
 * Recounts a recognised day from the raw streams, by a second algorithm.
 *
 * Posting looks up ids in a table, batch by batch. The recount uses no table: it writes one 33-byte
 * record per usable heartbeat, sorts all records on disk by (id, stream, sequence, index), and counts
 * the first of each id. It shares no rule with posting (see `appraise.ts`), so a mistake there is not
 * repeated here. What both use is listed here, and a test checks that the list is complete: the JSON
 * reader (`shared/contract/json.ts`), the schema of a
 * heartbeat (`shared/contract/event.ts`), a hash (`shared/contract/hash.ts`), the framing of messages
 * (`shared/contract/delivery/frame.ts`, `shared/contract/delivery/header_text.ts`) with its names
 * (`shared/contract/topology.ts`), and connections
 * (`royalty/books/connection.ts`, `royalty/books/migrations.ts` and their imports).
 *
 * Two things cannot be known from raw heartbeats: whether a copy of an old event arrived before the
 * oldest heartbeat that is read, and which of two streams was read first when one id is on both with
 * different content. Such events are `doubtful`: the books may have counted them or not. The recount
 * reports how many there are.
 *
 * Memory: one run of the sort and its copies (about 100 MB), the buffers of the merge (32 MB per 128
 * runs of a million records), and the lines of the day.
 *
 * @module
 */
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import type { DayLine } from "../statement/day_line.ts";
import { DeviceLoss, type DeviceLossEstimate } from "../statement/device_loss.ts";
import { ExternalSort } from "./external_sort.ts";
import type { RawEvent } from "../../shared/process/raw/stored_message.ts";
import { appraise, DayStarts, type RecountRules, type Unearned, writeId } from "./appraise.ts";

/** The part of a stream that a recount reads. */
export interface RawSource {
  readonly stream: string;
  /** The last sequence posted while the day could be credited. */
  readonly through: number;
  /**
   * The last sequence posted before the seal of the day before. A later event of an earlier day is
   * recognised on this day. Undefined when the day before is not sealed.
   */
  readonly closedThrough: number | undefined;
  /**
   * Everything received since this instant (ms since the epoch) is read; -Infinity when everything
   * ever received is.
   */
  readonly completeSinceMs: number;
  /** Reads the heartbeats up to `through`, in the order of their sequences. */
  readonly read: () => AsyncIterable<readonly RawEvent[]>;
}

/** The input of {@link recount}. */
export interface RecountTask {
  readonly day: string;
  readonly zone: string;
  readonly rules: RecountRules;
  readonly sources: readonly RawSource[];
  /** Folder for the sort; not needed when one run holds all records. */
  readonly folder: string | undefined;
  /** Records per run of the sort; its default unless given. */
  readonly runRecords?: number | undefined;
  /** Aborts the recount: it rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  /** Receives the number of heartbeats read, then that number plus the records counted. */
  readonly onProgress?: OnProgress | undefined;
}

/** A line of the day; `events` and `msWatched` include the doubtful ones. */
export interface RecountedLine extends DayLine {
  readonly doubtfulEvents: bigint;
  readonly doubtfulMs: bigint;
}

/** Outcomes of the heartbeats read. */
export interface RecountTally {
  /** Heartbeats read. */
  readonly read: number;
  /** Usable heartbeats whose id occurred before, with the same or other content. */
  readonly repeats: number;
  /** Heartbeats that cannot be credited, by reason. */
  readonly unearned: Readonly<Record<Unearned, number>>;
}

/** The result of {@link recount}. */
export interface Recounted extends RecountTally {
  readonly lines: readonly RecountedLine[];
  /** The estimate for the event day that is recounted. */
  readonly deviceLoss: DeviceLossEstimate;
}

const RECORD_BYTES = 33;
const ID_BYTES = 16;
/** Bit of the amount that marks a doubtful event; `played_ms` needs 20 bits. */
const DOUBTFUL = 2 ** 31;
/** Line number of an event that is not recognised on the day. */
const NO_LINE = 0xffff_ffff;

/** Recounts one day. Rejects with errors of reading, of {@link ExternalSort} and of the signal. */
export async function recount(task: RecountTask): Promise<Recounted> {
  const { folder, runRecords, sources, signal, onProgress } = task;
  await using sort = new ExternalSort({ folder, recordBytes: RECORD_BYTES, runRecords });
  const writer = new RecordWriter(task);
  for (const [stream, source] of sources.entries()) {
    for await (const batch of source.read()) {
      signal?.throwIfAborted();
      for (const event of batch) {
        const record = writer.write(stream, source.closedThrough, event);
        const spilling = record && sort.add(record);
        if (spilling) await spilling;
      }
      onProgress?.(writer.read);
    }
  }
  const counter = new FirstCounter(writer.lines.size);
  let counted = 0;
  for await (const chunk of sort.sorted()) {
    signal?.throwIfAborted();
    counter.take(chunk);
    counted += chunk.length / RECORD_BYTES;
    onProgress?.(writer.read + counted);
  }
  counter.end();
  const { read, unearned, loss } = writer;
  return {
    lines: linesOf(writer.lines, counter.sums),
    read,
    unearned,
    repeats: counter.repeats,
    deviceLoss: loss.estimate(),
  };
}

/** Makes the records of heartbeats. */
class RecordWriter {
  read = 0;
  readonly unearned: Record<Unearned, number> = {
    unreadable: 0,
    invalid: 0,
    implausible: 0,
    canary: 0,
    too_late: 0,
    from_the_future: 0,
  };
  readonly loss = new DeviceLoss();
  /** Numbers of the day's lines, by event day, territory and title. */
  readonly lines = new Map<string, number>();
  readonly #days: DayStarts;
  readonly #doubtfulBefore: number;
  readonly #record = new Uint8Array(RECORD_BYTES);
  readonly #view = new DataView(this.#record.buffer);

  constructor(readonly task: RecountTask) {
    this.#days = new DayStarts(task.zone);
    const completeSinceMs = Math.max(...task.sources.map((source) => source.completeSinceMs));
    // A copy may have been received before its ts by at most the future tolerance.
    this.#doubtfulBefore = completeSinceMs + task.rules.futureToleranceMs;
  }

  /**
   * The record of a heartbeat; undefined for one that cannot be credited. `stream` is the number of its
   * stream. The record is valid until the next call.
   */
  write(
    stream: number,
    closedThrough: RawSource["closedThrough"],
    { bytes, receivedAtMs, sequence, index }: RawEvent,
  ): Uint8Array | undefined {
    this.read += 1;
    const earning = appraise(bytes, receivedAtMs, this.task.rules);
    if (typeof earning === "string") {
      this.unearned[earning] += 1;
      return undefined;
    }
    const { eventId, ts, region, titleId, playedMs, sessionId, seq } = earning;
    const eventDay = this.#days.dayOf(ts);
    if (eventDay === this.task.day) this.loss.add(sessionId, seq);
    const isRecognised = eventDay === this.task.day ||
      (eventDay < this.task.day && closedThrough !== undefined && sequence > closedThrough);
    const view = this.#view;
    writeId(view, 0, eventId);
    view.setUint16(16, stream);
    view.setUint16(18, Math.floor(sequence / 2 ** 32));
    view.setUint32(20, sequence % 2 ** 32);
    view.setUint8(24, index);
    view.setUint32(25, isRecognised ? this.#lineOf(`${eventDay} ${region} ${titleId}`) : NO_LINE);
    view.setUint32(29, ts < this.#doubtfulBefore ? playedMs + DOUBTFUL : playedMs);
    return this.#record;
  }

  #lineOf(key: string): number {
    const known = this.lines.get(key);
    if (known !== undefined) return known;
    this.lines.set(key, this.lines.size);
    return this.lines.size - 1;
  }
}

/** The first event of an id on one stream. */
interface First {
  readonly stream: number;
  readonly line: number;
  readonly amount: number;
}

/** The sum of a line, and how much of it is doubtful. */
interface LineSum {
  readonly events: number;
  readonly ms: number;
  readonly doubtfulEvents: number;
  readonly doubtfulMs: number;
}

/** Bytes of the sums of one line: four 64-bit floats, in the order of {@link LineSum}. */
const SUM_BYTES = 32;

/** The sums of all lines, by number, in one buffer, because a day may have millions of lines. */
class LineSums {
  readonly #view: DataView;

  constructor(lines: number) {
    this.#view = new DataView(new ArrayBuffer(lines * SUM_BYTES));
  }

  /** Adds one event to `line`. */
  add(line: number, ms: number, isDoubtful: boolean): void {
    const at = line * SUM_BYTES;
    this.#increase(at, 1);
    this.#increase(at + 8, ms);
    if (!isDoubtful) return;
    this.#increase(at + 16, 1);
    this.#increase(at + 24, ms);
  }

  /** The sum of `line`. */
  of(line: number): LineSum {
    const at = line * SUM_BYTES;
    return {
      events: this.#view.getFloat64(at),
      ms: this.#view.getFloat64(at + 8),
      doubtfulEvents: this.#view.getFloat64(at + 16),
      doubtfulMs: this.#view.getFloat64(at + 24),
    };
  }

  #increase(at: number, by: number): void {
    this.#view.setFloat64(at, this.#view.getFloat64(at) + by);
  }
}

/** Counts the first event of each id in sorted records. */
class FirstCounter {
  repeats = 0;
  readonly sums: LineSums;
  readonly #id = new DataView(new ArrayBuffer(ID_BYTES));
  /** The first event of the current id on each stream that has it. */
  #firsts: First[] = [];

  constructor(lines: number) {
    this.sums = new LineSums(lines);
  }

  /** Takes the next records. */
  take(chunk: Uint8Array): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let at = 0; at < chunk.length; at += RECORD_BYTES) {
      const isSame = this.#firsts.length > 0 && this.#isCurrentId(view, at);
      const stream = view.getUint16(at + 16);
      if (isSame) this.repeats += 1;
      if (isSame && this.#firsts.at(-1)?.stream === stream) continue;
      if (!isSame) this.#startId(view, at);
      const [line, amount] = [view.getUint32(at + 25), view.getUint32(at + 29)];
      this.#firsts.push({ stream, line, amount });
    }
  }

  /** Counts the current id; call it after the last record. */
  end(): void {
    const [first, ...others] = this.#firsts;
    if (!first) return;
    const isSameContent = others.every(({ line, amount }) =>
      line === first.line && amount === first.amount
    );
    // With the same content it does not matter which stream was read first.
    if (isSameContent) this.#count(first, first.amount >= DOUBTFUL);
    else for (const each of this.#firsts) this.#count(each, true);
  }

  #startId(view: DataView, at: number): void {
    this.end();
    this.#firsts = [];
    for (let i = 0; i < ID_BYTES; i += 4) this.#id.setUint32(i, view.getUint32(at + i));
  }

  #isCurrentId(view: DataView, at: number): boolean {
    for (let i = 0; i < ID_BYTES; i += 4) {
      if (view.getUint32(at + i) !== this.#id.getUint32(i)) return false;
    }
    return true;
  }

  #count({ line, amount }: First, isDoubtful: boolean): void {
    if (line === NO_LINE) return;
    this.sums.add(line, amount % DOUBTFUL, isDoubtful);
  }
}

function linesOf(numbers: ReadonlyMap<string, number>, sums: LineSums): RecountedLine[] {
  const lines: RecountedLine[] = [];
  for (const [key, line] of numbers) {
    const sum = sums.of(line);
    if (sum.events === 0) continue;
    // Days and territories have no spaces.
    const endOfDay = key.indexOf(" ");
    const endOfTerritory = key.indexOf(" ", endOfDay + 1);
    lines.push({
      eventDay: key.slice(0, endOfDay),
      territory: key.slice(endOfDay + 1, endOfTerritory),
      titleId: key.slice(endOfTerritory + 1),
      events: BigInt(sum.events),
      msWatched: BigInt(sum.ms),
      doubtfulEvents: BigInt(sum.doubtfulEvents),
      doubtfulMs: BigInt(sum.doubtfulMs),
    });
  }
  return lines;
}
