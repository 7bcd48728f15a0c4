/**
 * The open connections of one HTTP server: which are admitted, and which have to end.
 *
 * A connection is in one of four states, each with a time limit of its own: it is new and has sent no
 * complete header yet, it is busy with requests, it is idle between two requests, or it is over and
 * its client has a moment to read the last answer. When there are too many, the oldest of the more
 * numerous of the new and the idle ones gives way, so that what somebody else opens and leaves does
 * not keep a newcomer out.
 *
 * @module
 */

/** Limits of a server. */
export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Maximum of one address; 0 means no limit. */
  readonly maxPerAddress: number;
  /** Maximum time until the header of the first request is complete, in ms. */
  readonly headerMs: number;
  /** Maximum time from the header of a request to the end of its response, in ms. */
  readonly requestMs: number;
  /** Maximum time between two requests, in ms. */
  readonly idleMs: number;
}

/** More connections a second are a flood. */
const FLOOD_PER_SECOND = 1_000;
/**
 * Who opens a connection sends a header at once. In a flood, an address of which a tenth of its limit
 * has been silent for this long, in ms, is refused: that takes a quarter of the CPU of serving its
 * connections and ending them, and leaves some for the others.
 */
const SILENT_MS = 250;
const SILENT_SHARE = 0.1;
/** Time in which a client may read the last answer of a connection, in ms. */
const OVER_MS = 500;

/** Why a connection is refused or ended by the server. */
export const CLOSE_REASONS = [
  "header",
  "request",
  "idle",
  "answer",
  "crowded",
  "address",
  "descriptors",
] as const;
/** One of {@link CLOSE_REASONS}. */
export type CloseReason = typeof CLOSE_REASONS[number];

/** An open connection. */
export class Connection {
  state: "new" | "busy" | "idle" | "over" = "new";
  /** When it came into its state, in ms. */
  sinceMs = 0;
  requests = 0;
  /** Whether it has ever sent a complete header. */
  hasAsked = false;

  /**
   * @param address What it counts for, or undefined when it counts for none.
   * @param close Ends it at once.
   */
  constructor(readonly address: string | undefined, readonly close: () => void) {}
}

