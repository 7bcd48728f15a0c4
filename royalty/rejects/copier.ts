/**
 * Copies the rejects in the books to QUARANTINE, with their bytes from the raw stream.
 *
 * Nothing waits for it: posting enters a reject and goes on. Copies are made in the order of the
 * stream, and how far they are is in the books, so that a crash or an outage repeats some copies,
 * which QUARANTINE knows by their message ids for an hour, and `made_copies.ts` finds later, and leaves
 * none out. When QUARANTINE was deleted and
 * made again, everything that the raw streams keep is copied again.
 *
 * One process copies for all streams of the books.
 *
 * @module
 */
import { InvalidArgumentError, type NatsConnection } from "nats";
import {
  jetstream,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
  type StoredMsg,
} from "nats/jetstream";
import type { Delivery } from "../../shared/contract/delivery/delivery.ts";
import { copyId, quarantine } from "../../shared/contract/quarantine.ts";
import { eventsOf } from "../../shared/contract/delivery/frame.ts";
import {
  DURABLE,
  ENDS_HEADER,
  QUARANTINE,
  QUARANTINE_MAX_AGE_MS,
} from "../../shared/contract/topology.ts";
import { messageOf, RetryAfter } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import { rawExtent } from "../../shared/process/raw/raw_stream.ts";
import { millisecondsOf } from "../../shared/process/raw/stored_message.ts";
import { pause } from "../../shared/process/retry.ts";
import { MadeCopies } from "./made_copies.ts";
import {
  copyLock,
  CopyStore,
  LAST_PLACE,
  MAX_FORGOTTEN,
  type RejectAddress,
  type UncopiedReject,
} from "./copy_store.ts";

/** Copies in flight; their bytes are in memory: 4 MiB with the largest heartbeats. */
const MAX_BATCH = 256;
/** Interval between two looks for new rejects, and between two tries to become the one that copies. */
const POLL_MS = 1_000;
/** Wait after a failure: doubled from the first to the last. */
const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 5_000;
const REQUEST_TIMEOUT_MS = 2_000;
/** Interval between two deletions of rejects that are too old, while few are. */
const FORGET_MS = 60_000;

/** JetStream error code "message size exceeds maximum allowed", of the stream. */
const TOO_LARGE_CODE = 10054;

/** Why a reject gets no copy. */
export type NotCopied =
  /** The raw stream does not have its bytes any more. */
  | "gone"
  /** With the headers of the copy it is larger than NATS or QUARANTINE takes. */
  | "too_large";
/** What became of the copy of a reject. */
export type CopyOutcome = "copied" | NotCopied;

/** Rejects of a stream that get no copy, for one reason. */
export interface LostCopies {
  readonly stream: string;
  readonly why: NotCopied;
  readonly rejects: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Where a {@link RejectCopier} reports to. Its methods must not throw. */
export interface CopyReport {
  /** `count` rejects of `stream` have this outcome. */
  counted(stream: string, outcome: CopyOutcome, count: number): void;
  /** These rejects get no copy; said once. */
  lost(copies: LostCopies): void;
  /** `rejects` of `stream` wait for their copies; undefined: this process does not know. */
  waiting(stream: string, rejects: number | undefined): void;
  /** A round ended with everything copied. */
  copied(): void;
  /** A round failed, and `uncopied` rejects wait. */
  failed(reason: string, uncopied: number): void;
}

/** Ids of copies that are made and not recorded yet. */
type Ahead = Set<string>;

/** See the module. */
export class RejectCopier {
  /** Whether this process copies. */
  isLeading = false;
  readonly #js: JetStreamClient;
  readonly #jsm: Promise<JetStreamManager>;
  /** Made, behind one that failed: they are not made twice, however long the outage is. */
  readonly #ahead: Ahead = new Set();
  readonly #made: MadeCopies;
  #uncopied = new Map<string, number>();
  #forgetAtMs = 0;

  constructor(
    readonly nc: NatsConnection,
    readonly databaseUrl: string,
    readonly streams: readonly string[],
    readonly report: CopyReport,
    readonly log: Log,
    /** The time of day, ms since the epoch. */
    nowMs: () => number,
  ) {
    this.#made = new MadeCopies(nc, nowMs);
    this.#js = jetstream(nc, { timeout: REQUEST_TIMEOUT_MS });
    this.#jsm = jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
  }

