import { assert, assertEquals, assertExists } from "@std/assert";
import { freePort } from "../dev/servers/free_port.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

const MODULE = import.meta.resolve("./service.ts");
const CONFIG = import.meta.resolve("./config.ts");
const ERRORS = import.meta.resolve("./errors.ts");

interface LogLine {
  readonly event: string;
  readonly error?: string;
  readonly stack?: string;
  readonly step?: string;
}

/** A service in a process of its own, whose start is `body`. */
class Program implements AsyncDisposable {
  readonly lines: LogLine[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  constructor(
    body: string,
    readonly port: number,
    settings: Readonly<Record<string, string>> = {},
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
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", "-"],
      env: { TWOFOLD_HTTP_PORT: String(port), TWOFOLD_DRAIN_MS: "0", ...settings },
      stdin: "piped",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#read();
    void this.#send(program);
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
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  async #send(program: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(program));
    await writer.close();
  }
  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(
        ...lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)),
      );
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#reading;
  }
}

async function readiness(url: string): Promise<{ status: number; reason: string | undefined }> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, reason: (await response.json()).reason };
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} runs the stop steps, the last first, and exits 0`, async () => {
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

Deno.test("a signal ends a service whose start hangs", async () => {
  await using program = new Program(
    `service.onStop("a", () => log.info("stop a"));
     log.info("up");
     await new Promise((resolve) => setTimeout(resolve, 60_000));`,
    freePort(),
  );
  await program.logged("up");
  program.kill("SIGTERM");
  assertEquals(await program.ended(), 0);
  assertEquals(program.events, ["up", "stop a", "service.stopped"]);
});

Deno.test("a failure runs the stop steps and exits 1, or as its Stop says", async () => {
  const step = `service.onStop("a", () => log.info("stop a"));`;
  const failures: [body: string, code: number, hasStack: boolean][] = [
    [`throw new Error("at start");`, 1, true],
    [`throw new Stop("wrong settings", { exitCode: 2 });`, 2, false],
    [`setTimeout(() => service.fail(new Error("later")), 10);`, 1, true],
    [`setTimeout(() => Promise.reject(new Error("nobody awaits")), 10);`, 1, true],
  ];
  for (const [body, expected, hasStack] of failures) {
    await using program = new Program(step + body, freePort());
    assertEquals(await program.ended(), expected, body);
    assertEquals(program.events, ["service.failed", "stop a", "service.stopped"], body);
    assertEquals(program.lines[0]?.stack !== undefined, hasStack, body);
  }
});

Deno.test("wrong settings end the process before anything is started", async () => {
  await using program = new Program(`log.info("up");`, freePort(), { TWOFOLD_DRAIN_MS: "soon" });
  assertEquals(await program.ended(), 1);
  assertEquals(program.events, ["service.failed", "service.stopped"]);
});

Deno.test("it answers from the first moment and says what is missing", async () => {
  await using program = new Program(
    `service.listen();
     const part = service.health.part("nats", "NATS has not answered yet");
     await fetch("http://127.0.0.1:" + service.settings.TWOFOLD_HTTP_PORT + "/healthz");
     log.info("up");
     service.health.check(() => globalThis.missing);
     setTimeout(() => { part.works(); globalThis.missing = "a check fails"; }, 300);
     setTimeout(() => { globalThis.missing = undefined; }, 1_500);`,
    freePort(),
  );
  await program.logged("up");
  assertEquals((await fetch(`${program.url}/healthz`)).status, 200);
  assertEquals(await readiness(program.url), { status: 503, reason: "NATS has not answered yet" });
  await waitFor(
    "the check to be named",
    async () => (await readiness(program.url)).reason === "a check fails",
  );
  await waitFor("readiness", async () => (await readiness(program.url)).status === 200);
  await program.logged("service.ready");
  assert(program.events.indexOf("service.not_ready") < program.events.indexOf("service.ready"));
});

Deno.test("after SIGTERM it is not ready at once, serves for the drain time, and finishes", async () => {
  const slow = `
    service.listen({ fetch: async (request) => {
      const path = new URL(request.url).pathname;
      if (path === "/slow") { log.info("slow"); await new Promise((done) => setTimeout(done, 1_500)); }
      if (path === "/readyz") return Response.json({ reason: service.health.notReady }, { status: 503 });
      return new Response("done");
    } });
    service.onStop("work", () => log.info("work finished"));
    log.info("up");`;
  await using program = new Program(slow, freePort(), { TWOFOLD_DRAIN_MS: "1000" });
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

Deno.test("a response that does not end keeps the process no longer than its bound", async () => {
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
