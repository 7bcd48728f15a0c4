/**
 * Serves an immutable file over HTTP in slices.
 *
 * A slow client holds neither a database connection nor the whole file in memory. The last slice of
 * a whole file is sent only if the file has its hash, so a file that is damaged in storage never
 * arrives complete: its transfer is aborted.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { attachment, etagOf, negotiate, type RequestHeader, type Sendable } from "./download.ts";
import { financeProblems } from "./problem.ts";

/** A file to serve. */
export interface SentFile extends Sendable {
  readonly contentType: string;
  /** File name for saving; undefined to show the file in the browser. */
  readonly saveAs: string | undefined;
  /** Path of exactly this version, for `Content-Location`. */
  readonly location: string;
  /** Whether the requested path will always be this file, so that it may be cached forever. */
  readonly isPermanent: boolean;
  /** Additional headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Reads `bytes` bytes from `offset` on. */
  read(offset: number, bytes: number): Promise<Uint8Array>;
  /** Receives the error that aborted a transfer; the client only sees the connection end. */
  readonly onFailed: (error: unknown) => void;
}

type Body = ReadableStream<Uint8Array<ArrayBuffer>>;

/** Maximum bytes per read. */
const SLICE_BYTES = 4 * 1024 * 1024;

/** The response to a GET or HEAD: the file, a range of it, 304 or 416. */
export function fileResponse(method: string, header: RequestHeader, file: SentFile): Response {
  const transfer = negotiate(method, header, file);
  const headers = new Headers({
    etag: etagOf(file),
    // no-transform, because a proxy that compresses or converts would break the hash.
    "cache-control": `private, no-transform, ${
      file.isPermanent ? "max-age=31536000, immutable" : "no-cache"
    }`,
    "content-location": file.location,
    vary: "Accept-Encoding, Authorization",
  });
  if (transfer.kind === "unchanged") return new Response(null, { status: 304, headers });
  if (transfer.kind === "unsatisfiable") {
    const detail = `The file has ${file.bytes} bytes.`;
    const range = { "content-range": `bytes */${file.bytes}` };
    return financeProblems.problem("range-not-satisfiable", detail, { headers: range })
      .toResponse();
  }
  setFileHeaders(headers, file);
  if (transfer.kind === "part") {
    const { first, last } = transfer;
    headers.set("content-range", `bytes ${first}-${last}/${file.bytes}`);
    headers.set("content-length", String(last - first + 1));
    return new Response(sliceStream(file, first, last), { status: 206, headers });
  }
  const body = sliceStream(file, 0, file.bytes - 1, createHash("sha256"));
  if (transfer.encoding === "identity") {
    headers.set("content-length", String(file.bytes));
    return new Response(body, { headers });
  }
  headers.set("etag", etagOf(file, "gzip"));
  headers.set("content-encoding", "gzip");
  headers.delete("repr-digest");
  return new Response(body.pipeThrough(new CompressionStream("gzip")), { headers });
}

function setFileHeaders(headers: Headers, file: SentFile): void {
  headers.set("content-type", file.contentType);
  headers.set("accept-ranges", "bytes");
  headers.set("repr-digest", `sha-256=:${btoa(bytesOfHex(file.tag))}:`);
  if (file.saveAs !== undefined) headers.set("content-disposition", attachment(file.saveAs));
  for (const [name, value] of Object.entries(file.headers ?? {})) headers.set(name, value);
}

function bytesOfHex(hex: string): string {
  return hex.replace(/../g, (byte) => String.fromCharCode(parseInt(byte, 16)));
}

// A slice is read only when the client is ready to receive it.
function sliceStream(file: SentFile, first: number, last: number, hash?: Hash): Body {
  let at = first;
  let isCancelled = false;
  return new ReadableStream({
    cancel: () => void (isCancelled = true),
    async pull(controller) {
      try {
        const bytes = Math.min(SLICE_BYTES, last + 1 - at);
        const slice = await file.read(at, bytes);
        if (isCancelled) return;
        at += slice.length;
        hash?.update(slice);
        checkSlice(file, slice.length === bytes, at > last ? hash : undefined);
        controller.enqueue(new Uint8Array(slice));
        if (at > last) controller.close();
      } catch (error) {
        file.onFailed(error);
        throw error;
      }
    },
  }, { highWaterMark: 0 });
}

function checkSlice({ bytes, tag }: SentFile, isWhole: boolean, hash: Hash | undefined): void {
  if (!isWhole) throw new Error(`the stored file has fewer than ${bytes} bytes`);
  if (hash && hash.digest("hex") !== tag) {
    throw new Error(`the stored file does not have the SHA-256 ${tag}`);
  }
}
