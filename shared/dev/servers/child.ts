/**
 * One child process: its output in a file, its end observed.
 *
 * @module
 */
import type { Workspace } from "./workspace.ts";

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Name of the log file in the workspace, without `.log`. */
  readonly name: string;
}

/** A running child. */
export class Child {
  /** Exit code, or null while it runs. */
  exitCode: number | null = null;
  readonly ended: Promise<number>;

  private constructor(
    readonly name: string,
    readonly logFile: string,
    readonly process: Deno.ChildProcess,
  ) {
    this.ended = process.status.then((status) => (this.exitCode = status.code));
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Starts a child; standard output and error are appended to `<workspace>/<name>.log`. */
  static async start(workspace: Workspace, options: ChildOptions): Promise<Child> {
    const { name, command, args, ...surroundings } = options;
    const logFile = `${workspace.folder}/${name}.log`;
    const process = new Deno.Command(command, {
      ...surroundings,
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    for (const stream of [process.stdout, process.stderr]) {
      void append(stream, await Deno.open(logFile, { append: true, create: true }));
    }
    await workspace.watch(process);
    return new Child(name, logFile, process);
  }

  /** Sends `signal` and waits for the end; after `graceMs` it is SIGKILL. */
  async stop(signal: Deno.Signal = "SIGTERM", graceMs = 14_000): Promise<number> {
    this.#kill(signal);
    const timer = setTimeout(() => this.#kill("SIGKILL"), graceMs);
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }

  /** The last `lines` lines of its log. */
  async tail(lines = 15): Promise<string> {
    const text = await Deno.readTextFile(this.logFile).catch(() => "");
    return text.trimEnd().split("\n").slice(-lines).join("\n");
  }

  #kill(signal: Deno.Signal): void {
    if (this.exitCode !== null) return;
    try {
      this.process.kill(signal);
    } catch {
      // It ended between the check and the signal.
    }
  }
}

// Chunk by chunk: piped into the file's own stream, a line would appear when the process ends.
async function append(stream: ReadableStream<Uint8Array>, log: Deno.FsFile): Promise<void> {
  for await (const chunk of stream) {
    // On a full disk what is said is lost, but read: a child must not stall for its log.
    await writeAll(log, chunk).catch(() => {});
  }
  log.close();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
