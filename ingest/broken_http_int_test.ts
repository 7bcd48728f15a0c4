import { assert, assertEquals } from "@std/assert";
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { storedEvents } from "../shared/dev/fleet/stored_events.ts";

const KEY = "0123456789abcdef";
const FIELDS = `Host: edge\r\nAuthorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`;
const LINE = "POST /v1/heartbeats HTTP/1.1\r\n";
const HEAD = LINE + FIELDS;
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n`;
const GET = "GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n";
/** How long a connection may stay open, in s, with the limits of {@link SETTINGS}. */
const MAX_OPEN_S = 15;
const SETTINGS = {
  TWOFOLD_FLEET_KEYS: `tv:${KEY}`,
  TWOFOLD_HTTP_IDLE_MS: "1000",
  TWOFOLD_BODY_DEADLINE_MS: "3000",
};

/**
 * A request, each character one byte, made from the event that it holds and from a whole request
 * with another event, which must never be stored. `answers` are the statuses in order; none means
 * that the connection is closed without an answer; the last one may be lost when it has a `?`,
 * because the server closes before it has read everything. The event must be stored if one of them is 202.
 */
type Kind = readonly [
  name: string,
  request: (event: string, smuggled: string) => string,
  answers: string,
];

const LINES: readonly Kind[] = [
  ["nothing but line ends", () => "\r\n".repeat(2_000), "400?"],
  ["NULs", () => "\0".repeat(100) + "\r\n\r\n", "400"],
  ["a TLS hello", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\xaa".repeat(80), "400"],
  ["an HTTP/2 preface", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""],
  ["half of an HTTP/2 preface", () => "PRI * HTTP/2.0\r\n", ""],
  ["an HTTP/2 preface and no frame", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x09", ""],
  ["HTTP/0.9", () => "GET /healthz\r\n\r\n", "400"],
  ["no version", first("POST /v1/heartbeats"), "400"],
  ["HTTP/1.0", first("POST /v1/heartbeats HTTP/1.0"), "202"],
  ["HTTP/1.2", first("POST /v1/heartbeats HTTP/1.2"), "400"],
  ["HTTP/9.9", first("POST /v1/heartbeats HTTP/9.9"), "400"],
  ["http in small letters", first("POST /v1/heartbeats http/1.1"), "400"],
  ["no path", first("POST HTTP/1.1"), "400"],
  ["two spaces in the first line", first("POST  /v1/heartbeats HTTP/1.1"), "400"],
  ["tabs in the first line", first("POST\t/v1/heartbeats\tHTTP/1.1"), "400"],
  ["a space before the method", (e) => post(e, ` ${HEAD}`), "400"],
  ["line ends before the method", (e) => post(e, `\r\n\r\n${HEAD}`), "202"],
  ["a method in small letters", first("post /v1/heartbeats HTTP/1.1"), "405"],
  ["a method nobody knows", first("HEARTBEAT /v1/heartbeats HTTP/1.1"), "405"],
  ["a method with brackets", first("PO(ST) /v1/heartbeats HTTP/1.1"), "400"],
  ["a method of 100 KB", first(`${"P".repeat(100_000)} / HTTP/1.1`), "400?"],
  ["CONNECT", () => "CONNECT edge:80 HTTP/1.1\r\nHost: edge\r\n\r\n", "404"],
  ["TRACE", () => "TRACE / HTTP/1.1\r\nHost: edge\r\n\r\n", "404"],
  ["OPTIONS *", () => "OPTIONS * HTTP/1.1\r\nHost: edge\r\n\r\n", "404"],
  ["an absolute address", first("POST http://edge/v1/heartbeats HTTP/1.1"), "202"],
  ["an absolute address of another", first("POST http://x/v1/heartbeats HTTP/1.1"), "202"],
  ["half an absolute address", first(`POST http://[/v1/heartbeats?key=${KEY} HTTP/1.1`), "400"],
  ["an absolute address with no port", first("POST http://edge:99999/v1/x HTTP/1.1"), "400"],
  ["a path with a NUL", first("POST /v1/heart\0beats HTTP/1.1"), "400"],
  ["a path with bytes above 127", first("POST /v1/heartbeats\xff HTTP/1.1"), "400"],
  ["a path of 100 KB", first(`POST /${"p".repeat(100_000)} HTTP/1.1`), "400?"],
  ["a path with dots", first("POST /v1/x/../heartbeats HTTP/1.1"), "404"],
  ["a path that begins twice", first("POST //v1/heartbeats HTTP/1.1"), "404"],
];

