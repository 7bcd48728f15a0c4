/**
 * Makes every connection to Postgres.
 *
 * The driver (postgres.js) has three faults that this module works around:
 * - It waits forever for an answer that never arrives, for example when a link drops packets.
 * - It deletes the socket of a lost connection while a transaction, a cursor or a handshake may still
 *   write to it. The error is thrown in its own timer and ends the process.
 * - It reuses the state of a lost connection for the next one, where queries then hang.
 *
 * The driver therefore gets a {@link Link} instead of a socket. A link follows the protocol, and is
 * lost when a response is pending and no byte arrives for too long. A lost link emits `error` but not
 * `close`: the driver keeps it, every write to it fails at once, and the driver does not reconnect.
 * Instead, all connections of a pool, one {@link Generation}, are given up together, and the next
 * query makes new ones.
 *
 * This requires that `listen`, `subscribe`, `reserve` and `cancel` of the driver are not used. Read
 * long results with `cursor(rows, callback)`: `for await` over a cursor ends without an error when
 * the connection is lost while its body waits. Send arrays by `array_literal.ts`.
 *
 * @module
 */
import postgres, { type Sql, type TransactionSql } from "postgres";
import { dial } from "./dial.ts";
import { Link } from "./link.ts";
import { type Server, serverOf } from "./server_url.ts";
import { lostError } from "./transient.ts";

/** Options of a session. */
export interface SessionOptions {
  /** The application name in `pg_stat_activity`, after `twofold-`. */
  readonly purpose: string;
  /** How long a response may be pending without any byte, ms; {@link DEFAULT_SILENCE_MS} if unset. */
  readonly silenceMs?: number;
  /** Postgres settings of the connections, in addition to those that all connections have. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
}

/** Options of a pool. */
export interface PoolOptions extends SessionOptions {
  /** Maximum number of connections. */
  readonly max: number;
}

/** A pool, a session or a transaction. */
export type Queryable = Sql | TransactionSql;

/** Maximum silence of Postgres during short statements, ms. */
export const DEFAULT_SILENCE_MS = 10_000;

/** Settings of every connection, so that defaults of server or role do not change its behaviour. */
const SETTINGS = {
  DateStyle: "ISO, YMD",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  bytea_output: "hex",
  // Every name in our SQL has its schema, and temporary tables cannot shadow it.
  search_path: "pg_catalog, pg_temp",
  default_transaction_isolation: "read committed",
  client_min_messages: "warning",
  // Releases the locks of a client that hangs or lost its network.
  idle_in_transaction_session_timeout: 60_000,
  // Ends a statement, and releases its locks, when the client disconnected.
  client_connection_check_interval: 1_000,
  tcp_keepalives_idle: 5,
  tcp_keepalives_interval: 2,
  tcp_keepalives_count: 3,
  tcp_user_timeout: 12_000,
} as const;

/**
 * Opens a pool. It connects on first use, and again after a connection was lost. The loss of a
 * connection that is not idle fails the queries of all connections of the pool, because the others
 * are probably lost too.
 *
 * Queries on a lost connection reject with a transient error ({@link isTransient}). Throws `Stop` for
 * a URL that can never work.
 */
export function openPool(url: string, options: PoolOptions): Sql {
  return new Pool(url, options, "pool").sql;
}

/**
 * Opens a session: one connection that is never replaced, for example for an advisory lock. It
 * connects on first use. Once it is lost, every use throws `RetryAfter`; open another session.
 */
export function openSession(url: string, options: SessionOptions): Sql {
  return new Pool(url, { ...options, max: 1 }, "session").sql;
}

/**
 * Runs `work`, during which Postgres may be silent for up to `silenceMs` on `sql`, a pool or a session.
 * The limit applies to all its connections, so statements that have to detect a dead link sooner need
 * another pool. For a transaction this has no effect; raise the limit of its pool.
 */
export async function allowSilence<T>(
  sql: Queryable,
  silenceMs: number,
  work: () => PromiseLike<T>,
): Promise<T> {
  const limits = silenceLimitsOf.get(sql);
  const limit = { silenceMs };
  limits?.add(limit);
  try {
    return await work();
  } finally {
    limits?.delete(limit);
  }
}

/** The limits of calls of {@link allowSilence} in progress. */
type SilenceLimits = Set<{ readonly silenceMs: number }>;

const silenceLimitsOf = new WeakMap<Queryable, SilenceLimits>();

/** Provides the `sql` that callers hold, which outlives lost connections. */
class Pool {
  readonly sql: Sql;
  readonly #silenceLimits: SilenceLimits = new Set();
  #generation: Generation;
  #isEnded = false;

