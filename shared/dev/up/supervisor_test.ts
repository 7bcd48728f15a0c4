import { assert, assertEquals, assertMatch } from "@std/assert";
import { ChildProcess } from "../testing/child_process.ts";
import { waitFor } from "../testing/wait_for.ts";
import { type Part, Supervisor } from "./supervisor.ts";

const BACKOFF = { firstMs: 20, maxMs: 80, steadyMs: 600_000 };

/** Whether a process is frozen by a signal. */
function isStopped(pid: number): boolean {
  return /^State:\s+T/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
}

/** A shell that runs `script`, as a part. */
class Shell implements Part, AsyncDisposable {
  readonly name = "shell";
  readonly stops: string[] = [];
  process: ChildProcess;

  constructor(readonly script: string) {
    this.process = this.#run();
  }

  readonly ended = () => this.process.exited;
  readonly start = () => {
    this.process = this.#run();
    return Promise.resolve();
  };
  readonly stop = (signal?: Deno.Signal) => this.process.stop(signal);
  readonly ailment = () =>
    Promise.resolve(isStopped(this.process.pid) ? "does not move" : undefined);

  #run(): ChildProcess {
    return new ChildProcess("sh", ["-c", this.script]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

Deno.test("what ends again and again is started after growing waits, up to a limit", async () => {
  await using shell = new Shell("exit 3");
  const lines: string[] = [];
  const supervisor = new Supervisor([shell], (line) => void lines.push(line), BACKOFF);
  await waitFor("five starts", () => (supervisor.states[0]?.restarts ?? 0) >= 5);
  await supervisor.stop();
  const waits = lines.flatMap((line) =>
    line.match(/status 3; starting it again in (.+) s/)?.[1] ?? []
  );
  assertEquals(waits.slice(0, 5), ["0.02", "0.04", "0.08", "0.08", "0.08"]);
});

Deno.test("after a steady while the first wait is enough again", async () => {
  await using shell = new Shell("exit 3");
  const lines: string[] = [];
  const backoff = { ...BACKOFF, steadyMs: 0 };
  const supervisor = new Supervisor([shell], (line) => void lines.push(line), backoff);
  await waitFor("three starts", () => (supervisor.states[0]?.restarts ?? 0) >= 3);
  await supervisor.stop();
  const ends = lines.filter((line) => line.includes("status 3"));
  assert(ends.every((line) => line.endsWith("in 0.02 s")), ends.join("\n"));
});

Deno.test("a start that fails is told in one line and tried again", async () => {
  await using shell = new Shell("exit 3");
  let failures = 2;
  const start = async () => {
    if (failures-- > 0) throw new Error("ended while starting:\n  the port is taken");
    shell.process = new ChildProcess("sleep", ["60"]);
    await Promise.resolve();
  };
  const lines: string[] = [];
  const { ended, stop, ailment } = shell;
  const part = { name: "shell", ended, stop, ailment, start };
  const supervisor = new Supervisor([part], (line) => void lines.push(line), BACKOFF);
  await waitFor("the start", () => lines.includes("shell is started again"));
  await supervisor.stop();
  assertEquals(lines.length, 4, lines.join("\n"));
  assertMatch(
    lines[1] ?? "",
    /^shell did not start \(ended while starting:; the port is taken\); /,
  );
  assertEquals(supervisor.states, [{ name: "shell", state: "running", restarts: 1 }]);
});

Deno.test("a stop starts nothing any more, and ends what is starting", async () => {
  await using shell = new Shell("exit 3");
  const starting = Promise.withResolvers<void>();
  const stops: string[] = [];
  const part: Part = {
    name: "shell",
    ended: shell.ended,
    ailment: shell.ailment,
    start: () => starting.promise,
    stop: () => {
      stops.push("shell");
      starting.reject(new Error("ended"));
      return Promise.resolve();
    },
  };
  const supervisor = new Supervisor([part], () => {}, BACKOFF);
  await waitFor("the start to begin", () => supervisor.states[0]?.state === "starting");
  await supervisor.stop();
  assertEquals(stops, ["shell"]);
});

Deno.test("what lives without working is ended and started again, after growing waits", async () => {
  await using shell = new Shell("kill -STOP $$");
  const lines: string[] = [];
  const forbearance = { everyMs: 10, looks: 3, looksAtStart: 6 };
  const supervisor = new Supervisor([shell], (line) => void lines.push(line), BACKOFF, forbearance);
  await waitFor("three starts", () => (supervisor.states[0]?.restarts ?? 0) >= 3);
  await supervisor.stop();
  assertEquals(lines.slice(0, 3), [
    "shell runs, but does not move; ending it",
    "shell ended with status 137; starting it again in 0.02 s",
    "shell is started again",
  ]);
  assert(lines.includes("shell ended with status 137; starting it again in 0.08 s"));
});

Deno.test("what is ill for a moment is left alone", async () => {
  await using shell = new Shell("exec sleep 60");
  const looks = ["is busy", "is busy", undefined, "is busy", "is busy", undefined];
  let looked = 0;
  const part: Part = {
    name: "shell",
    ended: shell.ended,
    start: shell.start,
    stop: shell.stop,
    ailment: () => Promise.resolve(looks[looked++]),
  };
  const lines: string[] = [];
  const forbearance = { everyMs: 5, looks: 3, looksAtStart: 4 };
  const supervisor = new Supervisor([part], (line) => void lines.push(line), BACKOFF, forbearance);
  await waitFor("all looks", () => looked >= looks.length);
  await supervisor.stop();
  assertEquals(lines, []);
});
