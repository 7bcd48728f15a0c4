/**
 * The catalogue in Postgres: who is paid for a title, by territory and event day.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { textArrayOf } from "../../shared/process/postgres/array_literal.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import type { Right } from "../statement/catalogue.ts";
import { recordAct } from "./acts.ts";

/** Who loads a catalogue, from where, and why. */
export interface CatalogueDeed {
  readonly by: string;
  readonly file: string;
  readonly reason?: string | undefined;
}

/** Numbers of titles by the effect of {@link putCatalogue}. */
export interface PutTitles {
  readonly added: number;
  readonly changed: number;
  readonly unchanged: number;
}

/** Rights per statement, so that its parameters stay below the maximum size of Postgres. */
const CHUNK_RIGHTS = 20_000;

/**
 * Replaces the rights to each title that `rights` names, for all titles or none, and records who did
 * it with the hash of the whole catalogue before and after. Other titles are not changed. `onProgress`
 * receives the number of rights read. Rejects with the error of Postgres, as for two rights to the
 * same title, territory and day.
 */
export async function putCatalogue(
  sql: Sql,
  rights: readonly Right[],
  deed: CatalogueDeed,
  onProgress?: OnProgress,
): Promise<PutTitles> {
  return await sql.begin(async (tx) => {
    // One load after the other, so that the hash before is that after the load before.
    await tx`lock table royalty.title_right in share row exclusive mode`;
    await tx`create temporary table put_right (like royalty.title_right) on commit drop`;
    for (let at = 0; at < rights.length; at += CHUNK_RIGHTS) {
      await stage(tx, rights.slice(at, at + CHUNK_RIGHTS));
      onProgress?.(Math.min(at + CHUNK_RIGHTS, rights.length), rights.length);
    }
    const beforeSha256 = await catalogueHash(tx);
    const { added, changed, unchanged } = await compareStaged(tx);
    await replaceRights(tx);
    const afterSha256 = await catalogueHash(tx);
    const { by, file, reason } = deed;
    await recordAct(tx, {
      kind: "catalogue",
      by,
      subject: file,
      reason,
      beforeSha256,
      afterSha256,
    });
    return { added: Number(added), changed: Number(changed), unchanged: Number(unchanged) };
  });
}

async function stage(tx: TransactionSql, rights: readonly Right[]): Promise<void> {
  const column = (name: keyof Right) => textArrayOf(rights.map((right) => right[name]));
  await tx`
    insert into put_right (title_id, territory, from_day, to_day, studio, title_name)
    select * from unnest(
      ${column("titleId")}::text::text[],
      ${column("territory")}::text::text[],
      ${column("from")}::text::date[],
      ${column("to")}::text::date[],
      ${column("studio")}::text::text[],
      ${column("titleName")}::text::text[])`;
}

interface HashRow {
  readonly sha256: string | null;
}

/** SHA-256 over all rights in their order; undefined while there are none. */
async function catalogueHash(tx: TransactionSql): Promise<string | undefined> {
  const rows = await tx<HashRow[]>`
    select encode(sha256(convert_to(string_agg(
      concat_ws(e'\\t', title_id, territory, from_day, to_day, studio, title_name), e'\\n'
      order by title_id collate "C", territory collate "C", from_day), 'UTF8')), 'hex') as sha256
    from royalty.title_right`;
  return onlyRow(rows, "the hash of the catalogue").sha256 ?? undefined;
}

interface ComparedRow {
  readonly added: string;
  readonly changed: string;
  readonly unchanged: string;
}

/** How many titles the staged rights add, change, and leave as they are; the last are unstaged. */
async function compareStaged(tx: TransactionSql): Promise<ComparedRow> {
  await tx`
    create temporary table same_title on commit drop as
    with put as (
      select title_id, string_agg(concat_ws(e'\\t', territory, from_day, to_day, studio, title_name),
        e'\\n' order by territory collate "C", from_day) as rights
      from put_right group by title_id
    ), kept as (
      select title_id, string_agg(concat_ws(e'\\t', territory, from_day, to_day, studio, title_name),
        e'\\n' order by territory collate "C", from_day) as rights
      from royalty.title_right where title_id in (select title_id from put_right) group by title_id
    )
    select title_id, put.rights is not distinct from kept.rights as is_same,
      kept.title_id is not null as is_kept
    from put left join kept using (title_id)`;
  const rows = await tx<ComparedRow[]>`
    select count(*) filter (where not is_kept) as added,
      count(*) filter (where is_kept and not is_same) as changed,
      count(*) filter (where is_same) as unchanged
    from same_title`;
  return onlyRow(rows, "the compared titles");
}

async function replaceRights(tx: TransactionSql): Promise<void> {
  await tx`
    delete from royalty.title_right where title_id in (
      select title_id from same_title where is_kept and not is_same)`;
  await tx`
    insert into royalty.title_right (title_id, territory, from_day, to_day, studio, title_name)
    select title_id, territory, from_day, to_day, studio, title_name from put_right
    where title_id in (select title_id from same_title where not is_same)`;
}

interface TerritoryRow {
  readonly territory: string;
}

/** The territories with credits on the newest seven recognised days. */
export async function readTerritories(sql: Sql): Promise<ReadonlySet<string>> {
  const rows = await sql<TerritoryRow[]>`
    select distinct region as territory from royalty.accrual
    where recognised_day > (select max(recognised_day) - 7 from royalty.accrual)`;
  return new Set(rows.map(({ territory }) => territory));
}
