/**
 * The OpenAPI 3.1 document of the finance API, served at `/openapi.json`, and its schemas.
 *
 * Routes are described here and registered in `api.ts`, because the path of a file ends in `.csv` or
 * `.json`, which the router cannot express as a path template.
 *
 * @module
 */
import { serveOpenApi } from "../../shared/process/http/openapi_document.ts";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "hono";
import { type FinanceProblemName, financeProblems } from "./problem.ts";

const day = z.string().describe("business day, YYYY-MM-DD");
const path = z.string().describe("path on this server");

const versionSchema = z.object({
  version: z.int(),
  closed_at: z.string().describe("the instant as of which the day was closed, ISO 8601"),
  reason: z.string().nullable().describe("why this version was issued; null for version 1"),
  rows: z.int().describe("lines of the CSV, without its header"),
  events: z.int(),
  ms_watched: z.string()
    .describe("exact; a string, because it may exceed the safe integers of a JSON reader"),
  minutes: z.string().describe("ms_watched in minutes, three decimals"),
  sha256: z.string().describe("SHA-256 of the CSV, which is its ETag"),
  manifest_sha256: z.string().describe("SHA-256 of the manifest, which is its ETag"),
  csv: path,
  manifest: path,
}).openapi("StatementVersion");

/** Schema of the response to `GET /v1/statements`. */
export const listSchema = z.object({
  statements: z.array(z.object({
    recognised_day: day,
    versions: z.array(versionSchema).describe("newest first"),
  })).describe("newest day first"),
  next: path.nullable().describe("path of the page with older statements; null on the last page"),
}).openapi("Statements");

/** The response to `GET /v1/statements`. */
export type StatementList = z.infer<typeof listSchema>;

const dayParameter = z.string().openapi({ format: "date", example: "2026-11-22" });
const versionParameter = z.int32().min(1).optional()
  .describe("version of the statement; the newest unless given").openapi({ example: 1 });

/** Adds the OpenAPI document of all routes to `app`, at `/openapi.json`. */
export function describeFinanceApi<E extends Env>(app: OpenAPIHono<E>): void {
  const bearer = { type: "http", scheme: "bearer" } as const;
  const basic = { type: "http", scheme: "basic", description: "reader and key" } as const;
  const registry = app.openAPIRegistry;
  const security = [
    { [registry.registerComponent("securitySchemes", "key", bearer).name]: [] },
    { [registry.registerComponent("securitySchemes", "readerAndKey", basic).name]: [] },
  ];
  for (const [path, about] of Object.entries(PATHS)) {
    registry.registerPath({ method: "get", path, security, ...about });
  }
  serveOpenApi(app, {
    openapi: "3.1.0",
    info: {
      title: "Twofold finance",
      version: "1",
      description: "Statements of minutes watched. A statement never changes; a correction is a " +
        "new version. Files answer HEAD, If-None-Match, Range with If-Range, and gzip.",
    },
    servers: [{ url: "/" }],
  });
}

const CSV = { "text/csv": { schema: z.string().describe("RFC 4180, UTF-8, CRLF, a header") } };
const FILE_ANSWERS = {
  206: { description: "The requested range of the stored bytes" },
  304: { description: "The file has not changed: If-None-Match has its ETag" },
};

const PATHS = {
  "/v1/statements": {
    operationId: "listStatements",
    summary: "List statements, the newest day first",
    request: {
      query: z.object({
        limit: z.int().min(1).max(366).optional().describe("days per page; 31 unless given"),
        before: dayParameter.optional().describe("only days before this one"),
      }),
    },
    responses: {
      200: { description: "A page", content: { "application/json": { schema: listSchema } } },
      ...problems("bad-parameter"),
    },
  },
  "/v1/statements/{day}.csv": {
    operationId: "downloadStatement",
    summary: "Download a statement, or the lines of one studio",
    request: {
      params: z.object({ day: dayParameter }),
      query: z.object({
        version: versionParameter,
        studio: z.string().optional()
          .describe("only the lines of this studio, spelled as in the statement"),
      }),
    },
    responses: {
      200: { description: "The statement", content: CSV },
      ...FILE_ANSWERS,
      ...problems(
        "bad-day",
        "bad-parameter",
        "no-statement",
        "no-such-version",
        "no-such-studio",
        "not-closed",
        "range-not-satisfiable",
      ),
    },
  },
  "/v1/statements/{day}.json": {
    operationId: "downloadManifest",
    summary: "Download the manifest of a statement",
    request: {
      params: z.object({ day: dayParameter }),
      query: z.object({ version: versionParameter }),
    },
    responses: {
      200: {
        description: "The manifest",
        content: { "application/json": { schema: z.looseObject({}) } },
      },
      ...FILE_ANSWERS,
      ...problems(
        "bad-day",
        "bad-parameter",
        "no-statement",
        "no-such-version",
        "not-closed",
        "range-not-satisfiable",
      ),
    },
  },
  "/v1/provisional/{day}.csv": {
    operationId: "downloadProvisional",
    summary: "Download the lines of an open day so far; never a statement",
    request: { params: z.object({ day: dayParameter }) },
    responses: {
      200: {
        description: "The lines so far. The columns differ from a statement's, every line is " +
          "marked as provisional, and the header Twofold-Provisional is true",
        content: CSV,
      },
      ...problems("bad-day", "bad-parameter", "no-statement", "not-begun", "already-closed"),
    },
  },
} as const;

function problems(...names: FinanceProblemName[]) {
  return financeProblems.responses([...names, "unknown-key", "unavailable"]);
}
