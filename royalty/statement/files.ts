/**
 * Statements as files in a folder (object storage later): never half a file, never a changed one.
 *
 * Postgres is where statements are kept; the folder is a copy that can be made again at any time.
 *
 * @module
 */
import { messageOf, Refused, RetryAfter } from "../../shared/process/errors.ts";

const PART_SUFFIX = ".part";
/** A part that old belongs to a process that was killed. */
const STALE_PART_MS = 3_600_000;
const RETRY_MS = 60_000;

/** Both files of a statement. */
export interface StatementBytes {
  readonly day: string;
  readonly version: number;
  readonly csv: Uint8Array<ArrayBuffer>;
  readonly manifest: Uint8Array<ArrayBuffer>;
}

type StatementName = Pick<StatementBytes, "day" | "version">;

/** File names of a statement. */
export function fileNames({ day, version }: StatementName): { csv: string; manifest: string } {
  const stem = `statement-${day}-v${version}`;
  return { csv: `${stem}.csv`, manifest: `${stem}.manifest.json` };
}

/** The folder. Every method rejects with {@link RetryAfter} when it cannot be used. */
export class StatementFiles {
  constructor(readonly folder: string) {}

  /** Whether both files are there. The manifest is written last. */
  async has(statement: StatementName): Promise<boolean> {
    const { csv, manifest } = fileNames(statement);
    return await this.#exists(csv) && await this.#exists(manifest);
  }

  /** Writes what is missing. Rejects with {@link Refused} when a file is there with other bytes. */
  async write(statement: StatementBytes): Promise<void> {
    const names = fileNames(statement);
    await this.#try(this.folder, () => Deno.mkdir(this.folder, { recursive: true }));
    await this.#put(names.csv, statement.csv);
    await this.#put(names.manifest, statement.manifest);
  }

  /** What is wrong with the files of `statement`, one line each. */
  async faults(statement: StatementBytes): Promise<string[]> {
    const names = fileNames(statement);
    const pairs = [[names.csv, statement.csv], [names.manifest, statement.manifest]] as const;
    const faults = await Promise.all(pairs.map(async ([name, expected]) => {
      const found = await this.#read(name);
      if (!found) return [`${this.folder}/${name} is missing`];
      return same(found, expected) ? [] : [`${this.folder}/${name} has other bytes than Postgres`];
    }));
    return faults.flat();
  }

  /** Removes what killed processes left behind. */
  async sweep(now: number): Promise<void> {
    await this.#try(this.folder, async () => {
      await Deno.mkdir(this.folder, { recursive: true });
      for await (const { name } of Deno.readDir(this.folder)) {
        if (!name.startsWith(".statement-") || !name.endsWith(PART_SUFFIX)) continue;
        const path = `${this.folder}/${name}`;
        const { mtime } = await Deno.stat(path);
        if (mtime && now - mtime.getTime() > STALE_PART_MS) await Deno.remove(path);
      }
    });
  }

  // Temporary name, fsync, rename, fsync of the folder: after a crash there is a whole file or none.
  async #put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const path = `${this.folder}/${name}`;
    const found = await this.#read(name);
    if (found && same(found, bytes)) return;
    if (found) {
      throw new Refused(
        `${path} is there with other bytes than the statement in Postgres; it is not ` +
          "overwritten: find out who changed it, move it away, and it is written again",
      );
    }
    const part = `${this.folder}/.${name}.${crypto.randomUUID()}${PART_SUFFIX}`;
    try {
      await this.#try(path, async () => {
        await writeSynced(part, bytes);
        await Deno.rename(part, path);
        using folder = await Deno.open(this.folder);
        await folder.sync();
      });
    } catch (error) {
      await Deno.remove(part).catch(() => {});
      throw error;
    }
  }

  async #exists(name: string): Promise<boolean> {
    return await this.#try(
      name,
      () => Deno.stat(`${this.folder}/${name}`).then(({ isFile }) => isFile, absent(false)),
    );
  }

  async #read(name: string): Promise<Uint8Array | undefined> {
    return await this.#try(
      name,
      () => Deno.readFile(`${this.folder}/${name}`).catch(absent(undefined)),
    );
  }

  async #try<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new RetryAfter(
        `${what} cannot be written or read: ${messageOf(error)}. The statement is safe in ` +
          "Postgres; its files appear at the next try",
        RETRY_MS,
        { cause: error },
      );
    }
  }
}

function absent<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof Deno.errors.NotFound) return value;
    throw error;
  };
}

async function writeSynced(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.sync();
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
