/**
 * Decides from what the leaders of streams say of their replicas which node of the cluster stores
 * nothing. Acknowledgements go on without it, and so nothing else tells; with one more node like that
 * nothing is stored at all.
 *
 * Pure. Times are monotonic, in ms.
 *
 * @module
 */
import { Convalescence, type PipelineFinding } from "../../../shared/contract/pulse_watch.ts";

/** A leader hears from each replica every second; one that is heard is behind for a moment only. */
const HEARD_MS = 10_000;
/** Time without a node until the page, in ms: a restart takes less. */
const ILL_AFTER_MS = 20_000;
const WELL_AFTER_MS = { replicas: 5_000 } as const;
const WHAT = "node-stores-nothing";

/** What the leader of a stream says of a replica. */
export interface Replica {
  /** The name of the server. */
  readonly node: string;
  /** Whether it has all that the leader has. */
  readonly isCurrent: boolean;
  /** Whether the leader cannot reach its server. */
  readonly isOffline: boolean;
  /** Time since the leader heard from it, in ms; Infinity if it never did. */
  readonly silentMs: number;
}

/** A node without a copy of `stream`. */
interface Missing extends Replica {
  readonly stream: string;
  readonly sinceMs: number;
  /** The last time that the leader said so. */
  readonly untilMs: number;
}

/** See the module. */
export class ReplicaWatch {
  readonly #missing = new Map<string, readonly Missing[]>();
  readonly #ill = new Convalescence(WELL_AFTER_MS);

  /** Watches `streams`. */
  constructor(readonly streams: readonly string[]) {}

  /** What the leader of `stream` said at `atMs`. */
  measured(stream: string, replicas: readonly Replica[], atMs: number): void {
    const before = this.#missing.get(stream) ?? [];
    const missing = replicas.filter(isMissing).map((replica) => {
      const sinceMs = before.find(({ node }) => node === replica.node)?.sinceMs ?? atMs;
      return { ...replica, stream, sinceMs, untilMs: atMs };
    });
    this.#missing.set(stream, missing);
  }

  /** What is known at `nowMs`. */
  findings(nowMs: number): PipelineFinding[] {
    const ill = [...this.#missing.values()].flat()
      .filter(({ sinceMs, untilMs }) => untilMs - sinceMs >= ILL_AFTER_MS);
    const isIll = ill.length > 0;
    if (!isIll && this.#missing.size < this.streams.length) return [];
    if (!this.#ill.isSettled("replicas", isIll, nowMs)) return [];
    const nodes = [...Map.groupBy(ill, ({ node }) => node)];
    const summary = isIll
      ? nodes.map(([node, missing]) => sentenceOf(node, missing)).join("; ")
      : "every node stores what it is to store";
    return [{ what: WHAT, isIll, summary: summary.slice(0, 900) }];
  }
}

function isMissing({ isCurrent, isOffline, silentMs }: Replica): boolean {
  return isOffline || (!isCurrent && silentMs > HEARD_MS);
}

function sentenceOf(node: string, missing: readonly Missing[]): string {
  const streams = missing.map(({ stream }) => stream).join(", ");
  const why = missing.some(({ isOffline }) => isOffline)
    ? "the others do not reach it: start it, or repair its network"
    : "it runs, so its disk is full or fails: make space, then restart nats-server on it, which " +
      "stores nothing until then";
  return `the NATS node ${node} stores nothing of ${streams}; ${why}`;
}
