/**
 * An installation of an earlier schema is carried over: its closed days stay what they are.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { stateOf } from "../../shared/process/postgres/transient.ts";
import { createDatabase } from "../../shared/dev/servers/stack.ts";
import { BooksRig } from "../../shared/e2e/books_rig.ts";
import { sha256 } from "../statement/manifest.ts";
import { statementCsv } from "../statement/statement_csv.ts";
import { readAccounts } from "./accounts.ts";
import { openBooks } from "./connection.ts";
import { readRecognisedLines } from "./lines.ts";
import { readStatementLines, readStored } from "./statements.ts";

const DAY = "2026-11-22";
const LINES = [
  ["2026-11-22", "Acme", "a", 2n, 60_000n],
  ["2026-11-21", "Acme", "a", 1n, 30_000n],
  ["2026-11-22", "UNMAPPED", "b", 1n, 7n],
] as const;

interface OwnerRow {
  readonly owner: string;
}

interface RightRow {
  readonly territory: string;
  readonly studio: string;
  readonly title_name: string | null;
}

Deno.test("books with a closed day, from before rights had dates, are carried over", async () => {
  await using books = await BooksRig.earlier("010");
  const { sql, url } = books;
  const lines = LINES.map(([eventDay, studio, titleId, events, msWatched]) => ({
    ...{ recognisedDay: DAY, eventDay, titleId, territory: "de", events, msWatched },
    studio: studio === "UNMAPPED" ? undefined : studio,
  })).sort((a, b) => Number(a.studio === undefined) - Number(b.studio === undefined));
  const csv = statementCsv(lines);
  const manifest = new TextEncoder().encode("{}");
  await sql`insert into royalty.books (zone, oldest_open_day) values ('UTC', '2026-11-23')`;
  await sql`insert into royalty.title values ('a', 'Acme', 'The A')`;
  await sql`insert into royalty.seal (recognised_day, as_of) values (${DAY}, now())`;
  await sql`
    insert into royalty.statement (recognised_day, version, csv, manifest, sha256, manifest_sha256,
      rows, events, ms_watched, closed_at)
    values (${DAY}, 1, ${csv}, ${manifest}, ${sha256(csv)}, ${sha256(manifest)}, 3, 4, 90007,
      now())`;
  for (const [eventDay, studio, titleId, events, ms] of LINES) {
    await sql`insert into royalty.accrual values (${DAY}, ${eventDay}, ${titleId}, 'de',
      ${String(events)}, ${String(ms)})`;
    await sql`insert into royalty.statement_line values (${DAY}, 1,
      ${eventDay === DAY ? "USAGE" : "ADJUSTMENT"}, ${eventDay}, ${studio}, ${titleId}, 'de',
      ${String(events)}, ${String(ms)})`;
  }
  await sql`
    insert into royalty.stream_position (stream, last_seq, events, counted, credited_ms)
    values ('HEARTBEATS', 4, 4, 4, 90007)`;

  await createDatabase(books.stack.postgres);
  await openBooks(url, "UTC");

  const [owner] = await sql<OwnerRow[]>`
    select pg_get_userbyid(relowner) as owner, count(*)::int as tables from pg_class
    where relnamespace = 'royalty'::regnamespace group by 1`;
  assertEquals(owner?.owner, "royalty_owner");
  const stored = await readStored(sql, DAY);
  assertEquals([stored?.csv, stored?.manifest], [csv, manifest]);
  assertEquals(await readStatementLines(sql, DAY, 1), await readRecognisedLines(sql, DAY));
  assertEquals((await readAccounts(sql)).disagreements, []);
  const [right] = await sql<RightRow[]>`select * from royalty.title_right`;
  assertEquals([right?.territory, right?.studio, right?.title_name], ["*", "Acme", "The A"]);
  for (const table of ["statement", "statement_line", "accrual", "seal"]) {
    const error = await assertRejects(() => sql.unsafe(`delete from royalty.${table}`));
    assertEquals(stateOf(error), "23001", table);
  }
});
