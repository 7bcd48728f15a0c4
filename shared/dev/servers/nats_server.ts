/**
 * A real nats-server.
 *
 * @module
 */
import { connect, type NatsConnection } from "nats";
import { findNatsServer } from "../binaries/nats_binary.ts";
import { inboxPrefix, ROLES } from "../../process/nats.ts";
import { Child } from "./child.ts";
import { freePort } from "./free_port.ts";
import type { Workspace } from "./workspace.ts";

const CONFIG = {
  alone: new URL("../../nats/server.conf", import.meta.url).pathname,
  node: new URL("../../nats/cluster.conf", import.meta.url).pathname,
};
const USERS = [...ROLES, "sys"] as const;

/** A user of the accounts file. */
export type NatsUser = typeof USERS[number];

/** A node among others. */
export interface NodeOptions {
  /** The name of the server, of its log and of its folder. */
  readonly name: string;
  readonly routePort: number;
  /** The ports on which it reaches the other nodes. */
  readonly routePorts: readonly number[];
  /** The authority as PEM text, and a folder with `ca.pem`, `certificate.pem` and `key.pem`. */
  readonly tls: { readonly ca: string; readonly folder: string };
}

/** Where a server stores its data, instead of in the workspace. */
export interface NatsDisk {
  readonly folder: string;
  /** The program, with arguments, that starts the server where it sees the folder. */
  readonly enter: readonly string[];
}

/** How a server runs. */
export interface NatsOptions {
  readonly disk?: NatsDisk | undefined;
  /** Alone unless given. */
  readonly node?: NodeOptions;
  /** Looked for unless given. */
  readonly binary?: string;
  /** Free ones unless given. */
  readonly port?: number | undefined;
  readonly monitorPort?: number | undefined;
  /** Random unless given. */
  readonly passwords?: Readonly<Record<NatsUser, string>> | undefined;
}

/** A running nats-server with Twofold's accounts. */
export class NatsServer {
  /** The nodes of its cluster, itself included. */
  nodes: readonly NatsServer[] = [this];
  #child: Child;

  private constructor(readonly workspace: Workspace, readonly launched: Launched, child: Child) {
    this.#child = child;
  }

  get port(): number {
    return this.launched.port;
  }
  get monitorPort(): number {
    return this.launched.monitorPort;
  }
  get passwords(): Readonly<Record<NatsUser, string>> {
    return this.launched.passwords;
  }
  /** `host:port` of every node. */
  get urls(): readonly string[] {
    return this.nodes.map(({ url }) => url);
  }

  /** `127.0.0.1:port`. */
  get url(): string {
    return `127.0.0.1:${this.port}`;
  }
  get pid(): number {
    return this.#child.pid;
  }
  /** Where its data are. */
  get folder(): string {
    return folderOf(this.workspace, this.launched);
  }

  /** Starts the server; its data are in `<workspace>/nats` unless it has a disk. */
  static async start(workspace: Workspace, given: NatsOptions = {}): Promise<NatsServer> {
    const binary = given.binary ?? await findNatsServer(workspace.folder);
    const port = given.port ?? freePort();
    const monitorPort = given.monitorPort ?? freePort();
    const passwords = given.passwords ?? randomPasswords();
    const { node, disk } = given;
    const launched = { binary, port, monitorPort, passwords, node, disk };
    const child = await spawn(workspace, launched);
    await answers(child, launched);
    return new NatsServer(workspace, launched, child);
  }

