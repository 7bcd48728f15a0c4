/**
 * `deno task royalty rebuild`.
 *
 * @module
 */
import { command } from "../../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../../shared/process/cli/declaration.ts";
import { checkedText, day } from "../../../shared/process/cli/parsers.ts";
import { toJson } from "../../../shared/process/cli/json_output.ts";
import { postgresUrlProblem } from "../../../shared/process/postgres/server_url.ts";
import { progress } from "../../../shared/process/cli/progress.ts";
import { rebuildDay, type Rebuilt } from "../../audit/rebuild.ts";
import { withRawStreams } from "../connections.ts";

/** `deno task royalty rebuild`: rebuilds a closed day in an empty database. */
export const rebuildCommand = command({
  name: "rebuild",
  summary: "rebuild a closed day from the raw heartbeats in an empty database",
  details: "The SHA-256 of its CSV is compared with that of the statement; exits 1 when they " +
    "differ. Needs NATS, as royalty or auditor.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    into: {
      type: "string",
      value: "POSTGRES_URL",
      about: "an empty database; the rebuilt books stay in it",
      parser: checkedText(postgresUrlProblem),
      required: true,
      isSecret: true,
    },
    json: JSON_OPTION,
  },
  examples: [{ args: ["--day", "2026-11-23", "--into", "postgres://me@localhost/empty"] }],
  async run({ day, into, json }, io) {
    using shown = progress("sequences", undefined, { to: io.err });
    const rebuilt = await withRawStreams((options) =>
      rebuildDay(day, { ...options, into, onProgress: shown.at })
    );
    shown.end();
    if (json) io.out.write(toJson(rebuiltFacts(day, rebuilt)));
    else io.out.line(rebuiltText(day, rebuilt));
    return isSame(rebuilt) ? 0 : 1;
  },
});

function isSame({ stored, rebuilt }: Rebuilt): boolean {
  return stored === rebuilt;
}

function rebuiltText(day: string, result: Rebuilt): string {
  const { version, stored, rebuilt, events, seconds } = result;
  return [
    `${stored}  statement of ${day}, version ${version}`,
    `${rebuilt}  rebuilt from ${events} raw heartbeats in ${seconds.toFixed(1)} s`,
    isSame(result)
      ? "the same bytes"
      : "NOT the same bytes; deno task royalty recount lists the lines that differ",
  ].join("\n");
}

function rebuiltFacts(day: string, result: Rebuilt) {
  const { version, stored, rebuilt, events, seconds } = result;
  return {
    day,
    version,
    same: isSame(result),
    storedSha256: stored,
    rebuiltSha256: rebuilt,
    heartbeats: events,
    seconds,
  };
}
