/**
 * Reads a request body within bounds of size, time and memory, and inflates it.
 *
 * @module
 */
import { gunzipSync } from "node:zlib";
import { Problem } from "../shared/process/problem.ts";
import { type IngestProblem, ingestProblems } from "./problem.ts";
import { MAX_BODY_BYTES } from "./settings.ts";

/** Bytes that all requests under way may hold together. */
export class ByteBudget {
  #held = 0;
  constructor(readonly limit: number) {}

  get held(): number {
    return this.#held;
  }
  /** False, and nothing taken, when `bytes` more would pass the limit. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.limit) return false;
    this.#held += bytes;
    return true;
  }
  release(bytes: number): void {
    this.#held -= bytes;
  }
}

/** What one request holds of the budget; released once it is answered. */
export class Holding {
  #bytes = 0;
  constructor(readonly budget: ByteBudget) {}

  /** Throws {@link Problem} `too-much-in-flight` when the budget is spent. */
  take(bytes: number): void {
    if (!this.budget.take(bytes)) {
      throw ingestProblems.problem(
        "too-much-in-flight",
        "The edge holds as much as it can; nothing was stored. Send the same bytes again later.",
      );
    }
    this.#bytes += bytes;
  }
  release(): void {
    this.budget.release(this.#bytes);
    this.#bytes = 0;
  }
}

/** Reads the whole body of `request`; throws {@link Problem} at the first broken bound. */
export async function readBody(
  request: Request,
  holding: Holding,
  deadlineMs: number,
): Promise<Uint8Array> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > MAX_BODY_BYTES) throw tooLarge("as sent");
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void reader.cancel().catch(() => {});
  }, deadlineMs);
  try {
    const body = await readAll(reader, holding);
    if (late) throw slow(deadlineMs);
    return body;
  } catch (error) {
    void reader.cancel().catch(() => {});
    if (late) throw slow(deadlineMs);
    if (error instanceof Problem) throw error;
    const detail = "The connection broke while the body was read.";
    throw ingestProblems.problem("body-broken-off", detail);
  } finally {
    clearTimeout(timer);
  }
}

async function readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  holding: Holding,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.length;
    if (bytes > MAX_BODY_BYTES) throw tooLarge("as sent");
    holding.take(value.length);
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

/** The content of a gzip body; inflating stops at the bound, however large the rest would be. */
export function gunzip(body: Uint8Array, holding: Holding): Uint8Array {
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
  holding.take(inflated.length);
  return inflated;
}

function tooLarge(when: string): IngestProblem {
  const detail = `The body is larger than ${MAX_BODY_BYTES} bytes ${when}; nothing was stored. ` +
    "Send its events in several requests.";
  return ingestProblems.problem("body-too-large", detail);
}

function slow(deadlineMs: number): IngestProblem {
  const detail = `The body did not arrive within ${deadlineMs} ms; nothing was stored. ` +
    "Send the same bytes again.";
  return ingestProblems.problem("slow-body", detail);
}
