/**
 * A folder and the processes that work in it. Both are removed when this process ends, whatever
 * ends it.
 *
 * @module
 */

// Reads "pid N" and "dir D" lines until its standard input closes, which happens when the parent
// ends, even by SIGKILL; then it ends what is left. Ctrl-C must not stop the guard itself.
const GUARD = `
trap '' INT TERM HUP
pids=; dir=
while read -r kind value; do
  case $kind in pid) pids="$pids $value";; dir) dir=$value;; esac
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
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(readonly folder: string, readonly guard: Deno.ChildProcess) {
    this.#writer = guard.stdin.getWriter();
  }

  /** A new temporary folder, which is removed at the end. */
  static async temporary(): Promise<Workspace> {
    const folder = await Deno.makeTempDir({ prefix: "twofold-" });
    // Postgres runs as another user when this process is root, and has to reach its own folder.
    await Deno.chmod(folder, 0o755);
    const workspace = new Workspace(folder, startGuard());
    await workspace.#send(`dir ${folder}`);
    return workspace;
  }

  /** `folder` itself, which remains; only the processes end. */
  static async at(folder: string): Promise<Workspace> {
    await Deno.mkdir(folder, { recursive: true });
    return new Workspace(await Deno.realPath(folder), startGuard());
  }

  /** Ends the process `pid` when this process ends without doing so itself. */
  async watch({ pid }: { readonly pid: number }): Promise<void> {
    await this.#send(`pid ${pid}`);
  }

  /** Ends every watched process that is still alive and removes the folder if it is temporary. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.guard.status;
  }

  async #send(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(line + "\n"));
  }
}

function startGuard(): Deno.ChildProcess {
  return new Deno.Command("sh", {
    args: ["-c", GUARD],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
}
