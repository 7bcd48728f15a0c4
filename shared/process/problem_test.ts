import { assert, assertEquals } from "@std/assert";
import { z } from "@hono/zod-openapi";
import { Hono } from "hono";
import { RetryAfter } from "./errors.ts";
import { Log, type LogFields } from "./log.ts";
import { defineProblems, nextMembers, Problem } from "./problem.ts";

/** With members for client programs, as in the edge. */
const withActions = defineProblems({
  "bad-body": { status: 400, title: "The body is bad", action: "fix" },
  "no-body": { status: 400, title: "There is no body", action: "drop" },
  "internal": { status: 500, title: "It failed", action: "retry", retryAfterMs: 5_000 },
  "not-stored": { status: 503, title: "It is not stored", action: "retry", retryAfterMs: 1_000 },
}, {
  members: { ...nextMembers, event_index: z.int().optional() },
  retryAfter: { problem: "not-stored", detail: (error, s) => `${error.message}; in ${s} s.` },
  unexpected: { problem: "internal", detail: "Send it again." },
});

/** Without these members, with headers on every response, as in the finance API. */
const plain = defineProblems({
  "not-yet": { status: 409, title: "Not yet" },
  "internal": { status: 500, title: "It failed" },
  "unavailable": { status: 503, title: "Not right now" },
}, {
  members: { opens_at: z.string().optional(), versions: z.array(z.int()).optional() },
  headers: { "cache-control": "no-store" },
  retryAfter: {
    problem: "unavailable",
    detail: (_, s) => `Try again in ${s} s.`,
    event: "royalty.finance.retry",
  },
  unexpected: { problem: "internal", detail: "Tell the operators." },
});

class KeptLog extends Log {
  readonly lines: [level: string, event: string, fields: LogFields | undefined][] = [];
  constructor() {
    super("test", "error");
  }
  override warn(event: string, fields?: LogFields): void {
    this.lines.push(["warn", event, fields]);
  }
  override error(event: string, fields?: LogFields): void {
    this.lines.push(["error", event, fields]);
  }
}

Deno.test("a document has the members of RFC 9457, then those declared, in order", async () => {
  const problem = withActions.problem("bad-body", "Event 3 is bad.", {
    members: { event_index: 3 },
    retryAfterMs: 2_001,
  });
  const response = problem.toResponse({ vary: "Origin" });
  assertEquals(
    await response.text(),
    '{"type":"urn:twofold:problem:bad-body","title":"The body is bad","status":400,' +
      '"detail":"Event 3 is bad.","action":"fix","retry_after_s":3,"event_index":3}',
  );
  assertEquals(response.status, 400);
  assertEquals([...response.headers], [
    ["content-type", "application/problem+json"],
    ["retry-after", "3"],
    ["vary", "Origin"],
  ]);
});

Deno.test("without the action members, only the Retry-After header has the wait", async () => {
  const problem = plain.problem("not-yet", "Later.", {
    members: { versions: [2, 1], opens_at: "2026-11-24" },
    retryAfterMs: 60_000,
    headers: { allow: "GET" },
  });
  const response = problem.toResponse();
  assertEquals(
    await response.text(),
    '{"type":"urn:twofold:problem:not-yet","title":"Not yet","status":409,"detail":"Later.",' +
      '"opens_at":"2026-11-24","versions":[2,1]}',
  );
  assertEquals([...response.headers], [
    ["allow", "GET"],
    ["cache-control", "no-store"],
    ["content-type", "application/problem+json"],
    ["retry-after", "60"],
  ]);
});

Deno.test("the wait is that of the problem, else of its kind, and at least 1 s", () => {
  const wait = (retryAfterMs?: number) =>
    withActions.problem("not-stored", "", retryAfterMs === undefined ? {} : { retryAfterMs })
      .headers["retry-after"];
  assertEquals([wait(), wait(2_500), wait(0)], ["1", "3", "1"]);
  assertEquals(withActions.problem("no-body", "").headers["retry-after"], undefined);
});

Deno.test("documents match the published schema", async () => {
  const made = [
    withActions.problem("bad-body", "d", { members: { event_index: 0 } }),
    withActions.problem("no-body", "d"),
    withActions.problem("internal", "d"),
  ];
  for (const problem of made) {
    withActions.schema.strict().parse(await problem.toResponse().json());
  }
  assertEquals(plain.schema.safeParse({ type: "t", title: "t", status: 1 }).success, false);
});

Deno.test("a thrown problem becomes a document, or the result of render", async () => {
  const app = new Hono();
  const log = new KeptLog();
  app.get("/problem", () => {
    throw plain.problem("not-yet", "Later.");
  });
  app.get("/away", () => Promise.reject(new RetryAfter("Postgres: secret", 4_200)));
  app.onError(plain.handler(log, (problem, c) => {
    return c.req.header("accept") === "text/html"
      ? new Response(`<h1>${problem.title}</h1>`, { status: problem.status })
      : problem.toResponse();
  }));
  assertEquals((await (await app.request("/problem")).json()).detail, "Later.");
  const page = await app.request("/problem", { headers: { accept: "text/html" } });
  assertEquals([page.status, await page.text()], [409, "<h1>Not yet</h1>"]);
  assertEquals(log.lines, []);
  const away = await app.request("/away");
  assertEquals([away.status, away.headers.get("retry-after")], [503, "5"]);
  assertEquals((await away.json()).detail, "Try again in 5 s.");
  assertEquals(log.lines.map(([level, event]) => [level, event]), [
    ["warn", "royalty.finance.retry"],
  ]);
});

Deno.test("an unexpected error is a 500, and is logged but not shown to the client", async () => {
  const app = new Hono();
  const log = new KeptLog();
  app.get("/bug", () => {
    throw new TypeError("secret detail");
  });
  app.get("/foreign", () => {
    throw plain.problem("internal", "of another catalogue");
  });
  app.onError(withActions.handler(log));
  const response = await app.request("/bug");
  const text = await response.text();
  assertEquals([response.status, response.headers.get("retry-after")], [500, "5"]);
  assert(!text.includes("secret") && !text.includes("problem_test"), text);
  const [[level, event, fields] = []] = log.lines;
  assertEquals([level, event], ["error", "service.request_failed"]);
  // The log adds the stack of such an error.
  assert(fields?.error instanceof TypeError);
  const foreign = await app.request("/foreign");
  assertEquals((await foreign.json()).detail, "Send it again.");
  assertEquals(log.lines.length, 2);
  assert(withActions.problemOf("thrown text", log) instanceof Problem);
});

Deno.test("OpenAPI responses group the problems of a route by status", () => {
  const answers = withActions.responses(["bad-body", "not-stored", "no-body"]);
  assertEquals(
    Object.entries(answers).map(([status, { description }]) => [status, description]),
    [
      ["400", "The body is bad (fix); There is no body (drop)"],
      ["503", "It is not stored (retry)"],
    ],
  );
  assertEquals(plain.responses(["not-yet"])["409"]?.description, "Not yet");
  assertEquals(
    answers["400"]?.content["application/problem+json"].schema === withActions.schema,
    true,
  );
});