  /** A connection as `user`, which reconnects forever; the caller closes it. */
  async connect(user: NatsUser): Promise<NatsConnection> {
    return await connect({
      servers: [...this.urls],
      ...tlsOf(this.launched.node),
      user,
      pass: this.passwords[user],
      inboxPrefix: inboxPrefix(user),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
  }

  /** The settings with which a process connects as `user`. */
  settings(user: NatsUser): Record<string, string> {
    const ca = this.launched.node?.tls.ca;
    return {
      ...(ca === undefined ? {} : { TWOFOLD_NATS_CA: ca }),
      TWOFOLD_NATS_URL: this.urls.join(","),
      TWOFOLD_NATS_USER: user,
      TWOFOLD_NATS_PASSWORD: this.passwords[user],
    };
  }

  /** Stops it; `SIGKILL` for a crash. The data remain. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    await this.#child.stop(signal);
  }

  /** Resolves with the exit code of the current process. */
  ended(): Promise<number> {
    return this.#child.ended;
  }

  /**
   * Starts it again on the same port and data, after its end. `maxFileStore` is what its streams may
   * use together, as the configuration spells it.
   */
  async start(maxFileStore?: string): Promise<void> {
    this.#child = await spawn(this.workspace, this.launched, maxFileStore);
    await answers(this.#child, this.launched);
  }
}

/** What a server is started with again. */
interface Launched {
  readonly binary: string;
  readonly port: number;
  readonly monitorPort: number;
  readonly passwords: Readonly<Record<NatsUser, string>>;
  readonly node: NodeOptions | undefined;
  readonly disk: NatsDisk | undefined;
}

function folderOf(workspace: Workspace, { node, disk }: Launched): string {
  return disk?.folder ?? `${workspace.folder}/${node?.name ?? "nats"}`;
}

function clusterArgs({ routePort, routePorts }: NodeOptions): string[] {
  const routes = routePorts.map((port) => `nats://127.0.0.1:${port}`);
  return [
    ...["--cluster", `nats://127.0.0.1:${routePort}`],
    ...["--routes", routes.join(",")],
    // Nobody listens there: the nodes reach each other by the routes that they were given, only.
    ...["--cluster_advertise", "127.0.0.1:1"],
  ];
}

function tlsOf(node: NodeOptions | undefined): { tls?: { ca: string } } {
  return node === undefined ? {} : { tls: { ca: node.tls.ca } };
}

function clusterEnv({ tls: { folder } }: NodeOptions): Record<string, string> {
  return {
    TWOFOLD_NATS_CA_FILE: `${folder}/ca.pem`,
    TWOFOLD_NATS_CERT_FILE: `${folder}/certificate.pem`,
    TWOFOLD_NATS_KEY_FILE: `${folder}/key.pem`,
  };
}

async function spawn(
  workspace: Workspace,
  launched: Launched,
  maxFileStore = "200GB",
): Promise<Child> {
  const { binary, port, monitorPort, passwords, node, disk } = launched;
  const folder = folderOf(workspace, launched);
  const [command = binary, ...args] = [...disk?.enter ?? [], binary];
  return await Child.start(workspace, {
    name: node?.name ?? "nats-server",
    command,
    args: [
      ...args,
      ...[
        "--config",
        node === undefined ? CONFIG.alone : CONFIG.node,
        "--addr",
        "127.0.0.1",
        "--port",
        String(port),
      ],
      ...["--http_port", String(monitorPort), "--store_dir", folder],
      ...(node === undefined ? [] : clusterArgs(node)),
    ],
    env: {
      // As in compose.yaml: less garbage collection, until the heap is near the limit.
      GOGC: "400",
      GOMEMLIMIT: "1GiB",
      TWOFOLD_NATS_SERVER_NAME: node?.name ?? "twofold-dev",
      TWOFOLD_NATS_MAX_FILE_STORE: maxFileStore,
      ...(node === undefined ? {} : clusterEnv(node)),
      ...Object.fromEntries(
        USERS.map((user) => [`TWOFOLD_NATS_${user.toUpperCase()}_PASSWORD`, passwords[user]]),
      ),
    },
  });
}

async function answers(child: Child, { binary, port, passwords, node }: Launched): Promise<void> {
  await child.answers(`nats-server (${binary})`, async () => {
    const servers = `127.0.0.1:${port}`;
    const login = { user: "ops", pass: passwords.ops, ...tlsOf(node) };
    const nc = await connect({ servers, ...login, reconnect: false });
    await nc.close();
  });
}

/** Passwords that nobody knows. */
export function randomPasswords(): Record<NatsUser, string> {
  return passwordsFor(() => `p${crypto.randomUUID().replaceAll("-", "")}`);
}

/** A password for every user. */
export function passwordsFor(passwordOf: (user: NatsUser) => string): Record<NatsUser, string> {
  return {
    ingest: passwordOf("ingest"),
    live: passwordOf("live"),
    royalty: passwordOf("royalty"),
    auditor: passwordOf("auditor"),
    triage: passwordOf("triage"),
    pager: passwordOf("pager"),
    oncall: passwordOf("oncall"),
    ops: passwordOf("ops"),
    sys: passwordOf("sys"),
  };
}
