import { assert, assertEquals, assertExists, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { parseCsv } from "../../shared/dev/testing/csv.ts";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { messageOf, RetryAfter } from "../../shared/process/errors.ts";
import { Keyring } from "../../shared/process/keyring.ts";
import { Log, type LogFields } from "../../shared/process/log.ts";
import { Metrics } from "../../shared/process/metrics.ts";
import { BusinessCalendar } from "../statement/business_day.ts";
import { financeApp } from "./api.ts";
import { statementCsv, type StatementLine, UNMAPPED } from "../statement/statement_csv.ts";
import type {
  Extent,
  Issued,
  OpenDay,
  StatementRef,
  StatementStore,
  StoredFile,
  StudioTotals,
} from "./store.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";

const KEY = "0123456789abcdef";
const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 10, 23, 12, 30);
const encoder = new TextEncoder();

interface Shelved extends Issued {
  readonly csv: Uint8Array;
  readonly manifest: Uint8Array;
  readonly lines: readonly StatementLine[];
}

/** Statements in memory, for tests without a database. */
class MemoryStatements implements StatementStore {
  readonly shelf: Shelved[] = [];
  readonly open: StatementLine[] = [];
  oldestOpenDay: string | undefined;
  sealed: string[] = [];
  /** If set, every read rejects with it. */
  failure: Error | undefined;
  bytesRead = 0;

  issue(day: string, lines: readonly StatementLine[], reason?: string): Shelved {
    const csv = statementCsv(lines);
    const version = this.shelf.filter((each) => each.day === day).length + 1;
    const manifest = encoder.encode(JSON.stringify({ recognised_day: day, version }));
    const issued = {
      day,
      version,
      csv,
      manifest,
      lines,
      reason,
      ...totals(lines),
      csvBytes: csv.length,
      manifestBytes: manifest.length,
      csvSha256: sha256(csv),
      manifestSha256: sha256(manifest),
      closedAtMs: Date.parse(day) + 25 * HOUR_MS,
    };
    this.shelf.push(issued);
    this.shelf.sort((a, b) => a.day < b.day ? 1 : a.day > b.day ? -1 : b.version - a.version);
    return issued;
  }

  extent(): Promise<Extent> {
    const { oldestOpenDay, sealed } = this;
    const [firstDay, lastDay] = [this.shelf.at(-1)?.day, this.shelf.at(0)?.day];
    return this.#read({ oldestOpenDay, sealed, firstDay, lastDay });
  }
  issued(days: number, before?: string): Promise<Issued[]> {
    const all = this.shelf.filter(({ day }) => before === undefined || day < before);
    const newest = [...new Set(all.map(({ day }) => day))].slice(0, days);
    return this.#read(all.filter(({ day }) => newest.includes(day)));
  }
  versions(day: string): Promise<Issued[]> {
    return this.#read(this.shelf.filter((each) => each.day === day));
  }
  slice(ref: StatementRef, file: StoredFile, offset: number, bytes: number): Promise<Uint8Array> {
    this.bytesRead += bytes;
    return this.#read(this.#at(ref)[file].slice(offset, offset + bytes));
  }
  studios(ref: StatementRef): Promise<StudioTotals[]> {
    const byStudio = Map.groupBy(this.#at(ref).lines, ({ studio }) => studio ?? UNMAPPED);
    return this.#read(
      [...byStudio].map(([studio, lines]) => ({ studio, ...totals(lines), adjustmentMs: 0n })),
    );
  }
  studioLines(ref: StatementRef, studio: string): Promise<StatementLine[]> {
    return this.#read(this.#at(ref).lines.filter((line) => (line.studio ?? UNMAPPED) === studio));
  }
  openDays(limit: number): Promise<OpenDay[]> {
    const byDay = Map.groupBy(this.open, ({ recognisedDay }) => recognisedDay);
    return this.#read(
      [...byDay].map(([day, lines]) => ({ day, ...totals(lines) })).slice(0, limit),
    );
  }
  openLines(day: string): Promise<StatementLine[]> {
    return this.#read(this.open.filter(({ recognisedDay }) => recognisedDay === day));
  }

  #at(ref: StatementRef): Shelved {
    const found = this.shelf.find(({ day, version }) => day === ref.day && version === ref.version);
    assertExists(found, `there is no version ${ref.version} of ${ref.day}`);
    return found;
  }
  #read<T>(value: T): Promise<T> {
    return this.failure ? Promise.reject(this.failure) : Promise.resolve(value);
  }
}

