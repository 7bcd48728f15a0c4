/**
 * Problem documents of the edge, each with the action that the device should take.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { defineProblems, nextMembers } from "../shared/process/problem.ts";

/** Every problem of the edge; the names are part of the API. */
export const ingestProblems = defineProblems({
  "no-events": { status: 400, title: "The body holds no event", action: "drop" },
  "bad-gzip": { status: 400, title: "The body cannot be inflated", action: "fix" },
  "body-in-fragments": { status: 400, title: "The body came in too many parts", action: "fix" },
  "body-broken-off": { status: 400, title: "The body broke off", action: "retry" },
  "unknown-key": { status: 401, title: "The fleet key is missing or unknown", action: "fix" },
  "not-found": { status: 404, title: "There is nothing at this path", action: "fix" },
  "method-not-allowed": {
    status: 405,
    title: "This path does not take that method",
    action: "fix",
  },
  "slow-body": { status: 408, title: "The body took too long to arrive", action: "retry" },
  "body-too-large": { status: 413, title: "The body is too large", action: "fix" },
  "too-many-events": { status: 413, title: "The body holds too many events", action: "fix" },
  "event-too-large": { status: 413, title: "An event is too large", action: "fix" },
  "unsupported-content-type": {
    status: 415,
    title: "The content type is not supported",
    action: "fix",
  },
  "unsupported-encoding": {
    status: 415,
    title: "The content encoding is not supported",
    action: "fix",
  },
  "fleet-limit": { status: 429, title: "The fleet sends too fast", action: "retry" },
  "fleet-share": {
    status: 429,
    title: "The fleet has too much in flight",
    action: "retry",
    retryAfterMs: 1_000,
  },
  "device-limit": { status: 429, title: "A device sends too fast", action: "retry" },
  "internal": { status: 500, title: "The edge failed", action: "retry", retryAfterMs: 5_000 },
  "too-much-in-flight": {
    status: 503,
    title: "Too much is in flight",
    action: "retry",
    retryAfterMs: 1_000,
  },
  "not-stored": { status: 503, title: "Not every event was stored", action: "retry" },
}, {
  members: {
    ...nextMembers,
    event_index: z.int().optional().describe("index of the offending event in the body, from 0"),
  },
  retryAfter: {
    problem: "not-stored",
    // Which server leads is for operators, in the log.
    detail: ({ message }) =>
      `${
        message.replace(/, led by [^:]+/, "")
      }. Some events may be stored; send all of them again, the same ` +
      "bytes: duplicates are recognised and counted once.",
  },
  unexpected: { problem: "internal", detail: "Send the same bytes again later." },
});

/** A refused request; the app answers it as a problem document. */
export type IngestProblem = ReturnType<typeof ingestProblems.problem>;

/** The fleet has spent its share of what may be in flight. */
export function fleetShareSpent(): IngestProblem {
  const detail =
    "Of what may be in flight, this fleet has its share; nothing was stored. Send the " +
    "same bytes again later.";
  return ingestProblems.problem("fleet-share", detail);
}
