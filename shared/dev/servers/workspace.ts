/**
 * A folder and the processes that work in it. Both are removed when this process ends, whatever
 * ends it.
 *
 * @module
 */
import { Stop } from "../../process/errors.ts";
import { requireUnix } from "../binaries/platform.ts";

// Reads "dir D" and "pids N N N" lines, the last of which holds, until its standard input closes,
// which happens when the parent ends, even by SIGKILL; then it ends what is left. Ctrl-C must not
// stop the guard itself.
const GUARD = `
trap '' INT TERM HUP
pids=; dir=
while read -r kind value; do
  case $kind in pids) pids=$value;; dir) dir=$value;; esac
done
for pid in $pids; do kill -TERM $pid 2>/dev/null; done
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  alive=; for pid in $pids; do kill -0 $pid 2>/dev/null && alive=1; done
  [ -z "$alive" ] && break; sleep 0.1
done
for pid in $pids; do kill -KILL $pid 2>/dev/null; done
# What was killed may still write for a moment.
for i in 1 2 3 4 5 6 7 8 9 10; do
  [ -n "$dir" ] && rm -rf "$dir" 2>/dev/null
  [ -e "$dir" ] || break; sleep 0.2
done
exit 0
`;

/** A folder for servers' data and logs. */
export class Workspace implements AsyncDisposable {
  readonly #watched = new Set<number>();
  #guard: Guard;
  #isOver = false;

  private constructor(readonly folder: string, readonly isTemporary: boolean) {
    requireUnix(Deno.build);
    this.#guard = this.#guarded();
  }

  /** The process that cleans up after this one. */
  get guardPid(): number {
    return this.#guard.process.pid;
  }

  /** A new temporary folder, which is removed at the end. */
  static async temporary(): Promise<Workspace> {
    const folder = await Deno.makeTempDir({ prefix: "twofold-" });
    // Postgres runs as another user when this process is root, and has to reach its own folder.
    await Deno.chmod(folder, 0o755);
    const workspace = new Workspace(folder, true);
    await workspace.#tell();
    return workspace;
  }

  /** `folder` itself, which remains; only the processes end. */
  static async at(folder: string): Promise<Workspace> {
    await Deno.mkdir(folder, { recursive: true });
    return new Workspace(await Deno.realPath(folder), false);
  }

  /**
   * Ends the process `pid` when this process ends without doing so itself. Once the workspace is
   * disposed of, ends it at once and throws {@link Stop}.
   */
  async watch(process: Watched): Promise<void> {
    if (this.#isOver) {
      process.kill();
      throw new Stop("nothing is started any more");
    }
    this.#watched.add(process.pid);
    await this.#tell();
  }

  /** Forgets the process `pid`, which has ended: the number may become another process's. */
  async unwatch({ pid }: Pick<Watched, "pid">): Promise<void> {
    this.#watched.delete(pid);
    if (!this.#isOver) await this.#tell();
  }

  /** Ends every watched process that is still alive and removes the folder if it is temporary. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    const { input, process } = this.#guard;
    await input.close().catch(() => {});
    await process.status;
  }

  // Somebody may kill the guard; another one then takes its place.
  #guarded(): Guard {
    const process = new Deno.Command("sh", {
      args: ["-c", GUARD],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    void process.status.then(() => {
      if (this.#isOver) return;
      this.#guard = this.#guarded();
      void this.#tell();
    });
    return { process, input: process.stdin.getWriter() };
  }

  async #tell(): Promise<void> {
    const folder = this.isTemporary ? `dir ${this.folder}\n` : "";
    const text = `${folder}pids ${[...this.#watched].join(" ")}\n`;
    // Fails when the guard is killed; its successor is told everything.
    await this.#guard.input.write(new TextEncoder().encode(text)).catch(() => {});
  }
}

/** A process that the guard ends. */
interface Watched {
  readonly pid: number;
  readonly kill: () => void;
}

/** The guard and its orders. */
interface Guard {
  readonly process: Deno.ChildProcess;
  readonly input: WritableStreamDefaultWriter<Uint8Array>;
}