function totals(lines: readonly StatementLine[]) {
  return {
    rows: lines.length,
    events: lines.reduce((sum, { events }) => sum + events, 0n),
    msWatched: lines.reduce((sum, { msWatched }) => sum + msWatched, 0n),
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function line(day: string, studio: string | undefined, titleId: string, ms: number): StatementLine {
  return {
    recognisedDay: day,
    eventDay: day,
    studio,
    titleId,
    territory: "de",
    events: 2n,
    msWatched: BigInt(ms),
  };
}

/** Two closed days, the second with two versions, and an open one. */
function library() {
  const store = new MemoryStatements();
  store.issue("2026-11-21", []);
  const first = store.issue("2026-11-22", [
    line("2026-11-22", "Acme & Söhne", "t1", 60_000),
    line("2026-11-22", "Other", "t2", 1_234_567),
    line("2026-11-22", undefined, "t3", 1),
  ]);
  const lines = [
    line("2026-11-22", "Acme & Söhne", "t1", 60_000),
    line("2026-11-22", "Acme & Söhne", "t2", 1_234_567),
    line("2026-11-22", undefined, "t3", 1),
  ];
  const second = store.issue("2026-11-22", lines, "t2 is <b>Acme's</b>");
  store.oldestOpenDay = "2026-11-23";
  store.open.push(line("2026-11-23", "Acme & Söhne", "t1", 30_000));
  return { store, first, second };
}

class ErrorLog extends Log {
  readonly errors: unknown[] = [];
  constructor() {
    super("test", "error");
  }
  override error(_: string, fields?: LogFields): void {
    this.errors.push({ ...fields, error: messageOf(fields?.error) });
  }
}

function serve(store: StatementStore, now = NOW, log = new Log("test", "error")) {
  const metrics = new Metrics();
  const app = financeApp(
    { calendar: new BusinessCalendar("UTC"), graceMs: HOUR_MS, now: () => now },
    {
      store,
      keys: new Keyring([["finance", KEY]]),
      metrics,
      log,
    },
  );
  return async (path: string, headers: Record<string, string> = {}, method = "GET") =>
    await app.fetch(
      new Request(`http://finance${path}`, {
        method,
        headers: { authorization: `Bearer ${KEY}`, ...headers },
      }),
    );
}

/** A header that the response must have. */
function headerOf(response: Response, name: string): string {
  const value = response.headers.get(name);
  assertExists(value, `the response has no ${name}`);
  return value;
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

Deno.test("a statement is served as stored, with its hash, file name and version", async () => {
  const { store, second } = library();
  const response = await serve(store)("/v1/statements/2026-11-22.csv");
  assertEquals(response.status, 200);
  assertEquals(await bytesOf(response), second.csv);
  const headers = Object.fromEntries(response.headers);
  assertEquals(headers["content-type"], "text/csv; charset=utf-8; header=present");
  assertEquals(headers["content-length"], String(second.csv.length));
  assertEquals(
    headers["content-disposition"],
    'attachment; filename="statement-2026-11-22-v2.csv"',
  );
  assertEquals(headers["content-location"], "/v1/statements/2026-11-22.csv?version=2");
  assertEquals(headers.etag, `"${second.csvSha256}"`);
  assertEquals(
    headers["repr-digest"],
    `sha-256=:${createHash("sha256").update(second.csv).digest("base64")}:`,
  );
  // Without a version in the path, a newer one may replace it.
  assertEquals(headers["cache-control"], "private, no-transform, no-cache");
});

Deno.test("an older version is served unchanged and as immutable", async () => {
  const { store, first } = library();
  const response = await serve(store)("/v1/statements/2026-11-22.csv?version=1");
  assertEquals(await bytesOf(response), first.csv);
  assertEquals(response.headers.get("etag"), `"${first.csvSha256}"`);
  assertStringIncludes(headerOf(response, "cache-control"), "immutable");
});

Deno.test("the manifest is served as stored", async () => {
  const { store, first, second } = library();
  const get = serve(store);
  const response = await get("/v1/statements/2026-11-22.json");
  assertEquals(await bytesOf(response), second.manifest);
  assertEquals(response.headers.get("content-type"), "application/json");
  assertEquals(response.headers.get("etag"), `"${second.manifestSha256}"`);
  assertEquals(
    await bytesOf(await get("/v1/statements/2026-11-22.json?version=1")),
    first.manifest,
  );
});

Deno.test("HEAD has the headers of GET and reads no bytes", async () => {
  const { store } = library();
  const get = serve(store);
  const head = await get("/v1/statements/2026-11-22.csv", {}, "HEAD");
  assertEquals(await bytesOf(head), new Uint8Array());
  assertEquals(store.bytesRead, 0);
  const whole = await get("/v1/statements/2026-11-22.csv");
  assertEquals([...head.headers], [...whole.headers]);
});

Deno.test("If-None-Match with the current ETag gets 304, with or without gzip", async () => {
  const { store } = library();
  const get = serve(store);
  for (const encoding of ["identity", "gzip"]) {
    const headers = { "accept-encoding": encoding };
    const whole = await get("/v1/statements/2026-11-22.csv", headers);
    const again = await get("/v1/statements/2026-11-22.csv", {
      ...headers,
      "if-none-match": headerOf(whole, "etag"),
    });
    assertEquals([again.status, await again.text()], [304, ""]);
    assert(again.headers.get("etag"));
  }
});

Deno.test("gzip has the same bytes and a weak ETag", async () => {
  const { store, second } = library();
  const response = await serve(store)("/v1/statements/2026-11-22.csv", {
    "accept-encoding": "gzip",
  });
  assertEquals(response.headers.get("content-encoding"), "gzip");
  assertEquals(response.headers.get("etag"), `W/"${second.csvSha256}"`);
  assertEquals(response.headers.get("content-length"), null);
  assertMatch(headerOf(response, "vary"), /Accept-Encoding/);
  assertExists(response.body);
  const plain = response.body.pipeThrough(new DecompressionStream("gzip"));
  assertEquals(await bytesOf(new Response(plain)), second.csv);
});

Deno.test("a range beyond the end gets 416 with the size of the file", async () => {
  const { store, second } = library();
  const response = await serve(store)("/v1/statements/2026-11-22.csv", { range: "bytes=99999-" });
  assertEquals(response.status, 416);
  assertEquals(response.headers.get("content-range"), `bytes */${second.csv.length}`);
});

Deno.test("any sequence of ranges reassembles the file", async () => {
  const random = propertyRandom("ranges reassemble the file");
  const { store } = library();
  const many = Array.from(
    { length: 300 },
    (_, i) => line("2026-11-20", random.pick(["Acme", 'O"Neil, Ltd', "=Sum"]), `t${i}`, i),
  );
  const { csv, csvSha256 } = store.issue("2026-11-20", many);
  const get = serve(store);
  for (let round = 0; round < 30; round++) {
    const assembled = new Uint8Array(csv.length);
    const cuts = Array.from({ length: random.int(0, 12) }, () => random.int(1, csv.length - 1));
    const ends = [...new Set([...cuts, csv.length])].sort((a, b) => a - b);
    const pieces: { start: number; end: number }[] = [];
    for (const end of ends) pieces.push({ start: pieces.at(-1)?.end ?? 0, end });
    for (const { start, end } of random.shuffle(pieces)) {
      const forms = [`bytes=${start}-${end - 1}`];
      if (end === csv.length) forms.push(`bytes=${start}-`, `bytes=-${end - start}`);
      const response = await get("/v1/statements/2026-11-20.csv", {
        range: random.pick(forms),
        "if-range": `"${csvSha256}"`,
        "accept-encoding": random.pick(["gzip", "identity"]),
      });
      assertEquals(response.status, 206);
      assertEquals(
        response.headers.get("content-range"),
        `bytes ${start}-${end - 1}/${csv.length}`,
      );
      assembled.set(await bytesOf(response), start);
    }
    assertEquals(assembled, csv);
  }
});

Deno.test("If-Range with the ETag of another version gets the whole file", async () => {
  const { store, first, second } = library();
  const response = await serve(store)("/v1/statements/2026-11-22.csv", {
    range: "bytes=50-",
    "if-range": `"${first.csvSha256}"`,
  });
  assertEquals(response.status, 200);
  assertEquals(await bytesOf(response), second.csv);
});

Deno.test("the download of a damaged file is aborted, never complete", async () => {
  const { store, second } = library();
  const byte = second.csv.at(-5);
  assertExists(byte);
  second.csv.set([byte ^ 1], second.csv.length - 5);
  const log = new ErrorLog();
  const get = serve(store, NOW, log);
  for (const encoding of ["identity", "gzip"]) {
    const response = await get("/v1/statements/2026-11-22.csv", { "accept-encoding": encoding });
    assert(await response.arrayBuffer().then(() => false, () => true), encoding);
  }
  const broken = {
    path: "/v1/statements/2026-11-22.csv?version=2",
    error: `the stored file does not have the SHA-256 ${second.csvSha256}`,
  };
  assertEquals(log.errors, [broken, broken]);
});

Deno.test("the file of a studio has the header and exactly its lines", async () => {
  const { store, second } = library();
  const get = serve(store);
  const response = await get("/v1/statements/2026-11-22.csv?studio=Acme+%26+S%C3%B6hne");
  const text = await response.text();
  const whole = new TextDecoder().decode(second.csv).split("\r\n");
  const expected = whole.filter((each, i) => i === 0 || /Acme/.test(each)).join("\r\n") + "\r\n";
  assertEquals(text, expected);
  assertEquals(response.headers.get("etag"), `"${sha256(encoder.encode(text))}"`);
  assertMatch(
    headerOf(response, "content-disposition"),
    /filename\*=UTF-8''statement-2026-11-22-v2-Acme%20%26%20S%C3%B6hne\.csv$/,
  );
  const part = await get("/v1/statements/2026-11-22.csv?studio=UNMAPPED", { range: "bytes=5-9" });
  assertEquals([part.status, await part.text()], [206, "type,"]);
});

Deno.test("the files of all studios together have every line of the statement", async () => {
  const { store, second } = library();
  const get = serve(store);
  const records = [];
  for (const studio of ["Acme & Söhne", UNMAPPED]) {
    const path = `/v1/statements/2026-11-22.csv?studio=${encodeURIComponent(studio)}`;
    records.push(...parseCsv(await (await get(path)).text()).map(({ values }) => values));
  }
  const all = parseCsv(new TextDecoder().decode(second.csv)).map(({ values }) => values);
  assertEquals(records, all);
});

Deno.test("a day that is not closed gets 409 with the time of its close", async () => {
  const { store } = library();
  const response = await serve(store)("/v1/statements/2026-11-23.csv");
  assertEquals(response.status, 409);
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  const { type, closes_at, provisional, detail } = await response.json();
  assertEquals(type, "urn:twofold:problem:not-closed");
  assertEquals(closes_at, "2026-11-24T01:00:00.000Z");
  assertEquals(provisional, "/v1/provisional/2026-11-23.csv");
  assertStringIncludes(detail, "2026-11-24T01:00:00.000Z");
  assertEquals(response.headers.get("retry-after"), String(12.5 * 3600));
});

Deno.test("409 distinguishes overdue, sealed and future days", async () => {
  const { store } = library();
  const overdue = serve(store, NOW + 24 * HOUR_MS);
  const late = await (await overdue("/v1/statements/2026-11-23.json")).json();
  assertStringIncludes(late.detail, "due since 2026-11-24T01:00:00.000Z");
  const future = await (await serve(store)("/v1/statements/2026-12-24.csv")).json();
  assertEquals([future.status, future.provisional], [409, undefined]);
  store.sealed = ["2026-11-23"];
  store.oldestOpenDay = "2026-11-24";
  const sealed = await (await overdue("/v1/statements/2026-11-23.csv")).json();
  assertEquals(sealed.status, 409);
  assertStringIncludes(sealed.detail, "being recounted");
});

Deno.test("404 says which days, versions and studios exist", async () => {
  const { store } = library();
  const get = serve(store);
  const ask = async (path: string) => {
    const response = await get(path);
    return { ...await response.json(), status: response.status };
  };
  const before = await ask("/v1/statements/2026-11-01.csv");
  assertEquals([before.status, before.first_day, before.last_day], [
    404,
    "2026-11-21",
    "2026-11-22",
  ]);
  const version = await ask("/v1/statements/2026-11-22.csv?version=3");
  assertEquals([version.status, version.versions], [404, [2, 1]]);
  const studio = await ask("/v1/statements/2026-11-22.csv?studio=acme");
  assertEquals([studio.status, studio.studios], [404, ["Acme & Söhne", UNMAPPED]]);
  assertEquals((await ask("/v1/statements/2026-11-22.pdf")).status, 404);
  assertEquals((await ask("/v2")).status, 404);
});

Deno.test("malformed days and parameters get 400", async () => {
  const { store } = library();
  const get = serve(store);
  for (
    const path of [
      "2026-02-29.csv",
      "22.11.2026.csv",
      "today.csv",
      ".csv",
      "0000-01-01.csv",
      "2026-11-22.csv?version=0",
      "2026-11-22.csv?version=1.0",
      "2026-11-22.csv?version=",
      "2026-11-22.csv?version=1&version=2",
      "2026-11-22.csv?studios=Acme",
      "2026-11-22.json?studio=Acme",
      "2026-11-22.csv?studio=%00",
    ]
  ) {
    const response = await get(`/v1/statements/${path}`);
    assertEquals([path, response.status], [path, 400]);
    assertEquals((await response.json()).status, 400);
  }
  for (const query of ["limit=0", "limit=367", "limit=x", "before=yesterday", "page=2"]) {
    assertEquals((await get(`/v1/statements?${query}`)).status, 400, query);
  }
});

Deno.test("provisional lines are marked in headers, file name and every line", async () => {
  const { store } = library();
  const get = serve(store);
  const response = await get("/v1/provisional/2026-11-23.csv");
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("twofold-provisional"), "true");
  assertEquals(
    response.headers.get("content-disposition"),
    'attachment; filename="PROVISIONAL-2026-11-23.csv"',
  );
  assertStringIncludes(headerOf(response, "cache-control"), "no-store");
  const [record] = parseCsv(await response.text());
  assertExists(record);
  const { values } = record;
  assertEquals([values.provisional, values.as_of], ["PROVISIONAL", "2026-11-23T12:30:00.000Z"]);
  assertEquals(values.ms_watched, "30000");
  const statement = await get("/v1/statements/2026-11-22.csv");
  assertEquals(statement.headers.get("twofold-provisional"), null);
});

Deno.test("only a day that has begun and is not closed has provisional lines", async () => {
  const { store } = library();
  const get = serve(store);
  const status = async (day: string) => (await get(`/v1/provisional/${day}.csv`)).status;
  assertEquals(await status("2026-11-22"), 409);
  assertEquals(await status("2026-11-24"), 404);
  assertEquals(await status("2026-11-01"), 404);
  assertEquals(await status("2026-11-31"), 400);
  // A day without credits has an empty file.
  store.open.length = 0;
  const empty = await get("/v1/provisional/2026-11-23.csv");
  assertEquals(empty.status, 200);
  assertEquals(parseCsv(await empty.text()), []);
});

Deno.test("the list has every version, newest first, page by page", async () => {
  const { store } = library();
  for (let day = 10; day <= 20; day++) store.issue(`2026-11-${day}`, []);
  const get = serve(store);
  const seen: [string, number[]][] = [];
  let path: string | null = "/v1/statements?limit=4";
  let pages = 0;
  while (path) {
    const response: Response = await get(path);
    const page: {
      statements: { recognised_day: string; versions: { version: number }[] }[];
      next: string | null;
    } = await response.json();
    for (const { recognised_day, versions } of page.statements) {
      seen.push([recognised_day, versions.map(({ version }) => version)]);
    }
    assertEquals(response.headers.get("link"), page.next && `<${page.next}>; rel="next"`);
    path = page.next;
    pages += 1;
  }
  assertEquals(pages, 4);
  assertEquals(seen.map(([day]) => day), store.shelf.map(({ day }) => day).filter(first));
  assertEquals(seen[0], ["2026-11-22", [2, 1]]);
});

function first<T>(item: T, at: number, all: readonly T[]): boolean {
  return all.indexOf(item) === at;
}

Deno.test("an entry of the list has the paths and hashes of its files", async () => {
  const { store } = library();
  const get = serve(store);
  const { statements } = await (await get("/v1/statements")).json();
  for (const { versions } of statements) {
    for (const entry of versions) {
      assertEquals(sha256(await bytesOf(await get(entry.csv))), entry.sha256);
      assertEquals(sha256(await bytesOf(await get(entry.manifest))), entry.manifest_sha256);
    }
  }
  const [newest] = statements[0].versions;
  assertEquals([newest.ms_watched, newest.minutes, newest.events], ["1294568", "21.576", 6]);
});

Deno.test("everything but the OpenAPI document requires a key", async () => {
  const { store } = library();
  const get = serve(store);
  const paths = ["/", "/v1/statements", "/v1/statements/2026-11-22.csv", "/statements/2026-11-22"];
  for (const path of [...paths, "/v1/provisional/2026-11-23.csv", "/nothing"]) {
    for (const authorization of ["", "Bearer wrong", `Basic ${btoa(`other:${KEY}`)}`]) {
      const response = await get(path, { authorization });
      assertEquals(response.status, 401, path);
      assertMatch(headerOf(response, "www-authenticate"), /^Basic realm=/);
    }
    const known = await get(path, { authorization: `Basic ${btoa(`finance:${KEY}`)}` });
    assert(known.status !== 401);
    await known.body?.cancel();
  }
  assertEquals((await get("/openapi.json", { authorization: "" })).status, 200);
});

Deno.test("methods other than GET and HEAD get 405", async () => {
  const { store } = library();
  const get = serve(store);
  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
    const response = await get("/v1/statements/2026-11-22.csv", {}, method);
    assertEquals([response.status, response.headers.get("allow")], [405, "GET, HEAD"]);
  }
});

Deno.test("while Postgres is away requests get 503 without details of the error", async () => {
  const { store } = library();
  store.failure = new RetryAfter("Postgres: password of finance is wrong", 5_000);
  const get = serve(store);
  for (const path of ["/v1/statements", "/v1/statements/2026-11-22.csv", "/"]) {
    const response = await get(path);
    assertEquals([response.status, response.headers.get("retry-after")], [503, "5"]);
    assert(!(await response.text()).includes("password"));
  }
});

Deno.test("files are made one at a time, and requests beyond the queue get 503", async () => {
  const { store } = library();
  let running = 0;
  let maxRunning = 0;
  const { promise: refused, resolve: release } = Promise.withResolvers<void>();
  const openLines = store.openLines.bind(store);
  store.openLines = async (day) => {
    maxRunning = Math.max(maxRunning, ++running);
    await refused;
    running -= 1;
    return await openLines(day);
  };
  const get = serve(store);
  const requests = Array.from({ length: 20 }, () => get("/v1/provisional/2026-11-23.csv"));
  // The requests beyond the queue are answered while the first one runs.
  let early = 0;
  for (const request of requests) void request.then(() => early++);
  await waitFor("the refusals", () => early === 11);
  release();
  const answers = await Promise.all(requests);
  const statuses = answers.map(({ status }) => status);
  assertEquals(maxRunning, 1);
  assertEquals(statuses.filter((status) => status === 200).length, 9);
  assertEquals(statuses.filter((status) => status === 503).length, 11);
  assertEquals((await get("/v1/provisional/2026-11-23.csv")).status, 200);
});

Deno.test("the page lists open and closed days with state, totals and files", async () => {
  const { store } = library();
  const response = await serve(store)("/", { accept: "text/html" });
  const page = await response.text();
  for (
    const text of [
      "Provisional</strong>, closes after",
      "/v1/provisional/2026-11-23.csv",
      "Closed, 2 versions",
      "/v1/statements/2026-11-22.csv?version=2",
      "1,294,568",
      "21.576",
      "/v1/statements/2026-11-21.json?version=1",
    ]
  ) assertStringIncludes(page, text);
  const policy = headerOf(response, "content-security-policy");
  const [, style] = page.match(/<style>([\s\S]*)<\/style>/) ?? [];
  assertExists(style);
  assertStringIncludes(policy, createHash("sha256").update(style).digest("base64"));
  assertStringIncludes(policy, "default-src 'none'");
});

Deno.test("pages need no script and are accessible with a keyboard", async () => {
  const { store } = library();
  for (let i = 0; i < 40; i++) {
    store.issue(new Date(Date.UTC(2026, 8, i)).toISOString().slice(0, 10), []);
  }
  const get = serve(store);
  const [list, older] = [await get("/"), await get("/?before=2026-10-01")];
  const detail = await get("/statements/2026-11-22?version=1");
  for (const page of [await list.text(), await older.text(), await detail.text()]) {
    assert(!/<script|\son\w+=|tabindex="[1-9]/.test(page));
    assertMatch(page, /<html lang="en">/);
    assertMatch(page, /<a class="skip" href="#main">/);
    assertMatch(page, /<main id="main">/);
    assertEquals(page.match(/<h1>/g)?.length, 1);
    for (const [table] of page.matchAll(/<table>[\s\S]*?<\/table>/g)) {
      assertMatch(table, /<caption>/);
      const [header, ...rows] = table.matchAll(/<tr>[\s\S]*?<\/tr>/g).map(([row]) =>
        row.match(/<t[hd]/g)?.length
      );
      assertExists(header);
      for (const cells of rows) assertEquals(cells, header);
      assertEquals(table.match(/<th scope="row">/g)?.length, rows.length);
    }
    // Links with the same name have the same target.
    const targets = new Map<string, string>();
    for (const [, attributes = "", text = ""] of page.matchAll(/<a ([^>]*)>([\s\S]*?)<\/a>/g)) {
      const name = attributes.match(/aria-label="([^"]*)"/)?.[1] ?? text;
      const [, href] = attributes.match(/href="([^"]*)"/) ?? [];
      assertExists(href, attributes);
      assertEquals(targets.get(name) ?? href, href, name);
      targets.set(name, href);
    }
  }
});

