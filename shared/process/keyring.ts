/**
 * Authentication of HTTP requests by keys. A key belongs to a name, and a name may have several
 * keys, so that a key can be rotated without interruption: add the new key, move the clients to it,
 * remove the old key.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";

/** Limits of the length of a key, in characters. */
const MIN_KEY_CHARS = 16;
const MAX_KEY_CHARS = 256;

/**
 * Where a request has its key. `bearer`: `Authorization: Bearer KEY`. `basic`: HTTP Basic with the
 * key as the password and the key's name as the user. `query`: `?key=KEY`.
 */
export type KeyCarrier = "bearer" | "basic" | "query";

/** The parts of a request that may contain a key. */
export type KeyedRequest = Pick<Request, "headers" | "url">;

/** The key of a request, and the name given with it, if any. */
interface GivenKey {
  readonly key: string;
  readonly name?: string;
}

/** Keys by name. The keys are private, so that printing a keyring shows no key. */
export class Keyring {
  readonly #keys: readonly { readonly name: string; readonly padded: Uint32Array }[];
  readonly #given = new PaddedKey();

  /**
   * @param keys Names and keys; a name may have several.
   * @throws {TypeError} When a key occurs twice, because its name would be ambiguous.
   */
  constructor(keys: Iterable<readonly [name: string, key: string]>) {
    const pairs = [...keys];
    if (new Set(pairs.map(([, key]) => key)).size < pairs.length) {
      throw new TypeError("a key occurs twice in the keyring");
    }
    this.#keys = pairs.map(([name, key]) => ({ name, padded: new PaddedKey().of(key) }));
  }

  /**
   * The name that `key` belongs to, or undefined. It is compared with every key, padded to the same
   * length, so that the time taken depends neither on which key matches nor on the length of a
   * common prefix. Comparing digests would have the same effect, but take 5 to 10 µs more per
   * request, and `timingSafeEqual` of Node 3 µs.
   */
  nameOf(key: string): string | undefined {
    const given = this.#given.of(key);
    let found = -1;
    for (let at = 0; at < this.#keys.length; at++) {
      // Arithmetic instead of a branch; at most one key matches.
      found += isEqual(this.#keys[at]?.padded ?? given, given) * (at + 1);
    }
    return this.#keys[found]?.name;
  }

  /**
   * The name that the key of a request belongs to, or undefined. A key in the `Authorization`
   * header takes precedence over one in the query; a header with a scheme that is not among the
   * `carriers` is ignored.
   */
  nameOfRequest(request: KeyedRequest, carriers: readonly KeyCarrier[]): string | undefined {
    const given = givenKey(request, carriers);
    if (given === undefined) return undefined;
    const name = this.nameOf(given.key);
    return given.name === undefined || given.name === name ? name : undefined;
  }
}

/**
 * A setting `name:key,name:key` as a {@link Keyring}; a repeated name has several keys. Names have
 * 1 to 32 characters of a-z, 0-9 and -; keys have 16 to 256 printable ASCII characters without
 * spaces and commas. Every invalid pair is an issue; the messages never show a key.
 *
 * @param what What a name stands for, such as `fleet`; used in messages.
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
        refuse(`expected ${what}:key; the ${what} has a-z, 0-9 and -, the key no spaces`);
        continue;
      }
      const earlier = positions.get(key);
      if (key.length < MIN_KEY_CHARS) {
        refuse(`the key of ${name} is shorter than ${MIN_KEY_CHARS} characters`);
      } else if (key.length > MAX_KEY_CHARS) {
        refuse(`the key of ${name} is longer than ${MAX_KEY_CHARS} characters`);
      } else if (earlier !== undefined) {
        refuse(`the key of ${name} is the same as in pair ${earlier}; every key must be different`);
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

// A key may contain colons, a name may not.
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

/** 1 or 0. Looks at every word, whatever they are. */
function isEqual(a: Uint32Array, b: Uint32Array): number {
  let difference = 0;
  for (let i = 0; i < WORDS; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return Number(difference === 0);
}

const encoder = new TextEncoder();
/** The longest key and its length. */
const WORDS = MAX_KEY_CHARS / 4 + 1;

/**
 * A key with zeros behind it. The last word is the length, so that padding cannot match a part of a
 * key. A text longer than any key gets a length that no key has.
 */
class PaddedKey {
  readonly #words = new Uint32Array(WORDS);
  readonly #bytes = new Uint8Array(this.#words.buffer, 0, MAX_KEY_CHARS);

  /** The words of `key`, until the next call. */
  of(key: string): Uint32Array {
    this.#words.fill(0);
    encoder.encodeInto(key, this.#bytes);
    this.#words[WORDS - 1] = Math.min(key.length, MAX_KEY_CHARS + 1);
    return this.#words;
  }
}
