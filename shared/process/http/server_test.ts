import { assert, assertEquals, assertMatch } from "@std/assert";
import { freePort } from "../../dev/servers/free_port.ts";
import { parseMetrics, sumOf } from "../../dev/servers/service_process.ts";
import { ChildProcess } from "../../dev/testing/child_process.ts";
import { waitFor } from "../../dev/testing/wait_for.ts";

const IMPORTS = `
  import { runService } from "${import.meta.resolve("../service.ts")}";
  import { processSettings, wholeNumber } from "${import.meta.resolve("../config.ts")}";
  import { statusApp } from "${import.meta.resolve("../status.ts")}";`;
/** Answers `POST` with the address and the number of bytes of the body, and the status routes. */
const PROGRAM = `${IMPORTS}
  const settings = { ...processSettings, TWOFOLD_HTTP_PORT: wholeNumber(0, 65535) };
  await runService("test", settings, async (service) => {
    const { metrics, health } = service;
    const status = statusApp({ metrics, notReady: () => health.notReady });
    service.listen({ fetch: async (request, { address }) =>
      request.method !== "POST" ? status.fetch(request)
        : new Response(address + " sent " + (await request.bytes()).length) });
  });`;

/** A service in a process of its own, with at most `files` descriptors. */
class Served implements AsyncDisposable {
  readonly port = freePort();
  readonly #child: ChildProcess;
  readonly #sockets: Deno.TcpConn[] = [];

  constructor(settings: Readonly<Record<string, string>> = {}, files = 4_000) {
    const run = `ulimit -n ${files} && exec "${Deno.execPath()}" run -A --quiet --no-check -`;
    const env = { TWOFOLD_HTTP_PORT: String(this.port), TWOFOLD_DRAIN_MS: "0", ...settings };
    this.#child = new ChildProcess("/bin/sh", ["-c", run], { env, hasInput: true });
    void this.#child.write(PROGRAM).then(() => this.#child.endInput());
  }

