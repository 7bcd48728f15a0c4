/**
 * A process whose files cannot grow: what a full disk does to a writer, with no disk to fill and no
 * right to mount one.
 *
 * @module
 */

/** Size at which every file of the process is full, bytes; above what Deno itself writes. */
export const FULL_BYTES = 1024 ** 2;

// A limit ends the process with a signal unless it is ignored; then the write is cut short, and the
// next one fails. The shell counts in blocks of 512 bytes.
const LIMITED = `trap '' XFSZ; ulimit -f ${FULL_BYTES / 512}; exec "$@"`;

/** Runs `script` as a Deno module under that limit and returns its standard output. */
export async function evalOnFullDisk(script: string): Promise<string> {
  const { stdout, stderr, success } = await new Deno.Command("sh", {
    args: ["-c", LIMITED, "sh", Deno.execPath(), "eval", script],
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) throw new Error(`the script failed: ${text(stderr)}`);
  return text(stdout).trim();
}
