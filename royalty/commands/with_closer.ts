/**
 * The closer of the commands: as the service has it, from this process's settings.
 *
 * @module
 */
import { localEnvironment, readSettings } from "../../shared/process/config.ts";
import type { StoredStatement } from "../statement/chain.ts";
import { type Closed, Closer } from "../closing/closer.ts";
import { withRawStreams } from "./with_raw_streams.ts";
import { askNats, Misuse, withBooks } from "./command.ts";
import { streamEnds } from "../raw/stream_ends.ts";
import { recountForClose } from "../recount/day.ts";
import { royaltyCliSettings } from "../settings.ts";
import { fileNames, StatementFiles } from "../statement/files.ts";

/** The folder of statements, if one is set. */
export function statementFiles(): StatementFiles | undefined {
  const { TWOFOLD_STATEMENTS_DIR } = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  return TWOFOLD_STATEMENTS_DIR ? new StatementFiles(TWOFOLD_STATEMENTS_DIR) : undefined;
}

/** Does `work` with a closer, tells the outcome, and returns the exit code. */
export async function withCloser(work: (closer: Closer) => Promise<Closed>): Promise<number> {
  const settings = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  const lookBackMs = settings.TWOFOLD_RECOUNT_LOOK_BACK_MS;
  const closer = new Closer({
    databaseUrl: settings.TWOFOLD_POSTGRES_URL,
    graceMs: settings.TWOFOLD_CLOSE_GRACE_MS,
    now: Date.now,
    streamEnds: async () => {
      const ends = await askNats(streamEnds);
      if (typeof ends !== "string") return ends;
      console.error(`royalty: the streams cannot be asked: ${ends}`);
      return new Map();
    },
    recount: (day) => withRawStreams((options) => recountForClose(day, { ...options, lookBackMs })),
    files: statementFiles(),
  });
  // For its errors: the closer has connections of its own.
  const { outcome, statement, filesMissing } = await withBooks(() => work(closer));
  console.log(outcomeText(outcome, statement));
  if (filesMissing === undefined) return 0;
  console.error(`royalty: ${filesMissing}`);
  return 1;
}

function outcomeText(outcome: Closed["outcome"], statement: StoredStatement): string {
  const { day, version, rows, events, ms, sha256, manifestSha256 } = statement;
  const verb = {
    "closed": "is closed",
    "closed before": "was closed before",
    "issued again": "is issued again",
  }[outcome];
  return [
    `${day} ${verb}: version ${version}, ${rows} lines, ${events} events, ${ms} ms`,
    `  ${sha256}  ${fileNames(statement).csv}`,
    `  ${manifestSha256}  ${fileNames(statement).manifest}`,
  ].join("\n");
}

/** Free text that is kept for ever: 1 to 200 characters, none of them a control character. */
export function keptText(flag: string, text: string): string {
  if (!/^[^\p{Cc}\p{Cs}]{1,200}$/u.test(text) || text.trim() !== text) {
    throw new Misuse(
      `${flag} must be 1 to 200 characters without control characters or outer spaces`,
    );
  }
  return text;
}
