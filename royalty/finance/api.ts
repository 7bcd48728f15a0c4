/**
 * The finance API: statements, manifests and open days as files, and HTML pages that list them.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { createHash } from "node:crypto";
import type { Keyring } from "../../shared/process/keyring.ts";
import type { Log } from "../../shared/process/log.ts";
import type { Metrics } from "../../shared/process/metrics.ts";
import { fileResponse, type SentFile } from "./file_response.ts";
import { FinanceQueries, type QueryOptions } from "./queries.ts";
import { describeFinanceApi, type StatementList } from "./openapi.ts";
import { type ClosedDay, type Html, listPage, problemPage, statementPage, STYLE } from "./page.ts";
import { readDay, readLimit, readParameters, readStudio, readVersion } from "./parameters.ts";
import { type FinanceProblem, financeProblems } from "./problem.ts";
import { minutesOf } from "../statement/statement_csv.ts";
import { fileNames } from "../statement/files.ts";
import type { Issued, StatementStore, StoredFile } from "./store.ts";

/** What {@link financeApp} needs besides its options. */
export interface FinanceNeeds {
  readonly store: StatementStore;
  readonly keys: Keyring;
  readonly metrics: Metrics;
  readonly log: Log;
}

type Env = { Variables: { reader: string } };

const CSV = "text/csv; charset=utf-8; header=present";
const DEFAULT_PAGE_DAYS = 31;
const MAX_PAGE_DAYS = 366;

/** Makes the HTTP app. Everything but `/openapi.json` requires a key. */
export function financeApp(options: QueryOptions, needs: FinanceNeeds): OpenAPIHono<Env> {
  const app = new OpenAPIHono<Env>();
  const queries = new FinanceQueries(needs.store, options);
  app.use(recordRequests(needs));
  describeFinanceApi(app);
  // Routes registered after this require a key.
  app.use(authorize(needs.keys));
  app.get("/v1/statements", (c) => sendList(c, queries));
  app.get("/v1/statements/:file", (c) => sendStatement(c, queries, needs.log));
  app.get("/v1/provisional/:file", (c) => sendProvisional(c, queries));
  app.get("/", (c) => showList(c, queries));
  app.get("/statements/:day", (c) => showStatement(c, queries));
  app.notFound((c) =>
    problemResponse(financeProblems.problem("not-found", "The statements are listed at /."), c)
  );
  app.onError(financeProblems.handler(needs.log, problemResponse));
  return app;
}

// Counts requests, and logs who read what, for audits.
function recordRequests({ metrics, log }: FinanceNeeds): MiddlewareHandler<Env> {
  const requests = metrics.counter(
    "twofold_royalty_finance_requests_total",
    "Requests to the finance API, by HTTP status",
    ["status"],
  );
  return async (c, next) => {
    await next();
    c.header("x-content-type-options", "nosniff");
    c.header("referrer-policy", "no-referrer");
    requests.inc({ status: String(c.res.status) });
    const reader = c.get("reader");
    if (reader) log.info("royalty.finance.read", { reader, path: pathOf(c), status: c.res.status });
  };
}

function authorize(keys: Keyring): MiddlewareHandler<Env> {
  return async (c, next) => {
    c.set("reader", requireReader(keys, c.req.raw));
    if (c.req.method !== "GET" && c.req.method !== "HEAD") {
      const detail = "Statements are made by closing a day, not here. Use GET or HEAD.";
      const headers = { allow: "GET, HEAD" };
      throw financeProblems.problem("method-not-allowed", detail, { headers });
    }
    await next();
  };
}

// HTTP Basic is accepted for browsers and spreadsheets.
function requireReader(keys: Keyring, request: Request): string {
  const reader = keys.nameOfRequest(request, ["bearer", "basic"]);
  if (reader !== undefined) return reader;
  const detail = "Send a finance key: Authorization: Bearer KEY, or HTTP Basic with the reader's " +
    "name as the user and the key as the password.";
  const headers = { "www-authenticate": 'Basic realm="Twofold statements", charset="UTF-8"' };
  throw financeProblems.problem("unknown-key", detail, { headers });
}

