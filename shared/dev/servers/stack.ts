/**
 * Provisioned real servers: what an integration test or a benchmark starts from.
 *
 * Each stack ends everything that was started on it: services, connections, servers, and the folder
 * of their data.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import type { Sql, TransactionSql } from "postgres";
import { type Alert, alertSchema } from "../../contract/alert.ts";
import {
  DEFAULT_TOPOLOGY,
  desiredTopology,
  type TopologyOptions,
} from "../../contract/topology.ts";
import { provisionDatabase } from "../../provision/database.ts";
import type { DatabaseRole, FINANCE_ROLE } from "../../provision/roles.ts";
import { Patience, withJetStream } from "../../provision/patience.ts";
import { provision } from "../../provision/streams.ts";
import { freePort } from "./free_port.ts";
import { NatsCluster } from "./cluster/nats_cluster.ts";
import { NatsServer, type NatsUser } from "./nats_server.ts";
import { type PostgresOptions, PostgresServer } from "./postgres_server.ts";
import { type ServiceName, ServiceProcess } from "./service_process.ts";
import { Workspace } from "./workspace.ts";

type Texts = Readonly<Record<string, string>>;

/** The server reserves what streams may grow to, so tests ask for little. */
const SMALL = { heartbeatsMaxBytes: 4 * 1024 ** 3, quarantineMaxBytes: 1024 ** 3 };

const MAX_PROVISION_MS = 60_000;

/** An alert as on-call receives it. */
export interface ReceivedAlert {
  readonly subject: string;
  readonly alert: Alert;
}

/** A nats-server with streams and durables; connections of every role. */
export class NatsStack implements AsyncDisposable {
  readonly #connections: NatsConnection[] = [];
  readonly #services: ServiceProcess[] = [];

  protected constructor(
    readonly workspace: Workspace,
    readonly nats: NatsServer,
    readonly nodes?: NatsCluster,
  ) {}

  /** The cluster; throws when the server is alone. */
  get cluster(): NatsCluster {
    if (this.nodes === undefined) throw new Error("the server is alone: start it with replicas");
    return this.nodes;
  }

  /**
   * Starts in a temporary workspace; small streams unless `topology` says otherwise; a cluster if it
   * has replicas.
   */
  static async start(topology: Partial<TopologyOptions> = {}): Promise<NatsStack> {
    const workspace = await Workspace.temporary();
    const { replicas = 1 } = topology;
    const cluster = replicas === 1 ? undefined : await NatsCluster.start(workspace, replicas);
    const stack = new NatsStack(
      workspace,
      cluster?.first ?? await NatsServer.start(workspace),
      cluster,
    );
    await stack.provision(topology);
    return stack;
  }

  /** Makes streams and durables, and recreates those that were deleted. */
  async provision(topology: Partial<TopologyOptions> = {}): Promise<void> {
    const jsm = await jetstreamManager(await this.connect("ops"));
    const desired = desiredTopology({ ...DEFAULT_TOPOLOGY, ...SMALL, ...topology });
    // A cluster on a busy machine may take longer for a stream than a request waits.
    const patience = new Patience(MAX_PROVISION_MS);
    await patience.until(() => withJetStream("ops", () => provision(jsm, desired)));
  }

  /** A connection as `user`. */
  async connect(user: NatsUser): Promise<NatsConnection> {
    const nc = await this.nats.connect(user);
    this.#connections.push(nc);
    return nc;
  }

  /** The alerts that on-call receives from now on; the array grows. */
  async receiveAlerts(subject = "alerts.>"): Promise<readonly ReceivedAlert[]> {
    const received: ReceivedAlert[] = [];
    const oncall = await this.connect("oncall");
    oncall.subscribe(subject, {
      callback: (_error, message) =>
        void received.push({ subject: message.subject, alert: alertSchema.parse(message.json()) }),
    });
    await oncall.flush();
    return received;
  }

  /** The settings with which a process works on this stack as `user`. */
  settings(user: NatsUser): Record<string, string> {
    return this.nats.settings(user);
  }

