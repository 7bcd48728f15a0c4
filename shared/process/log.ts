/**
 * Structured logs: one JSON object per line on standard error.
 *
 * `{"at", "level", "service", "event", "message", …fields}`: `event` is a name in `log_events.ts`,
 * `message` its text. The field `error` is logged as its message; for an unexpected error, the
 * field `stack` is added.
 *
 * @module
 */
import { isExpected, messageOf } from "./errors.ts";
import { LOG_EVENTS, type LogEvent } from "./log_events.ts";

/** Log levels, in ascending severity. */
export type LogLevel = "debug" | "info" | "warn" | "error";
/** Additional fields of a line, by name in snake_case. */
export type LogFields = Readonly<Record<string, unknown>>;

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const encoder = new TextEncoder();

/** Writes the log lines of `service` with `level` or a higher level. */
export class Log {
  constructor(readonly service: string, readonly level: LogLevel = "info") {}

  debug(event: LogEvent, fields?: LogFields): void {
    this.#write("debug", event, fields);
  }
  info(event: LogEvent, fields?: LogFields): void {
    this.#write("info", event, fields);
  }
  warn(event: LogEvent, fields?: LogFields): void {
    this.#write("warn", event, fields);
  }
  error(event: LogEvent, fields?: LogFields): void {
    this.#write("error", event, fields);
  }

  #write(level: LogLevel, event: LogEvent, fields: LogFields = {}): void {
    if (RANK[level] < RANK[this.level]) return;
    const at = new Date().toISOString();
    const line = { at, level, service: this.service, event, message: LOG_EVENTS[event] };
    const text = JSON.stringify({ ...line, ...fields, ...errorFields(fields.error) });
    Deno.stderr.writeSync(encoder.encode(text + "\n"));
  }
}

function errorFields(error: unknown): LogFields {
  if (error === undefined) return {};
  const stack = error instanceof Error && !isExpected(error) ? error.stack : undefined;
  return { error: messageOf(error), ...(stack === undefined ? {} : { stack }) };
}
