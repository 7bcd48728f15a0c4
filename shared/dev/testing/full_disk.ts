/**
 * Full disks: a small one of its own, or a process whose files cannot grow.
 *
 * @module
 */

import { runCommand } from "./child_process.ts";

/** Maximum size of every file of the process, bytes; more than Deno itself writes. */
export const FULL_BYTES = 1024 ** 2;

// Exceeding the limit ends the process by a signal, unless that is ignored: then the write is
// short, and the next one fails. The shell counts in blocks of 512 bytes.
const LIMITED = `trap '' XFSZ; ulimit -f ${FULL_BYTES / 512}; exec "$@"`;

/** Runs `script` as a Deno module under that limit and returns its standard output. */
export async function evalOnFullDisk(script: string): Promise<string> {
  const { code, out, err } = await runCommand(
    "sh",
    ["-c", LIMITED, "sh", Deno.execPath(), "eval", script],
  );
  if (code !== 0) throw new Error(`the script failed: ${err}`);
  return out.trim();
}

/**
 * From now on no file of the running process `pid` can grow beyond `maxBytes`, or again without limit:
 * what it writes fails as on a full disk.
 */
export async function limitFiles(pid: number, maxBytes: number | "unlimited"): Promise<void> {
  const { code, err } = await runCommand("prlimit", [
    "--pid",
    `${pid}`,
    `--fsize=${maxBytes}:unlimited`,
  ]);
  if (code !== 0) throw new Error(`prlimit: ${err}`);
}

/** A disk of its own, of memory, under a folder. */
export class SmallDisk implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  /**
   * Puts what `folder` has on a new disk of `bytes`, mounted there; nothing may use the folder meanwhile.
   * Undefined when this process may not mount.
   */
  static async under(folder: string, bytes: number): Promise<SmallDisk | undefined> {
    const saved = `${folder}.saved`;
    await Deno.rename(folder, saved);
    await Deno.mkdir(folder);
    const options = ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder];
    const { code } = await runCommand("mount", options).catch(() => ({ code: 1 }));
    await runCommand("cp", ["-a", `${saved}/.`, folder]);
    await Deno.remove(saved, { recursive: true });
    return code === 0 ? new SmallDisk(folder) : undefined;
  }

  /** Leaves no space. */
  async fill(): Promise<void> {
    using ballast = await Deno.open(this.#ballast, { create: true, append: true });
    const block = new Uint8Array(4_096);
    try {
      while (await ballast.write(block) > 0);
    } catch {
      // It is full.
    }
  }

  /** Ends {@link fill}. */
  async makeSpace(): Promise<void> {
    await Deno.remove(this.#ballast);
  }

  get #ballast(): string {
    return `${this.folder}/ballast`;
  }

  /** Takes it away, from under a process too. */
  async [Symbol.asyncDispose](): Promise<void> {
    await runCommand("umount", ["--lazy", this.folder]);
  }
}
