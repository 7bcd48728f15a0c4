/**
 * Keeps the learned baselines in the stream `KV_LIVE`, so that they survive a restart.
 *
 * A snapshot is a head on `$KV.LIVE.baselines` and compressed parts on
 * `$KV.LIVE.baselines.<slot>.<part>`. Two slots take turns and the head is written last, so that a
 * process killed in between leaves the snapshot before it whole. What cannot be read is logged and
 * ignored: then live learns anew.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { JetStreamClient, JetStreamManager } from "nats/jetstream";
import { z } from "zod";
import { alertCellSchema } from "../../shared/contract/alert.ts";
import { baselinesSubject, LIVE_STATE } from "../../shared/contract/topology.ts";
import { messageOf } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { pause } from "../../shared/process/retry.ts";
import { type BaselineSnapshot, LEARNING_MS, type SavedBaseline } from "../detect/baseline.ts";
import { CHANNEL_COUNT } from "../detect/channels.ts";

/** Cells a part: at most 300 KiB before compression, whatever they are called. */
const PART_CELLS = 500;
/** Cells that are kept at most; those of which least was learned are left out. */
const MAX_CELLS = 100_000;
const MAX_PART_BYTES = 4 * 1024 ** 2;
/** Snapshots older than this are of another time. */
const MAX_AGE_MS = 86_400_000;
const LOAD_TRIES = 5;
const RETRY_MS = 1_000;

const headSchema = z.object({
  v: z.literal(1),
  id: z.uuid(),
  slot: z.union([z.literal(0), z.literal(1)]),
  parts: z.int().min(0).max(MAX_CELLS / PART_CELLS),
  learned_ms: z.number().min(0),
});

const sumsSchema = z.array(z.number().min(0).max(1e9)).length(2 * CHANNEL_COUNT);
const partSchema = z.object({
  /** That of the head: parts of two snapshots do not mix. */
  id: z.uuid(),
  cells: z.array(z.object({
    cell: alertCellSchema,
    sums: sumsSchema,
    before: sumsSchema.exactOptional(),
    by: z.int().min(0).exactOptional(),
  })).max(PART_CELLS),
});

/** The newest snapshot of the baselines. */
export class BaselinesStore {
  /** Cells of the snapshot that was loaded; 0 if none was. */
  loaded = 0;
  #slot: 0 | 1 = 0;
  #saving: Promise<void> = Promise.resolve();
  /** Whether a snapshot may be stored that could not be read. */
  #isUnread = false;

  constructor(readonly js: JetStreamClient, readonly jsm: JetStreamManager, readonly log: Log) {}

  /** Stores `snapshot` in place of the one before, after a save in progress; logs a failure. */
  async save(snapshot: BaselineSnapshot): Promise<void> {
    const isWorse = this.#isUnread && snapshot.learnedMs < LEARNING_MS;
    if (isWorse || snapshot.cells.length === 0) return;
    this.#saving = this.#saving.then(async () => {
      try {
        await this.#write(snapshot);
      } catch (error) {
        // Only the message: an answer that does not come is no bug.
        this.log.warn("live.baselines.not_saved", { error: messageOf(error) });
      }
    });
    await this.#saving;
  }

  /** The snapshot of an earlier process that is no older than a day at `nowMs`, if it is whole. */
  async load(nowMs: number, signal: AbortSignal): Promise<BaselineSnapshot | undefined> {
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        return await this.#read(nowMs);
      } catch (error) {
        const isFinal = error instanceof Unreadable || tries === LOAD_TRIES;
        if (isFinal) {
          this.#isUnread = !(error instanceof Unreadable);
          this.log.warn("live.baselines.unreadable", { reason: messageOf(error) });
          return undefined;
        }
      }
      await pause(RETRY_MS, signal);
    }
    return undefined;
  }

  async #write({ learnedMs, cells }: BaselineSnapshot): Promise<void> {
    const kept = cells.length <= MAX_CELLS
      ? cells
      : cells.toSorted((a, b) => (b.sums[1] ?? 0) - (a.sums[1] ?? 0)).slice(0, MAX_CELLS);
    const id = crypto.randomUUID();
    const parts = Math.ceil(kept.length / PART_CELLS);
    // One after the other, so that the event loop is free between them.
    for (let part = 0; part < parts; part++) {
      const ofPart = kept.slice(part * PART_CELLS, (part + 1) * PART_CELLS);
      const bytes = await compressed(JSON.stringify({ id, cells: ofPart }));
      await this.js.publish(baselinesSubject(this.#slot, part), bytes);
    }
    const head = { v: 1, id, slot: this.#slot, parts, learned_ms: learnedMs };
    await this.js.publish(baselinesSubject(), JSON.stringify(head));
    this.#slot = this.#slot === 0 ? 1 : 0;
  }

  async #read(nowMs: number): Promise<BaselineSnapshot | undefined> {
    const found = await this.jsm.direct.getMessage(LIVE_STATE, {
      last_by_subj: baselinesSubject(),
    });
    if (found === null) return undefined;
    const head = parsed(headSchema, found.data, "the head");
    this.#slot = head.slot === 0 ? 1 : 0;
    const ageMs = nowMs - found.time.getTime();
    if (ageMs > MAX_AGE_MS) throw new Unreadable(`it is ${Math.round(ageMs / 3_600_000)} h old`);
    const cells: SavedBaseline[] = [];
    for (let part = 0; part < head.parts; part++) {
      cells.push(...await this.#readPart(head.id, head.slot, part));
    }
    this.loaded = cells.length;
    this.log.info("live.baselines.loaded", { cells: cells.length, age_ms: Math.round(ageMs) });
    return { v: 1, learnedMs: head.learned_ms, cells };
  }

  async #readPart(id: string, slot: 0 | 1, part: number): Promise<readonly SavedBaseline[]> {
    const found = await this.jsm.direct.getMessage(LIVE_STATE, {
      last_by_subj: baselinesSubject(slot, part),
    });
    if (found === null) throw new Unreadable(`part ${part} is missing`);
    const read = parsed(partSchema, await decompressed(found.data), `part ${part}`);
    if (read.id !== id) throw new Unreadable(`part ${part} is of another snapshot`);
    return read.cells;
  }
}

/** A snapshot that cannot be used, however often it is read. */
class Unreadable extends Error {}

function parsed<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch (error) {
    throw new Unreadable(`${what} is not what live writes`, { cause: error });
  }
}

async function compressed(text: string): Promise<Uint8Array> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function decompressed(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream()
    .pipeThrough(new DecompressionStream("gzip"));
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > MAX_PART_BYTES) throw new Unreadable("a part is too large");
      chunks.push(chunk);
    }
  } catch (error) {
    throw new Unreadable("a part is not compressed data", { cause: error });
  }
  return Buffer.concat(chunks);
}
