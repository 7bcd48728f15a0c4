/**
 * Provisioned real servers: what an integration test or the demo starts from.
 *
 * @module
 */
import { connect, type NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { inboxPrefix } from "../../process/nats.ts";
import { provision } from "../../provision/streams.ts";
import { type DatabaseRole, FINANCE_ROLE, provisionRoles } from "../../provision/roles.ts";
import {
  DEFAULT_TOPOLOGY,
  desiredTopology,
  type TopologyOptions,
} from "../../contract/topology.ts";
import { NatsServer, type NatsUser } from "./nats_server.ts";
import { PostgresServer } from "./postgres_server.ts";
import { Workspace } from "./workspace.ts";

/** The server reserves what streams may grow to, so tests ask for little. */
const SMALL = { heartbeatsMaxBytes: 4 * 1024 ** 3, quarantineMaxBytes: 1024 ** 3 };

/** A nats-server with streams and durables; connections of every role. */
export class NatsStack implements AsyncDisposable {
  readonly #connections: NatsConnection[] = [];

  private constructor(readonly workspace: Workspace, readonly nats: NatsServer) {}

  /** Starts in a temporary workspace; small streams unless `options` say otherwise. */
  static async start(options: Partial<TopologyOptions> = {}): Promise<NatsStack> {
    const workspace = await Workspace.temporary();
    const stack = new NatsStack(workspace, await NatsServer.start(workspace));
    await stack.provision(options);
    return stack;
  }

  async provision(options: Partial<TopologyOptions> = {}): Promise<void> {
    const jsm = await jetstreamManager(await this.connect("ops"));
    await provision(jsm, desiredTopology({ ...DEFAULT_TOPOLOGY, ...SMALL, ...options }));
  }

  /** A connection as `user`, closed with the stack. */
  async connect(user: NatsUser): Promise<NatsConnection> {
    const nc = await connect({
      servers: this.nats.url,
      user,
      pass: this.nats.passwords[user],
      inboxPrefix: inboxPrefix(user),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    this.#connections.push(nc);
    return nc;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#connections.map((nc) => nc.close()));
    await this.nats.stop();
    await this.workspace[Symbol.asyncDispose]();
  }
}

/** A {@link NatsStack} and a Postgres with Twofold's database and roles. */
export class Stack implements AsyncDisposable {
  private constructor(readonly natsStack: NatsStack, readonly postgres: PostgresServer) {}

  get workspace(): Workspace {
    return this.natsStack.workspace;
  }
  get nats(): NatsServer {
    return this.natsStack.nats;
  }

  static async start(options: Partial<TopologyOptions> = {}): Promise<Stack> {
    const natsStack = await NatsStack.start(options);
    const database = await PostgresServer.start(natsStack.workspace);
    await createDatabase(database);
    return new Stack(natsStack, database);
  }

  connect(user: NatsUser): Promise<NatsConnection> {
    return this.natsStack.connect(user);
  }

  /** Connection URL of a service's role, or of the one that reads statements. */
  databaseUrl(role: DatabaseRole | typeof FINANCE_ROLE): string {
    return this.postgres.url(DATABASE, role, DEV_PASSWORD);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.postgres.stop("SIGQUIT");
    await this.natsStack[Symbol.asyncDispose]();
  }
}

/** Name of Twofold's database. */
export const DATABASE = "twofold";
/** Embedded Postgres trusts loopback; the password only has to be there. */
export const DEV_PASSWORD = "development";

/** Creates Twofold's database and roles if they are not there. */
export async function createDatabase(server: PostgresServer): Promise<void> {
  const admin = server.connect();
  try {
    const [exists] = await admin`select 1 from pg_database where datname = ${DATABASE}`;
    if (!exists) await admin`create database ${admin(DATABASE)}`;
  } finally {
    await admin.end();
  }
  const sql = server.connect(DATABASE);
  try {
    await provisionRoles(sql, {
      royalty: DEV_PASSWORD,
      triage: DEV_PASSWORD,
      finance: DEV_PASSWORD,
    });
  } finally {
    await sql.end();
  }
}
