/**
 * Reads a request body within limits of size, time and memory, and inflates it.
 *
 * @module
 */
import { gunzipSync } from "node:zlib";
import { Problem } from "../shared/process/problem.ts";
import { fleetShareSpent, type IngestProblem, ingestProblems } from "./problem.ts";
import { MAX_BODY_BYTES } from "./settings.ts";
import type { BudgetShare } from "./shares/fair_budget.ts";

/** What one request holds of the memory of its fleet until it is answered, in bytes. */
export class ByteReservation {
  #bytes = 0;
  constructor(readonly share: BudgetShare) {}

  /**
   * Takes `bytes` more; throws {@link Problem} `too-much-in-flight` when the memory of all is spent,
   * `fleet-share` when that of the fleet is.
   */
  take(bytes: number): void {
    const refusal = this.share.take(bytes);
    if (refusal === "spent") {
      throw ingestProblems.problem(
        "too-much-in-flight",
        "The edge is at its memory limit; nothing was stored. Send the same bytes again later.",
      );
    }
    if (refusal) throw fleetShareSpent();
    this.#bytes += bytes;
  }
  /** Gives back everything that was taken. */
  release(): void {
    this.share.release(this.#bytes);
    this.#bytes = 0;
  }
}

/**
 * Bodies of at most this size are read in one step: 70 KB of memory while one arrives. The default
 * reader of a stream takes 200 KB, and the garbage of its buffers stops the process for seconds when
 * thousands are given up.
 */
const SMALL_BODY_BYTES = 64 * 1024;
/** Size of the buffers of larger bodies, and of those without a length. */
const CHUNK_BYTES = 16 * 1024;
/**
 * A body may have so many parts, and one more for each so many bytes. Each part costs a turn of the event
 * loop, so a megabyte of single bytes would keep the edge from everybody else for seconds.
 */
const FREE_PARTS = 2_048;
const MIN_PART_BYTES = 64;

/**
 * Reads bodies, each within `deadlineMs`. A body that arrives slowly costs about 70 KB of buffers of
 * Deno, so that at most `maxWaiting` may: beyond that the one that has waited longest is given up.
 */
export class BodyReader {
  readonly #waiting = new Set<(problem: IngestProblem) => void>();
  constructor(readonly deadlineMs: number, readonly maxWaiting: number) {}

  /**
   * Reads the whole body of `request`. Throws {@link Problem} at the first limit that is exceeded:
   * `body-too-large`, `body-in-fragments`, `slow-body`, `too-much-in-flight`; `body-broken-off` when the connection
   * fails; `unsupported-encoding` when it has a transfer coding besides chunks.
   */
  async read(request: Request, reservation: ByteReservation): Promise<Uint8Array> {
    const declared = Number(request.headers.get("content-length") ?? 0);
    if (declared > MAX_BODY_BYTES) throw tooLarge("as sent");
    const isSmall = declared > 0 && declared <= SMALL_BODY_BYTES;
    // `body` makes a stream, which reading in one step does not need.
    const chunks = isSmall || request.body === null ? undefined : chunksOf(request.body);
    if (!isSmall && chunks === undefined) return new Uint8Array(0);
    if (!isSmall) refuseCoding(request);
    try {
      const body = await this.#within(request, chunks, reservation);
      // After it is there: what is given up may still arrive, and must not take anything then.
      if (isSmall) reservation.take(body.length);
      return body;
    } catch (error) {
      void chunks?.cancel().catch(() => {});
      if (error instanceof Problem) throw error;
      const detail = "The connection failed while the body was read.";
      throw ingestProblems.problem("body-broken-off", detail);
    }
  }

  // One promise, not a race of several: this is the path of every heartbeat.
  #within(
    request: Request,
    chunks: Chunks | undefined,
    reservation: ByteReservation,
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => giveUp(slowBody(this.deadlineMs)), this.deadlineMs);
      const giveUp = (error: unknown) => {
        clearTimeout(timer);
        this.#waiting.delete(giveUp);
        reject(error);
      };
      this.#wait(giveUp);
      const body = chunks === undefined ? request.bytes() : readAll(chunks, reservation);
      body.then((bytes) => {
        clearTimeout(timer);
        this.#waiting.delete(giveUp);
        resolve(bytes);
      }, giveUp);
    });
  }

  #wait(giveUp: (problem: IngestProblem) => void): void {
    this.#waiting.add(giveUp);
    if (this.#waiting.size <= this.maxWaiting) return;
    const [oldest] = this.#waiting;
    if (oldest === undefined) return;
    this.#waiting.delete(oldest);
    const detail = "Too many bodies arrive at once, and this one has taken longest; nothing was " +
      "stored. Send the same bytes again.";
    oldest(ingestProblems.problem("slow-body", detail));
  }
}

