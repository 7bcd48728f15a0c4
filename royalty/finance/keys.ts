/**
 * Who reads statements: keys by reader, presented as a bearer token or, for browsers and
 * spreadsheets, as the password of HTTP Basic with the reader's name as the user.
 *
 * Pure.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";

/** Read-only keys by the name of their reader. */
export class FinanceKeys {
  readonly #digests: readonly { readonly reader: string; readonly digest: Uint8Array }[];

  constructor(keys: ReadonlyMap<string, string>) {
    this.#digests = [...keys].map(([reader, key]) => ({ reader, digest: digestOf(key) }));
  }

  /** The reader whose `Authorization` header this is, or undefined. */
  readerOf(authorization: string | undefined): string | undefined {
    const [, scheme, credentials] = authorization?.match(/^(\w+) +(\S+) *$/) ?? [];
    if (scheme?.toLowerCase() === "bearer") return this.#find(credentials);
    if (scheme?.toLowerCase() !== "basic") return undefined;
    const text = decodeBase64(credentials);
    const colon = text.indexOf(":");
    const reader = this.#find(text.slice(colon + 1));
    return colon > 0 && reader === text.slice(0, colon) ? reader : undefined;
  }

  // Compares digests with every key: the time taken tells nothing about any of them.
  #find(presented: string): string | undefined {
    const bytes = digestOf(presented);
    let found: string | undefined;
    for (const { reader, digest } of this.#digests) {
      if (timingSafeEqual(digest, bytes)) found = reader;
    }
    return found;
  }
}

function digestOf(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}

function decodeBase64(text: string): string {
  try {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return "";
  }
}
