/**
 * The problem documents (RFC 9457) of the finance API.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { defineProblems } from "../../shared/process/problem.ts";

const members = {
  closes_at: z.string().optional().describe("earliest instant at which the day closes, ISO 8601"),
  provisional: z.string().optional().describe("path of the day's provisional lines"),
  statement: z.string().optional().describe("path of the day's statement"),
  first_day: z.string().optional().describe("first day that has a statement"),
  last_day: z.string().optional().describe("last day that has a statement"),
  versions: z.array(z.int()).optional().describe("versions that the day's statement has"),
  studios: z.array(z.string()).optional().describe("studios of the statement, the first hundred"),
};

/** Every problem of the finance API, by name. */
export const financeProblems = defineProblems({
  "bad-day": { status: 400, title: "This is not a calendar day" },
  "bad-parameter": { status: 400, title: "A parameter cannot be used" },
  "unknown-key": { status: 401, title: "A key is needed" },
  "not-found": { status: 404, title: "There is nothing at this path" },
  "no-statement": { status: 404, title: "There is no statement for this day" },
  "no-such-version": { status: 404, title: "The statement has no such version" },
  "no-such-studio": { status: 404, title: "The statement has no such studio" },
  "not-begun": { status: 404, title: "This day has not begun" },
  "method-not-allowed": { status: 405, title: "This API only reads" },
  // Retry-After is five minutes when it is unknown when the day closes.
  "not-closed": { status: 409, title: "This day is not closed yet", retryAfterMs: 300_000 },
  "already-closed": { status: 409, title: "This day is closed" },
  "range-not-satisfiable": { status: 416, title: "The range begins beyond the end" },
  "internal": { status: 500, title: "The finance API failed" },
  "unavailable": { status: 503, title: "The statements cannot be read right now" },
}, {
  members,
  headers: { "cache-control": "no-store" },
  retryAfter: {
    problem: "unavailable",
    detail: (_, seconds) => `Try again in ${seconds} s. No statement is lost.`,
    event: "royalty.finance.retry",
  },
  unexpected: {
    problem: "internal",
    detail: "Try again. If the error persists, contact the operators of royalty.",
  },
});

/** A problem of the finance API; throw it and the app answers it. */
export type FinanceProblem = ReturnType<typeof financeProblems.problem>;
/** The name of a problem of the finance API. */
export type FinanceProblemName = keyof typeof financeProblems.kinds;