const HEADERS: readonly Kind[] = [
  ["a header of 100 KB", field(`X: ${"y".repeat(100_000)}`), "400?"],
  ["a header of 1 MB", field(`X: ${"y".repeat(1_000_000)}`), "400?"],
  ["a header name of 100 KB", field(`${"X".repeat(100_000)}: y`), "400?"],
  ["2,000 headers", (e) => post(e, HEAD + "X: y\r\n".repeat(2_000)), "400?"],
  ["no host", (e) => post(e, HEAD.replace("Host: edge\r\n", "")), "202"],
  ["two hosts", field("Host: other"), "400"],
  ["a host that is none", (e) => post(e, HEAD.replace("edge", "e d/g@e")), "400"],
  ["a host with a port that is none", host("edge:99999"), "400"],
  ["two hosts in one", host("edge,other"), "400"],
  ["a host with a bad escape", host("%zz"), "400"],
  ["an empty host", host(""), "202"],
  ["two keys", field("Authorization: Bearer x"), "401"],
  ["a space in a name", field("X y: z"), "400"],
  ["a space before a colon", field("X : y"), "400"],
  ["a folded header", field("X: y\r\n z"), "400"],
  ["a header without a colon", field("X"), "400"],
  ["a header without a name", field(": y"), "400"],
  ["a NUL in a value", field("X: a\0b"), "400"],
  ["a NUL in a name", field("X\0: a"), "400"],
  ["a bare CR in a value", field("X: a\rb"), "400"],
  ["bare line feeds", (e) => post(e, HEAD).replaceAll("\r\n", "\n"), "202"],
  ["a value with bytes above 127", field("X: \xff\xfe"), "202"],
  ["half a header", () => `${HEAD}Content-Len`, ""],
  ["Expect: 100-continue", field("Expect: 100-continue"), "100 202"],
  ["Expect: nobody knows", field("Expect: 1-miracle"), "202"],
  ["an upgrade to HTTP/2", field("Connection: Upgrade\r\nUpgrade: h2c"), "400"],
  [
    "an upgrade to a socket",
    () => GET.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    "200",
  ],
];

const LENGTHS: readonly Kind[] = [
  ["no length", (e) => `${HEAD}\r\n${e}`, "400"],
  ["a negative length", (e) => `${HEAD}Content-Length: -1\r\n\r\n${e}`, "400"],
  ["a length with a plus", length((n) => `+${n}`), "400"],
  ["a length in hex", length((n) => `0x${n.toString(16)}`), "400"],
  ["a length with a fraction", length((n) => `${n}.0`), "400"],
  ["an empty length", length(() => ""), "400"],
  ["a length of two numbers", length((n) => `${n} ${n}`), "400"],
  ["a list of lengths", length((n) => `${n}, ${n}`), "400"],
  ["a length above 64 bits", length(() => "99999999999999999999"), "400"],
  ["a length of 64 bits", length(() => "18446744073709551615"), "413"],
  ["a length of a petabyte", length(() => "1000000000000000"), "413"],
  ["two lengths", (e, s) => post(e + s, `${HEAD}Content-Length: ${e.length}\r\n`), "400"],
  ["the same length twice", (e) => post(e, `${HEAD}Content-Length: ${e.length}\r\n`), "202"],
  ["a length above the body", length((n) => n + 1), "408"],
  ["a length of zero", length(() => 0), "400"],
  [
    "length and chunks",
    (e, s) => `${CHUNKED}Content-Length: ${e.length}\r\n\r\n0\r\n\r\n${s}`,
    "400",
  ],
  [
    "chunks and length",
    (e, s) => `${HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n${e}${s}`,
    "400",
  ],
  ["chunked in HTTP/1.0", (e) => CHUNKED.replace("1.1", "1.0") + `\r\n${chunk(e)}0\r\n\r\n`, "400"],
  ["an encoding before chunked", coded("Transfer-Encoding: gzip, chunked"), "415"],
  ["an encoding after chunked", coded("Transfer-Encoding: chunked, gzip"), "400"],
  ["chunked twice", coded("Transfer-Encoding: chunked, chunked"), "400"],
  ["nearly chunked", coded("Transfer-Encoding: xchunked"), "400"],
  ["chunked after a tabulator", coded("Transfer-Encoding: \x0bchunked"), "400"],
  ["chunked in capitals", coded("TRANSFER-ENCODING: CHUNKED"), "202"],
  ["identity", field("Transfer-Encoding: identity"), "400"],
  ["a space before the colon of chunked", coded("Transfer-Encoding : chunked"), "400"],
];

