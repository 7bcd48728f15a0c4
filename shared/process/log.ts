/**
 * Structured logs: one JSON object a line on standard error.
 *
 * @module
 */
export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };
const encoder = new TextEncoder();

/** Writes lines of `service` at `level` and above. */
export class Log {
  constructor(readonly service: string, readonly level: LogLevel = "info") {}

  debug(message: string, fields?: LogFields): void {
    this.#write("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#write("info", message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#write("warn", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#write("error", message, fields);
  }

  #write(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (RANK[level] < RANK[this.level]) return;
    const at = new Date().toISOString();
    const line = JSON.stringify({ at, level, service: this.service, message, ...fields });
    Deno.stderr.writeSync(encoder.encode(line + "\n"));
  }
}
