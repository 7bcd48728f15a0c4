/**
 * A cluster of real nats-servers with TLS, whose nodes reach each other through links that can be
 * silenced.
 *
 * @module
 */
import { jetstreamManager } from "nats/jetstream";
import { waitFor } from "../../testing/wait_for.ts";
import { freePort } from "../free_port.ts";
import { findNatsServer } from "../../binaries/nats_binary.ts";
import { type NatsDisk, NatsServer, type NodeOptions, randomPasswords } from "../nats_server.ts";
import { makeCertificates } from "./certificates.ts";
import { TcpProxy } from "../tcp_proxy.ts";
import type { Workspace } from "../workspace.ts";

/** From one node to another. */
interface Route {
  readonly from: number;
  readonly to: number;
  readonly proxy: TcpProxy;
}

/** Nodes that are one cluster. */
export class NatsCluster implements Disposable {
  private constructor(
    readonly nodes: readonly NatsServer[],
    readonly routes: readonly Route[],
  ) {}

  /** The first node, which knows the others. */
  get first(): NatsServer {
    return this.node(0);
  }

  /** Starts `count` nodes in `workspace`, on `disks` if given, and waits until they have a leader. */
  static async start(
    workspace: Workspace,
    count: number,
    disks: readonly NatsDisk[] = [],
  ): Promise<NatsCluster> {
    const passwords = randomPasswords();
    // Once: what is being copied cannot be started.
    const binary = await findNatsServer(workspace.folder);
    const ports = Array.from({ length: count }, () => freePort());
    const routes = ports.flatMap((_, from) =>
      ports.flatMap((port, to) => from === to ? [] : [{ from, to, proxy: new TcpProxy(port) }])
    );
    const tls = await writeCertificates(workspace);
    const nodes = await Promise.all(ports.map((routePort, i) => {
      const routePorts = routes.filter(({ from }) => from === i).map(({ proxy }) => proxy.port);
      const node = { name: `nats-server-${i}`, routePort, routePorts, tls };
      return NatsServer.start(workspace, { binary, passwords, node, disk: disks[i] });
    }));
    for (const each of nodes) each.nodes = nodes;
    const cluster = new NatsCluster(nodes, routes);
    await cluster.#hasLeader();
    return cluster;
  }

  async #hasLeader(): Promise<void> {
    await using nc = await this.first.connect("ops");
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    await waitFor("the cluster to answer", () => jsm.getAccountInfo(), { timeoutMs: 30_000 });
  }

  /** The node with this index. */
  node(index: number): NatsServer {
    const node = this.nodes[index];
    if (node === undefined) throw new RangeError(`there is no node ${index}`);
    return node;
  }

  /** From now on nothing passes between this node and the others; nothing is closed. */
  isolate(index: number): void {
    for (const proxy of this.#routesOf(index)) proxy.silence();
  }

  /** Ends {@link isolate}. */
  rejoin(index: number): void {
    for (const proxy of this.#routesOf(index)) {
      proxy.heal();
      // What was silent remains silent, and the servers would find that out after a minute only.
      proxy.cut();
    }
  }

  /** Closes the links; the nodes are the caller's to stop. */
  [Symbol.dispose](): void {
    for (const { proxy } of this.routes) proxy[Symbol.dispose]();
  }

  #routesOf(index: number): TcpProxy[] {
    return this.routes.filter(({ from, to }) => from === index || to === index)
      .map(({ proxy }) => proxy);
  }
}

async function writeCertificates(workspace: Workspace): Promise<NodeOptions["tls"]> {
  const folder = `${workspace.folder}/nats-tls`;
  const { ca, certificate, key } = await makeCertificates(Date.now());
  await Deno.mkdir(folder);
  await Promise.all([
    Deno.writeTextFile(`${folder}/ca.pem`, ca),
    Deno.writeTextFile(`${folder}/certificate.pem`, certificate),
    Deno.writeTextFile(`${folder}/key.pem`, key, { mode: 0o600 }),
  ]);
  return { ca, folder };
}
