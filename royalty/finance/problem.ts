/**
 * What the finance API answers when it cannot give a file, as RFC 9457 `application/problem+json`.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** Every problem: its status and what it is. */
export const PROBLEMS = {
  "bad-day": [400, "That is not a day of the calendar"],
  "bad-parameter": [400, "A parameter cannot be used"],
  "unknown-key": [401, "A key is needed"],
  "not-found": [404, "There is nothing at this path"],
  "no-statement": [404, "There is no statement for this day"],
  "no-such-version": [404, "The statement has no such version"],
  "no-such-studio": [404, "The statement has no such studio"],
  "not-begun": [404, "This day has not begun"],
  "method-not-allowed": [405, "This API only reads"],
  "not-closed": [409, "This day is not closed yet"],
  "already-closed": [409, "This day is closed"],
  "range-not-satisfiable": [416, "The range begins beyond the end"],
  "internal": [500, "The finance API failed"],
  "unavailable": [503, "The statements cannot be read right now"],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemName = keyof typeof PROBLEMS;

const moreSchema = z.object({
  closes_at: z.string().optional().describe("earliest instant at which the day closes, ISO 8601"),
  provisional: z.string().optional().describe("path of the day's provisional lines"),
  statement: z.string().optional().describe("path of the day's statement"),
  first_day: z.string().optional().describe("first day that has a statement"),
  last_day: z.string().optional().describe("last day that has a statement"),
  versions: z.array(z.int()).optional().describe("versions that the day's statement has"),
  studios: z.array(z.string()).optional().describe("studios of the statement, the first hundred"),
});

/** The body of every answer that is neither a file nor a page. */
export const problemSchema = z.object({
  type: z.string().describe("`urn:twofold:problem:` and the problem's name"),
  title: z.string(),
  status: z.int(),
  detail: z.string().describe("what is wrong with this request and what to do"),
}).extend(moreSchema.shape).openapi("Problem");

export type More = z.infer<typeof moreSchema>;

/** A request that gets no file; the app answers it as the problem it names. */
export class Problem extends Error {
  override readonly name = "Problem";
  constructor(
    readonly problem: ProblemName,
    readonly detail: string,
    readonly more: More = {},
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
  }

  get status(): number {
    return PROBLEMS[this.problem][0];
  }
  get title(): string {
    return PROBLEMS[this.problem][1];
  }

  toResponse(): Response {
    const { title, status, detail, more } = this;
    const body: z.infer<typeof problemSchema> = {
      ...{ type: `urn:twofold:problem:${this.problem}`, title, status, detail },
      ...more,
    };
    const headers = {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      ...this.headers,
    };
    return new Response(JSON.stringify(body), { status, headers });
  }
}
