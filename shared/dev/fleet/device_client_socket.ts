/**
 * One keep-alive HTTP/1.1 connection that posts bodies with a fraction of the CPU of `fetch`, because the load generator shares the machine with what it measures.
 *
 * @module
 */

/** An answer of the edge. */
export interface PostAnswer {
  readonly status: number;
  readonly retryAfterMs?: number | undefined;
  readonly text: string;
}

/** Maximum size of an answer of the edge. */
const LARGEST_ANSWER_BYTES = 16 * 1024;
/** Width of the length of a body, in digits; spaces before a header's value mean nothing. */
const LENGTH_DIGITS = 10;

/** Connects at the first use, and again after a failure. */
export class PostConnection implements Disposable {
  #connection: Deno.TcpConn | undefined;
  readonly #address: Deno.ConnectOptions;
  readonly #request: Uint8Array;
  readonly #lengthAt: number;
  readonly #bodyAt: number;
  /** Of the request, with the present body. */
  #length = 0;
  readonly #answer = new Uint8Array(LARGEST_ANSWER_BYTES);

  /** Posts bodies of at most `largestBytes` to `url` with these header fields. */
  constructor(url: string, headers: Readonly<Record<string, string>>, largestBytes: number) {
    const { hostname, port, pathname, host } = new URL(url);
    this.#address = { hostname, port: Number(port || 80) };
    const fields = { host, ...headers, "content-length": " ".repeat(LENGTH_DIGITS) };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = new TextEncoder().encode(`POST ${pathname} HTTP/1.1\r\n${lines.join("")}\r\n`);
    this.#lengthAt = head.length - "\r\n\r\n".length - LENGTH_DIGITS;
    this.#bodyAt = head.length;
    this.#request = new Uint8Array(head.length + largestBytes);
    this.#request.set(head);
  }

  /** Takes a copy of `template` as the body, and returns it, to be overwritten in place. */
  take(template: Uint8Array): Uint8Array {
    const length = new TextEncoder().encode(String(template.length).padStart(LENGTH_DIGITS));
    this.#request.set(length, this.#lengthAt);
    this.#request.set(template, this.#bodyAt);
    this.#length = this.#bodyAt + template.length;
    return this.#request.subarray(this.#bodyAt, this.#length);
  }

  /** Posts the body. Rejects when no complete answer arrives. */
  async post(): Promise<PostAnswer> {
    try {
      this.#connection ??= await Deno.connect(this.#address);
      for (let sent = 0; sent < this.#length;) {
        sent += await this.#connection.write(this.#request.subarray(sent, this.#length));
      }
      return await this.#read(this.#connection);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  async #read(connection: Deno.TcpConn): Promise<PostAnswer> {
    let received = 0;
    for (;;) {
      const count = await connection.read(this.#answer.subarray(received));
      if (!count) throw new Error("the connection ended before the answer did");
      received += count;
      const answer = parseAnswer(new TextDecoder().decode(this.#answer.subarray(0, received)));
      if (answer) return answer;
    }
  }

  [Symbol.dispose](): void {
    this.#connection?.close();
    this.#connection = undefined;
  }
}

/** The answer in `text` (ASCII), undefined while a part of it is missing. */
function parseAnswer(text: string): PostAnswer | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head);
  if (!length) throw new Error("the answer has no content-length");
  const body = text.slice(end + 4);
  if (body.length < Number(length[1])) return undefined;
  const retryAfter = /\r\nretry-after: *(\d+)/i.exec(head);
  return {
    status: Number(head.slice("HTTP/1.1 ".length, "HTTP/1.1 200".length)),
    retryAfterMs: retryAfter ? Number(retryAfter[1]) * 1000 : undefined,
    text: body,
  };
}
