/**
 * Errors, typed by what happens next. An event that cannot be used is not an error but a
 * `Rejection` (see `event.ts`): what happens next to it is the quarantine.
 *
 * @module
 */

/** The same call may succeed later: wait at least `retryAfterMs`, then try again. */
export class RetryAfter extends Error {
  override readonly name = "RetryAfter";
  constructor(message: string, readonly retryAfterMs: number, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The caller asked for something that will never work; the message says what to do instead. */
export class Refused extends Error {
  override readonly name = "Refused";
}

/** The process cannot go on; a person has to act. The message says how. */
export class Stop extends Error {
  override readonly name = "Stop";
  constructor(message: string, options?: ErrorOptions & { readonly exitCode?: number }) {
    super(message, options);
    this.exitCode = options?.exitCode ?? 1;
  }
  readonly exitCode: number;
}

/** Whether `error` says what happens next; any other is a bug, and its stack is worth a log. */
export function isExpected(error: unknown): boolean {
  return error instanceof RetryAfter || error instanceof Refused || error instanceof Stop;
}

/** One line for a log or a terminal, whatever was thrown. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // postgres.js and node sockets put the useful word in `code` and may leave the message empty.
  const code = (error as { code?: unknown }).code;
  return error.message || String(code ?? error.name);
}
