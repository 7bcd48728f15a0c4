/**
 * Royalty's books on a real Postgres, without NATS and without a process: for tests and benchmarks
 * of what enters the books and what is read from them.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { Position } from "../../royalty/books/accounts.ts";
import { connectBooks, openBooks } from "../../royalty/books/connection.ts";
import { type AccrualRules, accrue } from "../../royalty/posting/accrue.ts";
import type { LedgerSession, Posting } from "../../royalty/posting/ledger.ts";
import type { Heartbeat } from "../contract/event.ts";
import { booksMigrations } from "../../royalty/books/migrations.ts";
import { createDatabase, DATABASE, PostgresStack } from "../dev/servers/stack.ts";
import { migrate } from "../process/postgres/migrate.ts";
import { encode } from "../dev/testing/heartbeats.ts";

/** Postgres with the books, and connections to it. */
export class BooksRig implements AsyncDisposable {
  /** A superuser's pool: guards apply to it, rights do not. */
  readonly sql: Sql;

  private constructor(readonly stack: PostgresStack) {
    this.sql = connectBooks(stack.postgres.url(DATABASE));
  }

  /** Starts Postgres and opens the books in `zone`. */
  static async start(
    { zone, durable = false }: { readonly zone: string; readonly durable?: boolean },
  ): Promise<BooksRig> {
    const rig = new BooksRig(await PostgresStack.start({ durable }));
    await openBooks(rig.url, zone);
    return rig;
  }

  /**
   * Starts Postgres with the schema as it was before the migration `before`, which the role royalty
   * owns, as in installations of that time. The caller opens the books.
   */
  static async earlier(before: string): Promise<BooksRig> {
    const rig = new BooksRig(await PostgresStack.start());
    await rig.sql`drop schema royalty cascade`;
    await rig.sql`create schema royalty authorization royalty`;
    await rig.sql`grant create on database ${rig.sql(DATABASE)} to royalty`;
    const owner = connectBooks(rig.url);
    const migrations = (await booksMigrations()).filter(({ name }) => name < before);
    await migrate(owner, "royalty", migrations);
    await owner.end();
    return rig;
  }

  /** Connection URL of the role that posts. */
  get url(): string {
    return this.stack.databaseUrl("royalty");
  }

  /** Connection URL of the role that closes days and issues. */
  get issuerUrl(): string {
    return this.stack.databaseUrl("issuer");
  }

  /** Replaces the books by new ones, in `zone`. */
  async renew(zone: string): Promise<void> {
    await this.sql`drop schema royalty cascade`;
    await createDatabase(this.stack.postgres);
    await openBooks(this.url, zone);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end({ timeout: 1 });
    await this.stack[Symbol.asyncDispose]();
  }
}

/** What a stream received at one moment, and the position before. */
export interface ReceivedBatch {
  readonly stream: string;
  readonly after: number;
  readonly bodies: readonly (Heartbeat | string)[];
  /** Ms since the epoch. */
  readonly receivedAtMs: number;
  /** How many sequences between `after` and the first body the stream lost. */
  readonly lost?: number;
}

/** The posting that the service makes of a batch. */
export function postingOf(
  { stream, after, bodies, receivedAtMs, lost = 0 }: ReceivedBatch,
  rules: AccrualRules,
): Posting {
  const first = after + lost + 1;
  const deliveries = bodies.map((body, i) => ({
    bytes: typeof body === "string" ? new TextEncoder().encode(body) : encode(body),
    sequence: first + i,
    index: 0,
    receivedAtMs,
  }));
  return {
    stream,
    after,
    through: { lastSeq: first + bodies.length - 1, lastReceivedAtMs: receivedAtMs },
    events: bodies.length,
    gaps: lost > 0 ? [{ firstSeq: after + 1, lastSeq: after + lost }] : [],
    ...accrue(deliveries, rules),
  };
}

/** Plans per posting, as the service makes at most. */
const MAX_PLANS = 5;

/**
 * Plans `posting` and commits it, as often as the plan is outdated. `beforeCommit` runs between
 * each plan and its commit.
 */
export async function commitPosting(
  session: LedgerSession,
  posting: Posting,
  beforeCommit: () => Promise<void> = async () => {},
): Promise<Position> {
  for (let plans = 0; plans < MAX_PLANS; plans++) {
    const plan = await session.plan(posting);
    await beforeCommit();
    const outcome = await session.commit(posting, plan);
    if (outcome.kind === "committed") return outcome.position;
  }
  throw new Error(`${MAX_PLANS} plans of a posting were outdated before their commit`);
}
