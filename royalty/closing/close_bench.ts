/**
 * The cost of a close: `deno run -A royalty/closing/close_bench.ts [lines]`.
 *
 * The credits of a day are inserted as posting would, a line for each title and territory. Then the
 * command closes the day without a recount, which `recount_bench.ts` measures, and writes the files;
 * another command verifies the chain.
 *
 * @module
 */
import type { Sql } from "postgres";
import { measureCommand, mebibytes } from "../../shared/dev/testing/measure.ts";
import { BooksRig } from "../../shared/e2e/books_rig.ts";

const CLI = new URL("../cli.ts", import.meta.url).pathname;
const DAY_MS = 86_400_000;
const TERRITORIES = 100;
const STUDIOS = 300;

/** Closes a day of `lines` lines and prints time and memory. */
export async function runCloseBench(lines = 1_000_000): Promise<void> {
  await using books = await BooksRig.start({ zone: "UTC", durable: true });
  const day = new Date(Date.now() - 2 * DAY_MS).toISOString().slice(0, 10);
  await enter(books.stack.admin(), day, lines);
  const env = {
    TWOFOLD_POSTGRES_URL: books.url,
    TWOFOLD_ISSUER_POSTGRES_URL: books.issuerUrl,
    TWOFOLD_NATS_USER: "",
    TWOFOLD_STATEMENTS_DIR: `${books.stack.workspace.folder}/statements`,
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
}

async function enter(sql: Sql, day: string, lines: number): Promise<void> {
  await sql`
    insert into royalty.accrual
    select ${day}::text::date, ${day}::text::date, 'title-' || n / ${TERRITORIES}::int,
      'territory-' || n % ${TERRITORIES}::int, 1, 10000
    from generate_series(1, ${lines}::int) n`;
  await sql`
    insert into royalty.title_right
    select 'title-' || n, '*', '-infinity', 'infinity', 'Studio ' || n % ${STUDIOS}::int, null
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