/** A body in parts. */
interface Chunks {
  /** The next part, or undefined at the end; it is valid until the next call. */
  next(): Promise<Uint8Array | undefined>;
  cancel(): Promise<void>;
}

function chunksOf(body: ReadableStream<Uint8Array>): Chunks {
  const reader = byteReader(body);
  if (reader === undefined) {
    // The whole body is there already, or it is not from a socket.
    const whole = body.getReader();
    return { next: async () => (await whole.read()).value, cancel: () => whole.cancel() };
  }
  // One buffer for all parts, which `readAll` copies: each part may be a single byte.
  let buffer = new ArrayBuffer(CHUNK_BYTES);
  const next = async () => {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done || value === undefined) return undefined;
    buffer = value.buffer;
    return value;
  };
  return { next, cancel: () => reader.cancel() };
}

function byteReader(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return undefined;
  }
}

async function readAll(source: Chunks, reservation: ByteReservation): Promise<Uint8Array> {
  let body = new Uint8Array(CHUNK_BYTES);
  let bytes = 0;
  for (let parts = 1;; parts++) {
    const chunk = await source.next();
    if (chunk === undefined) return body.subarray(0, bytes);
    const end = bytes + chunk.length;
    if (end > MAX_BODY_BYTES) throw tooLarge("as sent");
    if (parts > FREE_PARTS + end / MIN_PART_BYTES) throw inFragments();
    reservation.take(chunk.length);
    if (end > body.length) body = grown(body, bytes, end);
    body.set(chunk, bytes);
    bytes = end;
  }
}

/** `body` with its first `bytes`, and room for `needed`. */
function grown(
  body: Uint8Array<ArrayBuffer>,
  bytes: number,
  needed: number,
): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(MAX_BODY_BYTES, Math.max(needed, 2 * body.length)));
  larger.set(body.subarray(0, bytes));
  return larger;
}

/**
 * Inflates a gzip body; stops at {@link MAX_BODY_BYTES}. Throws {@link Problem} `body-too-large`,
 * `bad-gzip` or `too-much-in-flight`.
 */
export function gunzip(body: Uint8Array, reservation: ByteReservation): Uint8Array {
  let inflated: Uint8Array;
  try {
    inflated = gunzipSync(body, { maxOutputLength: MAX_BODY_BYTES });
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") {
      throw tooLarge("after inflating");
    }
    throw ingestProblems.problem(
      "bad-gzip",
      "The body is not gzip, or it is truncated or damaged.",
    );
  }
  reservation.take(inflated.length);
  return inflated;
}

// Deno removes the chunks and no other coding, so that what would be stored is not the body.
function refuseCoding(request: Request): void {
  const coding = request.headers.get("transfer-encoding")?.trim().toLowerCase() ?? "chunked";
  if (coding === "chunked") return;
  const detail =
    "Send the body without a Transfer-Encoding other than chunked; nothing was stored.";
  throw ingestProblems.problem("unsupported-encoding", detail);
}

function tooLarge(when: string): IngestProblem {
  const detail = `The body is larger than ${MAX_BODY_BYTES} bytes ${when}; nothing was stored. ` +
    "Send its events in several requests.";
  return ingestProblems.problem("body-too-large", detail);
}

function inFragments(): IngestProblem {
  const detail =
    `The body came in parts of less than ${MIN_PART_BYTES} bytes; nothing was stored. ` +
    "Send it with a Content-Length, or in larger chunks.";
  return ingestProblems.problem("body-in-fragments", detail);
}

function slowBody(deadlineMs: number): IngestProblem {
  const detail = `The body did not arrive within ${deadlineMs} ms; nothing was stored. ` +
    "Send the same bytes again.";
  return ingestProblems.problem("slow-body", detail);
}
