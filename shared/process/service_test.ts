import { assert, assertEquals, assertExists } from "@std/assert";
import { freePort } from "../dev/servers/free_port.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { serveTask } from "./service.ts";
import { ChildProcess } from "../dev/testing/child_process.ts";

const MODULE = import.meta.resolve("./service.ts");
const CONFIG = import.meta.resolve("./config.ts");
const ERRORS = import.meta.resolve("./errors.ts");

interface LogLine {
  readonly event: string;
  readonly error?: string;
  readonly stack?: string;
  readonly step?: string;
}

/** A service in a separate process, with `body` as its start function. */
class Program implements AsyncDisposable {
  readonly #child: ChildProcess;

  constructor(
    body: string,
    readonly port: number,
    settings: Readonly<Record<string, string>> = {},
    args: readonly string[] = [],
  ) {
    const program = `
      import { runService } from "${MODULE}";
      import { processSettings, wholeNumber } from "${CONFIG}";
      import { RetryAfter, Stop } from "${ERRORS}";
      const settings = { ...processSettings, TWOFOLD_HTTP_PORT: wholeNumber(0, 65535) };
      await runService("test", settings, async (service) => {
        const log = { info: (event) => service.log.info(event) };
        ${body}
      });`;
    this.#child = new ChildProcess(
      Deno.execPath(),
      ["run", "-A", "--quiet", "--no-check", "-", ...args],
      {
        env: { TWOFOLD_HTTP_PORT: String(port), TWOFOLD_DRAIN_MS: "0", ...settings },
        hasInput: true,
      },
    );
    void this.#child.write(program).then(() => this.#child.endInput());
  }

  /** The lines that it has logged. */
  get lines(): LogLine[] {
    return this.#child.err.split("\n").slice(0, -1)
      .filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }
  get events(): string[] {
    return this.lines.map(({ event }) => event);
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async logged(event: string): Promise<void> {
    await waitFor(`the line ${event}`, () => this.events.includes(event));
  }
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }
  /** The exit code, once it has ended and its log is read. */
  async ended(): Promise<number> {
    return (await this.#child.ended).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

async function readiness(url: string): Promise<{ status: number; reason: string | undefined }> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, reason: (await response.json()).reason };
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} runs the stop steps in reverse order and exits with 0`, async () => {
    await using program = new Program(
      `service.onStop("a", () => log.info("stop a"));
       service.onStop("b", async () => { await 1; log.info("stop b"); throw new Error("broken"); });
       service.onStop("c", () => log.info("stop c"));
       log.info("up");`,
      freePort(),
    );
    await program.logged("up");
    program.kill(signal);
    assertEquals(await program.ended(), 0);
    assertEquals(
      program.events,
      ["up", "stop c", "stop b", "service.stop_step_failed", "stop a", "service.stopped"],
    );
  });
}

Deno.test("a stop step that hangs is left, the others run, and the exit code is 0", async () => {
  await using program = new Program(
    `service.onStop("a", () => log.info("stop a"));
     service.onStop("b", () => new Promise(() => {}));
     log.info("up");`,
    freePort(),
  );
  await program.logged("up");
  program.kill("SIGTERM");
  assertEquals(await program.ended(), 0);
  const [left, ...rest] = program.lines.slice(-3);
  assertEquals([left?.event, left?.step], ["service.stop_step_failed", "b"]);
  assertEquals(rest.map(({ event }) => event), ["stop a", "service.stopped"]);
});

Deno.test("a signal stops a service whose start hangs", async () => {
  await using program = new Program(
    `service.onStop("a", () => log.info("stop a"));
     log.info("up");
     await new Promise(() => {});`,
    freePort(),
  );
  await program.logged("up");
  program.kill("SIGTERM");
  assertEquals(await program.ended(), 0);
  assertEquals(program.events, ["up", "stop a", "service.stopped"]);
});

Deno.test("a failure runs the stop steps and exits with 1 or the code of its Stop", async () => {
  const step = `service.onStop("a", () => log.info("stop a"));`;
  const failures: [body: string, code: number, hasStack: boolean][] = [
    [`throw new Error("at start");`, 1, true],
    [`throw new Stop("wrong settings", { exitCode: 2 });`, 2, false],
    [`setImmediate(() => service.fail(new Error("later")));`, 1, true],
    [`setImmediate(() => Promise.reject(new Error("nobody awaits")));`, 1, true],
  ];
  for (const [body, expected, hasStack] of failures) {
    await using program = new Program(step + body, freePort());
    assertEquals(await program.ended(), expected, body);
    assertEquals(program.events, ["service.failed", "stop a", "service.stopped"], body);
    assertEquals(program.lines[0]?.stack !== undefined, hasStack, body);
  }
});

Deno.test("invalid settings end the process before the start", async () => {
  await using program = new Program(`log.info("up");`, freePort(), { TWOFOLD_DRAIN_MS: "soon" });
  assertEquals(await program.ended(), 2);
  assertEquals(program.events, ["service.failed", "service.stopped"]);
});

Deno.test("an argument ends the process before anything is read, and --help prints help", async () => {
  for (const [args, code] of [[["--help"], 0], [["--port", "1"], 2], [["live"], 2]] as const) {
    await using program = new Program(`log.info("up");`, freePort(), {}, args);
    assertEquals(await program.ended(), code, args.join(" "));
    assertEquals(program.events, []);
  }
});

Deno.test("the help of a service names the README that lists its settings", () => {
  const { summary, details } = serveTask("triage", () => Promise.reject());
  assertEquals(summary, "run triage: the quarantine");
  assert(details?.includes(" dlq-triage/README.md "), details);
});

Deno.test("an address that cannot be used is named with its settings, without a stack", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  assert(taken.addr.transport === "tcp");
  const addresses: readonly (readonly [hostname: string, port: number])[] = [
    ["8.8.8.8", freePort()],
    ["no such host", freePort()],
    ["127.0.0.1", taken.addr.port],
  ];
  for (const [hostname, port] of addresses) {
    const settings = { TWOFOLD_HTTP_HOST: hostname };
    await using program = new Program(`service.listen();`, port, settings);
    assertEquals(await program.ended(), 1);
    const [{ error, stack } = {}] = program.lines;
    const where = `cannot listen on ${hostname}, port ${port} (TWOFOLD_HTTP_HOST and`;
    assert(error?.startsWith(`${where} TWOFOLD_HTTP_PORT): `), error);
    assertEquals(stack, undefined);
  }
});

Deno.test("/healthz answers 200 during the start, and /readyz says what is missing", async () => {
  const controlPort = freePort();
  await using program = new Program(
    `service.listen();
     const part = service.health.part("nats", "NATS has not answered yet");
     await fetch("http://127.0.0.1:" + service.settings.TWOFOLD_HTTP_PORT + "/healthz");
     let missing;
     service.health.check(() => missing);
     service.listenAt({ hostname: "127.0.0.1", port: ${controlPort} }, { fetch: () => {
       missing = missing === undefined ? "a check fails" : undefined;
       part.works();
       return new Response(missing);
     } });
     log.info("up");`,
    freePort(),
  );
  const nextStep = async () => await (await fetch(`http://127.0.0.1:${controlPort}`)).text();
  await program.logged("up");
  assertEquals((await fetch(`${program.url}/healthz`)).status, 200);
  assertEquals(await readiness(program.url), { status: 503, reason: "NATS has not answered yet" });
  await program.logged("service.not_ready");
  await nextStep();
  assertEquals((await readiness(program.url)).reason, "a check fails");
  await nextStep();
  assertEquals((await readiness(program.url)).status, 200);
  await program.logged("service.ready");
  assert(program.events.indexOf("service.not_ready") < program.events.indexOf("service.ready"));
});

