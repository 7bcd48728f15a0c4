/**
 * Error types by what the caller does next. An event that cannot be used is not an error but a
 * `Rejection` (see `event.ts`), which is copied to the quarantine.
 *
 * @module
 */

/** The same call may succeed later: retry after at least `retryAfterMs`. */
export class RetryAfter extends Error {
  override readonly name = "RetryAfter";
  constructor(message: string, readonly retryAfterMs: number, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The request can never succeed; the message says what to do instead. */
export class Refused extends Error {
  override readonly name = "Refused";
}

/** The process cannot continue until a person acts; the message says how. */
export class Stop extends Error {
  override readonly name = "Stop";
  constructor(message: string, options?: ErrorOptions & { readonly exitCode?: number }) {
    super(message, options);
    this.exitCode = options?.exitCode ?? 1;
  }
  /** Exit code of the process; 1 by default. */
  readonly exitCode: number;
}

/** Whether `error` is one of these types; any other error is a bug, whose stack is logged. */
export function isExpected(error: unknown): boolean {
  return error instanceof RetryAfter || error instanceof Refused || error instanceof Stop;
}

/** The message of any thrown value, for a log or a terminal. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // postgres.js and node sockets may have the information in `code` and an empty message.
  const code = (error as { code?: unknown }).code;
  return error.message || String(code ?? error.name);
}
