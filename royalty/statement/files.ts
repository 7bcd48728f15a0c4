/**
 * Statements as files in a folder. A file appears whole or not at all and is never overwritten.
 *
 * Postgres holds the statements; the folder is a copy that can be recreated at any time.
 *
 * @module
 */
import { messageOf, Refused, RetryAfter } from "../../shared/process/errors.ts";

const PART_SUFFIX = ".part";
/** A temporary file of this age was left by a killed process. */
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

/** Names of the two files of a statement. */
export function fileNames({ day, version }: StatementName): { csv: string; manifest: string } {
  const stem = `statement-${day}-v${version}`;
  return { csv: `${stem}.csv`, manifest: `${stem}.manifest.json` };
}

/** The folder of statement files. Every method rejects with {@link RetryAfter} on an I/O error. */
export class StatementFiles {
  constructor(readonly folder: string) {}

  /** Whether both files exist. The manifest is written last. */
  async has(statement: StatementName): Promise<boolean> {
    const { csv, manifest } = fileNames(statement);
    return await this.#exists(csv) && await this.#exists(manifest);
  }

  /** Writes missing files. Rejects with {@link Refused} when a file exists with other bytes. */
  async write(statement: StatementBytes): Promise<void> {
    const names = fileNames(statement);
    await this.#io(this.folder, () => Deno.mkdir(this.folder, { recursive: true }));
    await this.#writeFile(names.csv, statement.csv);
    await this.#writeFile(names.manifest, statement.manifest);
  }

  /** The faults of the files of `statement`, one line each; empty when both are correct. */
  async faults(statement: StatementBytes): Promise<string[]> {
    const names = fileNames(statement);
    const pairs = [[names.csv, statement.csv], [names.manifest, statement.manifest]] as const;
    const faults = await Promise.all(pairs.map(async ([name, expected]) => {
      const found = await this.#readFile(name);
      if (!found) return [`${this.folder}/${name} is missing`];
      return bytesEqual(found, expected)
        ? []
        : [`${this.folder}/${name} has other bytes than Postgres`];
    }));
    return faults.flat();
  }

  /** Removes temporary files that killed processes left. `now` is ms since the epoch. */
  async sweep(now: number): Promise<void> {
    await this.#io(this.folder, async () => {
      await Deno.mkdir(this.folder, { recursive: true });
      for await (const { name } of Deno.readDir(this.folder)) {
        if (!name.startsWith(".statement-") || !name.endsWith(PART_SUFFIX)) continue;
        const path = `${this.folder}/${name}`;
        const { mtime } = await Deno.stat(path);
        if (mtime && now - mtime.getTime() > STALE_PART_MS) await Deno.remove(path);
      }
    });
  }

  // Temporary name, fsync, rename, fsync of the folder: a crash leaves the whole file or none.
  async #writeFile(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const path = `${this.folder}/${name}`;
    const found = await this.#readFile(name);
    if (found && bytesEqual(found, bytes)) return;
    if (found) {
      throw new Refused(
        `${path} exists and has other bytes than the statement in Postgres; it is not ` +
          "overwritten: find out what changed it and move it away; it is then written again",
      );
    }
    const part = `${this.folder}/.${name}.${crypto.randomUUID()}${PART_SUFFIX}`;
    try {
      await this.#io(path, async () => {
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
    return await this.#io(
      name,
      () => Deno.stat(`${this.folder}/${name}`).then(({ isFile }) => isFile, ifNotFound(false)),
    );
  }

  async #readFile(name: string): Promise<Uint8Array | undefined> {
    return await this.#io(
      name,
      () => Deno.readFile(`${this.folder}/${name}`).catch(ifNotFound(undefined)),
    );
  }

  async #io<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new RetryAfter(
        `${path} cannot be written or read: ${messageOf(error)}. The statement is safe in ` +
          "Postgres; its files are written at the next attempt",
        RETRY_MS,
        { cause: error },
      );
    }
  }
}

function ifNotFound<T>(value: T): (error: unknown) => T {
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

function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