// A browser gets an HTML page, any other client the problem as JSON.
function problemResponse(
  problem: FinanceProblem,
  c: Context<Env>,
): Response | Promise<Response> {
  if (!c.req.header("accept")?.includes("text/html")) return problem.toResponse();
  const { provisional, statement } = problem.members;
  const link = provisional
    ? { path: provisional, text: "Provisional CSV" }
    : statement
    ? { path: statement, text: "Statement" }
    : undefined;
  const page = problemPage({ title: problem.title, detail: problem.detail, link });
  return htmlResponse(page, problem.status, problem.headers);
}

async function sendList(c: Context<Env>, queries: FinanceQueries): Promise<Response> {
  const query = readParameters(c.req.url, ["limit", "before"]);
  const days = readLimit(query.get("limit"), DEFAULT_PAGE_DAYS, MAX_PAGE_DAYS);
  const { closed, older } = await readPage(queries, days, query.get("before"));
  const next = older === undefined ? null : `/v1/statements?before=${older}&limit=${days}`;
  const list: StatementList = {
    statements: closed.map(({ newest, older }) => ({
      recognised_day: newest.day,
      versions: [newest, ...older].map(listedVersion),
    })),
    next,
  };
  c.header("cache-control", "private, no-cache");
  if (next !== null) c.header("link", `<${next}>; rel="next"`);
  return c.json(list);
}

interface ListedDays {
  readonly closed: readonly ClosedDay[];
  /** The next page lists the days before this one; undefined on the last page. */
  readonly older: string | undefined;
}

// Reads one day more than a page has, to know whether there is another page.
async function readPage(
  queries: FinanceQueries,
  days: number,
  before: string | undefined,
): Promise<ListedDays> {
  const issued = await queries.store.issued(days + 1, before && readDay(before));
  const all = [...Map.groupBy(issued, ({ day }) => day).values()].flatMap(closedDay);
  const closed = all.slice(0, days);
  return { closed, older: all.length > days ? closed.at(-1)?.newest.day : undefined };
}

function closedDay([newest, ...older]: readonly Issued[]): ClosedDay[] {
  return newest === undefined ? [] : [{ newest, older }];
}

function listedVersion(issued: Issued): StatementList["statements"][number]["versions"][number] {
  return {
    version: issued.version,
    closed_at: new Date(issued.closedAtMs).toISOString(),
    reason: issued.reason ?? null,
    rows: issued.rows,
    events: Number(issued.events),
    ms_watched: String(issued.msWatched),
    minutes: minutesOf(issued.msWatched),
    sha256: issued.csvSha256,
    manifest_sha256: issued.manifestSha256,
    csv: pathTo(issued, "csv"),
    manifest: pathTo(issued, "json"),
  };
}

async function sendStatement(
  c: Context<Env>,
  queries: FinanceQueries,
  log: Log,
): Promise<Response> {
  const { day, extension } = readFileName(c.req.param("file") ?? "", ["csv", "json"]);
  const query = readParameters(
    c.req.url,
    extension === "csv" ? ["version", "studio"] : ["version"],
  );
  const { shown } = await queries.find(day, readVersion(query.get("version")));
  const studio = readStudio(query.get("studio"));
  const file = studio !== undefined
    ? await studioFile(queries, shown, studio)
    : storedFile(queries.store, shown, extension === "csv" ? "csv" : "manifest");
  return fileResponse(c.req.method, (name) => c.req.header(name), {
    ...file,
    isPermanent: query.has("version"),
    onFailed: (error) =>
      log.error("royalty.finance.download_failed", { path: file.location, error }),
  });
}

type File = Omit<SentFile, "isPermanent" | "onFailed">;

