/**
 * The cost of a recount: `deno run -A royalty/recount/recount_bench.ts [events]`.
 *
 * The stream is filled first, one event in twenty twice. The recount runs as a process of its own, like
 * the command, so that its memory can be measured. Above a million events it sorts on disk.
 *
 * @module
 */
import { fillStream } from "../../shared/dev/fleet/filled_stream.ts";
import {
  type Figure,
  measureCommand,
  mebibytes,
  rateOf,
  report,
} from "../../shared/dev/testing/measure.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
import { connectBooks, openBooks } from "../books/connection.ts";

const CLI = new URL("../cli.ts", import.meta.url).pathname;

/** Fills a stream with `events`, recounts it and prints the figures. */
export async function runRecountBench(events = 1_500_000): Promise<Figure[]> {
  await using stack = await Stack.start();
  await fillStream(await stack.connect("ingest"), events);
  const url = stack.databaseUrl("royalty");
  await openBooks(url, "UTC");
  await postedThrough(url, events);
  const { figure, peakBytes, text, errors } = await measureCommand("recount", {
    args: ["run", "-A", CLI, "recount", "--day", new Date().toISOString().slice(0, 10)],
    env: stack.settings("auditor"),
    events,
    pids: { nats: stack.nats.pid },
  });
  // The books have no credits, so the recount differs; that is expected.
  if (!text.includes("recognised on")) throw new Error(errors);
  console.log(text.split("\n").filter((line) => /^(read|recognised|took)/.test(line)).join("\n"));
  console.log(report([figure]));
  const cpuMicroseconds = (figure.cores.recount ?? NaN) * 1_000_000 / rateOf(figure);
  const each = cpuMicroseconds.toFixed(1);
  const hours = (cpuMicroseconds * 2_000 / 3_600).toFixed(1);
  console.log(
    `recount: peak memory ${mebibytes(peakBytes)}, CPU per event ${each} µs: ` +
      `${hours} hours of one core for two billion`,
  );
  return [figure];
}

// The recount reads up to the position in the books.
async function postedThrough(url: string, events: number): Promise<void> {
  const sql = connectBooks(url);
  await sql`insert into royalty.stream_position (stream, last_seq, counted)
    values ('HEARTBEATS', ${events}, ${events})`;
  await sql.end();
}

if (import.meta.main) {
  await runRecountBench(Number(Deno.args[0] ?? 1_500_000));
  Deno.exit(0);
}
