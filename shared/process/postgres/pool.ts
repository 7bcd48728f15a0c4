/**
 * Every connection to Postgres is made here.
 *
 * The driver (postgres.js) has three faults that a service that counts money cannot live with:
 * - It waits for ever for an answer that will never come, as when a link drops packets.
 * - It forgets the socket of a lost connection while a transaction, a cursor or a handshake may still
 *   write to it: that is an error in its own timer, which ends the process.
 * - It uses the state of a lost connection for the next one: queries sent there hang.
 *
 * So the driver is given a {@link Link} instead of a socket. A link watches the protocol, and is lost
 * when Postgres owes an answer and sends nothing for too long. The driver is never told that a lost
 * link is closed, only that there was an error: it keeps the link, whatever it writes there fails at
 * once, and it never connects again by itself. Instead all of the driver's connections of a pool,
 * one {@link Generation}, are given up together, and the next query makes new ones.
 *
 * For this to hold, do not use `listen`, `subscribe`, `reserve` and `cancel` of the driver. Read
 * long results with `cursor(rows, callback)`: `for await` over a cursor ends like a complete one
 * when the connection is lost while its body waits. Arrays are sent as `array_literal.ts` makes them.
 *
 * @module
 */
import postgres, { type Sql, type TransactionSql } from "postgres";
import { dial, type Server, serverOf } from "./dial.ts";
import { Link } from "./link.ts";
import { lostError } from "./passing.ts";

/** What a pool or a session is for, and its bounds. */
export interface SessionOptions {
  /** What `pg_stat_activity` shows, after `twofold-`. */
  readonly purpose: string;
  /** How long Postgres may owe an answer and send nothing, ms; {@link SILENCE_MS} if not given. */
  readonly silenceMs?: number;
  /** Settings of the connections, beyond those that all have. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
}

/** {@link SessionOptions} of more than one connection. */
export interface PoolOptions extends SessionOptions {
  /** Most connections at a time. */
  readonly max: number;
}

/** A connection or pool, or a transaction of it. */
export type Queryable = Sql | TransactionSql;

/** Longest silence for short statements, ms. */
export const SILENCE_MS = 10_000;

/** Settings of every connection: neither the server's nor a role's defaults change what code means. */
const SETTINGS = {
  DateStyle: "ISO, YMD",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  bytea_output: "hex",
  // Every name in our SQL says its schema; a temporary table hides nothing.
  search_path: "pg_catalog, pg_temp",
  default_transaction_isolation: "read committed",
  client_min_messages: "warning",
  // A client that hangs, or whose network does, would keep its locks. Nothing here waits that long.
  idle_in_transaction_session_timeout: 60_000,
  // A server that works or waits for a client that is gone would hold its locks until it is done.
  client_connection_check_interval: 1_000,
  tcp_keepalives_idle: 5,
  tcp_keepalives_interval: 2,
  tcp_keepalives_count: 3,
  tcp_user_timeout: 12_000,
} as const;

/**
 * A pool. It connects when it is used, and again after a connection was lost; the loss of one that
 * is at work fails what all others of the pool are doing, because it is seldom alone.
 *
 * What is lost rejects with `RetryAfter` or with what {@link passes} says passes. Throws `Stop` for a
 * URL with parameters other than `sslmode`.
 */
export function openPool(url: string, options: PoolOptions): Sql {
  return new Pool(url, options, "pool").sql;
}

/**
 * One connection, for what lives as long as it does, like an advisory lock. It connects when it is
 * used. Once it is lost every use throws `RetryAfter`: open another session.
 */
export function openSession(url: string, options: SessionOptions): Sql {
  return new Pool(url, { ...options, max: 1 }, "session").sql;
}

/**
 * Lets Postgres be silent for up to `silenceMs` while `work` is done with `sql`. All connections of
 * the pool get that patience, so what must notice a dead link sooner belongs to another pool. A
 * transaction has the patience that its pool was given; here it changes nothing.
 */
export async function patiently<T>(
  sql: Queryable,
  silenceMs: number,
  work: () => PromiseLike<T>,
): Promise<T> {
  const patience = patienceOf.get(sql);
  const held = { silenceMs };
  patience?.add(held);
  try {
    return await work();
  } finally {
    patience?.delete(held);
  }
}

/** Silence that work under way needs. */
type Patience = Set<{ readonly silenceMs: number }>;

const patienceOf = new WeakMap<Queryable, Patience>();

/** What stays when connections are lost: the `sql` that callers hold. */
class Pool {
  readonly sql: Sql;
  readonly #patience: Patience = new Set();
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
    patienceOf.set(this.sql, this.#patience);
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
    const { silenceMs = SILENCE_MS } = this.options;
    const limitMs = () => Math.max(silenceMs, ...[...this.#patience].map((each) => each.silenceMs));
    return new Generation(this.url, this.options, limitMs);
  }
}

/** How a pool ends. */
interface EndOptions {
  /** Longest wait for what is under way, s. */
  readonly timeout?: number;
}

/** The driver and its connections until one of them is lost. */
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
      max,
      socket: () => this.#connect(server),
      connection: { ...SETTINGS, ...settings, application_name: `twofold-${purpose}` },
      // Its failure would be a rejection that nobody handles.
      fetch_types: false,
      // What these would do, links do.
      ssl: false,
      connect_timeout: 0,
      keep_alive: null,
      // The driver would close connections that hold locks.
      max_lifetime: null,
      idle_timeout: 0,
      onnotice: () => {},
    };
    this.sql = postgres(server.driverUrl, options);
  }

  /** Whether new queries belong to another generation; those under way may still succeed. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /**
   * The driver's `begin`, rejected once a connection is lost. The driver itself rejects it when it
   * is told `close`; without that, a `rollback` could wait for ever for its turn.
   */
  readonly begin = (...args: readonly unknown[]): Promise<unknown> => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#begun.add(reject);
    const done: Promise<unknown> = Reflect.apply(this.sql.begin, this.sql, args);
    done.then(resolve, reject).finally(() => this.#begun.delete(reject));
    return promise;
  };

  /** Ends every connection: when it is at rest, or after `timeout` s at the latest. */
  async end(options: EndOptions = {}): Promise<void> {
    await Promise.race([this.sql.end(options), this.#broken.promise]);
    this.#isOver = true;
    for (const link of this.#links) link.destroy();
  }

  // Must not reject: the driver would lose count of its connections.
  async #connect(server: Server): Promise<Link> {
    const link = new Link(await dial(server), this.limitMs, (reason, wasAtRest) => {
      this.#links.delete(link);
      this.#isLost = true;
      // Nobody waits for this one, and the others can finish.
      if (wasAtRest) void this.end();
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
    // Rejects what waits for a connection.
    void this.sql.end({ timeout: 0 });
    for (const reject of this.#begun) reject(reason);
    this.#broken.resolve();
  }
}
