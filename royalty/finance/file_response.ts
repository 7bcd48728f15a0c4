/**
 * A file that never changes as an HTTP answer, sent in slices.
 *
 * A slow client holds neither a connection to where the file is nor the file. The last slice of a
 * whole file goes out only if all of it has the hash it should have: what is damaged in storage
 * arrives broken off, never complete.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { attachment, etagOf, negotiate, type RequestHeader, type Sendable } from "./download.ts";
import { financeProblems } from "./problem.ts";

export interface SentFile extends Sendable {
  readonly contentType: string;
  /** The name it is saved under; undefined to show it in the browser. */
  readonly saveAs: string | undefined;
  /** Path of this very version. */
  readonly location: string;
  /** Whether the path asked for will always be this file, so that it need not be asked for again. */
  readonly isPermanent: boolean;
  /** Other headers. */
  readonly headers?: Readonly<Record<string, string>>;
  read(offset: number, bytes: number): Promise<Uint8Array>;
  /** Told why a transfer is broken off; the client only sees that it is. */
  readonly onBroken: (error: unknown) => void;
}

type Body = ReadableStream<Uint8Array<ArrayBuffer>>;

/** Bytes read at a time. */
const SLICE_BYTES = 4 * 1024 * 1024;

/** Answers a GET or HEAD with the file, a range of it, or that it has not changed. */
export function fileResponse(method: string, header: RequestHeader, file: SentFile): Response {
  const transfer = negotiate(method, header, file);
  const headers = new Headers({
    etag: etagOf(file),
    // A proxy that compresses or converts would break the hash.
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
  describe(headers, file);
  if (transfer.kind === "part") {
    const { first, last } = transfer;
    headers.set("content-range", `bytes ${first}-${last}/${file.bytes}`);
    headers.set("content-length", String(last - first + 1));
    return new Response(sliced(file, first, last), { status: 206, headers });
  }
  const body = sliced(file, 0, file.bytes - 1, createHash("sha256"));
  if (transfer.encoding === "identity") {
    headers.set("content-length", String(file.bytes));
    return new Response(body, { headers });
  }
  headers.set("etag", etagOf(file, "gzip"));
  headers.set("content-encoding", "gzip");
  headers.delete("repr-digest");
  return new Response(body.pipeThrough(new CompressionStream("gzip")), { headers });
}

function describe(headers: Headers, file: SentFile): void {
  headers.set("content-type", file.contentType);
  headers.set("accept-ranges", "bytes");
  headers.set("repr-digest", `sha-256=:${btoa(bytesOfHex(file.tag))}:`);
  if (file.saveAs !== undefined) headers.set("content-disposition", attachment(file.saveAs));
  for (const [name, value] of Object.entries(file.headers ?? {})) headers.set(name, value);
}

function bytesOfHex(hex: string): string {
  return hex.replace(/../g, (byte) => String.fromCharCode(parseInt(byte, 16)));
}

// Nothing is read before the client is ready to take it.
function sliced(file: SentFile, first: number, last: number, hash?: Hash): Body {
  let at = first;
  let isGone = false;
  return new ReadableStream({
    cancel: () => void (isGone = true),
    async pull(controller) {
      try {
        const bytes = Math.min(SLICE_BYTES, last + 1 - at);
        const slice = await file.read(at, bytes);
        if (isGone) return;
        at += slice.length;
        hash?.update(slice);
        checkSlice(file, slice.length === bytes, at > last ? hash : undefined);
        controller.enqueue(new Uint8Array(slice));
        if (at > last) controller.close();
      } catch (error) {
        file.onBroken(error);
        throw error;
      }
    },
  }, { highWaterMark: 0 });
}

function checkSlice({ bytes, tag }: SentFile, isWhole: boolean, hash: Hash | undefined): void {
  if (!isWhole) throw new Error(`there are fewer than ${bytes} bytes`);
  if (hash && hash.digest("hex") !== tag) {
    throw new Error(`the bytes do not have the SHA-256 ${tag}`);
  }
}
