/**
 * Follows a connection in the Postgres frontend/backend protocol, version 3, to know whether a
 * response is pending (https://www.postgresql.org/docs/current/protocol.html).
 *
 * Pure.
 *
 * @module
 */
const READY = "Z".charCodeAt(0);
const IDLE = "I".charCodeAt(0);
const QUERY = "Q".charCodeAt(0);
const SYNC = "S".charCodeAt(0);
const FLUSH = "H".charCodeAt(0);
const SUSPENDED = "s".charCodeAt(0);
const COPY_IN = "G".charCodeAt(0);
const COPY_DONE = "c".charCodeAt(0);
const COPY_FAIL = "f".charCodeAt(0);

/** Follows the bytes of one connection in both directions. */
export class Protocol {
  readonly #incoming = new Frames();
  readonly #outgoing = new Frames();
  #isOpening = true;
  /** Messages sent whose answer, which ends with ReadyForQuery, has not arrived. */
  #rounds = 0;
  #isFlushed = false;
  #isCopying = false;
  /** Whether the last ReadyForQuery reported that no transaction is open. */
  #isOutsideTransaction = false;

  /** Whether the first ReadyForQuery has not arrived yet. */
  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Whether Postgres has to send something. */
  get isResponsePending(): boolean {
    return this.#isOpening || ((this.#rounds > 0 || this.#isFlushed) && !this.#isCopying);
  }

  /** Whether neither a statement nor a transaction is in progress. */
  get isIdle(): boolean {
    return this.#isOutsideTransaction && this.#rounds === 0 && !this.#isFlushed;
  }

  /** Follows `bytes` that were sent to Postgres. */
  sent(bytes: Uint8Array): void {
    // The messages that open a connection have another framing.
    if (this.#isOpening) return;
    this.#isOutsideTransaction = false;
    this.#outgoing.feed(bytes, (type) => {
      if (type === QUERY || type === SYNC) this.#rounds += 1;
      if (type === FLUSH) this.#isFlushed = true;
      if (type === COPY_DONE || type === COPY_FAIL) this.#isCopying = false;
    });
  }

  /** Follows `bytes` that were received from Postgres. */
  received(bytes: Uint8Array): void {
    this.#incoming.feed(bytes, (type, state) => {
      if (type === SUSPENDED) this.#isFlushed = false;
      if (type === COPY_IN) this.#isCopying = true;
      if (type !== READY) return;
      if (this.#isOpening) this.#isOpening = false;
      else this.#rounds -= 1;
      this.#isFlushed = this.#isCopying = false;
      this.#isOutsideTransaction = state === IDLE;
    });
  }
}

/** Splits bytes into messages: a type byte, a 4-byte length that includes itself, a body. */
class Frames {
  readonly #head = new DataView(new ArrayBuffer(6));
  #filled = 0;
  #skip = 0;

  /** Calls `onMessage` with the type of each message, and the first byte of a ReadyForQuery body. */
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
