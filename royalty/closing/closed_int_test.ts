/**
 * What is closed stays closed, whoever tries: the role that owns the tables is refused by the database.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { openPool } from "../../shared/process/postgres/pool.ts";
import { stateOf } from "../../shared/process/postgres/transient.ts";
import { BooksRig, commitPosting, postingOf } from "../../shared/e2e/books_rig.ts";
import { readAccounts } from "../books/accounts.ts";
import { readActs } from "../books/acts.ts";
import { putCatalogue } from "../books/stored_catalogue.ts";
import { settleGap } from "../books/gaps.ts";
import { LedgerSession } from "../posting/ledger.ts";
import { ALWAYS, EVERYWHERE, type Right } from "../statement/catalogue.ts";
import { readIssued } from "../books/statements.ts";
import { Closer } from "./closer.ts";

const DAY = "2026-11-22";
const NOON = Date.parse(`${DAY}T12:00:00Z`);
const CLOSED_AT = Date.parse("2026-11-23T01:00:00Z");
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 7 * 86_400_000,
  futureToleranceMs: 300_000,
};
/** SQLSTATEs: refused by a guard, a constraint, a key. */
const REFUSED = ["23001", "23505", "23514", "23503"];

function right(titleId: string, studio: string, days: Partial<Right> = {}): Right {
  return { titleId, territory: EVERYWHERE, studio, ...ALWAYS, titleName: undefined, ...days };
}

/** Books with one closed day, a settled gap and a catalogue. */
async function closedBooks(): Promise<{ rig: BooksRig; closer: Closer }> {
  const rig = await BooksRig.start({ zone: "UTC" });
  const random = new Random(1);
  await using session = new LedgerSession(rig.url, "HEARTBEATS");
  const bodies = [
    aHeartbeat(random, NOON, { title_id: "a", region: "de", played_ms: 10_000 }),
    aHeartbeat(random, NOON - 86_400_000, { title_id: "a", region: "de", played_ms: 5_000 }),
    aHeartbeat(random, NOON, { title_id: "b", region: "fr", played_ms: 3_000 }),
  ];
  await session.position();
  const received = { stream: "HEARTBEATS", after: 0, bodies, receivedAtMs: NOON, lost: 2 };
  await commitPosting(session, postingOf(received, RULES));
  const settlement = { stream: "HEARTBEATS", firstSeq: 1, by: "Ada", reason: "disk lost" };
  await settleGap(rig.sql, settlement);
  await putCatalogue(rig.sql, [right("a", "Acme")], { by: "Bob", file: "titles.csv" });
  const closer = new Closer({
    databaseUrl: rig.issuerUrl,
    graceMs: 3_600_000,
    now: () => CLOSED_AT,
    agreedMs: () => Promise.resolve(CLOSED_AT),
    streamEnds: () => Promise.resolve(new Map([["HEARTBEATS", 5]])),
  });
  for (const day of ["2026-11-21", DAY]) await closer.close(day, { by: "Ada" });
  return { rig, closer };
}

const ATTACKS: readonly string[] = [
  `update royalty.statement set reason = 'x'`,
  `update royalty.statement set csv = 'x', sha256 = 'x'`,
  `delete from royalty.statement`,
  `truncate royalty.statement cascade`,
  `update royalty.statement_line set ms_watched = ms_watched + 1`,
  `delete from royalty.statement_line`,
  `insert into royalty.statement_line
    select recognised_day, version, line_type, event_day, studio, 'other', territory, 1, 600000
    from royalty.statement_line limit 1`,
  `insert into royalty.statement (recognised_day, version, csv, manifest, sha256, manifest_sha256,
      previous_sha256, rows, events, ms_watched, closed_at)
    select recognised_day, version + 1, csv, manifest, sha256, manifest_sha256, previous_sha256,
      rows, events, ms_watched, closed_at from royalty.statement`,
  `update royalty.accrual set ms_watched = ms_watched + 600000 where title_id = 'a'`,
  `update royalty.accrual set recognised_day = '2026-11-23' where title_id = 'a'`,
  `insert into royalty.accrual values ('${DAY}', '${DAY}', 'new', 'de', 1, 600000)`,
  `insert into royalty.accrual values ('${DAY}', '${DAY}', 'a', 'de', 1, 600000)
    on conflict (recognised_day, event_day, title_id, region)
    do update set ms_watched = royalty.accrual.ms_watched + excluded.ms_watched`,
  `delete from royalty.accrual`,
  `truncate royalty.accrual`,
  `update royalty.books set oldest_open_day = '${DAY}'`,
  `update royalty.books set oldest_open_day = null`,
  `update royalty.books set zone = 'Europe/Berlin'`,
  `delete from royalty.books`,
  `delete from royalty.seal_position`,
  `update royalty.seal set as_of = now()`,
  `update royalty.seal_quarantined set ms_at_risk = 0`,
  `update royalty.gap set settled_by = 'Eve'`,
  `update royalty.gap set settled_at = null, settled_by = null`,
  `delete from royalty.gap`,
  `update royalty.act set by = 'Eve'`,
  `delete from royalty.act`,
  `truncate royalty.act`,
];

