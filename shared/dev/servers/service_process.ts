/**
 * The services as separate processes, each with its own least permissions and NATS user.
 *
 * @module
 */
import { ROOT } from "../testing/module_graph.ts";
import type { Role } from "../../process/nats.ts";
import { DATABASE_ROLES } from "../../provision/roles.ts";
import { Child } from "./child.ts";
import { freePort } from "./free_port.ts";
import type { Workspace } from "./workspace.ts";

/** The services, by the name of their NATS user. */
export const SERVICES = [
  "ingest",
  "live",
  "royalty",
  "triage",
  "pager",
] as const satisfies readonly Role[];
/** One of {@link SERVICES}. */
export type ServiceName = typeof SERVICES[number];

const FOLDER: Readonly<Record<ServiceName, string>> = {
  ingest: "ingest",
  live: "live",
  royalty: "royalty",
  triage: "dlq-triage",
  pager: "live/pager",
};

/** How a service runs. */
export interface ServiceOptions {
  readonly httpPort: number;
  /** `host:port` of everything it may connect to. */
  readonly reach: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
}

/** An answer of `/readyz`. */
export interface Readiness {
  /** 200 or 503. */
  readonly status: number;
  /** Why the service is not ready; empty when it is. */
  readonly reason: string;
}

/** One service process, which can be killed and started again. */
export class ServiceProcess {
  #child: Child;

  private constructor(
    readonly workspace: Workspace,
    readonly name: ServiceName,
    readonly options: ServiceOptions,
    child: Child,
  ) {
    this.#child = child;
  }

  get url(): string {
    return `http://127.0.0.1:${this.options.httpPort}`;
  }
  /** Where `/metrics` is. */
  get statusUrl(): string {
    const { httpPort, settings } = this.options;
    return `http://127.0.0.1:${settings.TWOFOLD_STATUS_PORT ?? httpPort}`;
  }
  get pid(): number {
    return this.#child.pid;
  }
  /** Exit code, or null while it runs. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** Starts it and waits until it is ready. */
  static async start(
    workspace: Workspace,
    name: ServiceName,
    options: ServiceOptions,
  ): Promise<ServiceProcess> {
    const service = await ServiceProcess.launch(workspace, name, options);
    await service.ready();
    return service;
  }

  /** Starts it; does not wait for readiness. */
  static async launch(
    workspace: Workspace,
    name: ServiceName,
    options: ServiceOptions,
  ): Promise<ServiceProcess> {
    const complete = withStatusPort(name, options);
    const child = await launch(workspace, name, complete);
    return new ServiceProcess(workspace, name, complete, child);
  }

  /** Ends it with `signal` and waits for the end. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<number> {
    return await this.#child.stop(signal);
  }

  /** Starts it again after {@link stop}; does not wait until it is ready. */
  async restart(): Promise<void> {
    this.#child = await launch(this.workspace, this.name, this.options);
  }

  /** Resolves with the exit code of the current process. */
  ended(): Promise<number> {
    return this.#child.ended;
  }

  /** Resolves once `/readyz` answers 200; throws with the log's tail when the process ends. */
  async ready(): Promise<void> {
    await this.#child.answers(this.name, async () => {
      const response = await fetch(`${this.url}/readyz`);
      const body = await response.text();
      if (!response.ok) throw new Error(body);
    }, 60_000);
  }

  /** What `/readyz` answers now. Rejects when nothing listens. */
  async readiness(): Promise<Readiness> {
    const response = await fetch(`${this.url}/readyz`);
    const { reason = "" } = await response.json();
    return { status: response.status, reason };
  }

  /** The samples of `/metrics`, by name and labels as written; empty when it does not answer. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    try {
      const response = await fetch(`${this.statusUrl}/metrics`, {
        signal: AbortSignal.timeout(2_000),
      });
      return parseMetrics(await response.text());
    } catch {
      return new Map();
    }
  }
}

/** Samples of a Prometheus text exposition: `name{labels}` to value. */
export function parseMetrics(text: string): ReadonlyMap<string, number> {
  const samples = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(samples.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

/**
 * The sum of the samples of `name` that have these labels, and possibly others; 0 without samples.
 */
export function sumOf(
  samples: ReadonlyMap<string, number>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return [...samples].filter(([sample]) =>
    (sample === name || sample.startsWith(`${name}{`)) &&
    wanted.every((label) => sample.includes(label))
  ).reduce((sum, [, value]) => sum + value, 0);
}

/** Settings that name a folder which the service writes to. */
const FOLDER_SETTINGS = ["TWOFOLD_STATEMENTS_DIR", "TWOFOLD_RECOUNT_DIR"];

/** Settings that name a further port which the service listens on. */
const PORT_SETTINGS = ["TWOFOLD_FINANCE_PORT", "TWOFOLD_STATUS_PORT"];

// The port of the edge is public, so that it has another one for metrics.
function withStatusPort(name: ServiceName, options: ServiceOptions): ServiceOptions {
  if (name !== "ingest") return options;
  const settings = { TWOFOLD_STATUS_PORT: String(freePort()), ...options.settings };
  return { ...options, settings };
}

/**
 * The permission flags of a service: connect to `reach`, read its migrations, write to the folders
 * of its settings, and nothing else.
 */
export function permissions(name: ServiceName, options: ServiceOptions): string[] {
  const hasDatabase = DATABASE_ROLES.some((role) => role === name);
  const folders = FOLDER_SETTINGS.flatMap((setting) => options.settings[setting] ?? []);
  const code = (path: string) => new URL(path, ROOT).pathname;
  const ports = [
    options.httpPort,
    ...PORT_SETTINGS.flatMap((name) => options.settings[name] ?? []),
  ];
  const own = ports.map((port) => `127.0.0.1:${port}`);
  const readable = [
    ...(hasDatabase ? [code(`${FOLDER[name]}/migrations`)] : []),
    // A thread may be started only from code that the process may read.
    ...(name === "royalty" ? [code("royalty"), code("shared")] : []),
    ...folders,
  ];
  return [
    "--no-prompt",
    `--allow-net=${[...own, ...options.reach].join(",")}`,
    // The Postgres driver looks for libpq's variables.
    hasDatabase ? "--allow-env=TWOFOLD_*,PG*" : "--allow-env=TWOFOLD_*",
    ...(readable.length > 0 ? [`--allow-read=${readable.join(",")}`] : []),
    ...(folders.length > 0 ? [`--allow-write=${folders.join(",")}`] : []),
  ];
}

async function launch(
  workspace: Workspace,
  name: ServiceName,
  options: ServiceOptions,
): Promise<Child> {
  return await Child.start(workspace, {
    name,
    command: Deno.execPath(),
    args: [
      "run",
      "--quiet",
      ...permissions(name, options),
      new URL(`${FOLDER[name]}/main.ts`, ROOT).pathname,
    ],
    env: {
      TWOFOLD_HTTP_PORT: String(options.httpPort),
      // There is no load balancer to wait for.
      TWOFOLD_DRAIN_MS: "0",
      ...options.settings,
    },
    cwd: ROOT.pathname,
  });
}
