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
 * Bodies of at most this size are read in one step. It takes a third of the memory while they
 * arrive, and less CPU; for larger ones it takes more.
 */
const SMALL_BODY_BYTES = 4096;

/**
 * Reads bodies, each within `deadlineMs`. A body that arrives slowly costs up to 200 KB of buffers of
 * Deno, so that at most `maxWaiting` may: beyond that the one that has waited longest is given up.
 */
export class BodyReader {
  readonly #waiting = new Set<(problem: IngestProblem) => void>();
  constructor(readonly deadlineMs: number, readonly maxWaiting: number) {}

  /**
   * Reads the whole body of `request`. Throws {@link Problem} at the first limit that is exceeded:
   * `body-too-large`, `slow-body`, `too-much-in-flight`; or `body-broken-off` when the connection
   * fails.
   */
  async read(request: Request, reservation: ByteReservation): Promise<Uint8Array> {
    const declared = Number(request.headers.get("content-length") ?? 0);
    if (declared > MAX_BODY_BYTES) throw tooLarge("as sent");
    const isSmall = declared > 0 && declared <= SMALL_BODY_BYTES;
    // Taken before it arrives: what is given up may still arrive, and must not take anything then.
    if (isSmall) reservation.take(declared);
    // Not read otherwise: `body` makes a stream.
    else if (request.body === null) return new Uint8Array(0);
    const reader = isSmall ? undefined : request.body?.getReader();
    try {
      return await this.#within(request, reader, reservation);
    } catch (error) {
      void reader?.cancel().catch(() => {});
      if (error instanceof Problem) throw error;
      const detail = "The connection failed while the body was read.";
      throw ingestProblems.problem("body-broken-off", detail);
    }
  }

  // One promise, not a race of several: this is the path of every heartbeat.
  #within(
    request: Request,
    reader: ReadableStreamDefaultReader<Uint8Array> | undefined,
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
      const body = reader === undefined ? request.bytes() : readAll(reader, reservation);
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

async function readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  reservation: ByteReservation,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.length;
    if (bytes > MAX_BODY_BYTES) throw tooLarge("as sent");
    reservation.take(value.length);
    chunks.push(value);
  }
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1) return first;
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
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

function tooLarge(when: string): IngestProblem {
  const detail = `The body is larger than ${MAX_BODY_BYTES} bytes ${when}; nothing was stored. ` +
    "Send its events in several requests.";
  return ingestProblems.problem("body-too-large", detail);
}

function slowBody(deadlineMs: number): IngestProblem {
  const detail = `The body did not arrive within ${deadlineMs} ms; nothing was stored. ` +
    "Send the same bytes again.";
  return ingestProblems.problem("slow-body", detail);
}
