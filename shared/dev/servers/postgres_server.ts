/**
 * A real Postgres.
 *
 * @module
 */
import { existsSync } from "node:fs";
import postgres, { type Sql } from "postgres";
import { messageOf, Stop } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";
import { type DatabaseRole, type FINANCE_ROLE } from "../../provision/roles.ts";
import { fileExists, installPostgres, postgresBin, runTool } from "../binaries/postgres_binary.ts";
import { ChildProcess } from "../testing/child_process.ts";
import { Child } from "./child.ts";
import { freePort } from "./free_port.ts";
import type { Workspace } from "./workspace.ts";

/** Postgres refuses to run as root; this is `nobody` on Linux and needs no account entry. */
const UNPRIVILEGED_ID = 65534;
/** Data survive the end of a process, but not a power failure. */
const NOT_DURABLE = ["fsync=off", "full_page_writes=off"];

/** A user of the server: the superuser, and the roles of Twofold. */
export type PostgresUser = "postgres" | DatabaseRole | typeof FINANCE_ROLE;

/** How a server runs. */
export interface PostgresOptions {
  readonly port?: number | undefined;
  /** Keep data safe across a power failure, as `task up` and benchmarks do. */
  readonly durable?: boolean | undefined;
  /** `name=value` server settings. */
  readonly settings?: readonly string[];
}

/**
 * A running Postgres on the loopback address. Every user has a password, because every account of
 * the machine reaches that address. The superuser's is in a file beside the data.
 */
export class PostgresServer {
  #child: Child | undefined;

  private constructor(
    readonly workspace: Workspace,
    readonly port: number,
    readonly options: PostgresOptions,
    /** The passwords; those of the roles are valid once the roles are provisioned with them. */
    readonly passwords: Readonly<Record<PostgresUser, string>>,
  ) {}

  get pid(): number {
    return this.#process.pid;
  }

  get #process(): Child {
    if (this.#child === undefined) throw new Error("Postgres was not started");
    return this.#child;
  }

  /** Starts it with data in `<workspace>/postgres`, which the first start makes. */
  static async start(workspace: Workspace, options: PostgresOptions = {}): Promise<PostgresServer> {
    const port = options.port ?? freePort();
    if (Deno.uid() === 0) await requireReachable(workspace.folder);
    const passwords = {
      postgres: await prepare(workspace.folder),
      royalty: randomPassword(),
      issuer: randomPassword(),
      triage: randomPassword(),
      finance: randomPassword(),
    };
    const server = new PostgresServer(workspace, port, options, passwords);
    await server.start();
    return server;
  }

  /** Connection URL of `user` for `database`. */
  url(database = "postgres", user: PostgresUser = "postgres"): string {
    return `postgres://${user}:${this.passwords[user]}@127.0.0.1:${this.port}/${database}`;
  }

  /** A superuser connection pool; the caller ends it. */
  connect(database = "postgres"): Sql {
    return postgres(this.url(database), { max: 2, onnotice: () => {} });
  }

  /** Fast shutdown; `SIGQUIT` for a crash, `SIGKILL` for all its processes. The data remain. */
  async stop(signal: Deno.Signal = "SIGINT"): Promise<void> {
    await this.#process.stop(signal);
    if (signal === "SIGKILL") endSessions(this.workspace.folder);
  }

  /** Resolves with the exit code of the current process. */
  ended(): Promise<number> {
    return this.#process.ended;
  }

  /** Starts it again on the same port and data, after its end. */
  async start(): Promise<void> {
    for (let tries = 1;; tries++) {
      this.#child = await spawn(this.workspace, this.port, this.options);
      try {
        await this.#child.answers("Postgres", () => this.#isOpen());
        return;
      } catch (error) {
        if (tries === MAX_STARTS || !STILL_ENDING.test(messageOf(error))) throw error;
        endSessions(this.workspace.folder);
        await pause(250);
      }
    }
  }

  async #isOpen(): Promise<void> {
    const sql = this.connect();
    await sql`select 1`.finally(() => sql.end());
  }
}

/**
 * Kills what a server in `folder` has left. Sessions end by themselves with their server, unless they
 * are frozen; and while one is left, no other server starts. Only Linux says which they are.
 */
function endSessions(folder: string): void {
  const data = `${folder}/postgres`;
  for (const { name } of existsSync("/proc/self") ? Deno.readDirSync("/proc") : []) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (Deno.readLinkSync(`/proc/${name}/cwd`) !== data) continue;
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      if (command.startsWith("postgres: ")) Deno.kill(Number(name), "SIGKILL");
    } catch {
      // It has ended, or belongs to somebody else.
    }
  }
}

/** What Postgres says while processes of one that was killed are left; they end by themselves. */
const STILL_ENDING = /lock file "postmaster\.pid" already exists|memory block .* still in use/;
/** With 250 ms between them. */
const MAX_STARTS = 40;

/**
 * Names a folder in which all servers of a test run find binaries and an empty cluster, made by the
 * first of them: copying that takes a tenth of the time of `initdb`.
 */
const TEMPLATE_VARIABLE = "TWOFOLD_POSTGRES_TEMPLATE";

