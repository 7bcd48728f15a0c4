/**
 * A recognised day derived once more from the raw streams, by an algorithm of its own.
 *
 * The books ask a table, batch by batch, whether an id was seen. The recount knows no table: it
 * writes one 32-byte record per usable heartbeat, sorts them all on disk by (id, stream, sequence),
 * and counts the first of each id. It shares no rule with what writes the books (`appraise.ts` says
 * what it judges by), so a mistake there does not repeat itself here. What both use, and a test holds
 * this list to be complete, is how JSON is read (`shared/contract/json.ts`), the schema of a
 * heartbeat (`shared/contract/event.ts`), a hash (`shared/contract/hash.ts`), and connections
 * (`royalty/books/connection.ts`, `royalty/books/migrations.ts` and what they stand on).
 *
 * Two things raw heartbeats cannot tell, and the recount says how many events they concern instead
 * of guessing: whether a copy of an old event came before the oldest heartbeat that is read, and which
 * of two streams was read first when one id came with different content on both. Those events are
 * `doubtful`: the books may have counted them or not.
 *
 * Memory: one run of the sort and its copies (about 100 MB), the merge's buffers (32 MB per 128 runs
 * of a million), and the lines of the day.
 *
 * @module
 */
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import type { DayLine } from "../statement/day_line.ts";
import { DeviceLoss, type DeviceLossEstimate } from "../statement/device_loss.ts";
import { ExternalSort } from "./external_sort.ts";
import type { RawMessage } from "../raw/stored_message.ts";
import { appraise, DayStarts, type RecountRules, type Unearned, writeId } from "./appraise.ts";

/** One stream, as far as it matters to the day. */
export interface RawSource {
  readonly stream: string;
  /** The last sequence that was posted while the day could be credited. */
  readonly through: number;
  /**
   * The last sequence posted before the close of the day before: what came later and was watched
   * earlier is recognised on this day. Undefined when the day before is not closed.
   */
  readonly closedThrough: number | undefined;
  /** Everything received since this instant is read; -Infinity when all that there ever was is. */
  readonly completeSince: number;
  /** The heartbeats, up to `through`, in the order of their sequences. */
  readonly read: () => AsyncIterable<readonly RawMessage[]>;
}

export interface RecountTask {
  readonly day: string;
  readonly zone: string;
  readonly rules: RecountRules;
  readonly sources: readonly RawSource[];
  /** Where the sort writes what does not fit one run. */
  readonly folder: string | undefined;
  /** Records sorted in memory at once; the sort's own choice when not given. */
  readonly runRecords?: number | undefined;
  /** Ends the recount early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Told how many heartbeats were read, then how many records were counted besides. */
  readonly onProgress?: OnProgress | undefined;
}

/** A line of the day; `events` and `msWatched` include the doubtful ones. */
export interface RecountedLine extends DayLine {
  readonly doubtfulEvents: bigint;
  readonly doubtfulMs: bigint;
}

/** What became of the heartbeats read. */
export interface RecountTally {
  readonly read: number;
  /** Usable heartbeats whose id came before, with the same content or another. */
  readonly repeats: number;
  readonly unearned: Readonly<Record<Unearned, number>>;
}

export interface Recounted extends RecountTally {
  readonly lines: readonly RecountedLine[];
  /** Of what was watched on the day itself. */
  readonly deviceLoss: DeviceLossEstimate;
}

const RECORD_BYTES = 32;
const ID_BYTES = 16;
/** Bit of the amount that marks a doubtful event; played_ms needs 20. */
const DOUBTFUL = 2 ** 31;
/** The line of an event that is not recognised on the day. */
const ELSEWHERE = 0xffff_ffff;

