/**
 * Runs commands that close or reissue days, with the closer that the service uses.
 *
 * @module
 */
import type { Io } from "../../shared/process/cli/io.ts";
import { localEnvironment, readSettings } from "../../shared/process/config.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { progress } from "../../shared/process/cli/progress.ts";
import { agreedWithPostgresMs, readStreamClocks } from "../books/clocks.ts";
import { type Closed, Closer } from "../closing/closer.ts";
import { streamEnds } from "../raw/stream_ends.ts";
import { recountForClose, type RecountResult } from "../recount/day.ts";
import { royaltyCliSettings } from "../settings.ts";
import type { StoredStatement } from "../statement/chain.ts";
import { fileNames, StatementFiles } from "../statement/files.ts";
import { type Books, booksUrlOf, queryNats, withBooks, withRawStreams } from "./connections.ts";

/** The statement files in `TWOFOLD_STATEMENTS_DIR`; undefined when it is not set. */
export function statementFiles(): StatementFiles | undefined {
  const { TWOFOLD_STATEMENTS_DIR } = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  return TWOFOLD_STATEMENTS_DIR ? new StatementFiles(TWOFOLD_STATEMENTS_DIR) : undefined;
}

/**
 * Runs `work` with a closer, prints its outcome to `io` and returns the exit code: 0, or 1 when the
 * statement files could not be written. Rejects as {@link withBooks} does.
 */
export async function withCloser(
  work: (closer: Closer) => Promise<Closed>,
  { json, io }: { readonly json: boolean; readonly io: Io },
): Promise<number> {
  const closed = await runWithCloser(io, work);
  if (json) io.out.write(toJson(closedFacts(closed)));
  else io.out.line(closedText(closed));
  if (closed.filesMissing === undefined) return 0;
  io.err.line(`royalty: ${closed.filesMissing}`);
  return 1;
}

/** Runs `work` with a closer. Rejects as {@link withBooks} does. */
export async function runWithCloser<T>(
  io: Io,
  work: (closer: Closer) => Promise<T>,
): Promise<T> {
  const settings = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  // withBooks maps errors; the closer has its own connections.
  return await withBooks((sql) =>
    work(
      new Closer({
        databaseUrl: booksUrlOf(settings),
        graceMs: settings.TWOFOLD_CLOSE_GRACE_MS,
        now: Date.now,
        agreedMs: () => agreedMs(sql),
        streamEnds: () => knownEnds(io),
        recount: (day) => recountWithProgress(day, settings.TWOFOLD_RECOUNT_LOOK_BACK_MS, io),
        files: statementFiles(),
      }),
    )
  );
}

// Without NATS the receipts have to prove that the day is over.
async function agreedMs(sql: Books): Promise<number> {
  const streams = await queryNats((nc, names) => readStreamClocks(nc, names, Date.now));
  return await agreedWithPostgresMs(sql, typeof streams === "string" ? [] : streams, Date.now);
}

async function knownEnds(io: Io): Promise<ReadonlyMap<string, number>> {
  const ends = await queryNats(streamEnds);
  if (typeof ends !== "string") return ends;
  io.err.line(`royalty: the ends of the streams cannot be read: ${ends}`);
  return new Map();
}

async function recountWithProgress(
  day: string,
  lookBackMs: number | undefined,
  io: Io,
): Promise<RecountResult> {
  using shown = progress(RECOUNT_LABEL, undefined, { to: io.err });
  return await withRawStreams((options) =>
    recountForClose(day, { ...options, lookBackMs, onProgress: shown.at })
  );
}

/** Label of the progress of a recount. Each heartbeat takes two steps: reading and counting. */
export const RECOUNT_LABEL = "recount, 2 steps a heartbeat:";

const VERBS: Readonly<Record<Closed["outcome"], string>> = {
  "closed": "is closed",
  "closed before": "was closed before",
  "issued again": "is issued again",
};

function closedText({ outcome, statement }: Closed): string {
  const { day, version, rows, events, ms, sha256, manifestSha256 } = statement;
  return [
    `${day} ${VERBS[outcome]}: version ${version}, ${rows} lines, ${events} events, ${ms} ms`,
    `  ${sha256}  ${fileNames(statement).csv}`,
    `  ${manifestSha256}  ${fileNames(statement).manifest}`,
  ].join("\n");
}

function closedFacts({ outcome, statement, filesMissing }: Closed) {
  return { outcome, ...statementFacts(statement), filesMissing };
}

function statementFacts(statement: StoredStatement) {
  const { day, version, rows, events, ms, sha256, manifestSha256 } = statement;
  const names = fileNames(statement);
  return {
    day,
    version,
    lines: rows,
    events,
    msWatched: ms,
    csv: { file: names.csv, sha256 },
    manifest: { file: names.manifest, sha256: manifestSha256 },
  };
}
