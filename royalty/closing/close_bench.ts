/**
 * A close alone: `deno run -A royalty/close_bench.ts [lines]`.
 *
 * The credits of a day are put into the books as posting leaves them, a line for each title and
 * territory; then the day is closed by the command, without a recount (`recount_bench.ts` measures
 * that), the chain is verified, and the files are written.
 *
 * @module
 */
import type { Sql } from "postgres";
import { measureCommand, mebibytes } from "../../shared/dev/testing/measure.ts";
import { PostgresServer } from "../../shared/dev/servers/postgres_server.ts";
import { createDatabase, DATABASE, DEV_PASSWORD } from "../../shared/dev/servers/stack.ts";
import { Workspace } from "../../shared/dev/servers/workspace.ts";
import { openBooks } from "../books/connection.ts";

const CLI = new URL("../cli.ts", import.meta.url).pathname;
const DAY_MS = 86_400_000;
const TERRITORIES = 100;
const STUDIOS = 300;

/** Closes a day of `lines` lines and prints what it cost. */
export async function runCloseBench(lines = 1_000_000): Promise<void> {
  await using workspace = await Workspace.temporary();
  const server = await PostgresServer.start(workspace, { durable: true });
  await createDatabase(server);
  const url = server.url(DATABASE, "royalty", DEV_PASSWORD);
  await openBooks(url, "UTC");
  const day = new Date(Date.now() - 2 * DAY_MS).toISOString().slice(0, 10);
  const sql = server.connect(DATABASE);
  await enter(sql, day, lines);
  await sql.end();
  const env = {
    TWOFOLD_POSTGRES_URL: url,
    TWOFOLD_NATS_USER: "",
    TWOFOLD_STATEMENTS_DIR: `${workspace.folder}/statements`,
  };
  const waiver = ["--without-recount", "measured by itself", "--by", "the benchmark"];
  for (
    const [command, ...args] of [["close", "--day", day, ...waiver], ["verify-chain"]] as const
  ) {
    const { figure, peakBytes, exitCode, errors } = await measureCommand(command, {
      args: ["run", "-A", CLI, command, ...args],
      env,
      events: lines,
    });
    if (exitCode !== 0) throw new Error(errors);
    console.log(
      `${command}, ${lines.toLocaleString("en-US")} lines: ${figure.seconds.toFixed(1)} s, ` +
        `peak memory ${mebibytes(peakBytes)}`,
    );
  }
  await server.stop();
}

async function enter(sql: Sql, day: string, lines: number): Promise<void> {
  await sql`
    insert into royalty.accrual
    select ${day}::text::date, ${day}::text::date, 'title-' || n / ${TERRITORIES}::int,
      'territory-' || n % ${TERRITORIES}::int, 1, 10000
    from generate_series(1, ${lines}::int) n`;
  await sql`
    insert into royalty.title
    select 'title-' || n, 'Studio ' || n % ${STUDIOS}::int, null
    from generate_series(0, ${lines}::int / ${TERRITORIES}::int) n`;
  await sql`
    insert into royalty.stream_position
      (stream, last_seq, last_received_ms, counted, credited_ms)
    values ('HEARTBEATS', ${lines}, ${Date.now()}, ${lines}, ${lines * 10_000})`;
}

if (import.meta.main) {
  await runCloseBench(Number(Deno.args[0] ?? 1_000_000));
  Deno.exit(0);
}