Deno.test("nobody changes a closed day: each attempt is refused, and nothing has changed", async () => {
  const { rig, closer } = await closedBooks();
  await using _ = rig;
  const admin = rig.stack.admin();
  const before = await dump(rig);
  for (const attack of ATTACKS) {
    for (const sql of [rig.sql, admin]) {
      const state = stateOf(await assertRejects(() => sql.unsafe(attack)));
      assert(REFUSED.includes(state ?? ""), `${attack}: ${state}`);
    }
  }
  assertEquals(await dump(rig), before);
  assertEquals((await closer.close(DAY, { by: "Ada" })).outcome, "closed before");
});

/** What nobody who logs in may do. */
const BY_NOBODY: readonly string[] = [
  `alter table royalty.accrual disable trigger all`,
  `drop trigger guard_update on royalty.accrual`,
  `alter table royalty.statement add column mine text`,
  `create or replace function royalty.refuse_change() returns trigger language plpgsql
    as 'begin return null; end'`,
  `set session_replication_role = replica`,
  `set role royalty_owner`,
  `create table royalty.mine (n int)`,
  `create schema mine`,
  `drop table royalty.event_key_v7_stray`,
  `update royalty.event_key_v7 set fingerprint = 1`,
  `delete from royalty.event_key_v7`,
  `insert into royalty.migration (name) values ('999_mine')`,
];
/** What only who decides may do, and what only who posts may. */
const BY_ISSUER: readonly string[] = [
  `insert into royalty.title_right values ('x', '*', '-infinity', 'infinity', 'Eve', null)`,
  `insert into royalty.act (kind, by, subject) values ('catalogue', 'Eve', 'x')`,
  `insert into royalty.seal (recognised_day, as_of) values ('2026-11-23', now())`,
  `insert into royalty.statement_line select * from royalty.statement_line`,
  `update royalty.gap set settled_by = 'Eve'`,
  `update royalty.books set oldest_open_day = '2027-01-01'`,
];
const BY_POSTING: readonly string[] = [
  `insert into royalty.accrual values ('2026-11-23', '2026-11-23', 'a', 'de', 1, 600000)`,
  `update royalty.accrual set ms_watched = 1`,
  `update royalty.stream_position set counted = 1`,
  `insert into royalty.event_key_v7 values ('019ab000-0000-7000-8000-000000000000', 1)`,
  `update royalty.keys_forgotten set before_day = '2020-01-01'`,
  `delete from royalty.reject`,
  `select royalty.drop_key_day('2026-11-22')`,
];

Deno.test("who posts does not issue, who issues does not post, and neither owns anything", async () => {
  const { rig } = await closedBooks();
  await using _ = rig;
  const cases = [
    [rig.url, [...BY_NOBODY, ...BY_ISSUER]],
    [rig.issuerUrl, [...BY_NOBODY, ...BY_POSTING]],
    [rig.stack.databaseUrl("finance"), [...BY_NOBODY, ...BY_ISSUER, ...BY_POSTING]],
  ] as const;
  for (const [url, attacks] of cases) {
    const sql = openPool(url, { purpose: "test", max: 1 });
    for (const attack of attacks) {
      const state = stateOf(await assertRejects(() => sql.unsafe(attack)));
      assert(["42501", "25006"].includes(state ?? ""), `${attack}: ${state}`);
    }
    await sql.end();
  }
});

/** Everything that a closed day has. */
async function dump({ sql }: BooksRig): Promise<string> {
  const tables = ["statement", "statement_line", "accrual", "books", "seal", "gap", "act"];
  const rows = [];
  for (const table of tables) rows.push([...await sql`select * from ${sql(`royalty.${table}`)}`]);
  return JSON.stringify(rows);
}

Deno.test("a statement whose credits were changed with the guards off is not issued again", async () => {
  const { rig, closer } = await closedBooks();
  await using _ = rig;
  await rig.stack.tamper((tx) =>
    tx`update royalty.accrual set ms_watched = 710000 where recognised_day = ${DAY}::text::date
      and title_id = 'a' and event_day = ${DAY}::text::date`
  );
  const { disagreements } = await readAccounts(rig.sql);
  assertEquals(disagreements.slice(1), [
    "2026-11-22 version 1 and the credits of the day differ in 1 lines; " +
    "deno task royalty audit --day 2026-11-22 names them",
  ]);
  await putCatalogue(rig.sql, [right("a", "Beta")], { by: "Bob", file: "titles.csv" });
  const { sha256: accept } = await closer.previewReissue(DAY);
  const error = await assertRejects(() =>
    closer.reissue(DAY, { accept, by: "Ada", reason: "studio" })
  );
  assertEquals(stateOf(error), "23001");
  assertEquals((await readIssued(rig.sql, DAY)).version, 1);
});

