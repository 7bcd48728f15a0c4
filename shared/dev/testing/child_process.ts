/**
 * Programs that a test, a benchmark or the demo runs: their output, their exit code and their end.
 *
 * @module
 */
import { ROOT } from "./module_graph.ts";

/** Where a program runs, and what happens to its output. */
export interface ChildProcessOptions {
  /** Variables beyond those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Whether {@link ChildProcess.write} is used; otherwise standard input is empty. */
  readonly hasInput?: boolean;
  /** Written to standard input after the end of the program, for what it has started; needs `hasInput`. */
  readonly lastInput?: string;
  /** Makes what receives an output stream, instead of {@link ChildProcess.out} and `err`. */
  readonly sink?: () => WritableStream<Uint8Array>;
}

/** What a program left when it ended. */
export interface ChildResult {
  readonly code: number;
  /** Standard output. */
  readonly out: string;
  /** Standard error. */
  readonly err: string;
}

/** Maximum time from a signal to SIGKILL, ms; a service stops within 10 s and its drain time. */
const STOP_GRACE_MS = 14_000;

/** A program under way. It is killed when it is disposed of. */
export class ChildProcess implements AsyncDisposable {
  /** Standard output so far, as text. */
  out = "";
  /** Standard error so far, as text. */
  err = "";
  /** Exit code, or null while it runs. */
  exitCode: number | null = null;
  /** Resolves with the exit code; output may follow, from processes that it started. */
  readonly exited: Promise<number>;
  /** Resolves once the program has ended and all its output is read. */
  readonly ended: Promise<ChildResult>;
  readonly process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array> | undefined;
  readonly #lastInput: string;

  /** Starts `command`. Throws when there is no such program. */
  constructor(
    command: string,
    args: readonly string[],
    { hasInput = false, lastInput = "", sink, ...surroundings }: ChildProcessOptions = {},
  ) {
    this.#lastInput = lastInput;
    this.process = new Deno.Command(command, {
      ...surroundings,
      args: [...args],
      stdin: hasInput ? "piped" : "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = hasInput ? this.process.stdin.getWriter() : undefined;
    this.exited = this.process.status.then(({ code }) => (this.exitCode = code));
    this.ended = this.#end([
      this.process.stdout.pipeTo(sink?.() ?? text((chunk) => void (this.out += chunk))),
      this.process.stderr.pipeTo(sink?.() ?? text((chunk) => void (this.err += chunk))),
    ]);
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Writes to standard input; needs `hasInput`. */
  async write(text: string): Promise<void> {
    await this.#input?.write(new TextEncoder().encode(text));
  }

  /** Ends standard input. */
  async endInput(): Promise<void> {
    await this.#input?.close();
  }

  /** Sends `signal`, unless the program has ended. */
  kill(signal: Deno.Signal = "SIGKILL"): void {
    if (this.exitCode !== null) return;
    try {
      this.process.kill(signal);
    } catch {
      // It ended between the check and the signal.
    }
  }

  /** Sends `signal` and returns the exit code; sends SIGKILL after `graceMs`. */
  async stop(signal: Deno.Signal = "SIGTERM", graceMs = STOP_GRACE_MS): Promise<number> {
    this.kill(signal);
    const timer = setTimeout(() => this.kill("SIGKILL"), graceMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.ended;
  }

  async #end(reading: readonly Promise<void>[]): Promise<ChildResult> {
    const code = await this.exited;
    // A program that ends without reading its input has broken that pipe.
    if (this.#lastInput !== "") await this.write(this.#lastInput).catch(() => {});
    await this.#input?.close().catch(() => {});
    await Promise.all(reading);
    return { code, out: this.out, err: this.err };
  }
}

/** Runs a program to its end. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: ChildProcessOptions = {},
): Promise<ChildResult> {
  return await new ChildProcess(command, args, options).ended;
}

/** Starts `deno task <task> <args>` in the checkout, as a person does. */
export function startTask(
  task: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): ChildProcess {
  const command = ["task", "--quiet", task, ...args];
  return new ChildProcess(Deno.execPath(), command, { cwd: ROOT.pathname, env });
}

/** Runs `deno task <task> <args>` to its end; see {@link startTask}. */
export async function runTask(
  task: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ChildResult> {
  return await startTask(task, args, env).ended;
}

/** Whether a process exists and has not ended. */
export function isAlive(pid: number): boolean {
  try {
    // A zombie has ended; only its parent has not asked for its exit code.
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

function text(append: (chunk: string) => void): WritableStream<Uint8Array> {
  const decoder = new TextDecoder();
  return new WritableStream({ write: (bytes) => append(decoder.decode(bytes, { stream: true })) });
}
