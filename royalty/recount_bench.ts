/**
 * The recount alone: `deno run -A royalty/recount_bench.ts [events]`.
 *
 * The stream is filled before, one event in twenty twice. The recount is a process of its own, as the
 * command is, so that its memory can be told. Above a million events it sorts on disk.
 *
 * @module
 */
import { fillStream } from "../shared/dev/filled_stream.ts";
import { cpuSeconds, type Figure, measure, rateOf, report } from "../shared/dev/measure.ts";
import { PostgresServer } from "../shared/dev/postgres_server.ts";
import { createDatabase, DATABASE, DEV_PASSWORD, NatsStack } from "../shared/dev/stack.ts";
import { readMigrations } from "../shared/migrate.ts";
import { connectBooks, openBooks } from "./ledger.ts";

/** Fills, recounts and prints the figures. */
export async function runRecountBench(events = 1_500_000): Promise<Figure[]> {
  await using stack = await NatsStack.start();
  const database = await PostgresServer.start(stack.workspace);
  await createDatabase(database);
  await fillStream(await stack.connect("ingest"), events);
  const url = database.url(DATABASE, "royalty", DEV_PASSWORD);
  await openBooks(url, "UTC", await readMigrations(new URL("migrations/", import.meta.url)));
  await postedThrough(url, events);
  const environment = { ...stack.nats.settings("auditor"), TWOFOLD_POSTGRES_URL: url };
  const { figure, peakBytes, text } = await measureRecount(environment, stack.nats.pid, events);
  await database.stop();
  console.log(text.split("\n").filter((line) => /^(read|recognised|took)/.test(line)).join("\n"));
  console.log(report([figure]));
  const cpuMicroseconds = figure.cores.recount * 1_000_000 / rateOf(figure);
  console.log(
    `recount: peak memory ${(peakBytes / 2 ** 20).toFixed(0)} MiB, CPU per event ` +
      `${cpuMicroseconds.toFixed(1)} µs: ${
        (cpuMicroseconds * 2_000 / 3_600).toFixed(1)
      } hours of ` +
      "one core for two billion",
  );
  return [figure];
}

// The recount reads as far as the books say; what they say beyond that is not measured.
async function postedThrough(url: string, events: number): Promise<void> {
  const sql = connectBooks(url);
  await sql`insert into royalty.stream_position (stream, last_seq, counted)
    values ('HEARTBEATS', ${events}, ${events})`;
  await sql.end();
}

async function measureRecount(
  environment: Record<string, string>,
  natsPid: number,
  events: number,
): Promise<{ readonly figure: Figure; readonly peakBytes: number; readonly text: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "cli.ts", "recount", "--day", new Date().toISOString().slice(0, 10)],
    cwd: new URL("./", import.meta.url),
    env: environment,
    stdout: "piped",
  }).spawn();
  // Its figures are gone with the process.
  let peakBytes = 0;
  let cpuUsed = 0;
  const sampling = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakBytesOf(child.pid));
    cpuUsed = Math.max(cpuUsed, cpuSeconds(child.pid) || 0);
  }, 100);
  let text = "";
  const measured = await measure("recount", { nats: natsPid }, async () => {
    text = new TextDecoder().decode((await child.output()).stdout);
    return events;
  });
  clearInterval(sampling);
  const cores = { recount: cpuUsed / measured.seconds, ...measured.cores };
  return { figure: { ...measured, cores }, peakBytes, text };
}

/** The most memory that a process has had resident so far; 0 where /proc is missing. */
function peakBytesOf(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

if (import.meta.main) {
  await runRecountBench(Number(Deno.args[0] ?? 1_500_000));
  Deno.exit(0);
}
