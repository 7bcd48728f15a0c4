/**
 * Observations: what a heartbeat says that matters to the detector, in batches, as the process that
 * reads a stream passes them to the one that decides.
 *
 * A batch is a length, a head as JSON, and columns of numbers: a tenth of the time and half of the
 * bytes of the heartbeats as JSON. Text stands in the head, each once. It covers a range of
 * sequences of its stream without a hole: heartbeats that cannot be used are in it as numbers only,
 * and what the reader skipped is said.
 *
 * Pure. Times are receipts, ms since the epoch.
 *
 * @module
 */
import { z } from "zod";
import { STATES } from "../../shared/contract/event.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";

/** Heartbeats that a reader skipped because it was too far behind. */
export interface Skip {
  /** How many, about: their messages were not read. */
  readonly events: number;
  /** Receipt of the last heartbeat before them, and of the first after them, about. */
  readonly fromMs: number;
  readonly toMs: number;
}

const count = z.int().min(0);
const headSchema = z.object({
  v: z.literal(1),
  /** Usable heartbeats, a row of the columns each. */
  rows: count,
  /** Sequences that the batch covers, those that were skipped included; none: first > last. */
  first: count,
  last: count,
  /** Heartbeats read, those that cannot be used included. */
  events: count,
  /** Receipt time up to which the stream was heard; null while that is not known. */
  heard_to: z.number().nullable(),
  /** How far the reader is behind, ms of receipt. */
  lag_ms: z.number().min(0),
  skips: z.array(z.object({ events: count, fromMs: z.number(), toMs: z.number() })).max(1_000),
  /** The process that made it. */
  by: z.string().max(100),
  texts: z.array(z.string()),
  sessions: z.array(z.string()),
});

/** The head of a batch. */
export type BatchHead = z.infer<typeof headSchema>;

/** Bytes a row: 3 × 8 + 4 × 4 + 6 × 4 + 1. */
const ROW_BYTES = 65;
const NO_TEXT = 0xffff_ffff;
const START_ROWS = 1_024;
/** Bytes of a character of text in JSON, at most. */
const MAX_CHAR_BYTES = 6;

/** The columns of a batch. */
interface Columns {
  readonly receivedMs: Float64Array;
  readonly ts: Float64Array;
  readonly seq: Float64Array;
  readonly sequence: Uint32Array;
  readonly intervalMs: Uint32Array;
  readonly playedMs: Uint32Array;
  readonly rebufferMs: Uint32Array;
  /** Places of region, title, CDN, ISP, build and model in the texts, one after the other. */
  readonly texts: Uint32Array;
  readonly state: Uint8Array;
}

const TEXTS = 6;

function columnsOf(buffer: ArrayBuffer, from: number, rows: number): Columns {
  let at = from;
  const place = (bytes: number) => {
    const start = at;
    at += bytes * rows;
    return start;
  };
  return {
    receivedMs: new Float64Array(buffer, place(8), rows),
    ts: new Float64Array(buffer, place(8), rows),
    seq: new Float64Array(buffer, place(8), rows),
    sequence: new Uint32Array(buffer, place(4), rows),
    intervalMs: new Uint32Array(buffer, place(4), rows),
    playedMs: new Uint32Array(buffer, place(4), rows),
    rebufferMs: new Uint32Array(buffer, place(4), rows),
    texts: new Uint32Array(buffer, place(4 * TEXTS), rows * TEXTS),
    state: new Uint8Array(buffer, place(1), rows),
  };
}

/** What is said of a batch when it is finished. */
export type BatchEnd = Pick<BatchHead, "heard_to" | "lag_ms" | "by">;

/** Collects the next batch of one stream. */
export class BatchBuilder {
  #columns = columnsOf(new ArrayBuffer(START_ROWS * ROW_BYTES), 0, START_ROWS);
  #rows = 0;
  #events = 0;
  #first = 0;
  #last = 0;
  #textBytes = 0;
  #skips: Skip[] = [];
  #texts = new Map<string, number>();
  #sessions: string[] = [];

  /** Most bytes that it may have when it is finished now. */
  get maxBytes(): number {
    return this.#rows * ROW_BYTES + this.#textBytes;
  }

  /** Whether it says nothing of any sequence. */
  get isEmpty(): boolean {
    return this.#first === 0;
  }

