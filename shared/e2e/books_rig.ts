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
import { PostgresStack } from "../dev/servers/stack.ts";
import { encode } from "../dev/testing/heartbeats.ts";

/** Postgres, and connections of the royalty role to the books. */
export class BooksRig implements AsyncDisposable {
  /** The royalty role's pool. */
  readonly sql: Sql;

  private constructor(readonly stack: PostgresStack) {
    this.sql = connectBooks(this.url);
  }

  /** Starts Postgres; opens the books in `zone`, or leaves them to the caller. */
  static async start(
    { zone, durable = false }: { readonly zone?: string; readonly durable?: boolean } = {},
  ): Promise<BooksRig> {
    const rig = new BooksRig(await PostgresStack.start({ durable }));
    if (zone !== undefined) await openBooks(rig.url, zone);
    return rig;
  }

  /** Connection URL of the royalty role. */
  get url(): string {
    return this.stack.databaseUrl("royalty");
  }

  /** Replaces the books by new ones, in `zone`. */
  async renew(zone: string): Promise<void> {
    const sql = this.stack.postgres.connect("twofold");
    await sql`drop schema royalty cascade`;
    await sql`create schema royalty authorization royalty`;
    await sql.end();
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