Deno.test("the page of a statement shows versions, studios and hashes, with text escaped", async () => {
  const { store, first, second } = library();
  const get = serve(store);
  const newest = await (await get("/statements/2026-11-22")).text();
  assertStringIncludes(newest, "t2 is &lt;b&gt;Acme&#39;s&lt;/b&gt;");
  assertStringIncludes(newest, "Acme &amp; Söhne");
  assertStringIncludes(newest, "version=2&amp;studio=Acme%20%26%20S%C3%B6hne");
  assertStringIncludes(newest, second.csvSha256);
  const old = await (await get("/statements/2026-11-22?version=1")).text();
  assertStringIncludes(old, "Superseded");
  assertStringIncludes(old, first.manifestSha256);
  const empty = await (await get("/statements/2026-11-21")).text();
  assertStringIncludes(empty, "Nothing was watched");
});

Deno.test("a problem is HTML for a browser and JSON for other clients", async () => {
  const { store } = library();
  const get = serve(store);
  const page = await get("/statements/2026-11-23", { accept: "text/html,*/*;q=0.8" });
  assertEquals(page.status, 409);
  assertStringIncludes(await page.text(), 'href="/v1/provisional/2026-11-23.csv"');
  const json = await get("/statements/2026-11-23", { accept: "*/*" });
  assertEquals(json.headers.get("content-type"), "application/problem+json");
});

Deno.test("the OpenAPI document has every route, and its references resolve", async () => {
  const { store } = library();
  const document = await (await serve(store)("/openapi.json")).json();
  assertEquals(Object.keys(document.paths), [
    "/v1/statements",
    "/v1/statements/{day}.csv",
    "/v1/statements/{day}.json",
    "/v1/provisional/{day}.csv",
  ]);
  const text = JSON.stringify(document);
  for (const [, name = ""] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) {
    assert(document.components.schemas[name], name);
  }
  const { responses } = document.paths["/v1/statements/{day}.csv"].get;
  const statuses = ["200", "206", "304", "400", "401", "404", "409", "416", "503"];
  assertEquals(Object.keys(responses), statuses);
});
