/**
 * A TCP proxy in front of a server: a link that can drop all bytes or be closed.
 *
 * @module
 */

/** One client and, unless the link was silent when it connected, the server. */
interface Pair {
  readonly ends: Deno.Conn[];
  isSilent: boolean;
}

/** Forwards a port of its own to `serverPort` of this machine. */
export class TcpProxy implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #pairs = new Set<Pair>();
  #isSilent = false;

  constructor(readonly serverPort: number) {
    void this.#accept();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** From now on every byte is dropped, also of new connections; nothing is closed. */
  silence(): void {
    this.#isSilent = true;
    for (const pair of this.#pairs) pair.isSilent = true;
  }

  /** New connections work again; those that were silent remain silent. */
  heal(): void {
    this.#isSilent = false;
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
    try {
      for await (const client of this.#listener) void this.#serve(client);
    } catch {
      // Closed.
    }
  }

  async #serve(client: Deno.Conn): Promise<void> {
    const pair: Pair = { ends: [client], isSilent: this.#isSilent };
    this.#pairs.add(pair);
    if (pair.isSilent) return await forward(client, undefined, pair);
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.serverPort }).catch(
      () => undefined,
    );
    if (!server) return close(client);
    pair.ends.push(server);
    await Promise.all([forward(client, server, pair), forward(server, client, pair)]);
    this.#pairs.delete(pair);
  }
}

// A silent pair reads bytes and never forwards them; not even an end.
async function forward(from: Deno.Conn, to: Deno.Conn | undefined, pair: Pair): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (;;) {
      const bytes = await from.read(buffer);
      if (pair.isSilent && bytes !== null) continue;
      if (pair.isSilent || bytes === null || !to) break;
      for (let at = 0; at < bytes;) at += await to.write(buffer.subarray(at, bytes));
    }
  } catch {
    // Closed or reset.
  }
  close(from);
  if (to && !pair.isSilent) close(to);
}

function close(end: Deno.Conn): void {
  try {
    end.close();
  } catch {
    // Already.
  }
}
