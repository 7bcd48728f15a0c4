/**
 * Reads the clocks of servers, and watches whether they agree with the one of this process.
 *
 * What depends on the time of day asks for {@link ComparedClocks.agreedMs}, which refuses while clocks
 * differ, or uses {@link ComparedClocks.sharedMs}, which follows the servers and not this machine.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { messageOf, RetryAfter } from "../errors.ts";
import type { Health } from "../health.ts";
import type { Log } from "../log.ts";
import { pause } from "../retry.ts";
import { agreedMs, type Agreement, agreementOf, type ClockReading } from "./agreement.ts";

/** Interval between two comparisons, ms. */
const WATCH_MS = 5_000;
/** Maximum time of one reading, ms. */
const READ_TIMEOUT_MS = 5_000;

/** Asks a server what time it is, ms since the epoch. */
export type ClockReader = () => Promise<number>;

/** The clock of the server that stamps the messages of `stream`; by way of `durable` if given. */
export function streamClock(
  jsm: Pick<JetStreamManager, "streams" | "consumers">,
  stream: string,
  durable?: string,
): ClockReader {
  return async () => {
    const { ts } = durable === undefined
      ? await jsm.streams.info(stream)
      : await jsm.consumers.info(stream, durable);
    return Date.parse(ts ?? "");
  };
}

/**
 * The clocks that stamp the messages of `streams`, by way of `durable` if given, beside `nowMs`, the
 * own clock, ms since the epoch.
 */
export async function streamClocks(
  nc: NatsConnection,
  streams: readonly string[],
  nowMs: () => number,
  durable?: string,
): Promise<ComparedClocks> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const readers = streams.map((stream) => [stream, streamClock(jsm, stream, durable)] as const);
  return new ComparedClocks(nowMs, Object.fromEntries(readers));
}

/**
 * Reads a clock. Rejects with {@link RetryAfter} when there is no answer. `nowMs` is the own clock,
 * ms since the epoch.
 */
export async function readClock(
  name: string,
  read: ClockReader,
  nowMs: () => number,
): Promise<ClockReading> {
  const askedMs = nowMs();
  const answered = new AbortController();
  try {
    const late = pause(READ_TIMEOUT_MS, answered.signal).then(() => {
      throw new RetryAfter(`no answer for ${READ_TIMEOUT_MS} ms`, 1_000);
    });
    late.catch(() => {});
    const ms = await Promise.race([read(), late]);
    if (Number.isNaN(ms)) throw new RetryAfter("it was not told", 1_000);
    return { name, ms, askedMs, answeredMs: nowMs() };
  } catch (error) {
    throw new RetryAfter(`the clock of ${name} cannot be read: ${messageOf(error)}`, 1_000, {
      cause: error,
    });
  } finally {
    answered.abort();
  }
}

/** What is needed to watch {@link ComparedClocks}. */
export interface ClockWatchParts {
  readonly health: Pick<Health, "check">;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The clock of this process beside those of its servers. */
export class ComparedClocks {
  #last: { readonly agreement: Agreement; readonly atMs: number } | undefined;
  #onChange: (difference: string | undefined) => void = () => {};

  /** @param nowMs The own clock, ms since the epoch. @param others The others, by their names. */
  constructor(
    readonly nowMs: () => number,
    readonly others: Readonly<Record<string, ClockReader>>,
  ) {}

  /** Which clocks differed when they were last compared; undefined: none. */
  get difference(): string | undefined {
    return this.#last?.agreement.difference;
  }

  /**
   * The time by the clock that was last agreed with most, and a monotonic clock since; by the own
   * clock before the first comparison.
   */
  sharedMs(): number {
    if (this.#last === undefined) return this.nowMs();
    const { agreement, atMs } = this.#last;
    return Math.round(agreement.nowMs + performance.now() - atMs);
  }

  /**
   * The time by the clock that showed the earliest when they were last compared, for what would be
   * lost if it were taken for too old.
   */
  earliestMs(): number {
    if (this.#last === undefined) return this.nowMs();
    const { agreement, atMs } = this.#last;
    return Math.round(agreement.earliestMs + performance.now() - atMs);
  }

  /** Compares the clocks that can be read now. */
  async compare(): Promise<{ agreement: Agreement; unread: RetryAfter | undefined }> {
    const reading = Object.entries(this.others)
      .map(([name, read]) => readClock(name, read, this.nowMs));
    const settled = await Promise.allSettled(reading);
    const readings = settled.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    const failed = settled.find((each) => each.status === "rejected");
    const agreement = agreementOf(readings, this.nowMs());
    // The own clock alone says nothing: what was known of the others stays.
    if (readings.length > 0) this.#note(agreement);
    return { agreement, unread: failed?.reason };
  }

  /**
   * The earliest time of all clocks, read now. Rejects with `Refused` while they differ, and with
   * {@link RetryAfter} while one of them cannot be read.
   */
  async agreedMs(): Promise<number> {
    const { agreement, unread } = await this.compare();
    const ms = agreedMs(agreement);
    if (unread) throw unread;
    return ms;
  }

  /** Rejects with {@link RetryAfter} unless some other clock agrees with the one of `name` now. */
  async confirm(name: string): Promise<void> {
    const { agreement, unread } = await this.compare();
    if (agreement.confirmed.includes(name)) return;
    throw unread ?? new RetryAfter(`nobody confirms ${name}: ${agreement.difference}`, 1_000);
  }

  /** Compares the clocks until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.compare();
      await pause(WATCH_MS, signal);
    }
  }

  /**
   * Compares the clocks until the service stops. It is not ready while they differ, unless `isReady`:
   * where nothing that the service answers depends on its clock, clients must not lose it.
   */
  watch({ health, log, signal }: ClockWatchParts, { isReady = false } = {}): void {
    if (!isReady) health.check(() => this.difference);
    this.#onChange = (reason) =>
      reason === undefined
        ? log.info("service.clocks_agree")
        : log.warn("service.clocks_differ", { reason });
    void this.run(signal);
  }

  #note(agreement: Agreement): void {
    const before = this.difference;
    this.#last = { agreement, atMs: performance.now() };
    if ((before === undefined) !== (this.difference === undefined)) this.#onChange(this.difference);
  }
}