/** The connections of a server. Times are of one monotonic clock, in ms. */
export class ConnectionTable {
  // In the order in which they came into the state, so the first is the next to exceed its limit.
  readonly #states = {
    new: new Set<Connection>(),
    busy: new Set<Connection>(),
    idle: new Set<Connection>(),
    over: new Set<Connection>(),
  };
  readonly #byAddress = new Map<string, number>();
  /** In a flood, the addresses with too many connections that are silent. */
  #silent: ReadonlySet<string> = new Set();
  #arrivals = 0;
  #sweptMs = 0;
  readonly #closed = new Map<CloseReason, number>(CLOSE_REASONS.map((reason) => [reason, 0]));
  #max: number;

  constructor(readonly limits: ConnectionLimits) {
    this.#max = limits.maxConnections;
  }

  /** Number of open connections. */
  get open(): number {
    const { new: fresh, busy, idle, over } = this.#states;
    return fresh.size + busy.size + idle.size + over.size;
  }

  /** Connections that were refused or ended so far, for `reason`. */
  closedFor(reason: CloseReason): number {
    return this.#closed.get(reason) ?? 0;
  }

  /** Adds a connection and returns true, or closes it and returns false. */
  admit(connection: Connection, nowMs: number): boolean {
    this.#arrivals++;
    const { address } = connection;
    const same = address === undefined ? 0 : this.#byAddress.get(address) ?? 0;
    if (address !== undefined && this.limits.maxPerAddress > 0) {
      const isRefused = same >= this.limits.maxPerAddress || this.#silent.has(address);
      if (isRefused) return this.#refuse(connection, "address");
    }
    if (this.open >= this.#max && !this.#makeRoom("crowded")) {
      return this.#refuse(connection, "crowded");
    }
    if (address !== undefined) this.#byAddress.set(address, same + 1);
    connection.sinceMs = nowMs;
    this.#states.new.add(connection);
    return true;
  }

  /** A header is complete. */
  begins(connection: Connection, nowMs: number): void {
    connection.requests++;
    connection.hasAsked = true;
    this.#move(connection, "busy", nowMs);
  }

  /** A response with this HTTP status has ended. */
  ends(connection: Connection, status: number, nowMs: number): void {
    connection.requests--;
    if (connection.requests === 0) this.#move(connection, stateAfter(status), nowMs);
  }

  /** Forgets a connection that has ended. */
  remove(connection: Connection): void {
    if (!this.#states[connection.state].delete(connection)) return;
    const { address } = connection;
    if (address === undefined) return;
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }

  /** Ends the connections that have exceeded the limit of their state, and looks for a flood. */
  sweep(nowMs: number): void {
    const { headerMs, requestMs, idleMs } = this.limits;
    this.#endOlder(this.#states.new, nowMs - headerMs, "header");
    this.#endOlder(this.#states.busy, nowMs - requestMs, "request");
    this.#endOlder(this.#states.idle, nowMs - idleMs, "idle");
    this.#endOlder(this.#states.over, nowMs - OVER_MS, "answer");
    const isFlood = this.#arrivals * 1_000 > FLOOD_PER_SECOND * (nowMs - this.#sweptMs);
    this.#silent = isFlood ? this.#silentAddresses(nowMs - SILENT_MS) : new Set();
    this.#arrivals = 0;
    this.#sweptMs = nowMs;
  }

  /**
   * Keeps to a tenth fewer than are open now, because there are no descriptors for more, until
   * {@link restore}.
   */
  shrink(): void {
    this.#max = Math.max(1, Math.floor(this.open * 0.9));
    while (this.open > this.#max && this.#makeRoom("descriptors"));
  }

  /** Keeps to the limit of the settings again. */
  restore(): void {
    this.#max = this.limits.maxConnections;
  }

  /** All connections. */
  *[Symbol.iterator](): Iterator<Connection> {
    for (const connections of Object.values(this.#states)) yield* connections;
  }

  #silentAddresses(untilMs: number): ReadonlySet<string> {
    const max = this.limits.maxPerAddress * SILENT_SHARE;
    const counts = new Map<string, number>();
    for (const { address, sinceMs, hasAsked } of this.#states.new) {
      if (sinceMs > untilMs) break;
      // One that was answered 503 waits as it was told to.
      if (address !== undefined && !hasAsked) counts.set(address, (counts.get(address) ?? 0) + 1);
    }
    return new Set([...counts].filter(([, count]) => count >= max).map(([address]) => address));
  }

  #move(connection: Connection, state: Connection["state"], nowMs: number): void {
    // It may have been ended while its request was in progress.
    if (!this.#states[connection.state].delete(connection)) return;
    connection.state = state;
    connection.sinceMs = nowMs;
    this.#states[state].add(connection);
  }

  #makeRoom(reason: CloseReason): boolean {
    const { new: fresh, idle } = this.#states;
    const [oldest] = fresh.size >= idle.size ? fresh : idle;
    if (oldest === undefined) return false;
    this.#end(oldest, reason);
    return true;
  }

  #endOlder(connections: ReadonlySet<Connection>, untilMs: number, reason: CloseReason): void {
    for (const connection of connections) {
      if (connection.sinceMs > untilMs) return;
      this.#end(connection, reason);
    }
  }

  #refuse(connection: Connection, reason: CloseReason): false {
    this.#count(reason);
    connection.close();
    return false;
  }

  #end(connection: Connection, reason: CloseReason): void {
    this.remove(connection);
    this.#count(reason);
    connection.close();
  }

  #count(reason: CloseReason): void {
    this.#closed.set(reason, this.closedFor(reason) + 1);
  }
}

// After an error a part of the body may be missing, and the next header with it. A client that is to
// send the same again may do so on this connection, soon; for the others it is over.
function stateAfter(status: number): Connection["state"] {
  if (status < 400) return "idle";
  return status >= 500 || status === 429 ? "new" : "over";
}
