/**
 * A folder for temporary files that is gone afterwards. A process that is killed cannot clean up, so
 * whoever makes the next folder in the same place removes what no process holds any more.
 *
 * @module
 */
const PREFIX = "twofold-sort-";
const LOCK_SUFFIX = ".lock";

/** A folder of its own in a shared one; its lock tells others that somebody is at work in it. */
export class ScratchFolder implements AsyncDisposable {
  private constructor(readonly path: string, readonly lock: Deno.FsFile) {}

  /** Makes a folder in `parent`, which must exist. Rejects with what the file system rejects with. */
  static async make(parent: string): Promise<ScratchFolder> {
    await sweep(parent);
    const path = `${parent}/${PREFIX}${crypto.randomUUID()}`;
    // The lock comes first: a folder whose lock is free is nobody's.
    const lock = await Deno.open(path + LOCK_SUFFIX, { createNew: true, write: true });
    try {
      await lock.lock(true);
      await Deno.mkdir(path);
      return new ScratchFolder(path, lock);
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await remove(this.path, this.lock);
  }
}

async function sweep(parent: string): Promise<void> {
  for await (const { name } of Deno.readDir(parent)) {
    if (!name.startsWith(PREFIX) || !name.endsWith(LOCK_SUFFIX)) continue;
    const path = `${parent}/${name.slice(0, -LOCK_SUFFIX.length)}`;
    // Somebody else may have swept it in between.
    const lock = await Deno.open(path + LOCK_SUFFIX, { write: true }).catch(absent);
    if (!lock) continue;
    if (await lock.tryLock(true)) await remove(path, lock);
    else lock.close();
  }
}

async function remove(path: string, lock: Deno.FsFile): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true }).catch(absent);
    await Deno.remove(path + LOCK_SUFFIX).catch(absent);
  } finally {
    lock.close();
  }
}

function absent(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