const CHUNKS: readonly Kind[] = [
  ["a size that is no number", chunked((e) => `zz\r\n${e}`), "400?"],
  ["a negative size", chunked((e) => `-1\r\n${e}`), "400?"],
  ["a size that begins with 0x", chunked((e) => `0x${chunk(e)}0\r\n\r\n`), "400?"],
  ["a size above 64 bits", chunked((e) => `fffffffffffffffff\r\n${e}`), "400?"],
  ["a size of 64 bits", chunked((e) => `ffffffffffffffff\r\n${e}`), "408"],
  ["a size with a space in front", chunked((e) => ` ${chunk(e)}0\r\n\r\n`), "202"],
  ["a size with 1,000 zeros", chunked((e) => `${"0".repeat(1_000)}${chunk(e)}0\r\n\r\n`), "202"],
  ["no size", chunked((e) => `\r\n${e}\r\n0\r\n\r\n`), "400?"],
  ["a size above the data", chunked((e) => `fff\r\n${e}\r\n0\r\n\r\n`), "408"],
  ["a size below the data", chunked((e) => `2\r\n${e}\r\n0\r\n\r\n`), "400?"],
  ["data without a line end", chunked((e) => `${chunk(e).trimEnd()}0\r\n\r\n`), "400?"],
  [
    "sizes with bare line feeds",
    (e) => `${CHUNKED}\r\n` + `${chunk(e)}0\r\n\r\n`.replaceAll("\r\n", "\n"),
    "408",
  ],
  ["no last chunk", chunked((e) => `${chunk(e)}`), "408"],
  ["half a last chunk", chunked((e) => `${chunk(e)}0\r\n`), "408"],
  ["an extension", chunked((e) => `${chunk(e, ";a=b")}0\r\n\r\n`), "202"],
  [
    "an extension of 100 KB",
    chunked((e) => `${chunk(e, `;a=${"b".repeat(100_000)}`)}0\r\n\r\n`),
    "400?",
  ],
  ["an extension with a line feed", chunked((e) => `${chunk(e, ";a\nb")}0\r\n\r\n`), "400?"],
  ["a trailer", chunked((e) => `${chunk(e)}0\r\nX: y\r\n\r\n`), "202"],
  [
    "a trailer of 100 KB",
    chunked((e) => `${chunk(e)}0\r\nX: ${"y".repeat(100_000)}\r\n\r\n`),
    "408?",
  ],
  ["a trailer with a length", chunked((e) => `${chunk(e)}0\r\nContent-Length: 0\r\n\r\n`), "202"],
  ["a trailer with a NUL", chunked((e) => `${chunk(e)}0\r\nX\0: y\r\n\r\n`), "400?"],
  ["chunks of one byte", chunked((e) => `${[...e].map((c) => chunk(c)).join("")}0\r\n\r\n`), "202"],
  [
    "20,000 chunks of one byte",
    chunked((e) => `${chunk(" ").repeat(20_000)}${chunk(e)}0\r\n\r\n`),
    "400?",
  ],
  [
    "3 MB in chunks",
    chunked((e) => `${chunk(e)}${chunk(" ".repeat(65_536)).repeat(48)}0\r\n\r\n`),
    "413?",
  ],
];

const SEVERAL: readonly Kind[] = [
  [
    "requests in one write",
    (e) => GET + post(e) + GET + "GET /no HTTP/1.1\r\nHost: a\r\n\r\n" + post(e),
    "200 202 200 404 202",
  ],
  ["50 requests in one write", (e) => post(e).repeat(50), Array(50).fill("202").join(" ")],
  ["a broken one between good ones", (e, s) => post(e) + "\0\r\n\r\n" + s, "202 400"],
  ["a bad chunk between good ones", (e, s) => post(e) + `${CHUNKED}\r\nzz\r\n` + s, "202 400?"],
  ["a good one and half of the next", (e) => post(e) + HEAD, "202"],
  [
    "a GET with a body",
    (e) => GET.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello") + post(e),
    "200 202",
  ],
  [
    "an answer without its request read",
    (_, s) => post(s.padEnd(900_000), HEAD.replace(KEY, "wrong")),
    "401?",
  ],
  [
    "a request after Connection: close",
    (e, s) => post(e, `${HEAD}Connection: close\r\n`) + s,
    "202",
  ],
];

const SETTINGS_FRAME = "\0\0\0\x04\0\0\0\0\0";
const PREFACE = `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${SETTINGS_FRAME}`;
const HTTP2: readonly Kind[] = [
  ["HTTP/2 that asks nothing", () => PREFACE, ""],
  ["HTTP/2 with half a header", () => `${PREFACE}\0\0\x01\x01\0\0\0\0\x01\x82`, ""],
  ["HTTP/2 with data of no request", () => `${PREFACE}\0\0\x01\0\0\0\0\0\x01x`, ""],
  ["HTTP/2 with a frame of 16 MB", () => `${PREFACE}\xff\xff\xff\x01\x04\0\0\0\x01`, ""],
  [
    "HTTP/2 with 20,000 pings",
    () => PREFACE + `\0\0\x08\x06\0\0\0\0\0${"p".repeat(8)}`.repeat(20_000),
    "",
  ],
  ["HTTP/2 with 5,000 settings", () => PREFACE + SETTINGS_FRAME.repeat(5_000), ""],
];

