import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { isFreePort } from "../servers/free_port.ts";
import { ChildProcess, isAlive } from "../testing/child_process.ts";
import { limitFiles } from "../testing/full_disk.ts";
import { processTree } from "../testing/measure.ts";
import { ROOT } from "../testing/module_graph.ts";
import { waitFor } from "../testing/wait_for.ts";
import { PORT_COUNT, portsFrom } from "./places.ts";

const CONFIG = new URL("deno.json", ROOT).pathname;
const UP = new URL("./up.ts", import.meta.url).pathname;
const UP_ARGS = ["run", "--quiet", "-A", "--config", CONFIG, UP];

/** `deno task up` in a folder of its own. */
class Up implements AsyncDisposable {
  readonly process: ChildProcess;

  constructor(readonly folder: string, readonly base: number, ...args: readonly string[]) {
    const all = [...UP_ARGS, "--port", String(base), ...args];
    this.process = new ChildProcess(Deno.execPath(), all, { cwd: folder });
  }

  async isUp(): Promise<void> {
    await waitFor("Twofold to be up", () => {
      assertEquals(this.process.exitCode, null, this.process.err);
      return this.process.out.includes("Twofold is up");
    }, { timeoutMs: 120_000 });
  }

  /** Pids of the processes that it started, by what their command line contains. */
  child(part: string): number {
    const pid = processTree(this.process.pid).slice(1).find((each) =>
      commandOf(each).includes(part)
    );
    if (pid === undefined) throw new Error(`no process of ${part}`);
    return pid;
  }