  /** Copies until `signal` is aborted; copies in flight are finished first. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const lock = copyLock();
    while (!signal.aborted) {
      try {
        await using store = new CopyStore(this.databaseUrl, lock);
        while (!signal.aborted && !(await store.lead())) await pause(POLL_MS, signal);
        this.isLeading = true;
        await this.#lead(store, signal);
      } catch (error) {
        // The books cannot be read, for which posting pages.
        this.log.warn("royalty.rejects.retry", { error });
        await pause(POLL_MS, signal);
      } finally {
        this.#standBy();
      }
    }
  }

  #standBy(): void {
    this.isLeading = false;
    for (const stream of this.streams) this.report.waiting(stream, undefined);
  }

  async #lead(store: CopyStore, signal: AbortSignal): Promise<void> {
    let retryMs = MIN_RETRY_MS;
    while (!signal.aborted) {
      const problem = await this.#round(store, signal);
      if (problem === undefined) {
        retryMs = MIN_RETRY_MS;
        this.report.copied();
        await this.#forget(store);
        await pause(POLL_MS, signal);
        continue;
      }
      const uncopied = [...this.#uncopied.values()].reduce((sum, each) => sum + each, 0);
      this.report.failed(problem, uncopied);
      this.log.warn("royalty.rejects.retry", { error: problem, uncopied });
      await pause(retryMs, signal);
      retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
    }
  }

  // Returns what went wrong on the side of NATS. Rejects when the books cannot be used.
  async #round(store: CopyStore, signal: AbortSignal): Promise<string | undefined> {
    let made: string | undefined;
    let problem: string | undefined;
    try {
      const { created } = await (await this.#jsm).streams.info(QUARANTINE);
      made = String(created);
    } catch (error) {
      problem = natsMessageOf(error);
    }
    for (let isMore = true; isMore && !signal.aborted;) {
      isMore = false;
      for (const stream of this.streams) {
        const found = await this.#copySome(store, stream, made);
        if (typeof found === "string") problem ??= found;
        else isMore ||= found;
      }
      if (problem !== undefined) return problem;
    }
    return problem;
  }

  // Whether more rejects of `stream` wait, or what went wrong.
  async #copySome(
    store: CopyStore,
    stream: string,
    made: string | undefined,
  ): Promise<boolean | string> {
    const position = await store.position(stream);
    if (position === undefined) return false;
    this.#wait(stream, position.uncopied);
    if (made === undefined) return false;
    let after = position.through;
    if (position.intoMade !== made) {
      const isAnother = position.intoMade !== undefined;
      const from = isAnother ? await this.#firstKept(stream) : after.sequence + 1;
      if (typeof from === "string") return from;
      this.#ahead.clear();
      this.#made.forget();
      await store.copyInto(stream, made, from);
      if (isAnother) this.log.warn("royalty.rejects.copied_again", { stream, first_seq: from });
      if (after.sequence >= from) after = { sequence: from - 1, index: LAST_PLACE };
    }
    const rejects = await store.rejects(stream, after, MAX_BATCH);
    const unknown = await this.#findMade(stream, rejects);
    if (unknown !== undefined) return unknown;
    const { done, lost, problem } = await this.#copyAll(stream, rejects);
    const last = rejects[done - 1];
    if (last !== undefined) {
      await store.advance(stream, last, done, lost);
      this.#count(stream, done, lost);
      this.#wait(stream, Math.max(0, position.uncopied - done));
    }
    return problem ?? rejects.length === MAX_BATCH;
  }

  // Returns why QUARANTINE cannot be read.
  async #findMade(
    stream: string,
    [first]: readonly UncopiedReject[],
  ): Promise<string | undefined> {
    try {
      if (first !== undefined) await this.#made.find(stream, first, this.#ahead);
    } catch (error) {
      return natsMessageOf(error);
    }
  }

  // How many of the first `rejects` are done, and what went wrong with the one after them.
  async #copyAll(stream: string, rejects: readonly UncopiedReject[]): Promise<{
    readonly done: number;
    /** Those of them that get no copy. */
    readonly lost: ReadonlyMap<RejectAddress, NotCopied>;
    readonly problem: string | undefined;
  }> {
    const lost = new Map<RejectAddress, NotCopied>();
    const messages = new Map<number, Promise<StoredMsg | null>>();
    const results = await Promise.allSettled(rejects.map(async (reject) => {
      const key = copyId(stream, reject);
      if (this.#ahead.has(key)) return;
      const delivery = await this.#rawDelivery(stream, reject, messages);
      if (delivery === undefined) return void lost.set(reject, "gone");
      const { rejection } = reject;
      try {
        await quarantine(this.#js, DURABLE.royalty, { stream, delivery, rejection });
      } catch (error) {
        // It would be refused for ever, and hold up those after it.
        if (isTooLarge(error)) return void lost.set(reject, "too_large");
        throw error;
      }
      this.#ahead.add(key);
    }));
    const failed = results.findIndex(({ status }) => status === "rejected");
    const done = failed < 0 ? rejects.length : failed;
    for (const reject of rejects.slice(0, done)) this.#ahead.delete(copyId(stream, reject));
    for (const reject of rejects.slice(done)) lost.delete(reject);
    const result = results[failed];
    const problem = result?.status === "rejected" ? natsMessageOf(result.reason) : undefined;
    return { done, lost, problem };
  }

  /**
   * Undefined when the bytes are no longer kept. `messages` has those that were asked for: rejects of one
   * message share it.
   */
  async #rawDelivery(
    stream: string,
    { sequence, index, receivedAtMs }: UncopiedReject,
    messages: Map<number, Promise<StoredMsg | null>>,
  ): Promise<Delivery | undefined> {
    const { direct } = await this.#jsm;
    const asked = messages.get(sequence) ?? direct.getMessage(stream, { seq: sequence });
    messages.set(sequence, asked);
    const stored = await asked;
    if (stored !== null) {
      // At another time: the stream was made again, and the sequence names another message.
      if (millisecondsOf(stored.timestamp) !== receivedAtMs) return undefined;
      const bytes = eventsOf(stored.data, stored.header?.get(ENDS_HEADER) || undefined)[index];
      return bytes && { bytes, sequence, index, receivedAtMs };
    }
    const { firstSeq, lastSeq } = await rawExtent(this.nc, stream);
    if (sequence < firstSeq || sequence > lastSeq) return undefined;
    throw new RetryAfter(`${stream}:${sequence} cannot be read yet`, MIN_RETRY_MS);
  }

  async #firstKept(stream: string): Promise<number | string> {
    try {
      return (await rawExtent(this.nc, stream)).firstSeq;
    } catch (error) {
      return messageOf(error);
    }
  }

