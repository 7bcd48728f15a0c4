/**
 * A TCP proxy in front of a server: a link that can be slow, thin, uneven, silent, cut or shut.
 *
 * @module
 */
import { pause } from "../../process/retry.ts";

/** What a link does to bytes, in each direction. */
export interface LinkQuality {
  /** Time that each byte is on its way; half of what it adds to a round trip. */
  readonly delayMs?: number;
  /** Up to so much more, at random. */
  readonly jitterMs?: number;
  /** Unlimited unless given. */
  readonly bytesPerSecond?: number;
}

/** Maximum bytes on their way in one direction; then the sender waits. */
const MAX_QUEUED_BYTES = 64 * 1024 ** 2;
/** The same on a link with a rate: what its routers hold, in seconds of it. */
const MAX_QUEUED_SECONDS = 2;
/** A thin link passes pieces of this length, in seconds of its rate. */
const PIECE_SECONDS = 0.05;

/** One client and, unless the link was silent when it connected, the server. */
interface Pair {
  readonly ends: Deno.Conn[];
  isSilent: boolean;
  /** Whether what the server sends is dropped. */
  isUnanswered: boolean;
}

/** Forwards a port of its own to `serverPort` of this machine. */
export class TcpProxy implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #pairs = new Set<Pair>();
  #isSilent = false;
  #isShut = false;
  #quality: LinkQuality = {};
  #unanswered: string | undefined;

  constructor(readonly serverPort: number) {
    void this.#accept();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** `127.0.0.1:port`. */
  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** From now on the link is like this, also for the connections that there are. */
  shape(quality: LinkQuality): void {
    this.#quality = quality;
  }

  /** From now on every byte is dropped, also of new connections; nothing is closed. */
  silence(): void {
    this.#isSilent = true;
    for (const pair of this.#pairs) pair.isSilent = true;
  }

  /**
   * From now on, an answer of the server that has `text` (ASCII) in it is dropped, and all that follows
   * on its connection; the server gets everything.
   */
  loseAnswersWith(text: string): void {
    this.#unanswered = text;
  }

  /** Closes all connections, and each new one at once. */
  shut(): void {
    this.#isShut = true;
    this.cut();
  }

  /** The link is whole and fast again; the connections that were silent remain silent. */
  heal(): void {
    this.#isSilent = false;
    this.#isShut = false;
    this.#quality = {};
    this.#unanswered = undefined;
  }

  /** Closes all connections. */
  cut(): void {
    for (const { ends } of this.#pairs) ends.forEach(close);
    this.#pairs.clear();
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    this.cut();
  }

  async #accept(): Promise<void> {
    for (;;) {
      try {
        void this.#serve(await this.#listener.accept());
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return;
        // A client that was reset before it was accepted, or no descriptor is left.
        await pause(10);
      }
    }
  }

  async #serve(client: Deno.Conn): Promise<void> {
    if (this.#isShut) return close(client);
    const pair: Pair = { ends: [client], isSilent: this.#isSilent, isUnanswered: false };
    const quality = () => this.#quality;
    this.#pairs.add(pair);
    if (pair.isSilent) return await new Direction(client, undefined, pair, quality).run();
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.serverPort }).catch(
      () => undefined,
    );
    if (!server) return close(client);
    pair.ends.push(server);
    await Promise.all([
      new Direction(client, server, pair, quality).run(),
      new Direction(server, client, pair, quality, (bytes) => {
        const text = this.#unanswered;
        if (text !== undefined && asText(bytes).includes(text)) pair.isUnanswered = true;
        return !pair.isUnanswered;
      }).run(),
    ]);
    this.#pairs.delete(pair);
  }
}

/** Bytes on their way, and when they arrive. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly dueMs: number;
}

/** One direction of a pair. A silent pair reads bytes and never forwards them; not even an end. */
class Direction {
  readonly #queue: Piece[] = [];
  #queuedBytes = 0;
  #hasEnded = false;
  /** When the link has sent what it was given, and when the newest piece arrives. */
  #freeMs = 0;
  #lastDueMs = 0;
  #changed = Promise.withResolvers<void>();

  constructor(
    readonly from: Deno.Conn,
    readonly to: Deno.Conn | undefined,
    readonly pair: Pair,
    readonly quality: () => LinkQuality,
    /** Whether the link passes what was read. */
    readonly passes: (bytes: Uint8Array) => boolean = () => true,
  ) {}

  async run(): Promise<void> {
    await Promise.all([this.#take(), this.#deliver()]);
    close(this.from);
    if (this.to && !this.pair.isSilent) close(this.to);
  }

  async #take(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        const { bytesPerSecond = Infinity } = this.quality();
        const pieceBytes = Math.max(256, bytesPerSecond * PIECE_SECONDS);
        const bytes = await this.from.read(buffer.subarray(0, Math.min(buffer.length, pieceBytes)));
        if (this.pair.isSilent && bytes !== null) continue;
        if (bytes === null || !this.to) break;
        const read = buffer.slice(0, bytes);
        if (this.passes(read)) this.#enqueue(read);
        const room = Math.min(MAX_QUEUED_BYTES, bytesPerSecond * MAX_QUEUED_SECONDS);
        while (this.#queuedBytes > room && !this.#hasEnded) await this.#changed.promise;
      }
    } catch {
      // Closed or reset.
    }
    this.#ends();
  }

  #enqueue(bytes: Uint8Array): void {
    const { delayMs = 0, jitterMs = 0, bytesPerSecond = Infinity } = this.quality();
    const nowMs = performance.now();
    this.#freeMs = Math.max(this.#freeMs, nowMs) + bytes.length / bytesPerSecond * 1_000;
    // Bytes of one connection arrive in order.
    this.#lastDueMs = Math.max(
      this.#lastDueMs,
      this.#freeMs + delayMs + Math.random() * jitterMs,
    );
    this.#queue.push({ bytes, dueMs: this.#lastDueMs });
    this.#queuedBytes += bytes.length;
    this.#wake();
  }

  async #deliver(): Promise<void> {
    try {
      for (;;) {
        const piece = this.#queue.shift();
        if (piece === undefined) {
          if (this.#hasEnded) return;
          await this.#changed.promise;
          continue;
        }
        const waitMs = piece.dueMs - performance.now();
        if (waitMs > 0) await pause(waitMs);
        for (let at = 0; at < piece.bytes.length && this.to && !this.pair.isSilent;) {
          at += await this.to.write(piece.bytes.subarray(at));
        }
        this.#queuedBytes -= piece.bytes.length;
        this.#wake();
      }
    } catch {
      // Closed or reset: what is on its way is lost.
      close(this.from);
      this.#ends();
    }
  }

  #ends(): void {
    this.#hasEnded = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

function asText(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

function close(end: Deno.Conn): void {
  try {
    end.close();
  } catch {
    // Already.
  }
}
