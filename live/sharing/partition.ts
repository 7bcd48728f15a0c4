/**
 * One stream, as far as this process is concerned: it reads while the stream is in its share and the
 * lease of the stream is its own, and hands it on in order.
 *
 * @module
 */
import type { Lease } from "../../shared/process/lease/lease.ts";
import type { Log } from "../../shared/process/log.ts";
import { messageOf } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Reader } from "../watch/reader.ts";
import type { ObservationWriter } from "./observation_writer.ts";

const LOOK_MS = 100;
/** Time that the hand-over waits for what was read to be stored, and for the acknowledgement. */
const MAX_HANDOVER_MS = 1_500;

/** What a {@link Partition} needs. */
export interface PartitionOptions {
  readonly reader: Reader;
  readonly writer: ObservationWriter;
  readonly lease: Lease;
  /** Whether the stream is in the share of this process. */
  readonly isMine: () => boolean;
  readonly log: Log;
}

/** Reads a stream whenever it is this process' turn. */
export class Partition {
  constructor(readonly options: PartitionOptions) {}

  /** Runs until `signal` is aborted, and hands the stream on. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { lease } = this.options;
    const holding = lease.run();
    while (!signal.aborted) {
      lease.isWanted = this.options.isMine();
      if (this.#mayRead) await this.#term(signal);
      else await pause(LOOK_MS, signal);
    }
    await Promise.race([lease.release(), pause(MAX_HANDOVER_MS)]);
    await Promise.race([holding, pause(MAX_HANDOVER_MS)]);
  }

  get #mayRead(): boolean {
    const { lease, isMine } = this.options;
    return isMine() && (lease.isHeld || lease.isMissing);
  }

  async #term(signal: AbortSignal): Promise<void> {
    const { reader, writer, log, lease } = this.options;
    const { stream } = reader;
    log.info("live.partition.taken", { stream });
    const term = new AbortController();
    const written = new AbortController();
    const reading = reader.run(term.signal).catch((error) =>
      log.warn("live.reading.interrupted", { stream, error: messageOf(error) })
    );
    const writing = writer.run(written.signal);
    while (!signal.aborted && this.#mayRead) await pause(LOOK_MS, signal);
    term.abort();
    await Promise.race([reading, pause(MAX_HANDOVER_MS)]);
    written.abort();
    await Promise.race([writing, pause(MAX_HANDOVER_MS)]);
    await Promise.race([reader.finish().catch(() => {}), pause(MAX_HANDOVER_MS)]);
    if (!signal.aborted) await Promise.race([lease.giveUp(), pause(MAX_HANDOVER_MS)]);
    log.info("live.partition.left", { stream });
  }
}