  #wait(stream: string, uncopied: number): void {
    this.#uncopied.set(stream, uncopied);
    this.report.waiting(stream, uncopied);
  }

  #count(stream: string, done: number, lost: ReadonlyMap<RejectAddress, NotCopied>): void {
    this.report.counted(stream, "copied", done - lost.size);
    for (const [why, each] of Map.groupBy(lost, ([, why]) => why)) {
      const sequences = each.map(([{ sequence }]) => sequence);
      const rejects = sequences.length;
      const [firstSeq, lastSeq] = [Math.min(...sequences), Math.max(...sequences)];
      this.report.counted(stream, why, rejects);
      this.report.lost({ stream, why, rejects, firstSeq, lastSeq });
      const facts = { stream, rejects, first_seq: firstSeq, last_seq: lastSeq };
      if (why === "gone") this.log.error("royalty.rejects.bytes_gone", facts);
      else this.log.error("royalty.rejects.too_large", facts);
    }
  }

  async #forget(store: CopyStore): Promise<void> {
    const nowMs = performance.now();
    if (nowMs < this.#forgetAtMs) return;
    let isMore = false;
    for (const stream of this.streams) {
      isMore ||= await store.forget(stream, QUARANTINE_MAX_AGE_MS) === MAX_FORGOTTEN;
    }
    this.#forgetAtMs = isMore ? nowMs : nowMs + FORGET_MS;
  }
}

// The client knows the limit of its server; the stream has one of its own.
function isTooLarge(error: unknown): boolean {
  if (error instanceof InvalidArgumentError) return error.message.includes("max_payload");
  return error instanceof JetStreamApiError && error.code === TOO_LARGE_CODE;
}
