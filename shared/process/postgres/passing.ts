/**
 * Which failures of Postgres pass: the one answer for every service and command.
 *
 * @module
 */
import postgres from "postgres";
import { messageOf, RetryAfter } from "../errors.ts";

/** Wait that a lost connection suggests, ms. */
const RETRY_MS = 500;

/** SQLSTATEs that time heals, by class or code. */
const PASSING_SQLSTATE = new RegExp(
  "^(" + [
    "08", // connection
    "25006", // read only: the server was the primary until now
    "25P03|25P04", // the server ended a transaction that took too long
    "28", // the role or its password is still to be made
    "3D", // the database is still to be made
    "40", // serialization, deadlock
    "53", // shortage of disk, memory or connections
    "55P03", // a lock was not to be had in time
    "57", // shutdown, start, kill, cancel, timeouts
  ].join("|") + ")",
);

/** Codes of the driver and of sockets that say: no connection. */
const PASSING_CODES: ReadonlySet<string> = new Set([
  ...["CONNECTION_CLOSED", "CONNECTION_DESTROYED", "CONNECTION_ENDED", "CONNECT_TIMEOUT"],
  ...["EADDRNOTAVAIL", "EAI_AGAIN", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN"],
  ...["EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOTCONN", "ENOTFOUND", "EPIPE", "ETIMEDOUT"],
]);

/** Undefined table, column or schema. */
const NOT_OPENED: readonly string[] = ["42P01", "42703", "3F000"];

/** Whether the same may succeed later, as far as Postgres and the way to it are concerned. */
export function passes(error: unknown): boolean {
  if (error instanceof RetryAfter) return true;
  const state = stateOf(error);
  if (state !== undefined) return PASSING_SQLSTATE.test(state);
  return error instanceof Error && "code" in error && typeof error.code === "string" &&
    PASSING_CODES.has(error.code);
}

/** The SQLSTATE of what Postgres answered; undefined if `error` is not an answer of Postgres. */
export function stateOf(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.code : undefined;
}

/** Whether the tables are not there: the service that makes them has not run on this database. */
export function isNotOpened(error: unknown): boolean {
  const state = stateOf(error);
  return state !== undefined && NOT_OPENED.includes(state);
}

/** `error` as a {@link RetryAfter} if it passes, itself if not. */
export function retryable(error: unknown, retryAfterMs = RETRY_MS): unknown {
  if (error instanceof RetryAfter || !passes(error)) return error;
  return new RetryAfter(`Postgres: ${messageOf(error)}`, retryAfterMs, { cause: error });
}

/** What `work` resolves to; rejects with {@link RetryAfter} for what passes. */
export async function withRetryable<T>(
  work: () => PromiseLike<T>,
  retryAfterMs = RETRY_MS,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw retryable(error, retryAfterMs);
  }
}

/** The error of a connection that `what` happened to. */
export function lostError(what: string): RetryAfter {
  return new RetryAfter(`Postgres: ${what}`, RETRY_MS);
}
