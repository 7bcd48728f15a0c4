/**
 * Certificates for servers of a test: an authority, and one certificate of it for this machine, which
 * is good for servers and clients. ECDSA P-256, a day long; X.509 in DER, written by hand, because
 * no tool of the machine is needed for it.
 *
 * @module
 */

const TAG = {
  boolean: 1,
  integer: 2,
  bits: 3,
  octets: 4,
  oid: 6,
  text: 12,
  time: 23,
  sequence: 0x30,
  set: 0x31,
} as const;
const DAY_MS = 86_400_000;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;

/** PEM texts. */
export interface Certificates {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Makes an authority and a certificate, valid around `nowMs` (since the epoch). */
export async function makeCertificates(nowMs: number): Promise<Certificates> {
  const [authority, server] = await Promise.all([keyPair(), keyPair()]);
  const ca = extension([0x55, 0x1d, 0x13], sequence(der(TAG.boolean, Uint8Array.of(0xff))));
  const usage = extension(
    [0x55, 0x1d, 0x25],
    sequence(
      der(TAG.oid, Uint8Array.of(0x2b, 6, 1, 5, 5, 7, 3, 1)),
      der(TAG.oid, Uint8Array.of(0x2b, 6, 1, 5, 5, 7, 3, 2)),
    ),
  );
  // The client of NATS checks an address as the name `localhost`.
  const localhost = der(0x82, Uint8Array.from(new TextEncoder().encode("localhost")));
  const address = extension(
    [0x55, 0x1d, 0x11],
    sequence(localhost, der(0x87, Uint8Array.of(127, 0, 0, 1))),
  );
  const of = (subject: string, key: CryptoKey, extensions: Bytes) =>
    signed(subject, key, extensions, authority.privateKey, nowMs);
  return {
    ca: pem("CERTIFICATE", await of("twofold-ca", authority.publicKey, ca)),
    certificate: pem("CERTIFICATE", await of("twofold", server.publicKey, join(usage, address))),
    key: pem("PRIVATE KEY", await exported("pkcs8", server.privateKey)),
  };
}

async function keyPair(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]);
}

async function signed(
  subject: string,
  key: CryptoKey,
  extensions: Bytes,
  authority: CryptoKey,
  nowMs: number,
): Promise<Bytes> {
  const algorithm = sequence(der(TAG.oid, Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2)));
  const content = sequence(
    der(0xa0, der(TAG.integer, Uint8Array.of(2))),
    der(TAG.integer, join(Uint8Array.of(1), crypto.getRandomValues(new Uint8Array(8)))),
    algorithm,
    name("twofold-ca"),
    sequence(time(nowMs - DAY_MS), time(nowMs + DAY_MS)),
    name(subject),
    await exported("spki", key),
    der(0xa3, sequence(extensions)),
  );
  const signature = new Uint8Array(await crypto.subtle.sign(SIGNING, authority, content));
  const pair = sequence(number(signature.slice(0, 32)), number(signature.slice(32)));
  return sequence(content, algorithm, der(TAG.bits, join(Uint8Array.of(0), pair)));
}

async function exported(format: "spki" | "pkcs8", key: CryptoKey): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.exportKey(format, key));
}

function name(common: string): Bytes {
  const text = der(TAG.text, Uint8Array.from(new TextEncoder().encode(common)));
  return sequence(der(TAG.set, sequence(der(TAG.oid, Uint8Array.of(0x55, 4, 3)), text)));
}

function time(ms: number): Bytes {
  const digits = new Date(ms).toISOString().slice(2, 19).replace(/\D/g, "");
  return der(TAG.time, Uint8Array.from(new TextEncoder().encode(`${digits}Z`)));
}

function extension(oid: readonly number[], value: Bytes): Bytes {
  return sequence(der(TAG.oid, Uint8Array.from(oid)), der(TAG.octets, value));
}

// The shortest form: no needless zeros, and one where the first bit would make it negative.
function number(digits: Bytes): Bytes {
  const first = digits.findIndex((digit) => digit !== 0);
  const short = digits.slice(first < 0 ? digits.length - 1 : first);
  return der(TAG.integer, (short[0] ?? 0) < 0x80 ? short : join(Uint8Array.of(0), short));
}

function sequence(...parts: readonly Bytes[]): Bytes {
  return der(TAG.sequence, ...parts);
}

function der(tag: number, ...parts: readonly Bytes[]): Bytes {
  const content = join(...parts);
  const { length } = content;
  const size = length < 0x80
    ? [length]
    : length < 0x100
    ? [0x81, length]
    : [0x82, length >> 8, length & 0xff];
  return join(Uint8Array.of(tag, ...size), content);
}

function join(...parts: readonly Bytes[]): Bytes {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function pem(kind: string, bytes: Bytes): string {
  const lines = btoa(String.fromCharCode(...bytes)).replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN ${kind}-----\n${lines}\n-----END ${kind}-----\n`;
}
