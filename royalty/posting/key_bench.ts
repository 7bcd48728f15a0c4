/**
 * The cost of keys: `deno run -A royalty/posting/key_bench.ts [millions,millions…] [events]`.
 *
 * Measures posting alone, on a Postgres as durable as in production. One session posts batches that
 * were judged before, with the given millions of keys present, of UUIDv7 and of random ids. Postgres
 * generates those keys; the UUIDv7 are of the last day, so that the partitions written to hold all of
 * them. Bytes per key are measured on posted keys.
 *
 * @module
 */
import type { Sql } from "postgres";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { type Figure, measure, rateOf, report } from "../../shared/dev/testing/measure.ts";
import { PostgresServer } from "../../shared/dev/servers/postgres_server.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { maintainKeys } from "./key_partitions.ts";
import type { Position } from "../books/accounts.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { LedgerSession, type Posting } from "./ledger.ts";
import { BooksRig, commitPosting, postingOf } from "../../shared/e2e/books_rig.ts";

const BATCH_EVENTS = 10_000;
const WARM_UP = 3 * BATCH_EVENTS;
const MILLION = 1_000_000;
const DAY_MS = 86_400_000;
const EVENTS_A_DAY = 2e9;
const STREAM = "HEARTBEATS";
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 7 * DAY_MS,
  futureToleranceMs: 300_000,
};

/** Ids of one kind: the table of their keys, how a player makes one, how Postgres makes many. */
interface Kind {
  readonly name: string;
  readonly table: string;
  readonly idOf: (random: Random, ts: number) => string;
  /** SQL of a row of `table`, for the key `n` of `count`. */
  readonly row: string;
}

const KINDS: readonly Kind[] = [
  {
    name: "UUIDv7",
    table: "event_key_v7",
    idOf: (random, ts) => random.uuidv7(ts),
    row: "uuidv7(interval '1 day' * (n::float8 / count - 1.001)), n",
  },
  {
    name: "random ids",
    table: "event_key_other",
    idOf: () => crypto.randomUUID(),
    row: "gen_random_uuid(), n, current_date",
  },
];

/** Posts `events` of each kind with each number of millions of keys; prints and returns figures. */
export async function runKeyBench(
  millions: readonly number[] = [0, 10, 50],
  events = 200_000,
): Promise<Figure[]> {
  await using books = await BooksRig.start({ zone: "UTC", durable: true });
  const { postgres } = books.stack;
  const sql = books.stack.admin();
  const retention = { streams: [STREAM], latenessHorizonMs: 7 * DAY_MS, otherKeysMs: 0 };
  await maintainKeys(sql, retention, Date.now());
  const figures: Figure[] = [];
  for (const kind of KINDS) {
    for (const million of [...millions].sort((a, b) => a - b)) {
      if (million > 0) await fillUp(sql, kind, million * MILLION);
      const name = `${kind.name}, ${million} M keys present`;
      const figure = await measurePosting(postgres, books.url, { name, kind, events });
      figures.push(figure);
      console.log(`${report([figure])}  ${microsecondsOf(figure)}`);
      if (million === 0) await printSize(sql, kind);
    }
  }
  return figures;
}

// Unlike the rate, this does not depend on the disk or on other load of the machine.
function microsecondsOf(figure: Figure): string {
  const each = (figure.cores.postgres ?? NaN) * MILLION / rateOf(figure);
  return `Postgres ${each.toFixed(1)} µs of a core per event`;
}

// The index is built at the end, with the fill factor that posting leaves: inserting millions of keys
// one by one would take longer than the measurement.
async function fillUp(sql: Sql, { table, row }: Kind, count: number): Promise<void> {
  const keys = `royalty.${table}`;
  await sql.begin(async (tx) => {
    await tx.unsafe(`
      set local maintenance_work_mem = '1GB';
      truncate ${keys};
      alter table ${keys} drop constraint ${table}_pkey;
      insert into ${keys} select ${row} from generate_series(1, ${count}) n, (select ${count} as count);
      alter table ${keys} add constraint ${table}_pkey
        primary key (event_id) with (fillfactor = 75)`);
  });
  // Otherwise autovacuum would do it during the measurement.
  await sql.unsafe(`vacuum analyze ${keys}`);
  await sql`checkpoint`;
}

/** One measurement: `events` of `kind`. */
interface Run {
  readonly name: string;
  readonly kind: Kind;
  readonly events: number;
}

async function measurePosting(
  server: PostgresServer,
  url: string,
  { name, kind, events }: Run,
): Promise<Figure> {
  const random = new Random(Math.floor(Math.random() * 2 ** 32));
  const { lastSeq } = await positionOf(url);
  const batches = Math.ceil((WARM_UP + events) / BATCH_EVENTS);
  const postings = Array.from(
    { length: batches },
    (_, i) => aPosting(random, kind, lastSeq + i * BATCH_EVENTS),
  );
  // Opened here, because Postgres would end a session that is idle while postings are prepared.
  await using session = new LedgerSession(url, STREAM);
  for (const posting of postings.splice(0, WARM_UP / BATCH_EVENTS)) await post(session, posting);
  return await measure(name, { driver: Deno.pid, postgres: server.pid }, async () => {
    for (const posting of postings) await post(session, posting);
    return postings.length * BATCH_EVENTS;
  });
}

async function positionOf(url: string): Promise<Position> {
  await using session = new LedgerSession(url, STREAM);
  return await session.position();
}

function aPosting(random: Random, kind: Kind, after: number): Posting {
  const now = Date.now();
  const bodies = Array.from({ length: BATCH_EVENTS }, () => {
    const ts = now - random.int(0, 20_000);
    return aHeartbeat(random, ts, { event_id: kind.idOf(random, ts) });
  });
  return postingOf({ stream: STREAM, after, bodies, receivedAtMs: now }, RULES);
}

async function post(session: LedgerSession, posting: Posting): Promise<void> {
  const { counted, lastSeq } = await commitPosting(session, posting);
  if (counted !== lastSeq) throw new Error("an id occurred twice");
}

interface KeysRow {
  readonly keys: number;
}

/** Bytes of a table and its partitions. */
interface SizeRow {
  readonly heap: number;
  readonly index: number;
}

async function printSize(sql: Sql, { name, table }: Kind): Promise<void> {
  const keyRows = await sql<KeysRow[]>`
    select count(*)::int as keys from ${sql(`royalty.${table}`)}`;
  // pg_partition_tree does not list a table without partitions.
  const sizeRows = await sql<SizeRow[]>`
    select sum(pg_relation_size(oid))::float8 as heap, sum(pg_indexes_size(oid))::float8 as index
    from (
      select relid as oid from pg_partition_tree(${`royalty.${table}`}::text::regclass)
      union select ${`royalty.${table}`}::text::regclass
    ) as tables`;
  const { keys } = onlyRow(keyRows, `the keys in ${table}`);
  const { heap, index } = onlyRow(sizeRows, `the size of ${table}`);
  const bytes = (heap + index) / keys;
  console.log(
    `${name}: ${bytes.toFixed(1)} bytes a key (table ${(heap / keys).toFixed(1)}, index ` +
      `${(index / keys).toFixed(1)}); two billion a day are ` +
      `${Math.round(bytes * EVENTS_A_DAY / 1e9)} GB a day`,
  );
}

if (import.meta.main) {
  const [millions, events] = Deno.args;
  const figures = await runKeyBench(
    millions?.split(",").map(Number),
    events === undefined ? undefined : Number(events),
  );
  console.log(figures.map((figure) => Math.round(rateOf(figure))).join(" "));
  Deno.exit(0);
}