// Makes binaries and an empty cluster in `folder`, unless it has them; returns the superuser's
// password.
async function prepare(folder: string): Promise<string> {
  const shared = Deno.env.get(TEMPLATE_VARIABLE);
  if (shared === undefined || await fileExists(`${folder}/postgres/PG_VERSION`)) {
    await installPostgres(folder);
    await initialise(folder);
    return await passwordIn(folder);
  }
  const template = `${shared}/template`;
  if (!(await fileExists(template))) await makeTemplate(shared, template);
  await Deno.symlink(`${template}/pgsql`, `${folder}/pgsql`);
  // With owners and modes, which Postgres checks.
  await runTool("cp", ["-a", `${template}/postgres`, `${folder}/postgres`]);
  await runTool("cp", ["-a", `${template}/${PASSWORD_FILE}`, `${folder}/${PASSWORD_FILE}`]);
  return await passwordIn(folder);
}

const PASSWORD_FILE = "postgres.password";

async function passwordIn(folder: string): Promise<string> {
  return (await Deno.readTextFile(`${folder}/${PASSWORD_FILE}`)).trim();
}

function randomPassword(): string {
  return `p${crypto.randomUUID().replaceAll("-", "")}`;
}

async function makeTemplate(shared: string, template: string): Promise<void> {
  const own = await Deno.makeTempDir({ dir: shared });
  await Deno.chmod(own, 0o755);
  await installPostgres(own);
  await initialise(own);
  try {
    await Deno.rename(own, template);
  } catch (error) {
    // Another test file was faster.
    if (!(await fileExists(template))) throw error;
    await Deno.remove(own, { recursive: true });
  }
}

// Without this check Postgres reports only that permission was denied.
async function requireReachable(folder: string): Promise<void> {
  for (let path = folder; path !== ""; path = path.slice(0, path.lastIndexOf("/"))) {
    const { mode } = await Deno.stat(path);
    if (((mode ?? 0) & 0o001) !== 0) continue;
    throw new Stop(
      `Postgres cannot run as root, and the unprivileged user it runs as cannot enter ${path}: ` +
        `move the checkout to a folder that others may enter, or chmod o+x ${path}`,
    );
  }
}

async function initialise(folder: string): Promise<void> {
  const data = `${folder}/postgres`;
  const hasPassword = await fileExists(`${folder}/${PASSWORD_FILE}`);
  if (await fileExists(`${data}/PG_VERSION`)) return hasPassword ? undefined : await secure(folder);
  // Renamed when it is complete, so that what a killed initdb left is not taken for a cluster.
  const unfinished = `${data}.new`;
  await Deno.remove(unfinished, { recursive: true }).catch(() => {});
  await Deno.mkdir(unfinished);
  const { uid, gid } = identity();
  const file = await writePassword(`${folder}/${PASSWORD_FILE}`, randomPassword());
  if (uid !== undefined && gid !== undefined) {
    for (const path of [unfinished, file]) await Deno.chown(path, uid, gid);
  }
  const args = [
    ...["--pgdata", unfinished, "--username", "postgres"],
    ...["--auth", "scram-sha-256", "--pwfile", file],
    ...["--encoding", "UTF8", "--locale", "C", "--no-sync"],
  ];
  await runTool(`${postgresBin(folder)}/initdb`, args, { cwd: unfinished, ...identity() });
  if (uid !== undefined) await Deno.chown(file, Deno.uid(), Deno.gid());
  await Deno.rename(unfinished, data);
}

// An earlier version let every account of the machine in, as every user and without a password.
async function secure(folder: string): Promise<void> {
  const data = `${folder}/postgres`;
  const password = randomPassword();
  const file = await writePassword(`${folder}/${PASSWORD_FILE}.new`, password);
  const single = new ChildProcess(
    `${postgresBin(folder)}/postgres`,
    ["--single", "-D", data, "postgres"],
    { cwd: data, hasInput: true, ...identity() },
  );
  await single.write(`alter role postgres password '${password}'\n`);
  await single.endInput();
  const { code, err } = await single.ended;
  if (code !== 0 || /ERROR:/.test(err)) {
    throw new Stop(`the superuser of Postgres cannot be given a password: ${err.trim()}`);
  }
  await Deno.writeTextFile(
    `${data}/pg_hba.conf`,
    "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n",
  );
  await Deno.rename(file, `${folder}/${PASSWORD_FILE}`);
}

// Returns `path`.
async function writePassword(path: string, password: string): Promise<string> {
  await Deno.remove(path).catch(() => {});
  await Deno.writeTextFile(path, `${password}\n`, { mode: 0o600 });
  return path;
}

async function spawn(
  workspace: Workspace,
  port: number,
  options: PostgresOptions,
): Promise<Child> {
  const { folder } = workspace;
  const settings = [
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    ...(options.durable ? [] : NOT_DURABLE),
    ...(options.settings ?? []),
  ];
  return await Child.start(workspace, {
    name: "postgres",
    command: `${postgresBin(folder)}/postgres`,
    args: ["-D", `${folder}/postgres`, "-p", String(port), ...settings.flatMap((s) => ["-c", s])],
    cwd: `${folder}/postgres`,
    ...identity(),
  });
}

function identity(): { uid?: number; gid?: number } {
  return Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : {};
}