Deno.test("ms that move from one line to another of a closed day are seen, though no sum changes", async () => {
  const { rig } = await closedBooks();
  await using _ = rig;
  await rig.stack.tamper(async (tx) => {
    await tx`update royalty.accrual set ms_watched = ms_watched - 1 where title_id = 'b'`;
    await tx`update royalty.accrual set ms_watched = ms_watched + 1
      where title_id = 'a' and event_day = ${DAY}::text::date`;
  });
  const { disagreements } = await readAccounts(rig.sql);
  assertEquals(disagreements.length, 1);
  assert(disagreements[0]?.includes("differ in 2 lines"), disagreements[0]);
});

Deno.test("a right is of an event day: a late event goes to who had it then", async () => {
  const { rig, closer } = await closedBooks();
  await using _ = rig;
  await putCatalogue(rig.sql, [
    right("a", "Acme", { to: "2026-11-21" }),
    right("a", "Beta", { from: DAY }),
    right("b", "Gamma", { territory: "de" }),
  ], { by: "Bob", file: "dated.csv" });
  const preview = await closer.previewReissue(DAY);
  assertEquals(
    preview.changes.map(({ studio, eventDay, msBefore, msAfter }) =>
      [studio, eventDay, msBefore, msAfter].join(" ")
    ),
    ["Acme 2026-11-22 10000 0", "Beta 2026-11-22 0 10000"],
  );
  const twice = [right("c", "Acme", { to: DAY }), right("c", "Beta", { from: DAY })];
  const error = await assertRejects(() =>
    putCatalogue(rig.sql, twice, { by: "Bob", file: "twice.csv" })
  );
  assertEquals(stateOf(error), "23001");
});

Deno.test("acts say who, when and what, by the clock of the database, and manifests have them", async () => {
  const { rig, closer } = await closedBooks();
  await using _ = rig;
  const begun = Date.now() - 60_000;
  await rig.sql`insert into royalty.act (kind, by, subject, at, role)
    values ('catalogue', 'Eve', 'forged.csv', '2020-01-01', 'nobody')`;
  await putCatalogue(rig.sql, [right("a", "Beta")], { by: "Bob", file: "titles.csv" });
  const { sha256: accept } = await closer.previewReissue(DAY);
  await closer.reissue(DAY, { accept, by: "Cleo", reason: "studio of a" });
  const acts = await readActs(rig.sql);
  assertEquals(
    acts.map(({ kind, by, subject, reason }) => [kind, by, subject, reason].join("|")),
    [
      "settle-gap|Ada|HEARTBEATS 1 to 2|disk lost",
      "catalogue|Bob|titles.csv|",
      "close|Ada|2026-11-21 version 1|",
      "close|Ada|2026-11-22 version 1|",
      "catalogue|Eve|forged.csv|",
      "catalogue|Bob|titles.csv|",
      "reissue|Cleo|2026-11-22 version 2|studio of a",
    ],
  );
  for (const { at, role, kind } of acts) {
    assertEquals(role, kind === "close" || kind === "reissue" ? "issuer" : "postgres");
    assert(Date.parse(at) > begun, at);
  }
  const [, loaded, first, second] = acts;
  assertEquals(second?.beforeSha256, first?.afterSha256);
  assertEquals(acts[5]?.beforeSha256, loaded?.afterSha256);
  const manifest = async (day: string, version: number) => {
    const { manifest } = await readIssued(rig.sql, day, version);
    return JSON.parse(new TextDecoder().decode(manifest));
  };
  const named = async (day: string, version: number) =>
    (await manifest(day, version)).acts.map(({ kind, by }: { kind: string; by: string }) =>
      `${kind} ${by}`
    );
  assertEquals(await named("2026-11-21", 1), ["settle-gap Ada", "catalogue Bob"]);
  assertEquals(await named(DAY, 1), ["close Ada"]);
  assertEquals(await named(DAY, 2), ["close Ada", "catalogue Eve", "catalogue Bob"]);
  const { issued_by, issued_at, sealed_at, closed_at } = await manifest(DAY, 1);
  assertEquals([issued_by, closed_at], ["Ada", "2026-11-23T01:00:00.000Z"]);
  for (const at of [issued_at, sealed_at]) assert(Date.parse(at) > begun, at);
});
