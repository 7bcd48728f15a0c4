/**
 * Who may call an HTTP server: keys by the name of who holds them, several a name, so that a key is
 * changed without an interruption. The new one is added, the holders move to it, and then the old
 * one is taken out.
 *
 * Pure.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import { z } from "zod";

/** Bounds of a key's length, in characters. */
const KEY_MIN_CHARS = 16;
const KEY_MAX_CHARS = 256;

/**
 * How a request brings its key. `bearer`: `Authorization: Bearer KEY`. `basic`: HTTP Basic with the
 * key as the password and the key's name as the user. `query`: `?key=KEY`.
 */
export type KeyCarrier = "bearer" | "basic" | "query";

/** The part of a request that may have a key in it. */
export type KeyedRequest = Pick<Request, "headers" | "url">;

/** A key, and as whose it is given, where that is said. */
interface GivenKey {
  readonly key: string;
  readonly name?: string;
}

/** Keys and whose they are. They are private, so nothing that prints a keyring shows a key. */
export class Keyring {
  readonly #keys: readonly { readonly name: string; readonly padded: Uint8Array }[];

  /**
   * @param keys Names and keys; a name may have several.
   * @throws TypeError when one key is there twice: it would not say whose it is.
   */
  constructor(keys: Iterable<readonly [name: string, key: string]>) {
    const pairs = [...keys];
    if (new Set(pairs.map(([, key]) => key)).size < pairs.length) {
      throw new TypeError("a key is in the keyring twice");
    }
    this.#keys = pairs.map(([name, key]) => ({ name, padded: paddedBytes(key) }));
  }

  /**
   * Whose key this is, or undefined. It is compared with every key, padded to one length, so the
   * time taken tells neither which key it is nor how close it comes to one. Digests would do the
   * same for 5 to 10 µs more a request.
   */
  nameOf(key: string): string | undefined {
    const given = paddedBytes(key);
    let found = -1;
    for (const [at, { padded }] of this.#keys.entries()) {
      // Arithmetic in place of a branch; no two keys are the same.
      found += Number(timingSafeEqual(padded, given)) * (at + 1);
    }
    return this.#keys[found]?.name;
  }

  /**
   * Whose key a request has, or undefined. A key in the `Authorization` header is the one that
   * counts, even when there is another in the query; a header of a scheme that is not among the
   * `carriers` is as good as none.
   */
  nameOfRequest(request: KeyedRequest, carriers: readonly KeyCarrier[]): string | undefined {
    const given = givenKey(request, carriers);
    if (given === undefined) return undefined;
    const name = this.nameOf(given.key);
    return given.name === undefined || given.name === name ? name : undefined;
  }
}

/**
 * A setting `name:key,name:key` as a {@link Keyring}; a name that is repeated has several keys.
 * Names are of a-z, 0-9 and -, at most 32; keys of printable ASCII without spaces and commas, 16 to
 * 256. Every wrong pair is an issue of its own; the messages never show a key.
 *
 * @param what What the names are of, such as `fleet`.
 */
export function keyringSetting(what: string): z.ZodType<Keyring, string> {
  return z.string().transform((text, context): Keyring => {
    const pairs: [name: string, key: string][] = [];
    const positions = new Map<string, number>();
    for (const [index, pair] of text.split(",").entries()) {
      const at = index + 1;
      const [, name, key] = pair.trim().match(/^([a-z0-9-]{1,32}):([\x21-\x7e]+)$/) ?? [];
      const refuse = (why: string) =>
        context.addIssue({ code: "custom", message: `pair ${at}: ${why}` });
      if (name === undefined || key === undefined) {
        refuse(`expected ${what}:key, the ${what} of a-z, 0-9 and -, the key without spaces`);
        continue;
      }
      const earlier = positions.get(key);
      if (key.length < KEY_MIN_CHARS) {
        refuse(`the key of ${name} is shorter than ${KEY_MIN_CHARS} characters`);
      } else if (key.length > KEY_MAX_CHARS) {
        refuse(`the key of ${name} is longer than ${KEY_MAX_CHARS} characters`);
      } else if (earlier !== undefined) {
        refuse(`the key of ${name} is the one of pair ${earlier}; every key must be another`);
      } else {
        positions.set(key, at);
        pairs.push([name, key]);
      }
    }
    return new Keyring(pairs);
  });
}

function givenKey(
  { headers, url }: KeyedRequest,
  carriers: readonly KeyCarrier[],
): GivenKey | undefined {
  const [, scheme, credentials] = headers.get("authorization")?.match(/^(\w+) +(\S+) *$/) ?? [];
  if (credentials !== undefined) {
    const carrier = carriers.find((each) => each === scheme?.toLowerCase());
    if (carrier === "bearer") return { key: credentials };
    if (carrier === "basic") return userAndPassword(credentials);
  }
  if (!carriers.includes("query")) return undefined;
  const key = new URL(url).searchParams.get("key");
  return key === null ? undefined : { key };
}

// A key may have colons in it, a name has none.
function userAndPassword(credentials: string): GivenKey | undefined {
  const text = decodeBase64(credentials);
  const colon = text.indexOf(":");
  return colon < 1 ? undefined : { name: text.slice(0, colon), key: text.slice(colon + 1) };
}

function decodeBase64(text: string): string {
  try {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return "";
  }
}

const encoder = new TextEncoder();

// The last two bytes are the length, so that padding is not taken for a part of the key. What is
// longer than any key gets a length that none has.
function paddedBytes(key: string): Uint8Array {
  const bytes = new Uint8Array(KEY_MAX_CHARS + 2);
  encoder.encodeInto(key, bytes.subarray(0, KEY_MAX_CHARS));
  new DataView(bytes.buffer).setUint16(KEY_MAX_CHARS, Math.min(key.length, KEY_MAX_CHARS + 1));
  return bytes;
}
