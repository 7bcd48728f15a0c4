/**
 * A process whose files cannot grow, as on a full disk, without filling or mounting a disk.
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
