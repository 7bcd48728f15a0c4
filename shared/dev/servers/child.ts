/**
 * A server or a service as a child process: its output in a file, its end observed, and ended with
 * the process that started it.
 *
 * @module
 */
import { Stop } from "../../process/errors.ts";
import { ChildProcess } from "../testing/child_process.ts";
import { waitFor } from "../testing/wait_for.ts";
import type { Workspace } from "./workspace.ts";

// Runs "$@" beside a watcher, which ends it when the pipe on standard input closes without a line: then
// the process at the other end has ended, by whatever, at whatever moment. The workspace's guard does
// so too, but only for what it was told of, and somebody may kill it together with its parent.
const WATCHED = `
exec 3<&0 </dev/null
(
  trap '' INT TERM HUP
  read -r over <&3 && exit
  kill -TERM $$
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 $$ || exit; sleep 0.1
  done
  kill -KILL $$
) >/dev/null 2>&1 &
exec "$@" 3<&-
`;

/** What to run, and where. */
export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Variables beyond those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Name of the log file in the workspace, without `.log`. */
  readonly name: string;
}

/** A running child. */
export class Child {
  private constructor(
    readonly name: string,
    readonly logFile: string,
    readonly process: ChildProcess,
  ) {}

  get pid(): number {
    return this.process.pid;
  }
  /** Exit code, or null while it runs. */
  get exitCode(): number | null {
    return this.process.exitCode;
  }
  /** Resolves with the exit code. */
  get ended(): Promise<number> {
    return this.process.exited;
  }

  /** Starts a child; standard output and error are appended to `<workspace>/<name>.log`. */
  static async start(workspace: Workspace, options: ChildOptions): Promise<Child> {
    const { name, command, args, ...surroundings } = options;
    const logFile = `${workspace.folder}/${name}.log`;
    const sink = () => appender(logFile);
    const process = new ChildProcess("sh", ["-c", WATCHED, "watcher", command, ...args], {
      ...surroundings,
      sink,
      hasInput: true,
      lastInput: "over\n",
    });
    await workspace.watch(process);
    void process.exited.then(() => workspace.unwatch(process));
    return new Child(name, logFile, process);
  }

  /** Sends `signal` and returns the exit code; sends SIGKILL after `graceMs`. */
  async stop(signal: Deno.Signal = "SIGTERM", graceMs?: number): Promise<number> {
    return await this.process.stop(signal, graceMs);
  }

  /**
   * Resolves once `probe` does. Throws {@link Stop} with the end of the log when the child ends before
   * that, and kills it when it does not answer in `timeoutMs`.
   */
  async answers(who: string, probe: () => Promise<unknown>, timeoutMs = 30_000): Promise<void> {
    try {
      await waitFor(`${who} to answer`, async () => {
        if (this.exitCode === null) await probe();
        return true;
      }, { timeoutMs });
    } catch (error) {
      await this.stop("SIGKILL");
      throw error;
    }
    if (this.exitCode !== null) {
      throw new Stop(`${who} ended while starting:\n${await this.tail()}`);
    }
  }

  /** The last `lines` lines of its log. */
  async tail(lines = 15): Promise<string> {
    const text = await Deno.readTextFile(this.logFile).catch(() => "");
    return text.trimEnd().split("\n").slice(-lines).join("\n");
  }
}

// Writes each chunk when it arrives: through the file's own stream, a line would appear only when
// the process ends.
function appender(path: string): WritableStream<Uint8Array> {
  const log = Deno.openSync(path, { append: true, create: true });
  return new WritableStream({
    // On a full disk the output is lost, but read: a child must not stall because of its log.
    write: (chunk) => writeAll(log, chunk).catch(() => {}),
    close: () => log.close(),
  });
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