  /** Starts a service that has `settings` besides its own, and waits until it is ready. */
  async service(name: ServiceName, settings: Texts = {}): Promise<ServiceProcess> {
    const all = { ...this.settings(name), ...settings };
    const database = all.TWOFOLD_POSTGRES_URL;
    const nats = all.TWOFOLD_NATS_URL?.split(",") ?? [];
    const service = await ServiceProcess.start(this.workspace, name, {
      httpPort: freePort(),
      reach: [...nats, ...(database === undefined ? [] : [new URL(database).host])],
      settings: all,
    });
    this.#services.push(service);
    return service;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What a stop does is asserted where a test stops a service itself.
    await Promise.all(this.#services.map((service) => service.stop("SIGKILL")));
    await Promise.all(this.#connections.map((nc) => nc.close()));
    await Promise.all(this.nats.nodes.map((node) => node.stop()));
    this.nodes?.[Symbol.dispose]();
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** A Postgres with Twofold's database and roles. */
export class PostgresStack implements AsyncDisposable {
  readonly #pools: Sql[] = [];

  private constructor(readonly workspace: Workspace, readonly postgres: PostgresServer) {}

  /** Starts in a temporary workspace, or in one that stays the caller's. */
  static async start(
    options: PostgresOptions = {},
    workspace?: Workspace,
  ): Promise<PostgresStack> {
    const own = workspace ?? await Workspace.temporary();
    const server = await PostgresServer.start(own, options);
    await createDatabase(server);
    return new PostgresStack(own, server);
  }

  /** Connection URL of a service's role, or of the one that reads statements. */
  databaseUrl(role: DatabaseRole | typeof FINANCE_ROLE): string {
    return roleUrl(this.postgres, role);
  }

  /** Runs `work` as nobody may in production: as a superuser with every trigger off. */
  async tamper<T>(work: (tx: TransactionSql) => Promise<T>): Promise<T> {
    const { result } = await this.admin().begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      return { result: await work(tx) };
    });
    return result;
  }

  /** A superuser's pool. */
  admin(database = DATABASE): Sql {
    const sql = this.postgres.connect(database);
    this.#pools.push(sql);
    return sql;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.workspace[Symbol.asyncDispose]();
  }

  /** Ends pools and server; the workspace remains. */
  async stop(): Promise<void> {
    await Promise.all(this.#pools.map((sql) => sql.end({ timeout: 1 })));
    await this.postgres.stop("SIGQUIT");
  }
}

/** A {@link NatsStack} and a {@link PostgresStack} in one workspace. */
export class Stack extends NatsStack {
  private constructor(
    workspace: Workspace,
    nats: NatsServer,
    readonly database: PostgresStack,
  ) {
    super(workspace, nats);
  }

  get postgres(): PostgresServer {
    return this.database.postgres;
  }

  static override async start(
    topology: Partial<TopologyOptions> = {},
    options: PostgresOptions = {},
  ): Promise<Stack> {
    const workspace = await Workspace.temporary();
    const [nats, database] = await Promise.all([
      NatsServer.start(workspace),
      PostgresStack.start(options, workspace),
    ]);
    const stack = new Stack(workspace, nats, database);
    await stack.provision(topology);
    return stack;
  }

  /** As {@link PostgresStack.databaseUrl}. */
  databaseUrl(role: DatabaseRole | typeof FINANCE_ROLE): string {
    return this.database.databaseUrl(role);
  }

  /** As {@link PostgresStack.admin}. */
  admin(database?: string): Sql {
    return this.database.admin(database);
  }

  /** As {@link NatsStack.settings}; with the URL of the database for those who use it. */
  override settings(user: NatsUser): Record<string, string> {
    const role = DATABASE_ROLE_OF[user];
    const url = role && { TWOFOLD_POSTGRES_URL: this.databaseUrl(role) };
    const issuer = role === "royalty" &&
      { TWOFOLD_ISSUER_POSTGRES_URL: this.databaseUrl("issuer") };
    return { ...super.settings(user), ...url, ...issuer };
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.database.stop();
    await super[Symbol.asyncDispose]();
  }
}

/** The database role of a process that is `user` for NATS. */
const DATABASE_ROLE_OF: Partial<Record<NatsUser, DatabaseRole>> = {
  royalty: "royalty",
  auditor: "royalty",
  triage: "triage",
};

/** Name of Twofold's database. */
export const DATABASE = "twofold";
/** Connection URL of `role` for `database` of `server`. */
export function roleUrl(
  server: PostgresServer,
  role: DatabaseRole | typeof FINANCE_ROLE,
  database = DATABASE,
): string {
  return server.url(database, role);
}

/** Creates Twofold's database and roles unless they exist. */
export async function createDatabase(server: PostgresServer, name = DATABASE): Promise<void> {
  await provisionDatabase(server.url(name), server.passwords);
}
