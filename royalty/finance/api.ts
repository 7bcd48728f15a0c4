/**
 * The finance API: statements, manifests and open days as files, and pages to find them by.
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
import { type DeskOptions, FinanceDesk } from "./desk.ts";
import { describeFinanceApi, type StatementList } from "./openapi.ts";
import { type ClosedDay, type Html, listPage, problemPage, statementPage, STYLE } from "./page.ts";
import { readDay, readLimit, readParameters, readStudio, readVersion } from "./parameters.ts";
import { type FinanceProblem, financeProblems } from "./problem.ts";
import { minutesOf } from "../statement/csv.ts";
import { fileNames } from "../statement/files.ts";
import type { Issued, StatementStore, StoredFile } from "./store.ts";

export interface FinanceNeeds {
  readonly store: StatementStore;
  readonly keys: Keyring;
  readonly metrics: Metrics;
  readonly log: Log;
}

type Env = { Variables: { reader: string } };

const CSV = "text/csv; charset=utf-8; header=present";
const PAGE_DAYS = 31;
const MOST_PAGE_DAYS = 366;

/** The app; needs no socket, so tests call its `fetch`. */
export function financeApp(options: DeskOptions, needs: FinanceNeeds): OpenAPIHono<Env> {
  const app = new OpenAPIHono<Env>();
  const desk = new FinanceDesk(needs.store, options);
  app.use(record(needs));
  describeFinanceApi(app);
  // What is registered from here on needs a key.
  app.use(guard(needs.keys));
  app.get("/v1/statements", (c) => sendList(c, desk));
  app.get("/v1/statements/:file", (c) => sendStatement(c, desk, needs.log));
  app.get("/v1/provisional/:file", (c) => sendProvisional(c, desk));
  app.get("/", (c) => showList(c, desk));
  app.get("/statements/:day", (c) => showStatement(c, desk));
  app.notFound((c) =>
    answer(financeProblems.problem("not-found", "The statements are listed at /."), c)
  );
  app.onError(financeProblems.handler(needs.log, answer));
  return app;
}

