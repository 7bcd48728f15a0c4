/**
 * The whole pipeline as compose.yaml starts it: servers, provisioning, a process of each service.
 *
 * @module
 */
import { startTask } from "../testing/child_process.ts";
import type { NatsConnection } from "nats";
import { NatsCluster } from "./cluster/nats_cluster.ts";
import { Stop } from "../../process/errors.ts";
import { type DatabaseRole, FINANCE_ROLE } from "../../provision/roles.ts";
import { freePort } from "./free_port.ts";
import { type NatsDisk, NatsServer, type NatsUser } from "./nats_server.ts";
import { PostgresServer } from "./postgres_server.ts";
import { type ServiceName, ServiceProcess } from "./service_process.ts";
import { createDatabase, DATABASE, roleUrl } from "./stack.ts";
import type { Workspace } from "./workspace.ts";

type Texts = Readonly<Record<string, string>>;

/** The ports of a pipeline. */
export interface Ports {
  readonly nats: number;
  readonly natsMonitor: number;
  readonly postgres: number;
  readonly finance: number;
  /** Of the edge; the status of the others is on their only port. */
  readonly ingestStatus: number;
  readonly http: Readonly<Record<ServiceName, number>>;
}

/** What stands between the processes of a pipeline. */
export interface ProcessLinks {
  /** The port that `from` connects to instead of `port`, where `to` listens. */
  between(from: string, to: string, port: number): number;
}

/** Every process reaches every server directly. */
const DIRECT: ProcessLinks = { between: (_from, _to, port) => port };

/** How a pipeline runs. */
export interface PipelineOptions {
  /** Settings of every process, such as `TWOFOLD_PARTITIONS`. */
  readonly settings?: Texts;
  /** Settings of provisioning alone, such as `TWOFOLD_DUPLICATE_WINDOW_MS`. */
  readonly provision?: Texts;
  readonly services?: Partial<Readonly<Record<ServiceName, Texts>>>;
  /** Servers of the NATS cluster, with as many replicas; 1 unless given: no cluster. */
  readonly natsNodes?: number;
  /** Of the NATS servers; in the workspace unless given. */
  readonly natsDisks?: readonly NatsDisk[];
  /** What is between services and servers, and between devices and the edge. */
  readonly links?: ProcessLinks;
  /** Processes of live; 1 unless given. The links of the second begin at `live-2`. */
  readonly lives?: number;
  /** Processes of the pager; 1 unless given. The links of the second begin at `pager-2`. */
  readonly pagers?: number;
  /** Whether the pager sends canaries through the edge, with a fleet key of its own. */
  readonly hasCanary?: boolean;
  /** `host:port` of what the pager may connect to besides NATS: its receivers. */
  readonly receivers?: readonly string[];
  readonly ports?: Ports;
  readonly passwords?: Record<NatsUser, string>;
  /** Bearer key of the device fleet `demo`. */
  readonly fleetKey?: string;
  /** Key of the finance reader `demo`. */
  readonly financeKey?: string;
  /** Whether data survive a power failure, as in production. */
  readonly durable?: boolean;
  /** Receives each step as it begins. */
  readonly progress?: (step: string) => void;
}

/** Whose commands a person runs. */
type CliRole = Exclude<DatabaseRole, "issuer">;

/** Everything running. */
export class Pipeline implements AsyncDisposable {
  readonly #connections: NatsConnection[] = [];

  private constructor(
    readonly workspace: Workspace,
    /** One of its nodes, if it is a cluster. */
    readonly nats: NatsServer,
    readonly cluster: NatsCluster | undefined,
    readonly postgres: PostgresServer,
    readonly services: Readonly<Record<ServiceName, ServiceProcess>>,
    /** The processes of live; the first is that of `services`. */
    readonly lives: readonly ServiceProcess[],
    /** The processes of the pager; the first is that of `services`. */
    readonly pagers: readonly ServiceProcess[],
    readonly fleetKey: string,
    readonly financeKey: string,
    readonly ports: Ports,
    readonly options: PipelineOptions,
  ) {}

  /** The settings of every process. */
  get settings(): Texts {
    return this.options.settings ?? {};
  }

