import {
  assert,
  assertEquals,
  assertExists,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { createHash } from "node:crypto";
import type { Sql } from "postgres";
import { parseCsv } from "../../shared/dev/testing/csv.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import type { PostgresServer } from "../../shared/dev/servers/postgres_server.ts";
import { DATABASE, Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { readSettings } from "../../shared/process/config.ts";
import { Stop } from "../../shared/process/errors.ts";
import { ServiceRig } from "../../shared/dev/servers/service_rig.ts";
import { stateOf } from "../../shared/process/postgres/transient.ts";
import { openPool, type Queryable } from "../../shared/process/postgres/pool.ts";
import { Closer } from "../closing/closer.ts";
import { startFinance } from "./service.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { royaltySettings } from "../settings.ts";
import {
  lineType,
  statementCsv,
  type StatementLine,
  UNMAPPED,
} from "../statement/statement_csv.ts";
import { checkFinanceRead } from "./store.ts";
import { BooksRig } from "../../shared/e2e/books_rig.ts";

const KEY = "0123456789abcdef";
const NOW = Date.UTC(2026, 10, 23, 12, 30);
/** Enough for several slices, and for more than socket buffers hold for a client that stops reading. */
const BIG_LINES = 200_000;

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Inserts credits, late ones included, and a catalogue. */
async function credit(sql: Sql): Promise<void> {
  await sql`insert into royalty.title_right
    select title_id, '*', '-infinity', 'infinity', studio from (values
      ('t1', 'Acme & Söhne'), ('t2', 'Zeta, "Inc"'), ('t3', '=SUM(A1)'), ('T1', 'Acme & Söhne'))
      as titles (title_id, studio)`;
  await sql`
    insert into royalty.accrual
      (recognised_day, event_day, title_id, region, events, ms_watched) values
      ('2026-11-22', '2026-11-22', 't1', 'de', 10, 600000),
      ('2026-11-22', '2026-11-22', 'T1', 'de', 1, 1),
      ('2026-11-22', '2026-11-22', 't1', 'at', 2, 30),
      ('2026-11-22', '2026-11-20', 't1', 'de', 3, 59969),
      ('2026-11-22', '2026-11-22', 't2', 'us-east', 1, 9007199254740993),
      ('2026-11-22', '2026-11-22', 't3', 'de', 1, 7),
      ('2026-11-22', '2026-11-21', 'not-in-catalogue', 'de', 1, 5),
      ('2026-11-23', '2026-11-23', 't1', 'de', 4, 120000)`;
}

/** Issues a statement of `lines`, whatever the credits are. */
async function issue(
  sql: Queryable,
  day: string,
  version: number,
  lines: readonly StatementLine[],
): Promise<Uint8Array> {
  const csv = await issueFiles(sql, day, version, lines);
  const rows = lines.map((line) => ({
    recognised_day: day,
    version,
    line_type: lineType(line),
    event_day: line.eventDay,
    studio: line.studio ?? UNMAPPED,
    title_id: line.titleId,
    territory: line.territory,
    events: String(line.events),
    ms_watched: String(line.msWatched),
  }));
  await sql`insert into royalty.statement_line ${sql(rows)}`;
  return csv;
}

async function issueFiles(
  sql: Queryable,
  day: string,
  version: number,
  lines: readonly StatementLine[],
): Promise<Uint8Array> {
  const csv = statementCsv(lines);
  const manifest = new TextEncoder().encode(JSON.stringify({ recognised_day: day, version }));
  await sql`
    insert into royalty.statement (recognised_day, version, csv, manifest, sha256, manifest_sha256,
      rows, events, ms_watched, closed_at, reason)
    values (${day}, ${version}, ${csv}, ${manifest}, ${sha256(csv)}, ${sha256(manifest)},
      ${lines.length}, ${String(lines.reduce((sum, { events }) => sum + events, 0n))},
      ${String(lines.reduce((sum, { msWatched }) => sum + msWatched, 0n))},
      ${`${day}T00:00:00Z`}::text::timestamptz + interval '25 hours',
      ${version === 1 ? null : "catalogue corrected"})`;
  return csv;
}

/** A real Postgres with the schema of royalty, and the finance API on a port of its own. */
class FinanceRig implements AsyncDisposable {
  readonly port = freePort();
  #service: ServiceRig<typeof royaltySettings> | undefined;

  private constructor(readonly rig: BooksRig) {}

  static async open(): Promise<FinanceRig> {
    return new FinanceRig(await BooksRig.start({ zone: "UTC" }));
  }

  /** The royalty role's pool. */
  get books(): Sql {
    return this.rig.sql;
  }
  get postgres(): PostgresServer {
    return this.rig.stack.postgres;
  }
  get url(): string {
    return this.rig.url;
  }
  get financeUrl(): string {
    return this.rig.stack.databaseUrl("finance");
  }

  async serve(): Promise<void> {
    const settings = readSettings(royaltySettings, {
      TWOFOLD_NATS_USER: "royalty",
      TWOFOLD_NATS_PASSWORD: "not used",
      TWOFOLD_POSTGRES_URL: this.url,
      TWOFOLD_FINANCE_POSTGRES_URL: this.financeUrl,
      TWOFOLD_FINANCE_KEYS: `finance:${KEY}`,
      TWOFOLD_FINANCE_PORT: String(this.port),
    });
    await startFinance(this.#service = new ServiceRig(settings), () => NOW);
  }

  async get(path: string, headers: Record<string, string> = {}, method = "GET") {
    return await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      // Otherwise fetch requests gzip and decompresses it.
      headers: { authorization: `Bearer ${KEY}`, "accept-encoding": "identity", ...headers },
    });
  }

  async bytes(path: string, headers: Record<string, string> = {}): Promise<Uint8Array> {
    return new Uint8Array(await (await this.get(path, headers)).arrayBuffer());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    await this.rig[Symbol.asyncDispose]();
  }
}

Deno.test("finance on a real Postgres", async (t) => {
  await using rig = await FinanceRig.open();
  const { books } = rig;
  await credit(books);
  await rig.serve();
  const lines = await readRecognisedLines(books, "2026-11-22");
  const csv = await rig.rig.stack.tamper((tx) => issue(tx, "2026-11-22", 1, lines));
  await books`insert into royalty.seal (recognised_day, as_of) values ('2026-11-22', now())`;
  await books`update royalty.books set oldest_open_day = '2026-11-23'`;

  await t.step(
    "a statement is downloaded byte for byte: by GET, with gzip, by ranges",
    async () => {
      const path = "/v1/statements/2026-11-22.csv";
      const whole = await rig.get(path);
      assertEquals(whole.headers.get("content-length"), String(csv.length));
      assertEquals(new Uint8Array(await whole.arrayBuffer()), csv);
      const gzip = await rig.get(path, { "accept-encoding": "gzip" });
      assertEquals(gzip.headers.get("etag"), `W/"${sha256(csv)}"`);
      assertEquals(new Uint8Array(await gzip.arrayBuffer()), csv);
      const range = await rig.get(path, { range: "bytes=100-", "accept-encoding": "gzip" });
      assertEquals([range.status, range.headers.get("content-encoding")], [206, null]);
      assertEquals(new Uint8Array(await range.arrayBuffer()), csv.slice(100));
      const head = await rig.get(path, {}, "HEAD");
      assertEquals(head.headers.get("content-length"), String(csv.length));
      assertEquals(await head.text(), "");
    },
  );

  await t.step("the file of a studio has its lines in the order of the statement", async () => {
    const all = new TextDecoder().decode(csv).split("\r\n");
    for (const studio of ["Acme & Söhne", 'Zeta, "Inc"', "=SUM(A1)", UNMAPPED]) {
      const path = `/v1/statements/2026-11-22.csv?studio=${encodeURIComponent(studio)}`;
      const text = new TextDecoder().decode(await rig.bytes(path));
      const ours = lines.filter((line) => (line.studio ?? UNMAPPED) === studio);
      assertEquals(text, new TextDecoder().decode(statementCsv(ours)), studio);
      for (const line of text.split("\r\n")) assert(all.includes(line), line);
    }
  });

  await t.step("totals beyond the safe integers are exact", async () => {
    const { statements } = await (await rig.get("/v1/statements")).json();
    const exact = lines.reduce((sum, { msWatched }) => sum + msWatched, 0n);
    assertEquals(statements[0].versions[0].ms_watched, String(exact));
    const page = await (await rig.get("/statements/2026-11-22")).text();
    assertStringIncludes(page, "9,007,199,254,740,993");
    assertStringIncludes(page, "=SUM(A1)");
  });

  await t.step("a new version does not change the earlier one", async () => {
    const second = await rig.rig.stack.tamper((tx) => issue(tx, "2026-11-22", 2, lines.slice(1)));
    assertEquals(await rig.bytes("/v1/statements/2026-11-22.csv"), second);
    assertEquals(await rig.bytes("/v1/statements/2026-11-22.csv?version=1"), csv);
  });

  await t.step("an open day is provisional in file, page and problem", async () => {
    const response = await rig.get("/v1/provisional/2026-11-23.csv");
    assertEquals(response.headers.get("twofold-provisional"), "true");
    const [record] = parseCsv(await response.text());
    assertExists(record);
    const { values } = record;
    assertEquals([values.provisional, values.ms_watched], ["PROVISIONAL", "120000"]);
    const page = await (await rig.get("/")).text();
    assertStringIncludes(page, "Provisional</strong>, closes after");
    await (await rig.get("/v1/statements/2026-11-23.csv")).json().then(({ status }) =>
      assertEquals(status, 409)
    );
  });

  await t.step("a sealed day is shown as being closed until it has a statement", async () => {
    await books`insert into royalty.seal (recognised_day, as_of) values ('2026-11-23', now())`;
    await books`update royalty.books set oldest_open_day = '2026-11-24'`;
    const { status, detail } = await (await rig.get("/v1/statements/2026-11-23.csv")).json();
    assertEquals(status, 409);
    assertStringIncludes(detail, "being recounted");
    assertStringIncludes(await (await rig.get("/")).text(), "being closed");
    assertEquals((await rig.get("/v1/provisional/2026-11-23.csv").then(drained)).status, 200);
  });

  await t.step("a statement of many megabytes is sent in slices", async () => {
    const big = await rig.rig.stack.tamper((tx) =>
      issueFiles(tx, "2026-11-21", 1, manyLines("2026-11-21"))
    );
    assert(big.length > 20 * 1024 * 1024);
    const path = "/v1/statements/2026-11-21.csv";
    assertEquals(sha256(await rig.bytes(path)), sha256(big));
    const gzip = await rig.bytes(path, { "accept-encoding": "gzip" });
    assertEquals(sha256(gzip), sha256(big));
    const middle = await rig.bytes(path, { range: "bytes=3000000-12999999" });
    assertEquals(sha256(middle), sha256(big.slice(3_000_000, 13_000_000)));
    // A client that disconnects during a download does not block others.
    const left = await rig.get(path);
    assertExists(left.body);
    await left.body.cancel();
    assertEquals((await rig.get("/v1/statements").then(drained)).status, 200);
  });

  await t.step("the finance role can read its tables and change nothing", async () => {
    await assertReadsOnly(rig.financeUrl);
  });

  await t.step(
    "requests get 503 while Postgres is down, and the same file afterwards",
    async () => {
      await rig.postgres.stop();
      const away = await rig.get("/v1/statements/2026-11-22.csv?version=1");
      assertEquals([away.status, (await away.json()).title], [
        503,
        "The statements cannot be read right now",
      ]);
      await rig.postgres.start();
      const back = await waitFor("the statement after the restart", async () => {
        const response = await rig.get("/v1/statements/2026-11-22.csv?version=1");
        const bytes = new Uint8Array(await response.arrayBuffer());
        return response.status === 200 ? bytes : undefined;
      });
      assertEquals(back, csv);
    },
  );
});

function manyLines(day: string): StatementLine[] {
  return Array.from({ length: BIG_LINES }, (_, i) => ({
    recognisedDay: day,
    eventDay: day,
    studio: `Studio ${i % 7}`,
    titleId: `title-${i}`.padEnd(64, "-"),
    territory: "de",
    events: 1n,
    msWatched: BigInt(i),
  }));
}

async function drained(response: Response): Promise<Response> {
  await response.arrayBuffer();
  return response;
}

interface SessionRow {
  read_only: string;
}

async function assertReadsOnly(url: string): Promise<void> {
  const sql = openPool(url, { purpose: "test", max: 1 });
  try {
    for (
      const table of ["statement", "statement_line", "accrual", "title_right", "books", "seal"]
    ) {
      await sql`select count(*) from ${sql(`royalty.${table}`)}`;
    }
    const sessions = await sql<SessionRow[]>`
      select current_setting('transaction_read_only') as read_only`;
    assertEquals(onlyRow(sessions, "the session's setting").read_only, "on");
    // A session may change that setting; what it was not granted stays forbidden.
    await sql`set default_transaction_read_only = off`;
    for (
      const statement of [
        "insert into royalty.title_right select 'x', '*', '-infinity', 'infinity', 'y'",
        "update royalty.statement set reason = 'x'",
        "update royalty.books set oldest_open_day = null",
        "delete from royalty.statement_line",
        "truncate royalty.accrual",
        "drop table royalty.statement",
        "select * from royalty.statement for update",
        "create table royalty.mine (n int)",
        "create table public.mine (n int)",
        "create temporary table mine (n int)",
        "create schema mine",
        "select * from royalty.event_key",
        "select * from royalty.gap",
        "select * from royalty.stream_position",
        "select * from triage.entry",
        "set role royalty",
      ]
    ) {
      const state = stateOf(await assertRejects(() => sql.unsafe(statement)));
      assert(state === "42501" || state === "42P01", `${statement}: ${state}`);
    }
  } finally {
    await sql.end();
  }
}

Deno.test("finance downloads exactly what royalty closes and reissues", async () => {
  await using rig = await FinanceRig.open();
  await credit(rig.books);
  // The totals of a manifest must be safe integers.
  await rig.books`update royalty.accrual set ms_watched = 1 where title_id = 't2'`;
  await rig.serve();
  const csvOf = "/v1/statements/2026-11-22.csv";
  assertEquals((await rig.get(csvOf).then(drained)).status, 409);
  const closer = new Closer({
    databaseUrl: rig.rig.issuerUrl,
    graceMs: 3_600_000,
    now: () => NOW,
    agreedMs: () => Promise.resolve(NOW),
    streamEnds: () => Promise.resolve(new Map()),
  });
  const by = "Ada";
  const { statement: first } = await closer.close("2026-11-22", { by });
  await rig.books`update royalty.title_right set studio = 'Other' where title_id = 't1'`;
  const { sha256: accept } = await closer.previewReissue("2026-11-22");
  const reason = "t1 is Other's";
  const { statement: second } = await closer.reissue("2026-11-22", { accept, by, reason });
  assertEquals(await rig.bytes(`${csvOf}?version=1`), first.csv);
  assertEquals(await rig.bytes(csvOf), second.csv);
  assertEquals(await rig.bytes("/v1/statements/2026-11-22.json"), second.manifest);

  const { statements } = await (await rig.get("/v1/statements")).json();
  const [newest, before] = statements[0].versions;
  assertEquals([newest.version, newest.reason, newest.ms_watched], [
    2,
    "t1 is Other's",
    String(second.ms),
  ]);
  assertEquals([before.sha256, before.manifest_sha256], [first.sha256, first.manifestSha256]);
  const others = await rig.bytes(`${csvOf}?studio=Other`);
  const all = new TextDecoder().decode(second.csv).split("\r\n");
  const expected = all.filter((line, i) => i === 0 || line.includes(",Other,"));
  assertEquals(new TextDecoder().decode(others), `${expected.join("\r\n")}\r\n`);
});

Deno.test("finance needs a role that may read", async () => {
  await using rig = await FinanceRig.open();
  await checkFinanceRead(rig.financeUrl);
  const admin = rig.postgres.connect(DATABASE);
  await admin.unsafe("drop owned by finance; drop role finance");
  await admin.end();
  await assertRejects(
    () => checkFinanceRead(rig.financeUrl),
    Stop,
    "TWOFOLD_POSTGRES_FINANCE_PASSWORD",
  );
});

Deno.test("the royalty process serves finance, and a slow download does not delay its stop", async () => {
  await using stack = await Stack.start();
  const port = freePort();
  const service = await stack.service("royalty", {
    TWOFOLD_FINANCE_POSTGRES_URL: stack.databaseUrl("finance"),
    TWOFOLD_FINANCE_KEYS: `finance:${KEY}`,
    TWOFOLD_FINANCE_PORT: String(port),
  });
  await stack.database.tamper((tx) => issueFiles(tx, "2026-11-21", 1, manyLines("2026-11-21")));
  const download = await waitFor("the finance port to answer", async () => {
    const headers = { authorization: `Bearer ${KEY}`, "accept-encoding": "identity" };
    return await fetch(`http://127.0.0.1:${port}/v1/statements/2026-11-21.csv`, { headers });
  });
  assertEquals(download.status, 200);
  assertExists(download.body);
  const reader = download.body.getReader();
  const { value: slice } = await reader.read();
  assertExists(slice);
  assert(slice.length > 0);
  assertEquals(await service.stop(), 0);
  await reader.cancel().catch(() => {});
});
