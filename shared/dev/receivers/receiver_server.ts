/**
 * A receiver of pages on a free port of this machine: keeps what it gets and answers as it is told.
 *
 * @module
 */
import { pause } from "../../process/retry.ts";
import { waitFor } from "../testing/wait_for.ts";

/** How long a pager waits for an answer, ms. */
const PATIENCE_MS = 5_000;
const TIMEOUT = { timeoutMs: 60_000 };

/** A request that arrived. */
export interface ReceivedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
  /** When it arrived, ms since the epoch. */
  readonly atMs: number;
  /** The status that was answered; 0: too late for a pager to hear it. */
  readonly status: number;
}

/** How requests are answered. */
export interface ReceiverBehaviour {
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Time before the answer, in ms. */
  readonly delayMs?: number;
}

/** Answers 200 unless told otherwise. */
export class ReceiverServer implements AsyncDisposable {
  /** Requests in the order of their arrival. */
  readonly requests: ReceivedRequest[] = [];
  /** How the next requests are answered. */
  behaviour: ReceiverBehaviour = {};
  readonly #stopped = new AbortController();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(port = 0) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port, onListen: () => {} },
      (request) => this.#answer(request),
    );
  }

  /** `host:port`. */
  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }
  /** `http://host:port`. */
  get url(): string {
    return `http://${this.host}`;
  }
  /** Requests that were accepted, as JSON. */
  get accepted(): readonly ReceivedRequest[] {
    return this.requests.filter(({ status }) => status >= 200 && status < 300);
  }
  /** Step and subject of what was accepted from a webhook, in order: `page alerts.pipeline.no-data`. */
  get told(): readonly string[] {
    return this.accepted.map(stepAndSubject);
  }

  /** Waits until `what` is {@link told}; resolves with when it came, ms since the epoch. */
  async toldIs(what: string): Promise<number> {
    const found = await waitFor(what, () => {
      const one = this.accepted.find((each) => stepAndSubject(each) === what);
      if (one) return one;
      throw new Error(this.told.join(", "));
    }, TIMEOUT);
    return found.atMs;
  }

  async #answer(request: Request): Promise<Response> {
    const { status = 200, body = "ok", headers = {}, delayMs = 0 } = this.behaviour;
    const { pathname, search } = new URL(request.url);
    const heard = delayMs < PATIENCE_MS ? status : 0;
    this.requests.push({
      method: request.method,
      path: `${pathname}${search}`,
      headers: request.headers,
      status: heard,
      body: await request.text(),
      atMs: Date.now(),
    });
    if (delayMs > 0) await pause(delayMs, this.#stopped.signal);
    return new Response(body, { status, headers });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#server.shutdown();
  }
}

function stepAndSubject({ headers }: ReceivedRequest): string {
  return `${headers.get("twofold-step")} ${headers.get("twofold-subject")}`;
}

/** A listener that answers every request with bytes that are not HTTP. */
export function garbageServer(): Disposable & { readonly url: string; readonly host: string } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const connection of listener) {
      await connection.write(new TextEncoder().encode("\x16\x03garbage\r\n\r\n")).catch(() => {});
      connection.close();
    }
  })();
  const host = `127.0.0.1:${listener.addr.port}`;
  return { host, url: `http://${host}`, [Symbol.dispose]: () => listener.close() };
}
