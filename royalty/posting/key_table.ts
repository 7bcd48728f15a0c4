/**
 * The keys of counted events: looked for by the plan of a batch, entered by its commit; `event_key.ts`
 * says where each belongs.
 *
 * Looking first and then inserting plainly costs less than `insert … on conflict do nothing
 * returning`: per event 7.7 against 11.5 µs of a Postgres core, because speculative insertion writes
 * more log and its answer has to be joined (batches of 10,000; COPY alone: 4.0). When another stream
 * enters one of the ids in between, the insert fails as a whole and the batch is tried again.
 *
 * @module
 */
import type { TransactionSql } from "postgres";
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import type { Claim } from "./accrue.ts";
import { arrayOf } from "../../shared/process/postgres/array_literal.ts";
import { dateOf, dayNumber, madeAt } from "./event_key.ts";

const DAY_MS = 86_400_000;

interface KeyRow {
  readonly event_id: string;
  readonly fingerprint: number;
}

/** Fingerprints of those ids of `claims` that were counted before, by id. */
export async function knownKeys(
  sql: Queryable,
  claims: readonly Claim[],
): Promise<Map<string, number>> {
  const { recent, strange, other } = byPlace(claims);
  const found = await Promise.all([
    knownMade(sql, recent),
    knownMade(sql, strange),
    other.length === 0 ? [] : sql<KeyRow[]>`
      select event_id, fingerprint from royalty.event_key_other
      where event_id = any(${idsOf(other)}::text::uuid[])`,
  ]);
  return new Map(found.flat().map((row) => [row.event_id, row.fingerprint]));
}

// The bounds tell Postgres which partitions to look into; from the array alone it cannot know.
async function knownMade(sql: Queryable, claims: readonly Claim[]): Promise<readonly KeyRow[]> {
  const [first, last] = [claims.at(0), claims.at(-1)];
  if (first === undefined || last === undefined) return [];
  return await sql<KeyRow[]>`
    select event_id, fingerprint from royalty.event_key_v7
    where event_id between ${first.eventId}::text::uuid and ${last.eventId}::text::uuid
      and event_id = any(${idsOf(claims)}::text::uuid[])`;
}

/** Keeps the keys of `claims`, of which none is known. */
export async function addKeys(tx: TransactionSql, claims: readonly Claim[]): Promise<void> {
  const { recent, strange, other } = byPlace(claims);
  await Promise.all([addMade(tx, recent), addMade(tx, strange), addOther(tx, other)]);
}

async function addMade(tx: TransactionSql, claims: readonly Claim[]): Promise<void> {
  if (claims.length === 0) return;
  await tx`
    insert into royalty.event_key_v7 (event_id, fingerprint)
    select * from unnest(
      ${idsOf(claims)}::text::uuid[],
      ${arrayOf(claims.map(({ fingerprint }) => fingerprint))}::text::integer[])`;
}

async function addOther(tx: TransactionSql, claims: readonly Claim[]): Promise<void> {
  if (claims.length === 0) return;
  const received = claims.map(({ delivery }) => dateOf(dayNumber(delivery.receivedAt)));
  await tx`
    insert into royalty.event_key_other (event_id, fingerprint, received_day)
    select * from unnest(
      ${idsOf(claims)}::text::uuid[],
      ${arrayOf(claims.map(({ fingerprint }) => fingerprint))}::text::integer[],
      ${arrayOf(received)}::text::date[])`;
}

function idsOf(claims: readonly Claim[]): string {
  return arrayOf(claims.map(({ eventId }) => eventId));
}

/** Claims sorted by id: neighbours share index pages, and two streams lock ids in one order. */
interface Places {
  /** UUIDv7 made within a day of their receipt: one or two partitions. */
  readonly recent: readonly Claim[];
  /** Other UUIDv7. Apart, because one of them makes the bounds span every partition. */
  readonly strange: readonly Claim[];
  readonly other: readonly Claim[];
}

function byPlace(claims: readonly Claim[]): Places {
  const recent: Claim[] = [];
  const strange: Claim[] = [];
  const other: Claim[] = [];
  for (const claim of [...claims].sort((a, b) => (a.eventId < b.eventId ? -1 : 1))) {
    const made = madeAt(claim.eventId);
    if (made === undefined) other.push(claim);
    else if (Math.abs(made - claim.delivery.receivedAt) <= DAY_MS) recent.push(claim);
    else strange.push(claim);
  }
  return { recent, strange, other };
}