  async page(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.base}/`);
    return await response.text();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop("SIGTERM");
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function startUp(...args: readonly string[]): Promise<Up> {
  const up = new Up(await upFolder(), freeBase(), ...args);
  await up.isUp();
  return up;
}

/** A new folder that the unprivileged user of Postgres may enter. */
async function upFolder(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "twofold-up-" });
  await Deno.chmod(folder, 0o755);
  return folder;
}

/** Ten free ports in a row, below those that other tests take. */
function freeBase(): number {
  for (;;) {
    const base = 8_000 + PORT_COUNT * Math.floor(Math.random() * 800);
    if (Array.from({ length: PORT_COUNT }, (_, i) => base + i).every(isFreePort)) return base;
  }
}

function commandOf(pid: number): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** How the script of the guard begins. */
const GUARD = "sh -c \ntrap";

const PARTS: Readonly<Record<string, string>> = {
  "nats-server": "/nats-server ",
  "postgres": "/bin/postgres ",
  "ingest": "/ingest/main.ts",
  "live": "/live/main.ts",
  "royalty": "/royalty/main.ts",
  "triage": "/dlq-triage/main.ts",
  "pager": "/live/pager/main.ts",
};

Deno.test("up starts again whatever is killed, and everything works again", async () => {
  await using up = await startUp();
  for (const [name, part] of Object.entries(PARTS)) {
    const pid = up.child(part);
    Deno.kill(pid, "SIGKILL");
    await waitFor(`${name} to return`, () => {
      const next = up.child(part);
      return next !== pid && up.process.out.includes(`${name} is started again`);
    }, { timeoutMs: 60_000 });
    assertStringIncludes(
      up.process.out,
      `${name} ended with status 137; starting it again in 0.5 s`,
    );
  }
  await waitFor("all parts to work", async () => {
    const page = await up.page();
    return page.includes("All parts work.") || Promise.reject(new Error(page));
  }, { timeoutMs: 120_000 });
});

Deno.test("nothing remains after a SIGKILL of up, even when its guard was killed before", async () => {
  await using up = await startUp();
  const guard = up.child(GUARD);
  Deno.kill(guard, "SIGKILL");
  await waitFor("another guard", () => up.child(GUARD) !== guard);
  const [, ...started] = processTree(up.process.pid);
  assert(started.length >= 9, `two servers, their children, services, a guard: ${started}`);

  await up.process.stop("SIGKILL");

  await waitFor("all processes to end", () => !started.some(isAlive), { timeoutMs: 30_000 });
  // The next start finds ports and data free.
  const again = new Up(up.folder, up.base);
  await again.isUp();
  assertEquals(await again.process.stop("SIGTERM"), 0, again.process.err);
});

Deno.test("nothing remains after SIGKILLs of up and its guard at once, twice in a row", async () => {
  const folder = await upFolder();
  const base = freeBase();
  const started: number[] = [];
  for (const step of ["starting ingest", "provisioning"]) {
    const up = new Up(folder, base);
    await waitFor(step, () => up.process.out.includes(step), { timeoutMs: 120_000 });
    started.push(...processTree(up.process.pid).slice(1));
    for (const pid of [up.process.pid, up.child(GUARD)]) Deno.kill(pid, "SIGKILL");
    await up.process.exited;
  }
  assert(started.length >= 10, `${started}`);
  await waitFor("all processes to end", () => !started.some(isAlive), { timeoutMs: 30_000 });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("up ends what hangs, and a nats-server that stores nothing, and starts them again", async () => {
  await using up = await startUp("--simulate");
  for (const name of ["ingest", "postgres"]) {
    for (const pid of processTree(up.child(PARTS[name] ?? ""))) Deno.kill(pid, "SIGSTOP");
  }
  for (const name of ["ingest", "postgres"]) {
    await waitFor(`${name} to return`, () => up.process.out.includes(`${name} is started again`), {
      timeoutMs: 120_000,
    });
    assertMatch(up.process.out, new RegExp(`${name} runs, but .*(answer|timed out).*; ending it`));
  }
  await limitFiles(up.child("/nats-server "), 100_000);
  await waitFor(
    "nats-server to return",
    () => up.process.out.includes("nats-server is started again"),
    { timeoutMs: 120_000 },
  );
  assertStringIncludes(up.process.out, "nats-server runs, but stores nothing (");
  await waitFor("all parts to work", async () => {
    const page = await up.page();
    return page.includes("All parts work.") || Promise.reject(new Error(page));
  }, { timeoutMs: 120_000 });
});

Deno.test("a signal ends up while it starts, too", async () => {
  await using up = new Up(await upFolder(), freeBase());
  await waitFor("the servers", () => up.process.out.includes("provisioning"), {
    timeoutMs: 60_000,
  });
  const [, ...started] = processTree(up.process.pid);
  assertEquals(await up.process.stop("SIGINT"), 0);
  await waitFor("all processes to end", () => !started.some(isAlive), { timeoutMs: 30_000 });
});

Deno.test("up ends with the process that started it", async () => {
  const folder = await upFolder();
  // The shell stays, because it has another command to run.
  const line = `"$@" --port ${freeBase()}; true`;
  const command = ["-c", line, "sh", Deno.execPath(), ...UP_ARGS];
  await using shell = new ChildProcess("sh", command, { cwd: folder });
  await waitFor("Twofold to be up", () => shell.out.includes("Twofold is up"), {
    timeoutMs: 120_000,
  });
  const [, ...started] = processTree(shell.pid);
  await shell.stop("SIGKILL");
  await waitFor("all processes to end", () => !started.some(isAlive), { timeoutMs: 60_000 });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("the start page leads everywhere; a fleet is simulated", async () => {
  await using up = await startUp("--simulate");
  const page = await up.page();
  const links = [...page.matchAll(/href="([^"]+)"/g)].map(([, href = ""]) => href);
  for (const href of links) {
    const response = await fetch(new URL(href, `http://127.0.0.1:${up.base}`));
    await response.body?.cancel();
    // The statements ask who wants to see them.
    assert([200, 401].includes(response.status), `${href}: ${response.status}`);
  }
  assert(links.length >= 20, page);
  const { ingestStatus } = portsFrom(up.base);
  await waitFor("heartbeats", async () => {
    const response = await fetch(`http://127.0.0.1:${ingestStatus}/metrics`);
    const accepted = (await response.text()).match(/^twofold_ingest_events_total\S* (\d+)/m);
    return Number(accepted?.[1] ?? 0) > 100;
  }, { timeoutMs: 60_000 });
  const second = new Up(up.folder, up.base);
  assertNotEquals((await second.process.ended).code, 0);
  assertMatch(second.process.err, /another `deno task up` is running/);
});
