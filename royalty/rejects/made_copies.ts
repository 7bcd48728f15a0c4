/**
 * Finds copies that QUARANTINE has and the books do not know of.
 *
 * Live copies the same rejects, and what this service copies is recorded afterwards. QUARANTINE knows
 * a copy by its message id for an hour only: one that is sent again later would be there twice. So
 * before a reject is copied that is old enough for that, QUARANTINE is read from its receipt on.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { addressOf, copyId } from "../../shared/contract/quarantine.ts";
import { QUARANTINE } from "../../shared/contract/topology.ts";
import {
  firstSequenceSince,
  rawExtent,
  readRawMessages,
} from "../../shared/process/raw/raw_stream.ts";
import { publishedId } from "../../shared/process/raw/stored_message.ts";
import type { UncopiedReject } from "./copy_store.ts";

/** A copy of a reject that was received within so long is known by its id, ms: half of the hour. */
const KNOWN_MS = 1_800_000;
/** Copies that are kept in mind, about 100 bytes each; those beyond are found when others are done. */
const MAX_KNOWN = 500_000;

/** See the module. */
export class MadeCopies {
  /** Sequence of QUARANTINE through which it was read, by stream. */
  readonly #readThrough = new Map<string, number>();

  /** @param nowMs the time of day, ms since the epoch */
  constructor(readonly nc: NatsConnection, readonly nowMs: () => number) {}

  /** QUARANTINE was made again: nothing of it is known. */
  forget(): void {
    this.#readThrough.clear();
  }

  /**
   * Adds the ids of copies of `stream` to `made`, if `first` is so old that QUARANTINE may not know
   * them any more: `first` and later ones, which are not recorded. Rejects with `RetryAfter` while
   * NATS does not answer.
   */
  async find(stream: string, first: UncopiedReject, made: Set<string>): Promise<void> {
    if (this.nowMs() - first.receivedAtMs < KNOWN_MS || made.size >= MAX_KNOWN) return;
    const { lastSeq: through } = await rawExtent(this.nc, QUARANTINE);
    const from = await this.#unread(stream, first.receivedAtMs) ?? through + 1;
    for await (const batch of readRawMessages(this.nc, QUARANTINE, { from, through })) {
      for (const message of batch) {
        const address = addressOf(publishedId(message) ?? "");
        if (address?.stream !== stream || address.sequence < first.sequence) continue;
        made.add(copyId(stream, address));
      }
      this.#readThrough.set(stream, batch.at(-1)?.sequence ?? through);
      if (made.size >= MAX_KNOWN) return;
    }
    this.#readThrough.set(stream, through);
  }

  async #unread(stream: string, sinceMs: number): Promise<number | undefined> {
    const through = this.#readThrough.get(stream);
    if (through !== undefined) return through + 1;
    return await firstSequenceSince(this.nc, QUARANTINE, sinceMs);
  }
}
