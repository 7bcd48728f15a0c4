/**
 * Whose turn it is to speak on a connection, by Postgres's frontend/backend protocol, version 3.
 *
 * Pure.
 *
 * @module
 */
const READY = "Z".charCodeAt(0);
const AT_REST = "I".charCodeAt(0);
const QUERY = "Q".charCodeAt(0);
const SYNC = "S".charCodeAt(0);
const FLUSH = "H".charCodeAt(0);
const SUSPENDED = "s".charCodeAt(0);
const COPY_IN = "G".charCodeAt(0);
const COPY_DONE = "c".charCodeAt(0);
const COPY_FAIL = "f".charCodeAt(0);

/** Follows the bytes of one connection, both ways. */
export class Protocol {
  readonly #incoming = new Frames();
  readonly #outgoing = new Frames();
  #isOpening = true;
  /** Answers to these end with ReadyForQuery. */
  #rounds = 0;
  #isFlushed = false;
  #isCopying = false;
  #isIdle = false;

  /** Until the first ReadyForQuery. */
  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Whether Postgres has to say something. */
  get owes(): boolean {
    return this.#isOpening || ((this.#rounds > 0 || this.#isFlushed) && !this.#isCopying);
  }

  /** Whether nothing is under way, neither a statement nor a transaction. */
  get isAtRest(): boolean {
    return this.#isIdle && this.#rounds === 0 && !this.#isFlushed;
  }

  /** Follows `bytes` that go to Postgres. */
  sent(bytes: Uint8Array): void {
    // What opens a connection is not framed alike.
    if (this.#isOpening) return;
    this.#isIdle = false;
    this.#outgoing.feed(bytes, (type) => {
      if (type === QUERY || type === SYNC) this.#rounds += 1;
      if (type === FLUSH) this.#isFlushed = true;
      if (type === COPY_DONE || type === COPY_FAIL) this.#isCopying = false;
    });
  }

  /** Follows `bytes` that came from Postgres. */
  received(bytes: Uint8Array): void {
    this.#incoming.feed(bytes, (type, state) => {
      if (type === SUSPENDED) this.#isFlushed = false;
      if (type === COPY_IN) this.#isCopying = true;
      if (type !== READY) return;
      if (this.#isOpening) this.#isOpening = false;
      else this.#rounds -= 1;
      this.#isFlushed = this.#isCopying = false;
      this.#isIdle = state === AT_REST;
    });
  }
}

/** Messages in a stream of bytes: a type, a length of 4 bytes that counts itself, a body. */
class Frames {
  readonly #head = new DataView(new ArrayBuffer(6));
  #filled = 0;
  #skip = 0;

  /** Calls `onMessage` with the type of each message, and with the first byte of READY's body. */
  feed(bytes: Uint8Array, onMessage: (type: number, first: number) => void): void {
    const head = this.#head;
    for (let at = 0; at < bytes.length;) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      head.setUint8(this.#filled++, bytes[at++] ?? 0);
      const needed = head.getUint8(0) === READY ? 6 : 5;
      if (this.#filled < needed) continue;
      this.#filled = 0;
      this.#skip = head.getUint32(1) + 1 - needed;
      onMessage(head.getUint8(0), head.getUint8(5));
    }
  }
}
