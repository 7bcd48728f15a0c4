import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { waitFor } from "../testing/wait_for.ts";

const DEMO = new URL("./demo.ts", import.meta.url).pathname;

Deno.test("a short demo holds every line of its verdict", async () => {
  const report = await Deno.makeTempFile();
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", DEMO, "--seconds", "30", "--seed", "11", "--report", report],
    stderr: "inherit",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, text);
  assertStringIncludes(text, "verdict: ok");
  const { verdict, accounting } = JSON.parse(await Deno.readTextFile(report));
  await Deno.remove(report);
  assert(verdict.ok);
  assert(accounting.duplicates > 0, "some retries came after the duplicate window");
  assert(accounting.quarantined > 0, "a bad build was in the traffic");
});

Deno.test("Ctrl-C ends the demo with everything it started", async () => {
  const demo = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", DEMO],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = new Output(demo.stdout);
  await waitFor("the demo to send", () => output.text.includes("sending heartbeats"), {
    timeoutMs: 60_000,
  });
  const started = descendants(demo.pid);
  assert(started.length >= 6, `two servers and four services: ${started}`);
  demo.kill("SIGINT");
  assertEquals((await demo.status).success, false);
  await waitFor("its processes to end", () => !started.some(isAlive));
  await output.ended;
});

/** What a process has written so far. */
class Output {
  text = "";
  readonly ended: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = stream.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({ write: (chunk) => void (this.text += chunk) }),
    );
  }
}

function descendants(pid: number): number[] {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ")
    .filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