  get log(): string {
    return this.#child.err;
  }
  async started(): Promise<this> {
    await waitFor("the service to listen", () => this.log.includes('"service.listening"'));
    return this;
  }
  /** What `/readyz` answers, on a connection of its own. */
  async ready(): Promise<string> {
    return await this.raw("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  }
  async ended(reason: string): Promise<number> {
    const text = await this.raw("GET /metrics HTTP/1.0\r\n\r\n");
    const samples = parseMetrics(text.split("\r\n\r\n")[1] ?? "");
    return sumOf(samples, "twofold_http_connections_ended_total", { reason });
  }
  /** Opens `count` connections that send `text` and stay. */
  async hold(count: number, text = ""): Promise<void> {
    for (let i = 0; i < count; i++) {
      const socket = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
      this.#sockets.push(socket);
      await socket.write(new TextEncoder().encode(text));
    }
  }
  /** Closes the newest `count` connections. */
  leave(count: number): void {
    for (const socket of this.#sockets.splice(-count)) socket.close();
  }
  /** Sends `text` on a connection of its own, and returns all that comes until it is closed. */
  async raw(text: string): Promise<string> {
    using socket = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    const writing = socket.write(new TextEncoder().encode(text)).catch(() => 0);
    const chunks: string[] = [];
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const read = await socket.read(buffer).catch(() => null);
      if (read === null) break;
      chunks.push(new TextDecoder().decode(buffer.subarray(0, read)));
    }
    await writing;
    return chunks.join("");
  }
  async stop(): Promise<number> {
    return await this.#child.stop();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.close();
    await this.#child[Symbol.asyncDispose]();
  }
}

const QUICK = { TWOFOLD_HTTP_HEADER_MS: "300", TWOFOLD_HTTP_IDLE_MS: "600" };
const POST = "POST / HTTP/1.1\r\nHost: a\r\n";

Deno.test("what sends nothing, half a header or an HTTP/2 preface is closed in time", async () => {
  await using served = await new Served(QUICK).started();
  const texts = ["", "GET /healthz HTTP/1.1\r\nHos", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
  const answers = await Promise.all(texts.map((text) => served.raw(text)));
  assertEquals(answers.map((answer) => answer.includes("HTTP/1.1")), [false, false, false]);
  assertEquals(await served.ended("header"), 3);
  assertMatch(await served.raw("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), /^HTTP\/1.1 200 OK/);
  assertEquals(await served.ended("idle"), 1);
});

Deno.test("broken HTTP is refused, and pipelined requests are all answered", async () => {
  await using served = await new Served(QUICK).started();
  const get = (headers: string) => served.raw(`GET /healthz HTTP/1.1\r\n${headers}\r\n\r\n`);
  for (const host of ["a b", "a/b", "a?b", "a@b", "a:b", "[::1", "a\r\nHost: b"]) {
    assertMatch(await get(`Host: ${host}`), /^HTTP\/1.1 400 /, host);
  }
  for (const host of ["a", "a.example:80", "127.0.0.1", "[::1]:8080", ""]) {
    assertMatch(await get(`Host: ${host}`), /^HTTP\/1.1 200 /, host);
  }
  const broken = [
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(100_000)}\r\n\r\n`,
    `${POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${POST}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc`,
    `${POST}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc`,
    "\0\0\0\0\r\n\r\n",
  ];
  for (const text of broken) assertMatch(await served.raw(text), /^($|HTTP\/1.1 [45]00 )/);
  const answers = await served.raw(`${POST}Content-Length: 2\r\n\r\nab`.repeat(500));
  assertEquals(answers.match(/HTTP\/1.1 200/g)?.length, 500);
});

Deno.test("1,500 silent connections and a low limit: everybody else is served", async () => {
  const settings = { TWOFOLD_HTTP_MAX_CONNECTIONS: "300", TWOFOLD_HTTP_MAX_PER_ADDRESS: "0" };
  await using served = await new Served(settings).started();
  await served.hold(500);
  await served.hold(500, "GET /healthz HTTP/1.1\r\nHo");
  await served.hold(500, "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\nhalf");
  // Some end while the server ends them.
  for (let i = 0; i < 10; i++) {
    served.leave(100);
    await served.hold(100);
  }
  assertMatch(await served.ready(), /^HTTP\/1.1 200/);
  assert(await served.ended("crowded") >= 1_200);
  await waitFor("the log to tell", () => served.log.includes('"service.connections_refused"'));
});

Deno.test("one address has a limit; behind a trusted proxy each client has", async () => {
  const settings = { TWOFOLD_HTTP_MAX_PER_ADDRESS: "3" };
  await using served = await new Served(settings).started();
  await served.hold(3);
  assertEquals(await served.ready(), "");

  const proxy = { ...settings, TWOFOLD_TRUSTED_PROXIES: "127.0.0.0/8" };
  await using proxied = await new Served(proxy).started();
  const half = `${POST}X-Forwarded-For: 6.6.6.6, 198.51.100.1\r\nContent-Length: 9\r\n\r\nhalf`;
  await proxied.hold(3, half);
  const from = (client: string) =>
    proxied.raw(`GET /readyz HTTP/1.0\r\nX-Forwarded-For: ${client}\r\n\r\n`);
  await waitFor(
    "the client to be at its limit",
    async () => (await from("198.51.100.1")).includes(" 429 "),
  );
  assertMatch(await from("198.51.100.2"), /^HTTP\/1.0 200/);
  const posted =
    `${POST}X-Forwarded-For: 6.6.6.6, 198.51.100.2\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab`;
  assertMatch(await proxied.raw(posted), /198.51.100.2 sent 2$/);
});

Deno.test("a process without descriptors says so, serves the next, and is ready again", async () => {
  const settings = { TWOFOLD_HTTP_MAX_PER_ADDRESS: "0", TWOFOLD_HTTP_HEADER_MS: "60000" };
  await using served = await new Served(settings, 200).started();
  await served.hold(400);
  await waitFor("the log to tell", () => served.log.includes('"service.descriptors_exhausted"'));
  await waitFor("an answer", async () => (await served.ready()).includes(" 503 "));
  assertMatch(await served.ready(), /no file descriptors left, \d+ connections are open/);
  await waitFor("it to be ready", async () => (await served.ready()).includes(" 200 "));
  assert(await served.ended("descriptors") > 0);
  assertEquals(await served.stop(), 0);
});

Deno.test("a service refuses to start with Deno's tracing, which writes keys", async () => {
  const env = { OTEL_DENO: "true", OTEL_EXPORTER_OTLP_PROTOCOL: "console" };
  await using served = new Served(env);
  await waitFor("the refusal", () => served.log.includes("OTEL_DENO is set"));
  assertEquals(await served.stop(), 2);
});