// Counts requests, and keeps who has read which figures: an audit asks.
function record({ metrics, log }: FinanceNeeds): MiddlewareHandler<Env> {
  const requests = metrics.counter(
    "twofold_royalty_finance_requests_total",
    "Requests to the finance API by status",
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

function guard(keys: Keyring): MiddlewareHandler<Env> {
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

// A browser or a spreadsheet can send HTTP Basic.
function requireReader(keys: Keyring, request: Request): string {
  const reader = keys.nameOfRequest(request, ["bearer", "basic"]);
  if (reader !== undefined) return reader;
  const detail = "Send a finance key: Authorization: Bearer KEY, or HTTP Basic with the reader's " +
    "name as the user and the key as the password.";
  const headers = { "www-authenticate": 'Basic realm="Twofold statements", charset="UTF-8"' };
  throw financeProblems.problem("unknown-key", detail, { headers });
}

// A person in a browser gets a page, a program the problem as JSON.
function answer(problem: FinanceProblem, c: Context<Env>): Response | Promise<Response> {
  if (!c.req.header("accept")?.includes("text/html")) return problem.toResponse();
  const { provisional, statement } = problem.members;
  const link = provisional
    ? { path: provisional, text: "Provisional CSV" }
    : statement
    ? { path: statement, text: "Statement" }
    : undefined;
  const page = problemPage({ title: problem.title, detail: problem.detail, link });
  return show(page, problem.status, problem.headers);
}

async function sendList(c: Context<Env>, desk: FinanceDesk): Promise<Response> {
  const query = readParameters(c.req.url, ["limit", "before"]);
  const days = readLimit(query.get("limit"), PAGE_DAYS, MOST_PAGE_DAYS);
  const { closed, older } = await readPage(desk, days, query.get("before"));
  const next = older === undefined ? null : `/v1/statements?before=${older}&limit=${days}`;
  const list: StatementList = {
    statements: closed.map(({ newest, older }) => ({
      recognised_day: newest.day,
      versions: [newest, ...older].map(listed),
    })),
    next,
  };
  c.header("cache-control", "private, no-cache");
  if (next !== null) c.header("link", `<${next}>; rel="next"`);
  return c.json(list);
}

interface ListedDays {
  readonly closed: readonly ClosedDay[];
  /** The page of older days has those before this one; undefined when there is none. */
  readonly older: string | undefined;
}

// One day more than the page has tells whether there is another page.
async function readPage(
  desk: FinanceDesk,
  days: number,
  before: string | undefined,
): Promise<ListedDays> {
  const issued = await desk.store.issued(days + 1, before && readDay(before));
  const all = [...Map.groupBy(issued, ({ day }) => day).values()].flatMap(closedDay);
  const closed = all.slice(0, days);
  return { closed, older: all.length > days ? closed.at(-1)?.newest.day : undefined };
}

function closedDay([newest, ...older]: readonly Issued[]): ClosedDay[] {
  return newest === undefined ? [] : [{ newest, older }];
}

function listed(issued: Issued): StatementList["statements"][number]["versions"][number] {
  return {
    version: issued.version,
    closed_at: new Date(issued.closedAt).toISOString(),
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
  desk: FinanceDesk,
  log: Log,
): Promise<Response> {
  const { day, extension } = readFileName(c.req.param("file") ?? "", ["csv", "json"]);
  const query = readParameters(
    c.req.url,
    extension === "csv" ? ["version", "studio"] : ["version"],
  );
  const { shown } = await desk.find(day, readVersion(query.get("version")));
  const only = readStudio(query.get("studio"));
  const file = only !== undefined
    ? await studioFile(desk, shown, only)
    : storedFile(desk.store, shown, extension === "csv" ? "csv" : "manifest");
  return fileResponse(c.req.method, (name) => c.req.header(name), {
    ...file,
    isPermanent: query.has("version"),
    onBroken: (error) =>
      log.error("royalty.finance.download_failed", { path: file.location, error }),
  });
}

type File = Omit<SentFile, "isPermanent" | "onBroken">;

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

async function studioFile(desk: FinanceDesk, issued: Issued, studio: string): Promise<File> {
  const csv = await desk.studioCsv(issued, studio);
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

async function sendProvisional(c: Context<Env>, desk: FinanceDesk): Promise<Response> {
  const { day } = readFileName(c.req.param("file") ?? "", ["csv"]);
  readParameters(c.req.url, []);
  const { csv, asOf } = await desk.provisional(day);
  return new Response(csv, {
    headers: {
      "content-type": CSV,
      "content-length": String(csv.length),
      "content-disposition": `attachment; filename="PROVISIONAL-${day}.csv"`,
      "cache-control": "private, no-store, no-transform",
      "twofold-provisional": "true",
      "twofold-as-of": new Date(asOf).toISOString(),
    },
  });
}

async function showList(c: Context<Env>, desk: FinanceDesk): Promise<Response> {
  const before = readParameters(c.req.url, ["before"]).get("before");
  const { closed, older } = await readPage(desk, PAGE_DAYS, before);
  return show(listPage({
    zone: desk.options.calendar.zone,
    now: desk.options.now(),
    open: before === undefined ? await desk.openDays() : [],
    closed,
    older: older && `/?before=${older}`,
    isFirst: before === undefined,
  }));
}

async function showStatement(c: Context<Env>, desk: FinanceDesk): Promise<Response> {
  const version = readParameters(c.req.url, ["version"]).get("version");
  const found = await desk.find(readDay(c.req.param("day") ?? ""), readVersion(version));
  const studios = await desk.store.studios(found.shown);
  return show(statementPage({ zone: desk.options.calendar.zone, ...found, studios }));
}

const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");

async function show(
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
