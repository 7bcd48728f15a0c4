/**
 * The socket that the driver gets, with a limit for the silence of Postgres; `pool.ts` says why.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";
import { OPEN_TIMEOUT_MS } from "./dial.ts";
import { lostError, retryable } from "./transient.ts";
import { Protocol } from "./protocol.ts";

/** Maximum wait for the end of a connection that is closed in an orderly way. */
const CLOSE_TIMEOUT_MS = 1_000;
const TICK_MS = 250;

/**
 * The part of a socket that the driver uses. It is `open` until it is lost or the driver ends it while
 * it is idle. Only in the latter case it emits `close`.
 */
export class Link extends EventEmitter {
  readonly #protocol = new Protocol();
  readonly #socket: Socket | undefined;
  readonly #ticks: ReturnType<typeof setInterval> | undefined;
  #state: "open" | "closing" | "closed" = "open";
  #failure: Error = lostError("the connection is closed");
  #silentMs = 0;

  /**
   * @param socket a socket, or the error of opening it
   * @param limitMs how long a response may be pending without any byte received, ms
   * @param onLost receives why the link was lost, and whether it was idle; called again when the
   *   driver uses the link after that
   */
  constructor(
    socket: Socket | Error,
    readonly limitMs: () => number,
    readonly onLost: (reason: Error, wasIdle: boolean) => void,
  ) {
    super();
    if (socket instanceof Error) {
      this.#state = "closed";
      this.#failure = socket;
      return;
    }
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#received(bytes));
    socket.on("drain", () => this.emit("drain"));
    socket.on("error", (error: Error) => this.#lose(error));
    socket.on("close", () => this.#closed());
    this.#ticks = setInterval(() => this.#tick(), TICK_MS);
  }

  /** The state that the driver reads. */
  get readyState(): "open" | "closing" | "closed" {
    return this.#state;
  }

  /** Sends whole messages. On a lost link it emits an error, asynchronously. */
  write(bytes: Uint8Array, sent?: () => void): boolean {
    if (this.#state !== "open" || !this.#socket) {
      setImmediate(() => this.#fail(false));
      return true;
    }
    if (!this.#protocol.isResponsePending) this.#silentMs = 0;
    this.#protocol.sent(bytes);
    return this.#socket.write(bytes, () => {
      // The operating system accepted the bytes, which counts as activity.
      this.#silentMs = 0;
      sent?.();
    });
  }

  /** Closes the connection with the message `last` if it is idle; otherwise destroys it. */
  end(last: Uint8Array): void {
    if (!this.#protocol.isIdle) return this.destroy();
    this.#state = "closing";
    const socket = this.#socket;
    socket?.end(last);
    const timeout = setTimeout(() => socket?.destroy(), CLOSE_TIMEOUT_MS);
    socket?.once("close", () => clearTimeout(timeout));
  }

  /** Gives up an open connection because of `reason`. */
  destroy(reason: Error = lostError("the connection was given up")): void {
    if (this.#state === "open") this.#lose(reason);
  }

  /** As of a socket. */
  pause(): void {
    this.#socket?.pause();
  }

  /** As of a socket. */
  resume(): void {
    this.#socket?.resume();
  }

  #received(bytes: Buffer): void {
    if (this.#state === "closed") return;
    this.#silentMs = 0;
    this.#protocol.received(bytes);
    this.emit("data", bytes);
  }

  // Counted in ticks instead of by the clock, because a busy process cannot read answers.
  #tick(): void {
    if (!this.#protocol.isResponsePending) return;
    this.#silentMs += TICK_MS;
    const limitMs = this.#protocol.isOpening ? OPEN_TIMEOUT_MS : this.limitMs();
    if (this.#silentMs <= limitMs) return;
    this.#lose(lostError(`no byte came for ${limitMs / 1_000} s, the connection was given up`));
  }

  #closed(): void {
    if (this.#state !== "closing") return this.#lose(lostError("the connection was closed"));
    this.#release();
    this.emit("close", false);
  }

  #lose(reason: Error): void {
    if (this.#state === "closed") return;
    // The event `close` follows.
    if (this.#state === "closing") return void this.#socket?.destroy();
    const failure = retryable(reason);
    this.#failure = failure instanceof Error ? failure : reason;
    this.#release();
    this.#fail(this.#protocol.isIdle);
  }

  #release(): void {
    this.#state = "closed";
    clearInterval(this.#ticks);
    this.#socket?.destroy();
  }

  // On the error the driver rejects every query that waits for an answer. Once ended it has no
  // listener.
  #fail(wasIdle: boolean): void {
    if (this.listenerCount("error") > 0) this.emit("error", this.#failure);
    this.onLost(this.#failure, wasIdle);
  }
}
