/**
 * Decides from canaries and their echoes whether a way through the pipeline has stopped.
 *
 * Only an echo of a canary that this process sent counts, once for each way. A way has stopped when
 * the edge has accepted a canary and no echo of any canary came since, for {@link STOPPED_AFTER_MS}.
 * Of a canary that the edge did not accept nothing follows but that.
 *
 * Pure. The time is the caller's, monotonic, in ms.
 *
 * @module
 */
import type { CanaryEcho } from "../../../shared/contract/canary/canary.ts";
import { Convalescence, type PipelineFinding } from "../../../shared/contract/pulse_watch.ts";

/** The ways that canaries take behind the edge. */
export const CANARY_PATHS = ["live", "books"] as const;
/** One of {@link CANARY_PATHS}. */
export type CanaryPath = typeof CANARY_PATHS[number];

/** Time without an echo, from the sending of the first canary that has none, in ms. */
export const STOPPED_AFTER_MS = 12_000;
/** The same for a way that this process has never seen to work, in ms: it may be starting. */
export const FIRST_ECHO_MS = 45_000;
/** Canaries of a partition that are remembered: an hour, for a reader that is that far behind. */
const MAX_REMEMBERED = 720;
const MAX_NAMED = 8;
const MAX_REASON_CHARS = 300;

type Place = CanaryPath | "edge";
/** Time for which a way has to work before it counts as working again, in ms. */
const WELL_AFTER_MS: Readonly<Record<Place, number>> = { live: 5_000, books: 5_000, edge: 5_000 };

/** A canary that is on its way. */
interface Sent {
  readonly sentMs: number;
  /** The ways that have not echoed it. */
  readonly awaited: Set<CanaryPath>;
}

/** What is known of a way of a partition, or of its edge. */
interface Way {
  /** When the first canary was sent that waits, since the last that came; undefined: none waits. */
  waitingSinceMs: number | undefined;
  /** When the newest canary was sent that waits. */
  newestSentMs: number;
  /** When the last one came. */
  heardMs: number | undefined;
  /** How long that one took, in ms. */
  tookMs: number | undefined;
}

interface Partition {
  readonly stream: string;
  readonly sent: Map<string, Sent>;
  readonly ways: Readonly<Record<Place, Way>>;
  /** What the edge last said when it did not accept a canary. */
  refusal: string;
}

/** The last echo on a way of a partition. */
export interface CanaryTime {
  readonly path: CanaryPath;
  readonly partition: number;
  /** From the sending to the echo, in ms. */
  readonly tookMs: number;
  /** Time since the echo, in ms. */
  readonly ageMs: number;
}

/** See the module. */
export class CanaryWatch {
  #partitions: Partition[] = [];
  readonly #ill = new Convalescence<Place>(WELL_AFTER_MS);

  /** Watches the partitions of `streams`, in their order. */
  constructor(readonly streams: readonly string[]) {
    this.standBy();
  }

  /** A canary of `partition` is sent at `nowMs`. */
  sent(partition: number, eventId: string, nowMs: number): void {
    const sent = this.#partitions[partition]?.sent;
    if (sent === undefined) return;
    sent.set(eventId, { sentMs: nowMs, awaited: new Set(CANARY_PATHS) });
    const [oldest] = sent.keys();
    if (sent.size > MAX_REMEMBERED && oldest !== undefined) sent.delete(oldest);
  }

  /** The edge accepted a canary: it has to come out of every way. */
  accepted(partition: number, eventId: string, nowMs: number): void {
    const watched = this.#partitions[partition];
    // Unknown: this process has stood by since.
    const canary = watched?.sent.get(eventId);
    if (watched === undefined || canary === undefined) return;
    comes(watched.ways.edge, canary.sentMs, nowMs);
    // Its echo may have been faster than the answer.
    for (const path of canary.awaited) waits(watched.ways[path], canary.sentMs);
    if (canary.awaited.size === 0) watched.sent.delete(eventId);
  }

  /** The edge did not accept a canary, and `reason` says why; an answer may have been lost. */
  refused(partition: number, eventId: string, reason: string): void {
    const watched = this.#partitions[partition];
    const canary = watched?.sent.get(eventId);
    if (watched === undefined || canary === undefined) return;
    waits(watched.ways.edge, canary.sentMs);
    watched.refusal = reason;
  }

  /** An echo arrived on `path` from `stream` at `nowMs`. */
  heard(path: CanaryPath, stream: string, echo: CanaryEcho, nowMs: number): void {
    const watched = this.#partitions.find((each) => each.stream === stream);
    const canary = watched?.sent.get(echo.event_id);
    if (watched === undefined || canary === undefined || echo.stream !== stream) return;
    if (canary.awaited.delete(path)) comes(watched.ways[path], canary.sentMs, nowMs);
  }