  /** Starts servers, provisions, starts the services, and waits until all are ready. */
  static async start(workspace: Workspace, options: PipelineOptions = {}): Promise<Pipeline> {
    const progress = options.progress ?? (() => {});
    const ports = options.ports ?? freePorts();
    const fleetKey = options.fleetKey ?? randomKey();
    const financeKey = options.financeKey ?? randomKey();
    progress("starting nats-server and Postgres");
    const [started, database] = await Promise.all([
      startNats(workspace, ports, options),
      PostgresServer.start(workspace, { port: ports.postgres, durable: options.durable }),
    ]);
    const cluster = started instanceof NatsCluster ? started : undefined;
    const nats = started instanceof NatsCluster ? started.first : started;
    await createDatabase(database);
    progress("provisioning streams, durables and roles");
    await taskOutput(workspace, "provision", [], provisionEnvironment(nats, database, options));
    progress("starting ingest, live, royalty, dlq-triage and the pager");
    const canary = options.hasCanary ? canaryOptions(ports) : undefined;
    const fleets = [`demo:${fleetKey}`, ...(canary ? [`canary:${canary.key}`] : [])];
    const own: Record<ServiceName, Texts> = {
      ingest: ingestSettingsOf(fleets, ports),
      live: {},
      royalty: royaltySettings(workspace, database, financeKey, ports),
      triage: { TWOFOLD_POSTGRES_URL: roleUrl(database, "triage") },
      pager: canary?.settings ?? {},
    };
    const via = <T>(from: string, value: T) =>
      linked(value, options.links ?? DIRECT, from, { nats, database });
    const folders = Object.values(royaltyFolders(workspace));
    await Promise.all(folders.map((folder) => Deno.mkdir(folder, { recursive: true })));
    const start = (name: ServiceName, httpPort = ports.http[name], from: string = name) =>
      ServiceProcess.start(workspace, name, {
        httpPort,
        reach: via(from, [
          ...nats.urls,
          ...("TWOFOLD_POSTGRES_URL" in own[name] ? [hostOf(database)] : []),
          ...(name === "pager" ? [...options.receivers ?? [], ...canary?.reach ?? []] : []),
        ]),
        settings: via(from, {
          ...nats.settings(name),
          ...options.settings,
          ...own[name],
          ...options.services?.[name],
        }),
      });
    const all = (name: ServiceName, count = 1) =>
      several(count, (i) => i === 0 ? start(name) : start(name, freePort(), `${name}-${i + 1}`));
    const [ingest, lives, royalty, triage, pagers] = await Promise.all([
      start("ingest"),
      all("live", options.lives),
      start("royalty"),
      start("triage"),
      all("pager", options.pagers),
    ]);
    return new Pipeline(
      workspace,
      nats,
      cluster,
      database,
      { ingest, live: lives[0], royalty, triage, pager: pagers[0] },
      lives,
      pagers,
      fleetKey,
      financeKey,
      ports,
      options,
    );
  }

  /** Where devices reach the edge. */
  get edgeUrl(): string {
    const port = this.ports.http.ingest;
    return `http://127.0.0.1:${(this.options.links ?? DIRECT).between("devices", "ingest", port)}`;
  }

  /** A NATS connection as `user`, closed with the pipeline. */
  async connect(user: NatsUser): Promise<NatsConnection> {
    const nc = await this.nats.connect(user);
    this.#connections.push(nc);
    return nc;
  }

  /** The environment of `deno task royalty` or `deno task triage` for this pipeline. */
  cliSettings(role: CliRole): Record<string, string> {
    return {
      ...this.nats.settings(role),
      ...this.settings,
      ...(role === "royalty"
        ? {
          ...royaltyFolders(this.workspace),
          TWOFOLD_ISSUER_POSTGRES_URL: roleUrl(this.postgres, "issuer"),
        }
        : {}),
      TWOFOLD_POSTGRES_URL: roleUrl(this.postgres, role),
    };
  }

  /** The environment of `deno task provision` for this pipeline. */
  provisionSettings(): Record<string, string> {
    return provisionEnvironment(this.nats, this.postgres, this.options);
  }

  /** Runs a CLI of this pipeline as a person does, and returns its standard output. */
  async cli(role: CliRole, args: readonly string[]): Promise<string> {
    return await taskOutput(this.workspace, role, args, this.cliSettings(role));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#connections.map((nc) => nc.close()));
    const services = new Set([...Object.values(this.services), ...this.lives, ...this.pagers]);
    await Promise.all([...services].map((service) => service.stop()));
    await Promise.all([...this.nats.nodes.map((node) => node.stop()), this.postgres.stop()]);
    this.cluster?.[Symbol.dispose]();
  }
}

/** What `start` gives for 0, 1 and so on; `count` is at least 1. */
async function several<T>(count: number, start: (i: number) => Promise<T>): Promise<[T, ...T[]]> {
  const more = Array.from({ length: count - 1 }, (_, i) => start(i + 1));
  return await Promise.all([start(0), ...more]);
}

async function startNats(
  workspace: Workspace,
  ports: Ports,
  { natsNodes = 1, natsDisks, passwords }: PipelineOptions,
): Promise<NatsServer | NatsCluster> {
  if (natsNodes > 1) return await NatsCluster.start(workspace, natsNodes, natsDisks);
  return await NatsServer.start(workspace, {
    port: ports.nats,
    monitorPort: ports.natsMonitor,
    passwords,
    disk: natsDisks?.[0],
  });
}