  /** Notes that the message with this sequence was read, with so many heartbeats; sequences ascend. */
  cover(sequence: number, heartbeats: number): void {
    if (this.#first === 0) this.#first = sequence;
    this.#last = sequence;
    this.#events += heartbeats;
  }

  /** Notes that the messages from `first` to before `next` were skipped. */
  skipTo(skip: Skip, first: number, next: number): void {
    if (this.#first === 0) this.#first = first;
    this.#last = next - 1;
    this.#skips.push(skip);
  }

  /** Adds a heartbeat of the message that was covered last. */
  add(heartbeat: WatchedHeartbeat, receivedAtMs: number): void {
    if (this.#rows === this.#columns.state.length) this.#grow();
    const row = this.#rows++;
    const { receivedMs, ts, seq, sequence, intervalMs, playedMs, rebufferMs, texts, state } =
      this.#columns;
    receivedMs[row] = receivedAtMs;
    ts[row] = heartbeat.ts;
    seq[row] = heartbeat.seq;
    sequence[row] = this.#last - this.#first;
    intervalMs[row] = heartbeat.interval_ms;
    playedMs[row] = heartbeat.played_ms;
    rebufferMs[row] = Math.min(heartbeat.rebuffer_ms, NO_TEXT);
    state[row] = STATES.indexOf(heartbeat.state);
    const at = row * TEXTS;
    texts[at] = this.#text(heartbeat.region);
    texts[at + 1] = this.#text(heartbeat.title_id);
    texts[at + 2] = this.#text(heartbeat.cdn);
    texts[at + 3] = this.#text(heartbeat.isp);
    texts[at + 4] = this.#text(heartbeat.device.build);
    texts[at + 5] = this.#text(heartbeat.device.model);
    this.#sessions.push(heartbeat.session_id);
    this.#textBytes += textBytes(heartbeat.session_id);
  }

  /** The batch as bytes; begins the next one. */
  finish(end: BatchEnd): Uint8Array<ArrayBuffer> {
    const rows = this.#rows;
    const head: BatchHead = {
      v: 1,
      rows,
      first: this.#first,
      last: this.#first === 0 ? -1 : this.#last,
      events: this.#events,
      skips: this.#skips,
      texts: [...this.#texts.keys()],
      sessions: this.#sessions,
      ...end,
    };
    if (head.last < 0) Object.assign(head, { first: 1, last: 0 });
    const text = new TextEncoder().encode(JSON.stringify(head));
    const from = 8 + Math.ceil(text.length / 8) * 8;
    const bytes = new Uint8Array(new ArrayBuffer(from + rows * ROW_BYTES));
    new DataView(bytes.buffer).setUint32(0, text.length, true);
    bytes.set(text, 8);
    const to = columnsOf(bytes.buffer, from, rows);
    const columns = this.#columns;
    for (const name of ["receivedMs", "ts", "seq"] as const) {
      to[name].set(columns[name].subarray(0, rows));
    }
    for (const name of ["sequence", "intervalMs", "playedMs", "rebufferMs"] as const) {
      to[name].set(columns[name].subarray(0, rows));
    }
    to.texts.set(columns.texts.subarray(0, rows * TEXTS));
    to.state.set(columns.state.subarray(0, rows));
    this.#rows =
      this.#events =
      this.#first =
      this.#last =
      this.#textBytes =
        0;
    this.#skips = [];
    this.#texts = new Map();
    this.#sessions = [];
    return bytes;
  }

  #text(text: string | undefined): number {
    if (text === undefined) return NO_TEXT;
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    this.#texts.set(text, this.#texts.size);
    this.#textBytes += textBytes(text);
    return this.#texts.size - 1;
  }

  #grow(): void {
    const old = this.#columns;
    const rows = old.state.length * 2;
    const columns = columnsOf(new ArrayBuffer(rows * ROW_BYTES), 0, rows);
    for (const name of ["receivedMs", "ts", "seq"] as const) columns[name].set(old[name]);
    for (const name of ["sequence", "intervalMs", "playedMs", "rebufferMs", "texts"] as const) {
      columns[name].set(old[name]);
    }
    columns.state.set(old.state);
    this.#columns = columns;
  }
}

function textBytes(text: string): number {
  return MAX_CHAR_BYTES * text.length + 3;
}

/** A batch that was read. */
export class ObservationBatch {
  /** The next row to take. */
  next = 0;

  private constructor(readonly head: BatchHead, readonly columns: Columns) {}

  /** The batch in `bytes`; undefined if they are none. */
  static of(bytes: Uint8Array): ObservationBatch | undefined {
    try {
      // A copy of its own: columns have to be aligned, and a view would keep a socket's buffer.
      const { buffer } = new Uint8Array(bytes);
      const length = new DataView(buffer).getUint32(0, true);
      const text = new TextDecoder("utf-8", { fatal: true }).decode(
        new Uint8Array(buffer, 8, length),
      );
      const head = headSchema.parse(JSON.parse(text));
      const from = 8 + Math.ceil(length / 8) * 8;
      if (buffer.byteLength !== from + head.rows * ROW_BYTES) return undefined;
      if (head.sessions.length !== head.rows) return undefined;
      return new ObservationBatch(head, columnsOf(buffer, from, head.rows));
    } catch {
      return undefined;
    }
  }

  /** Receipt of the next row; Infinity when all are taken. */
  get receivedAtMs(): number {
    return this.columns.receivedMs[this.next] ?? Infinity;
  }

  /** Sequence of a row. */
  sequence(row: number): number {
    return this.head.first + (this.columns.sequence[row] ?? 0);
  }

  /** The heartbeat in the next row, which is taken. */
  take(): WatchedHeartbeat {
    const row = this.next++;
    const { ts, seq, intervalMs, playedMs, rebufferMs, state } = this.columns;
    const at = row * TEXTS;
    const cdn = this.#text(at + 2);
    const isp = this.#text(at + 3);
    return {
      session_id: this.head.sessions[row] ?? "",
      region: this.#text(at) ?? "",
      title_id: this.#text(at + 1) ?? "",
      ts: ts[row] ?? 0,
      seq: seq[row] ?? 0,
      interval_ms: intervalMs[row] ?? 0,
      played_ms: playedMs[row] ?? 0,
      rebuffer_ms: rebufferMs[row] ?? 0,
      state: STATES[state[row] ?? 0] ?? "playing",
      device: { build: this.#text(at + 4) ?? "", model: this.#text(at + 5) ?? "", os: "" },
      ...(cdn === undefined ? {} : { cdn }),
      ...(isp === undefined ? {} : { isp }),
    };
  }

  #text(at: number): string | undefined {
    return this.head.texts[this.columns.texts[at] ?? NO_TEXT];
  }
}
