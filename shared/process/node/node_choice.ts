/**
 * Which server of its list a connection dials next: not the one that it has just left.
 *
 * By itself the client goes back to the server it left first.
 *
 * @module
 */
import type { ReconnectToServerHandler } from "nats";

/** A server that was left is dialled again after so long, or when there is no other. */
const AVOIDED_MS = 10_000;

/** The choice of one connection. */
export class NodeChoice {
  #left: string | undefined;
  #leftMs = 0;

  /** @param nowMs A monotonic clock, in ms. */
  constructor(readonly nowMs: () => number) {}

  /** From now on `server` (`host:port`) is not the next one. */
  leave(server: string): void {
    this.#left = server;
    this.#leftMs = this.nowMs();
  }

  /** The option of the client; the first of the pool is what it would dial. */
  readonly next: ReconnectToServerHandler = ([first, second]) => {
    const isLeft = first?.listen === this.#left && this.nowMs() - this.#leftMs < AVOIDED_MS;
    return isLeft && second !== undefined ? second : null;
  };
}