/** `value` with the ports of the links of `from` in the place of those of the servers. */
function linked<T>(
  value: T,
  links: ProcessLinks,
  from: string,
  { nats, database }: { readonly nats: NatsServer; readonly database: PostgresServer },
): T {
  const servers = [
    ...nats.nodes.map(({ port }, i) => ({ to: `nats-${i}`, port })),
    { to: "postgres", port: database.port },
  ];
  const text = servers.reduce(
    (json, { to, port }) =>
      json.replace(
        new RegExp(`127\\.0\\.0\\.1:${port}\\b`, "g"),
        () => `127.0.0.1:${links.between(from, to, port)}`,
      ),
    JSON.stringify(value),
  );
  return JSON.parse(text);
}

// The server reserves the maximum size of streams; a laptop has less disk than a cluster.
const DEV_LIMITS = {
  TWOFOLD_HEARTBEATS_MAX_BYTES: String(16 * 1024 ** 3),
  TWOFOLD_QUARANTINE_MAX_BYTES: String(2 * 1024 ** 3),
};

function provisionEnvironment(
  nats: NatsServer,
  database: PostgresServer,
  options: PipelineOptions,
): Record<string, string> {
  return {
    ...nats.settings("ops"),
    ...options.settings,
    ...DEV_LIMITS,
    TWOFOLD_REPLICAS: String(options.natsNodes ?? 1),
    TWOFOLD_POSTGRES_ADMIN_URL: database.url(DATABASE),
    TWOFOLD_POSTGRES_ROYALTY_PASSWORD: database.passwords.royalty,
    TWOFOLD_POSTGRES_ISSUER_PASSWORD: database.passwords.issuer,
    TWOFOLD_POSTGRES_TRIAGE_PASSWORD: database.passwords.triage,
    TWOFOLD_POSTGRES_FINANCE_PASSWORD: database.passwords.finance,
    ...options.provision,
  };
}

/** Standard output of `deno task <task> <args>`. Throws {@link Stop} when the task fails. */
async function taskOutput(
  workspace: Workspace,
  task: string,
  args: readonly string[],
  env: Texts,
): Promise<string> {
  await using process = startTask(task, args, env);
  await workspace.watch(process);
  const { code, out, err } = await process.ended;
  await workspace.unwatch(process);
  if (code !== 0) throw new Stop(`deno task ${task} ${args.join(" ")} failed:\n${err}${out}`);
  return out;
}

/** Free ports. */
export function freePorts(): Ports {
  return {
    nats: freePort(),
    natsMonitor: freePort(),
    postgres: freePort(),
    finance: freePort(),
    ingestStatus: freePort(),
    http: {
      ingest: freePort(),
      live: freePort(),
      royalty: freePort(),
      triage: freePort(),
      pager: freePort(),
    },
  };
}

function ingestSettingsOf(fleets: readonly string[], ports: Ports): Texts {
  return {
    TWOFOLD_FLEET_KEYS: fleets.join(","),
    TWOFOLD_STATUS_PORT: String(ports.ingestStatus),
  };
}

function royaltySettings(
  workspace: Workspace,
  database: PostgresServer,
  financeKey: string,
  ports: Ports,
): Texts {
  return {
    ...royaltyFolders(workspace),
    TWOFOLD_POSTGRES_URL: roleUrl(database, "royalty"),
    TWOFOLD_ISSUER_POSTGRES_URL: roleUrl(database, "issuer"),
    TWOFOLD_FINANCE_KEYS: `demo:${financeKey}`,
    TWOFOLD_FINANCE_POSTGRES_URL: roleUrl(database, FINANCE_ROLE),
    TWOFOLD_FINANCE_PORT: String(ports.finance),
  };
}

/** The folders of statements and of the recount's sort. */
function royaltyFolders({ folder }: Workspace) {
  return {
    TWOFOLD_STATEMENTS_DIR: `${folder}/statements`,
    TWOFOLD_RECOUNT_DIR: `${folder}/recount`,
  };
}

/** What the pager needs for canaries; the key is another one at every start. */
function canaryOptions(ports: Ports) {
  const host = `127.0.0.1:${ports.http.ingest}`;
  const key = randomKey();
  const settings = {
    TWOFOLD_PAGER_EDGE_URL: `http://${host}`,
    TWOFOLD_PAGER_EDGE_KEY: key,
  };
  return { key, reach: [host], settings };
}

function randomKey(): string {
  return `k${crypto.randomUUID().replaceAll("-", "")}`;
}

function hostOf(server: PostgresServer): string {
  return `127.0.0.1:${server.port}`;
}