  constructor(
    readonly url: string,
    readonly options: PoolOptions,
    readonly kind: "pool" | "session",
  ) {
    this.#generation = this.#open();
    this.sql = new Proxy(this.#generation.sql, {
      apply: (_, self, args) => Reflect.apply(this.#current().sql, self, args),
      get: (_, name) => {
        if (name === "end") return this.#end;
        const generation = this.#current();
        return name === "begin" ? generation.begin : Reflect.get(generation.sql, name);
      },
    });
    silenceLimitsOf.set(this.sql, this.#silenceLimits);
  }

  readonly #end = (options?: EndOptions): Promise<void> => {
    this.#isEnded = true;
    return this.#generation.end(options);
  };

  #current(): Generation {
    if (this.#generation.isLost && !this.#isEnded) {
      if (this.kind === "session") throw lostError("the connection was lost before");
      this.#generation = this.#open();
    }
    return this.#generation;
  }

  #open(): Generation {
    const { silenceMs = DEFAULT_SILENCE_MS } = this.options;
    const limitMs = () =>
      Math.max(silenceMs, ...[...this.#silenceLimits].map((each) => each.silenceMs));
    return new Generation(this.url, this.options, limitMs);
  }
}

/** Options of `sql.end`. */
interface EndOptions {
  /** Maximum wait for queries in progress, s. */
  readonly timeout?: number;
}

/** An instance of the driver and its connections, used until one of them is lost. */
class Generation {
  readonly sql: Sql;
  readonly #links = new Set<Link>();
  readonly #begun = new Set<(reason: Error) => void>();
  readonly #broken = Promise.withResolvers<void>();
  #isLost = false;
  #isOver = false;

  constructor(
    url: string,
    { purpose, max, settings }: PoolOptions,
    readonly limitMs: () => number,
  ) {
    const server = serverOf(url);
    const options = {
      // Not the URL, because the driver does not decode all of it.
      host: server.host,
      port: server.port,
      database: server.database,
      user: server.user,
      pass: server.password,
      max,
      socket: () => this.#connect(server),
      connection: { ...SETTINGS, ...settings, application_name: `twofold-${purpose}` },
      // A failure of that query would be an unhandled rejection.
      fetch_types: false,
      // Links do this.
      ssl: false,
      connect_timeout: 0,
      keep_alive: null,
      // Otherwise the driver would close connections that hold locks.
      max_lifetime: null,
      idle_timeout: 0,
      onnotice: () => {},
    };
    this.sql = postgres(options);
  }

  /** Whether new queries need another generation; queries in progress may still succeed. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /**
   * The driver's `begin`, rejected when a connection is lost. The driver itself would reject it only on
   * `close`; without that event, a `rollback` could wait forever in the queue.
   */
  readonly begin = (...args: readonly unknown[]): Promise<unknown> => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#begun.add(reject);
    const done: Promise<unknown> = Reflect.apply(this.sql.begin, this.sql, args);
    done.then(resolve, reject).finally(() => this.#begun.delete(reject));
    return promise;
  };

  /** Ends every connection when it is idle, or after `timeout` seconds at the latest. */
  async end(options: EndOptions = {}): Promise<void> {
    await Promise.race([this.sql.end(options), this.#broken.promise]);
    this.#isOver = true;
    for (const link of this.#links) link.destroy();
  }

  // Must not reject, because the driver would then lose a connection from its count.
  async #connect(server: Server): Promise<Link> {
    const link = new Link(await dial(server), this.limitMs, (reason, wasIdle) => {
      this.#links.delete(link);
      this.#isLost = true;
      // No query was in progress on this connection, and the others may finish theirs.
      if (wasIdle) void this.end();
      else this.#break(reason);
    });
    this.#links.add(link);
    if (this.#isOver) link.destroy();
    return link;
  }

  #break(reason: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const link of this.#links) link.destroy(reason);
    // Rejects queries that wait for a connection.
    void this.sql.end({ timeout: 0 });
    for (const reject of this.#begun) reject(reason);
    this.#broken.resolve();
  }
}
