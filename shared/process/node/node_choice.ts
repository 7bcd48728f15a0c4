/**
 * Which server of its list a connection dials next: not the one that it has just left.
 *
 * By itself the client goes back to the server it left first.
 *
 * @module
 */
import type { ReconnectToServerHandler } from "nats";

/** A server that was left is dialled again after so long, or when no other one answers. */
const AVOIDED_MS = 10_000;

/** The choice of one connection. */
export class NodeChoice {
  #left: string | undefined;
  #leftMs = 0;
  /** How often it was passed over since. */
  #passes = 0;

  /** @param nowMs A monotonic clock, in ms. */
  constructor(readonly nowMs: () => number) {}

  /** From now on `server` (`host:port`) is not the next one. */
  leave(server: string): void {
    this.#left = server;
    this.#leftMs = this.nowMs();
    this.#passes = 0;
  }

  /** The option of the client; the first of the pool is what it would dial. */
  readonly next: ReconnectToServerHandler = (pool) => {
    const [first, second] = pool;
    const isLeft = first?.listen === this.#left && this.nowMs() - this.#leftMs < AVOIDED_MS;
    // Each other one was dialled once: they are all down.
    if (!isLeft || second === undefined || this.#passes >= pool.length - 1) return null;
    this.#passes += 1;
    return second;
  };
}