  /** Nothing could be heard before `nowMs`. */
  restart(nowMs: number): void {
    for (const { ways } of this.#partitions) {
      for (const way of Object.values(ways)) {
        if (way.waitingSinceMs !== undefined) way.waitingSinceMs = nowMs;
      }
    }
  }

  /** Another process sends canaries: nothing is known here. */
  standBy(): void {
    this.#partitions = this.streams.map((stream) => ({
      stream,
      sent: new Map(),
      ways: { live: newWay(), books: newWay(), edge: newWay() },
      refusal: "",
    }));
    this.#ill.clear();
  }

  /** What is known at `nowMs` of the edge, of live and of the books. */
  findings(nowMs: number): PipelineFinding[] {
    return (["edge", ...CANARY_PATHS] as const).flatMap((place) => {
      const stopped = this.#partitions.flatMap(({ ways }, partition) =>
        isStopped(ways[place], nowMs) ? [partition] : []
      );
      const isIll = stopped.length > 0;
      // Whether an alert of another process is over is known once every partition was seen to work.
      const isKnown = isIll || this.#partitions.every(({ ways }) => isWorking(ways[place]));
      if (!isKnown || !this.#ill.isSettled(place, isIll, nowMs)) return [];
      const summary = isIll ? this.#summary(place, stopped, nowMs) : WORKS[place];
      return [{ what: `canary-${place}`, isIll, summary }];
    });
  }

  /** The last echo on each way of each partition. */
  times(nowMs: number): CanaryTime[] {
    return this.#partitions.flatMap(({ ways }, partition) =>
      CANARY_PATHS.flatMap((path) => {
        const { tookMs, heardMs } = ways[path];
        if (tookMs === undefined || heardMs === undefined) return [];
        return [{ path, partition, tookMs, ageMs: nowMs - heardMs }];
      })
    );
  }

  #summary(place: Place, stopped: readonly number[], nowMs: number): string {
    const named = stopped.slice(0, MAX_NAMED).join(", ");
    const more = stopped.length > MAX_NAMED ? ` and ${stopped.length - MAX_NAMED} more` : "";
    const where = `partition${stopped.length === 1 ? "" : "s"} ${named}${more}`;
    const affected = stopped.flatMap((partition) => this.#partitions[partition] ?? []);
    const since = Math.min(...affected.map(({ ways }) => ways[place].waitingSinceMs ?? nowMs));
    const seconds = Math.round((nowMs - since) / 1_000);
    if (place !== "edge") return `${STOPPED[place]} ${where} for ${seconds} s`;
    const refusal = affected[0]?.refusal ?? "";
    return `the edge has accepted no canary of ${where} for ${seconds} s: ${plain(refusal)}`;
  }
}

const STOPPED: Readonly<Record<CanaryPath, string>> = {
  live: "heartbeats do not reach live: no canary that the edge accepted came out of",
  books: "heartbeats do not reach the books: no canary that the edge accepted was committed of",
};
const WORKS: Readonly<Record<Place, string>> = {
  edge: "the edge accepts canaries of every partition again",
  live: "canaries of every partition reach live again",
  books: "canaries of every partition reach the books again",
};

function newWay(): Way {
  return {
    waitingSinceMs: undefined,
    newestSentMs: -Infinity,
    heardMs: undefined,
    tookMs: undefined,
  };
}

function waits(way: Way, sentMs: number): void {
  way.waitingSinceMs ??= sentMs;
  way.newestSentMs = Math.max(way.newestSentMs, sentMs);
}

// Something moves; a newer one that waits has its time from now on.
function comes(way: Way, sentMs: number, nowMs: number): void {
  way.waitingSinceMs = sentMs < way.newestSentMs ? nowMs : undefined;
  way.heardMs = nowMs;
  way.tookMs = nowMs - sentMs;
}

function isStopped({ waitingSinceMs, heardMs }: Way, nowMs: number): boolean {
  const limitMs = heardMs === undefined ? FIRST_ECHO_MS : STOPPED_AFTER_MS;
  return waitingSinceMs !== undefined && nowMs - waitingSinceMs >= limitMs;
}

function isWorking({ heardMs }: Way): boolean {
  return heardMs !== undefined;
}

// It becomes part of a sentence that a terminal shows.
function plain(text: string): string {
  return text.slice(0, MAX_REASON_CHARS).toWellFormed().replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
}