/** Recounts one day. Rejects with what reading or the disk rejects with. */
export async function recount(task: RecountTask): Promise<Recounted> {
  const { folder, runRecords, sources, signal, onProgress } = task;
  await using sort = new ExternalSort({ folder, recordBytes: RECORD_BYTES, runRecords });
  const writer = new RecordWriter(task);
  for (const [stream, source] of sources.entries()) {
    for await (const batch of source.read()) {
      signal?.throwIfAborted();
      for (const message of batch) {
        const record = writer.write(stream, source.closedThrough, message);
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

/** Makes the record of a heartbeat. */
class RecordWriter {
  read = 0;
  readonly unearned: Record<Unearned, number> = {
    unreadable: 0,
    invalid: 0,
    implausible: 0,
    too_late: 0,
    from_the_future: 0,
  };
  readonly loss = new DeviceLoss();
  /** The day's lines by event day, territory and title, numbered as they came. */
  readonly lines = new Map<string, number>();
  readonly #days: DayStarts;
  readonly #doubtfulBefore: number;
  readonly #record = new Uint8Array(RECORD_BYTES);
  readonly #view = new DataView(this.#record.buffer);

  constructor(readonly task: RecountTask) {
    this.#days = new DayStarts(task.zone);
    const completeSince = Math.max(...task.sources.map((source) => source.completeSince));
    // A copy can have been received at most this long before its own ts.
    this.#doubtfulBefore = completeSince + task.rules.futureToleranceMs;
  }

  /**
   * The record of a message of the stream with the number `stream`, overwritten by the next;
   * undefined for what earns nothing.
   */
  write(
    stream: number,
    closedThrough: RawSource["closedThrough"],
    { bytes, receivedAt, sequence }: RawMessage,
  ): Uint8Array | undefined {
    this.read += 1;
    const earning = appraise(bytes, receivedAt, this.task.rules);
    if (typeof earning === "string") {
      this.unearned[earning] += 1;
      return undefined;
    }
    const { eventId, ts, region, titleId, playedMs, sessionId, seq } = earning;
    const eventDay = this.#days.dayOf(ts);
    if (eventDay === this.task.day) this.loss.add(sessionId, seq);
    const isOurs = eventDay === this.task.day ||
      (eventDay < this.task.day && closedThrough !== undefined && sequence > closedThrough);
    const view = this.#view;
    writeId(view, 0, eventId);
    view.setUint16(16, stream);
    view.setUint16(18, Math.floor(sequence / 2 ** 32));
    view.setUint32(20, sequence % 2 ** 32);
    view.setUint32(24, isOurs ? this.#lineOf(`${eventDay} ${region} ${titleId}`) : ELSEWHERE);
    view.setUint32(28, ts < this.#doubtfulBefore ? playedMs + DOUBTFUL : playedMs);
    return this.#record;
  }

  #lineOf(key: string): number {
    const known = this.lines.get(key);
    if (known !== undefined) return known;
    this.lines.set(key, this.lines.size);
    return this.lines.size - 1;
  }
}

interface First {
  readonly stream: number;
  readonly line: number;
  readonly amount: number;
}

/** What a line adds up to, and how much of that is doubtful. */
interface LineSum {
  readonly events: number;
  readonly ms: number;
  readonly doubtfulEvents: number;
  readonly doubtfulMs: number;
}

/** Bytes of the sums of one line: four 64-bit floats, as {@link LineSum} lists them. */
const SUM_BYTES = 32;

/** The sums of numbered lines, in one buffer: a day may have millions. */
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

/** Counts the first of each id in sorted records. */
class FirstCounter {
  repeats = 0;
  readonly sums: LineSums;
  readonly #id = new DataView(new ArrayBuffer(ID_BYTES));
  /** The first of the present id on each stream that had it. */
  #firsts: First[] = [];

  constructor(lines: number) {
    this.sums = new LineSums(lines);
  }

  take(chunk: Uint8Array): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let at = 0; at < chunk.length; at += RECORD_BYTES) {
      const isSame = this.#firsts.length > 0 && this.#isPresentId(view, at);
      const stream = view.getUint16(at + 16);
      if (isSame) this.repeats += 1;
      if (isSame && this.#firsts.at(-1)?.stream === stream) continue;
      if (!isSame) this.#next(view, at);
      const [line, amount] = [view.getUint32(at + 24), view.getUint32(at + 28)];
      this.#firsts.push({ stream, line, amount });
    }
  }

  /** Counts the last id. */
  end(): void {
    const [first, ...others] = this.#firsts;
    if (!first) return;
    const isOne = others.every(({ line, amount }) =>
      line === first.line && amount === first.amount
    );
    // The same content twice is one event, whichever stream was read first.
    if (isOne) this.#count(first, first.amount >= DOUBTFUL);
    else for (const each of this.#firsts) this.#count(each, true);
  }

  #next(view: DataView, at: number): void {
    this.end();
    this.#firsts = [];
    for (let i = 0; i < ID_BYTES; i += 4) this.#id.setUint32(i, view.getUint32(at + i));
  }

  #isPresentId(view: DataView, at: number): boolean {
    for (let i = 0; i < ID_BYTES; i += 4) {
      if (view.getUint32(at + i) !== this.#id.getUint32(i)) return false;
    }
    return true;
  }

  #count({ line, amount }: First, isDoubtful: boolean): void {
    if (line === ELSEWHERE) return;
    this.sums.add(line, amount % DOUBTFUL, isDoubtful);
  }
}

function linesOf(numbers: ReadonlyMap<string, number>, sums: LineSums): RecountedLine[] {
  const lines: RecountedLine[] = [];
  for (const [key, line] of numbers) {
    const sum = sums.of(line);
    if (sum.events === 0) continue;
    // A day and a territory have no spaces.
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
