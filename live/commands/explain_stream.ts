/**
 * Reads what `explain` replays: raw heartbeats of all streams in the order of receipt, and the
 * baselines that live saved. Moves and acknowledges nothing.
 *
 * @module
 */
import { isCanary } from "../../shared/contract/canary/canary.ts";
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { type Heartbeat, judge } from "../../shared/contract/event.ts";
import { baselinesSubject, LIVE_STATE } from "../../shared/contract/topology.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { messageOf, Stop } from "../../shared/process/errors.ts";
import { Log } from "../../shared/process/log.ts";
import { firstSequenceSince, readRaw } from "../../shared/process/raw/raw_stream.ts";
import type { RawMessage } from "../../shared/process/raw/stored_message.ts";
import type { BaselineSnapshot } from "../detect/baseline.ts";
import { BaselinesStore } from "../incidents/baselines_store.ts";

/** Age, before or after, beyond which saved baselines are of another time. */
const MAX_DISTANCE_MS = 86_400_000;

/** What the streams hold; times are ms since the epoch by the server's clock. */
export interface Kept {
  readonly streams: readonly { readonly name: string; readonly lastSequence: number }[];
  /** Receipt of the oldest heartbeat kept by every stream that has any; −∞ without any. */
  readonly sinceMs: number;
  /** Time at which this was so. */
  readonly untilMs: number;
}

/** What `streams` hold now. Rejects with {@link Stop} when they cannot be read. */
export async function keptHeartbeats(
  nc: NatsConnection,
  streams: readonly string[],
): Promise<Kept> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const infos = await Promise.all(streams.map((stream) => streamInfo(jsm, stream)));
  return {
    streams: infos.map(({ config, state }) => ({
      name: config.name,
      lastSequence: state.last_seq,
    })),
    sinceMs: Math.max(
      -Infinity,
      ...infos.filter(({ state }) => state.messages > 0)
        .map(({ state }) => Date.parse(state.first_ts)),
    ),
    untilMs: Math.min(...infos.map(({ ts, state }) => Date.parse(ts ?? state.last_ts))),
  };
}

async function streamInfo(jsm: JetStreamManager, stream: string) {
  try {
    return await jsm.streams.info(stream);
  } catch (error) {
    throw new Stop(
      `stream ${stream}: ${messageOf(error)}; explain reads raw heartbeats, which the NATS users ` +
        "ops and auditor may",
      { cause: error },
    );
  }
}

/** Which heartbeats to read, by receipt: from `fromMs` until before `untilMs`. */
export interface ReceiptRange {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** What was read. */
export interface ReadCounts {
  heartbeats: number;
  /** Messages that are no heartbeats; live leaves them out as well. */
  unusable: number;
}

/** Passes the heartbeats in `range` to `onHeartbeat` in the order of receipt. */
export async function readReceived(
  nc: NatsConnection,
  { streams }: Kept,
  range: ReceiptRange,
  onHeartbeat: (heartbeat: Heartbeat, receivedAtMs: number) => void,
  onProgress: OnProgress = () => {},
): Promise<ReadCounts> {
  const counts: ReadCounts = { heartbeats: 0, unusable: 0 };
  const cursors: Cursor[] = [];
  for (const { name, lastSequence } of streams) {
    const from = await firstSequenceSince(nc, name, range.fromMs);
    if (from === undefined) continue;
    cursors.push(new Cursor(readRaw(nc, name, { from, through: lastSequence })));
  }
  await Promise.all(cursors.map((cursor) => cursor.load()));
  for (;;) {
    cursors.sort((a, b) => a.receivedAtMs - b.receivedAtMs);
    const [earliest, next] = cursors;
    if (earliest === undefined || earliest.receivedAtMs >= range.untilMs) return counts;
    const limitMs = Math.min(next?.receivedAtMs ?? Infinity, range.untilMs - 1);
    for (const { bytes, receivedAtMs } of earliest.take(limitMs)) {
      if (receivedAtMs < range.fromMs) continue;
      const judgement = judge(bytes);
      if (judgement.ok && !isCanary(judgement.heartbeat)) {
        onHeartbeat(judgement.heartbeat, receivedAtMs);
      }
      counts[judgement.ok ? "heartbeats" : "unusable"] += 1;
    }
    if (earliest.isEmpty) await earliest.load();
    onProgress(counts.heartbeats + counts.unusable);
  }
}

/** A position in one stream. */
class Cursor {
  readonly #batches: AsyncGenerator<readonly RawMessage[]>;
  #batch: readonly RawMessage[] = [];
  #at = 0;

  constructor(batches: AsyncGenerator<readonly RawMessage[]>) {
    this.#batches = batches;
  }

  /** Whether the next batch has to be loaded. */
  get isEmpty(): boolean {
    return this.#at >= this.#batch.length;
  }

  /** Receipt of the next message; Infinity when there is none. */
  get receivedAtMs(): number {
    return this.#batch[this.#at]?.receivedAtMs ?? Infinity;
  }

  async load(): Promise<void> {
    const { value, done } = await this.#batches.next();
    this.#batch = done ? [] : value;
    this.#at = 0;
  }

  /** The loaded messages received until `limitMs`. */
  *take(limitMs: number): Generator<RawMessage> {
    for (; this.#at < this.#batch.length; this.#at++) {
      const message = this.#batch[this.#at];
      if (message === undefined || message.receivedAtMs > limitMs) return;
      yield message;
    }
  }
}

/** The baselines that live saved last, or the reason why there are none to use. */
export type SavedBaselines =
  | { readonly snapshot: BaselineSnapshot; readonly savedMs: number }
  | { readonly reason: string };

/** Reads the baselines that live saved, if that was within a day of `atMs`. */
export async function savedBaselines(nc: NatsConnection, atMs: number): Promise<SavedBaselines> {
  const js = jetstream(nc);
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  let savedMs: number;
  try {
    const head = await jsm.direct.getMessage(LIVE_STATE, { last_by_subj: baselinesSubject() });
    if (head === null) return { reason: "live has saved none" };
    savedMs = head.time.getTime();
  } catch (error) {
    return { reason: `those that live saved cannot be read: ${messageOf(error)}` };
  }
  if (Math.abs(savedMs - atMs) > MAX_DISTANCE_MS) {
    return { reason: "those that live saved are of another day" };
  }
  const store = new BaselinesStore(js, jsm, new Log("live-cli", "error"));
  const snapshot = await store.load(savedMs, new AbortController().signal);
  return snapshot === undefined
    ? { reason: "those that live saved cannot be read" }
    : { snapshot, savedMs };
}
