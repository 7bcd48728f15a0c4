/**
 * A connection as the driver sees it, with a deadline for silence; `pool.ts` says what for.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";
import { OPEN_MS } from "./dial.ts";
import { lostError, retryable } from "./passing.ts";
import { Protocol } from "./protocol.ts";

/** Longest wait for the end of a connection that is closed in good order, ms. */
const CLOSE_MS = 1_000;
const TICK_MS = 250;

/**
 * The part of a socket that the driver uses. It is `open` until it is lost, or the driver ends it
 * while nothing is under way; only then is the driver told `close`.
 */
export class Link extends EventEmitter {
  readonly #protocol = new Protocol();
  readonly #socket: Socket | undefined;
  readonly #ticks: ReturnType<typeof setInterval> | undefined;
  #state: "open" | "closing" | "closed" = "open";
  #failure: Error = lostError("the connection is closed");
  #silentMs = 0;

  /**
   * `way` is a socket, or why there is none. `limitMs` is asked how long Postgres may owe an answer
   * and send nothing. `onLost` is told why the link was lost, and whether nothing was under way;
   * again when the driver uses the link after that.
   */
  constructor(
    way: Socket | Error,
    readonly limitMs: () => number,
    readonly onLost: (reason: Error, wasAtRest: boolean) => void,
  ) {
    super();
    if (way instanceof Error) {
      this.#state = "closed";
      this.#failure = way;
      return;
    }
    this.#socket = way;
    way.on("data", (bytes: Buffer) => this.#received(bytes));
    way.on("drain", () => this.emit("drain"));
    way.on("error", (error: Error) => this.#lose(error));
    way.on("close", () => this.#closed());
    this.#ticks = setInterval(() => this.#tick(), TICK_MS);
  }

  get readyState(): "open" | "closing" | "closed" {
    return this.#state;
  }

  /** Sends whole messages. On a lost link it fails what waits for an answer, soon. */
  write(bytes: Uint8Array, sent?: () => void): boolean {
    if (this.#state !== "open" || !this.#socket) {
      setImmediate(() => this.#fail(false));
      return true;
    }
    if (!this.#protocol.owes) this.#silentMs = 0;
    this.#protocol.sent(bytes);
    return this.#socket.write(bytes, () => {
      // The system took them: the way is not silent.
      this.#silentMs = 0;
      sent?.();
    });
  }

  /** Ends in good order with the message `last`, if nothing is under way. */
  end(last: Uint8Array): void {
    if (!this.#protocol.isAtRest) return this.destroy();
    this.#state = "closing";
    const socket = this.#socket;
    socket?.end(last);
    const late = setTimeout(() => socket?.destroy(), CLOSE_MS);
    socket?.once("close", () => clearTimeout(late));
  }

  /** Gives the connection up because of `reason`, unless it ends already. */
  destroy(reason: Error = lostError("the connection was given up")): void {
    if (this.#state === "open") this.#lose(reason);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  #received(bytes: Buffer): void {
    if (this.#state === "closed") return;
    this.#silentMs = 0;
    this.#protocol.received(bytes);
    this.emit("data", bytes);
  }

  // Counted in ticks, not by the clock: while this process was busy, answers could not be read.
  #tick(): void {
    if (!this.#protocol.owes) return;
    this.#silentMs += TICK_MS;
    const limitMs = this.#protocol.isOpening ? OPEN_MS : this.limitMs();
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
    this.#fail(this.#protocol.isAtRest);
  }

  #release(): void {
    this.#state = "closed";
    clearInterval(this.#ticks);
    this.#socket?.destroy();
  }

  // The driver rejects all that waits for an answer here. After its end it does not listen.
  #fail(wasAtRest: boolean): void {
    if (this.listenerCount("error") > 0) this.emit("error", this.#failure);
    this.onLost(this.#failure, wasAtRest);
  }
}
