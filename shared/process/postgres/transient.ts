/**
 * Decides which errors of Postgres are transient, for every service and command.
 *
 * @module
 */
import postgres from "postgres";
import { messageOf, RetryAfter } from "../errors.ts";

/** Suggested wait after a transient error. */
const RETRY_MS = 500;

/** Transient SQLSTATEs, by class or code (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
const TRANSIENT_SQLSTATE = new RegExp(
  "^(" + [
    "08", // connection
    "25006", // read only: the server was demoted from primary
    "25P03|25P04", // a transaction timeout of the server
    "28", // the role or its password does not exist yet
    "3D", // the database does not exist yet
    "40", // serialization failure, deadlock
    "53", // out of disk, memory or connections
    "55P03", // lock timeout
    "57", // shutdown, startup, kill, cancel, timeouts
  ].join("|") + ")",
);

/** Codes of the driver and of sockets for a missing or lost connection. */
const CONNECTION_CODES: ReadonlySet<string> = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECTION_ENDED",
  "CONNECT_TIMEOUT",
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENOTCONN",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
]);

/** SQLSTATEs of an undefined table, column or schema. */
const MISSING_SCHEMA: readonly string[] = ["42P01", "42703", "3F000"];

/** Whether `error` is transient: a RetryAfter, or an error of Postgres or of the connection to it. */
export function isTransient(error: unknown): boolean {
  if (error instanceof RetryAfter) return true;
  const state = stateOf(error);
  if (state !== undefined) return TRANSIENT_SQLSTATE.test(state);
  return error instanceof Error && "code" in error && typeof error.code === "string" &&
    CONNECTION_CODES.has(error.code);
}

/** The SQLSTATE of an error that Postgres returned; undefined for any other error. */
export function stateOf(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError ? error.code : undefined;
}

/** Whether the schema is missing, because the service that creates it has not run yet. */
export function isSchemaMissing(error: unknown): boolean {
  const state = stateOf(error);
  return state !== undefined && MISSING_SCHEMA.includes(state);
}

/** A transient `error` as a {@link RetryAfter} after `retryAfterMs`; any other error unchanged. */
export function retryable(error: unknown, retryAfterMs = RETRY_MS): unknown {
  if (error instanceof RetryAfter || !isTransient(error)) return error;
  return new RetryAfter(`Postgres: ${messageOf(error)}`, retryAfterMs, { cause: error });
}

/** Runs `work`; a transient error becomes a {@link RetryAfter} after `retryAfterMs`. */
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

/** The error of a lost connection; `what` says how it was lost. */
export function lostError(what: string): RetryAfter {
  return new RetryAfter(`Postgres: ${what}`, RETRY_MS);
}
