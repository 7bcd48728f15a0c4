/**
 * A folder for temporary files that is removed when disposed of. A killed process cannot remove its
 * folder; the next process that makes a folder in the same parent removes it.
 *
 * @module
 */
const PREFIX = "twofold-sort-";
const LOCK_SUFFIX = ".lock";

/** A temporary folder in a shared parent. Its lock file shows that a process uses it. */
export class ScratchFolder implements AsyncDisposable {
  private constructor(readonly path: string, readonly lock: Deno.FsFile) {}

  /**
   * Makes a folder in `parent`, which must exist, and removes unused ones. Rejects with errors of the
   * file system.
   */
  static async make(parent: string): Promise<ScratchFolder> {
    await sweep(parent);
    const path = `${parent}/${PREFIX}${crypto.randomUUID()}`;
    // The lock file is made first: a folder whose lock file is not locked is unused.
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
    // Another process may have removed it meanwhile.
    const lock = await Deno.open(path + LOCK_SUFFIX, { write: true }).catch(ignoreNotFound);
    if (!lock) continue;
    if (await lock.tryLock(true)) await remove(path, lock);
    else lock.close();
  }
}

async function remove(path: string, lock: Deno.FsFile): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true }).catch(ignoreNotFound);
    await Deno.remove(path + LOCK_SUFFIX).catch(ignoreNotFound);
  } finally {
    lock.close();
  }
}

function ignoreNotFound(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
