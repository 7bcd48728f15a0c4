/**
 * A proxy on every way between two processes of a pipeline.
 *
 * @module
 */
import type { ProcessLinks } from "../../dev/servers/pipeline.ts";
import { TcpProxy } from "../../dev/servers/tcp_proxy.ts";

/** The links of a pipeline; those from one process to the nodes of NATS are one. */
export class ProxyLinks implements ProcessLinks, Disposable {
  readonly #proxies = new Map<string, TcpProxy>();

  between(from: string, to: string, port: number): number {
    const key = `${from}→${to}`;
    const proxy = this.#proxies.get(key) ?? new TcpProxy(port);
    this.#proxies.set(key, proxy);
    return proxy.port;
  }

  /** The proxies of a link `from→to`. Throws a `RangeError` if there are none. */
  of(link: string): TcpProxy[] {
    const found = [...this.#proxies].filter(([key]) => key.replace(/nats-\d+$/, "nats") === link);
    if (found.length === 0) throw new RangeError(`there is no link ${link}`);
    return found.map(([, proxy]) => proxy);
  }

  [Symbol.dispose](): void {
    for (const proxy of this.#proxies.values()) proxy[Symbol.dispose]();
  }
}