function storedFile(store: StatementStore, issued: Issued, file: StoredFile): File {
  const read = (offset: number, bytes: number) => store.slice(issued, file, offset, bytes);
  if (file === "manifest") {
    return {
      tag: issued.manifestSha256,
      bytes: issued.manifestBytes,
      contentType: "application/json",
      saveAs: undefined,
      location: pathTo(issued, "json"),
      read,
    };
  }
  return {
    tag: issued.csvSha256,
    bytes: issued.csvBytes,
    contentType: CSV,
    saveAs: fileNames(issued).csv,
    location: pathTo(issued, "csv"),
    headers: { link: `<${pathTo(issued, "json")}>; rel="describedby"` },
    read,
  };
}

async function studioFile(queries: FinanceQueries, issued: Issued, studio: string): Promise<File> {
  const csv = await queries.studioCsv(issued, studio);
  return {
    tag: createHash("sha256").update(csv).digest("hex"),
    bytes: csv.length,
    contentType: CSV,
    saveAs: fileNames(issued).csv.replace(/\.csv$/, () => `-${studio}.csv`),
    location: `${pathTo(issued, "csv")}&studio=${encodeURIComponent(studio)}`,
    headers: { link: `<${pathTo(issued, "json")}>; rel="describedby"` },
    read: (offset, bytes) => Promise.resolve(csv.subarray(offset, offset + bytes)),
  };
}

async function sendProvisional(c: Context<Env>, queries: FinanceQueries): Promise<Response> {
  const { day } = readFileName(c.req.param("file") ?? "", ["csv"]);
  readParameters(c.req.url, []);
  const { csv, asOfMs } = await queries.provisional(day);
  return new Response(csv, {
    headers: {
      "content-type": CSV,
      "content-length": String(csv.length),
      "content-disposition": `attachment; filename="PROVISIONAL-${day}.csv"`,
      "cache-control": "private, no-store, no-transform",
      "twofold-provisional": "true",
      "twofold-as-of": new Date(asOfMs).toISOString(),
    },
  });
}

async function showList(c: Context<Env>, queries: FinanceQueries): Promise<Response> {
  const before = readParameters(c.req.url, ["before"]).get("before");
  const { closed, older } = await readPage(queries, DEFAULT_PAGE_DAYS, before);
  return htmlResponse(listPage({
    zone: queries.options.calendar.zone,
    now: queries.options.now(),
    open: before === undefined ? await queries.openDays() : [],
    closed,
    older: older && `/?before=${older}`,
    isFirst: before === undefined,
  }));
}

async function showStatement(c: Context<Env>, queries: FinanceQueries): Promise<Response> {
  const version = readParameters(c.req.url, ["version"]).get("version");
  const found = await queries.find(readDay(c.req.param("day") ?? ""), readVersion(version));
  const studios = await queries.store.studios(found.shown);
  return htmlResponse(statementPage({ zone: queries.options.calendar.zone, ...found, studios }));
}

const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");

async function htmlResponse(
  page: Html,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  return new Response(String(await page), {
    status,
    headers: {
      ...headers,
      "content-type": "text/html; charset=utf-8",
      "cache-control": "private, no-store",
      "content-security-policy": `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; ` +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    },
  });
}

function readFileName(name: string, extensions: readonly string[]) {
  const dot = name.lastIndexOf(".");
  const extension = name.slice(dot + 1);
  if (dot < 0 || !extensions.includes(extension)) {
    const known = extensions.map((each) => `DAY.${each}`).join(" and ");
    throw financeProblems.problem("not-found", `There is no file ${name} here, only ${known}.`);
  }
  return { day: readDay(name.slice(0, dot)), extension };
}

function pathTo({ day, version }: Issued, extension: "csv" | "json"): string {
  return `/v1/statements/${day}.${extension}?version=${version}`;
}

function pathOf(c: Context<Env>): string {
  const { pathname, search } = new URL(c.req.url);
  return pathname + search;
}