Deno.test("after SIGTERM the service is not ready, serves for the drain time, and finishes", async () => {
  const slow = `
    service.listen({ fetch: async (request) => {
      const path = new URL(request.url).pathname;
      if (path === "/slow") {
        log.info("slow");
        // No sleep: the answer outlasts the drain time.
        const answer = (done) => setTimeout(done, 600);
        await new Promise((done) => service.signal.addEventListener("abort", () => answer(done)));
      }
      if (path === "/readyz") return Response.json({ reason: service.health.notReady }, { status: 503 });
      return new Response("done");
    } });
    service.onStop("work", () => log.info("work finished"));
    log.info("up");`;
  await using program = new Program(slow, freePort(), { TWOFOLD_DRAIN_MS: "300" });
  await program.logged("up");
  const answer = fetch(`${program.url}/slow`);
  await program.logged("slow");
  program.kill("SIGTERM");
  await program.logged("service.draining");
  assertEquals((await readiness(program.url)).reason, "stopping");
  assertEquals(await (await fetch(`${program.url}/other`)).text(), "done");
  assertEquals(await (await answer).text(), "done");
  assertEquals(await program.ended(), 0);
  assertEquals(program.events.slice(-2), ["work finished", "service.stopped"]);
});

Deno.test("a response that does not end delays the exit by its limit only", async () => {
  await using program = new Program(
    `service.listenAt({ hostname: "127.0.0.1", port: service.settings.TWOFOLD_HTTP_PORT }, {
       fetch: () => new Response(new ReadableStream({ start: (body) => body.enqueue(new Uint8Array(1)) })),
     }, 200);
     service.onStop("work", () => log.info("work finished"));
     log.info("up");`,
    freePort(),
  );
  await program.logged("up");
  const response = await fetch(program.url);
  assertExists(response.body);
  program.kill("SIGTERM");
  assertEquals(await program.ended(), 0);
  assertEquals(program.events.slice(-2), ["work finished", "service.stopped"]);
  await response.body.cancel().catch(() => {});
});
