/**
 * A lock of the database that one session at a time has, for as long as its connection lives.
 *
 * A link may lose a connection without a word: Postgres then keeps the session and its lock until a
 * timeout. A process therefore remembers its session, and ends it before it asks again with another.
 * What the old session was doing is then done or undone: a commit whose answer was lost is in the
 * database before the next session has the lock.
 *
 * @module
 */
import type { Sql } from "postgres";
import { arrayOf, textArrayOf } from "./array_literal.ts";
import { onlyRow } from "./rows.ts";
import { withRetryable } from "./transient.ts";

/** Maximum wait for the end of an old session, ms; less than any limit of silence. */
const END_MS = 1_000;

interface SessionRow {
  readonly pid: number;
  /** Tells it from another session with the same id. */
  readonly started: string;
}

interface EndedRow {
  readonly ended: boolean;
}

interface LockedRow {
  readonly locked: boolean;
}

/** See the module. One per holder, for all sessions that it opens one after another. */
export class SessionLock {
  #asking: Sql | undefined;
  /** Sessions that may be alive and have the lock. */
  #sessions: readonly SessionRow[] = [];

  /** The lock is that of `space` and `name`. */
  constructor(readonly space: string, readonly name: string) {}

  /** Tries to take the lock for the session `sql`; false while another one has it. */
  async take(sql: Sql): Promise<boolean> {
    return await withRetryable(async () => {
      if (this.#asking !== sql) await this.#introduce(sql);
      const rows = await sql<LockedRow[]>`
        select pg_try_advisory_lock(hashtext(${this.space}), hashtext(${this.name})) as locked`;
      return onlyRow(rows, `the lock of ${this.name}`).locked;
    });
  }

  // Before the session asks for the lock, so that each one that may have it is known.
  async #introduce(sql: Sql): Promise<void> {
    const [rows] = await Promise.all([
      sql<SessionRow[]>`
        select pid, backend_start::text as started from pg_stat_activity
        where pid = pg_backend_pid()`,
      this.#sessions.length === 0 ? [] : sql<EndedRow[]>`
        select pg_terminate_backend(a.pid, ${END_MS}::bigint) as ended from pg_stat_activity a
        join unnest(
          ${arrayOf(this.#sessions.map(({ pid }) => pid))}::text::integer[],
          ${textArrayOf(this.#sessions.map(({ started }) => started))}::text::text[])
          as old (pid, started) on a.pid = old.pid and a.backend_start::text = old.started`,
    ]);
    this.#sessions = [onlyRow(rows, "this session")];
    this.#asking = sql;
  }
}
