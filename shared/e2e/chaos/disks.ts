/**
 * Disks of NATS servers that can be full: file systems in memory, which only the servers see. They
 * are gone when their last process is.
 *
 * @module
 */
import type { NatsDisk } from "../../dev/servers/nats_server.ts";
import { ChildProcess, runCommand } from "../../dev/testing/child_process.ts";
import { waitFor } from "../../dev/testing/wait_for.ts";

/** More than a run writes; only what is written takes memory. */
const SIZE = "4g";
// Mounts where nobody else sees it, and stays until its input ends.
const HOLD = 'for dir; do mkdir "$dir"; mount -t tmpfs -o size=' + SIZE +
  ' tmpfs "$dir" || exit 1; done; echo mounted; exec cat';
// The server may write between the two, so that the size is too small.
const FILL =
  'for i in 1 2 3 4 5 6 7 8; do size=$(df --block-size=1 --output=used "$1" | tail -1); ' +
  'mount -o remount,size="$size" "$1" && exit; done; exit 1';

/** One disk for each NATS server of a pipeline. */
export class NatsDisks implements AsyncDisposable {
  private constructor(readonly folders: readonly string[], readonly holder: ChildProcess) {}

  /** Mounts `count` disks; none if this process has no right to. */
  static async mount(count: number): Promise<NatsDisks | undefined> {
    const folder = await Deno.makeTempDir({ prefix: "twofold-disks-" });
    const folders = Array.from({ length: count }, (_, i) => `${folder}/${i}`);
    const args = ["--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", ...folders];
    const holder = new ChildProcess("unshare", args, { hasInput: true });
    await waitFor("disks", () => holder.out !== "" || holder.exitCode !== null);
    if (holder.exitCode === null) return new NatsDisks(folders, holder);
    await Deno.remove(folder, { recursive: true });
  }

  /** What the servers are started with, in their order. */
  get disks(): NatsDisk[] {
    return this.folders.map((folder) => ({ folder, enter: this.#enter }));
  }

  /** From now on nothing more can be written to the disk with this index. */
  async fill(index: number): Promise<void> {
    await this.#run("sh", "-c", FILL, "sh", this.#folder(index));
  }

  /** Ends {@link fill}. */
  async free(index: number): Promise<void> {
    await this.#run("mount", "-o", `remount,size=${SIZE}`, this.#folder(index));
  }

  get #enter(): readonly string[] {
    return ["nsenter", `--mount=/proc/${this.holder.pid}/ns/mnt`];
  }

  #folder(index: number): string {
    const folder = this.folders[index];
    if (folder === undefined) throw new RangeError(`there is no disk ${index}`);
    return folder;
  }

  async #run(...args: readonly string[]): Promise<void> {
    const [program = "", ...rest] = [...this.#enter, ...args];
    const { code, err } = await runCommand(program, rest);
    if (code !== 0) throw new Error(`${args.join(" ")}: ${err.trim()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.holder[Symbol.asyncDispose]();
    const [first = ""] = this.folders;
    await Deno.remove(first.slice(0, first.lastIndexOf("/")), { recursive: true });
  }
}