const KINDS = [...LINES, ...HEADERS, ...LENGTHS, ...CHUNKS, ...SEVERAL, ...HTTP2];

type Request = Kind[1];

function post(event: string, head = HEAD): string {
  return `${head}Content-Length: ${event.length}\r\n\r\n${event}`;
}

function chunk(data: string, extension = ""): string {
  return `${data.length.toString(16)}${extension}\r\n${data}\r\n`;
}

function first(line: string): Request {
  return (event) => post(event, `${line}\r\n${FIELDS}`);
}

function field(text: string): Request {
  return (event) => post(event, `${HEAD}${text}\r\n`);
}

function host(text: string): Request {
  return (event) => post(event, HEAD.replace("Host: edge", `Host: ${text}`));
}

function length(of: (bytes: number) => number | string): Request {
  return (event) => `${HEAD}Content-Length: ${of(event.length)}\r\n\r\n${event}`;
}

function coded(text: string): Request {
  return (event) => `${HEAD}${text}\r\n\r\n${chunk(event)}0\r\n\r\n`;
}

function chunked(body: (event: string) => string): Request {
  return (event) => `${CHUNKED}\r\n${body(event)}`;
}

/** Writes `bytes` to a connection, and returns all that comes until it is closed, and after how long. */
async function answerTo(port: number, bytes: Uint8Array): Promise<[text: string, seconds: number]> {
  using socket = await Deno.connect({ hostname: "127.0.0.1", port });
  const startMs = performance.now();
  const writing = writeAll(socket, bytes).catch(() => {});
  // No sleep: it is the limit of a connection that the server forgets.
  const limit = setTimeout(() => socket.close(), 2 * MAX_OPEN_S * 1_000);
  const chunks: string[] = [];
  const buffer = new Uint8Array(65_536);
  for (;;) {
    const read = await socket.read(buffer).catch(() => null);
    if (read === null) break;
    chunks.push(new TextDecoder("latin1").decode(buffer.subarray(0, read)));
  }
  clearTimeout(limit);
  await writing;
  return [chunks.join(""), (performance.now() - startMs) / 1_000];
}

async function writeAll(socket: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
}

/** The events of a stream, each with the number of its copies. */
async function stored(stack: NatsStack): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const { bytes } of await storedEvents(await stack.connect("ops"))) {
    const text = new TextDecoder().decode(bytes);
    found.set(text, (found.get(text) ?? 0) + 1);
  }
  return found;
}

Deno.test(`${KINDS.length} kinds of broken HTTP: each ends in time and nobody else notices`, async () => {
  await using stack = await NatsStack.start();
  const edge = await stack.service("ingest", SETTINGS);
  const port = edge.options.httpPort;
  const accepted: string[] = [];
  // Made before any connection is open, so that no limit of time is about this.
  const posts = KINDS.map(([name, request, expected]) => {
    const event = JSON.stringify({ kind: name });
    const smuggled = post(JSON.stringify({ smuggled: name }));
    return { name, event, bytes: latin1(request(event, smuggled)), expected };
  });
  await Promise.all(posts.map(async ({ name, event, bytes, expected }) => {
    const [text, seconds] = await answerTo(port, bytes);
    const answers = [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map(([, status]) => status).join(
      " ",
    );
    const isLost = expected.endsWith("?") && answers === expected.replace(/ ?\d+\?$/, "");
    if (!isLost) assertEquals(answers, expected.replace("?", ""), name);
    assert(seconds < MAX_OPEN_S, `${name} is open for ${seconds} s`);
    if (answers.includes("202")) accepted.push(event);
    const honest = JSON.stringify({ after: name });
    const [after] = await answerTo(port, latin1(post(honest, `${HEAD}Connection: close\r\n`)));
    assert(after.startsWith("HTTP/1.1 202 "), `after ${name}: ${after}`);
    accepted.push(honest);
  }));

  const events = await stored(stack);
  assertEquals([...events.keys()].sort(), accepted.toSorted());
  // Posted several times at once, it is stored as often at most.
  const isRepeated = (event: string) => event.includes("requests in one write");
  const copies = [...events].filter(([event, count]) => count > (isRepeated(event) ? 50 : 1));
  assertEquals(copies, []);
  assertEquals((await edge.readiness()).status, 200);
  assertEquals(await edge.stop(), 0);
  const log = await Deno.readTextFile(`${stack.workspace.folder}/ingest.log`);
  assert(!log.includes(KEY) && !log.includes('"error"'), log);
});

function latin1(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
}
