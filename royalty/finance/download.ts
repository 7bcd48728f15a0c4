/**
 * Content negotiation for an immutable file: conditional requests, ranges and compression by
 * RFC 9110.
 *
 * Pure.
 *
 * @module
 */

/** A stored file. */
export interface Sendable {
  /** SHA-256 of its bytes, lower-case hex: the opaque part of its ETag. */
  readonly tag: string;
  /** Its size. */
  readonly bytes: number;
}

/**
 * What to send. Only whole files are compressed, so `first` and `last` (both included) are offsets
 * into the stored bytes.
 */
export type Transfer =
  | { readonly kind: "whole"; readonly encoding: "identity" | "gzip" }
  | { readonly kind: "part"; readonly first: number; readonly last: number }
  | { readonly kind: "unchanged" }
  | { readonly kind: "unsatisfiable" };

/** Looks up a request header; undefined when it is missing. */
export type RequestHeader = (name: string) => string | undefined;

/**
 * Decides from the headers of a GET or HEAD what to send. A malformed range, another unit and several
 * ranges in one request are ignored, as RFC 9110 allows, and the whole file is sent.
 */
export function negotiate(method: string, header: RequestHeader, file: Sendable): Transfer {
  const known = header("if-none-match");
  if (known !== undefined && matches(known, file.tag)) return { kind: "unchanged" };
  const range = method === "GET" && mayResume(header("if-range"), file.tag)
    ? rangeOf(header("range"), file.bytes)
    : undefined;
  if (range) return range;
  return { kind: "whole", encoding: acceptsGzip(header("accept-encoding")) ? "gzip" : "identity" };
}

/** The ETag of a file. It is weak for gzip, because compressors may produce different bytes. */
export function etagOf({ tag }: Sendable, encoding: "identity" | "gzip" = "identity"): string {
  return encoding === "gzip" ? `W/"${tag}"` : `"${tag}"`;
}

// Weak comparison (RFC 9110 §8.8.3.2), so that a cached gzip matches too.
function matches(ifNoneMatch: string, tag: string): boolean {
  if (ifNoneMatch.trim() === "*") return true;
  const tags = ifNoneMatch.matchAll(/(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/g);
  return [...tags].some(([, known]) => known === tag);
}

// Strong comparison. A date never matches, because there is no Last-Modified.
function mayResume(ifRange: string | undefined, tag: string): boolean {
  return ifRange === undefined || ifRange.trim() === `"${tag}"`;
}

function rangeOf(header: string | undefined, bytes: number): Transfer | undefined {
  const [, from, to] = header?.trim().match(/^bytes=[ \t]*(\d*)-(\d*)$/i) ?? [];
  if (from === undefined || to === undefined || from + to === "") return undefined;
  if (from === "") {
    const suffix = Math.min(Number(to), bytes);
    if (suffix === 0) return { kind: "unsatisfiable" };
    return { kind: "part", first: bytes - suffix, last: bytes - 1 };
  }
  const first = Number(from);
  if (to !== "" && Number(to) < first) return undefined;
  if (first >= bytes) return { kind: "unsatisfiable" };
  return { kind: "part", first, last: to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1) };
}

function acceptsGzip(header: string | undefined): boolean {
  if (header === undefined) return false;
  const weights = new Map(
    header.split(",").map((part) => {
      const [coding, ...parameters] = part.trim().toLowerCase().split(/\s*;\s*/);
      const q = parameters.find((parameter) => parameter.startsWith("q="));
      return [coding, q === undefined ? 1 : Number(q.slice(2)) || 0];
    }),
  );
  const gzip = weights.get("gzip") ?? weights.get("x-gzip") ?? weights.get("*") ?? 0;
  return gzip > 0 && gzip >= (weights.get("identity") ?? 0);
}

/** `Content-Disposition` for saving as `name`, with any characters (RFC 6266, RFC 8187). */
export function attachment(name: string): string {
  const plain = name.replace(/[^\w.-]/g, "_");
  if (plain === name) return `attachment; filename="${name}"`;
  const encoded = encodeURIComponent(name.toWellFormed())
    .replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
