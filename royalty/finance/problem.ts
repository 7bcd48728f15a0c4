/**
 * What the finance API answers when it cannot give a file.
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

/** Every problem of the finance API. */
export const financeProblems = defineProblems({
  "bad-day": { status: 400, title: "That is not a day of the calendar" },
  "bad-parameter": { status: 400, title: "A parameter cannot be used" },
  "unknown-key": { status: 401, title: "A key is needed" },
  "not-found": { status: 404, title: "There is nothing at this path" },
  "no-statement": { status: 404, title: "There is no statement for this day" },
  "no-such-version": { status: 404, title: "The statement has no such version" },
  "no-such-studio": { status: 404, title: "The statement has no such studio" },
  "not-begun": { status: 404, title: "This day has not begun" },
  "method-not-allowed": { status: 405, title: "This API only reads" },
  // A poller is told to come back in five minutes when nobody can tell when the day closes.
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
    detail: (_, seconds) => `Try again in ${seconds} s. Nothing is lost: statements do not change.`,
    event: "royalty.finance.retry",
  },
  unexpected: {
    problem: "internal",
    detail: "Try again; if it stays, tell the operators of royalty.",
  },
});

export type FinanceProblem = ReturnType<typeof financeProblems.problem>;
export type FinanceProblemName = keyof typeof financeProblems.kinds;
