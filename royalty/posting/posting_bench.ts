/**
 * The benchmarks of royalty: `deno run -A royalty/posting/posting_bench.ts [events]
 * [millions,millions…]`.
 *
 * The stream is filled first, one event in twenty twice; then royalty counts it with a Postgres as
 * durable as in production. The floor is `COPY` of the same ids, in batches of the same size, into a
 * key table of the same shape, in the same run. Then follow the cost of keys with the given millions
 * of them present (`key_bench.ts`), the recount (`recount_bench.ts`) and a close of a million lines
 * (`close_bench.ts`).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import type { Sql } from "postgres";
import { fillStream } from "../../shared/dev/fleet/filled_stream.ts";
import { type Figure, measure, rateOf, report } from "../../shared/dev/testing/measure.ts";
import { sumOf } from "../../shared/dev/servers/service_process.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { runCloseBench } from "../closing/close_bench.ts";
import { runKeyBench } from "./key_bench.ts";
import { runRecountBench } from "../recount/recount_bench.ts";

/** The target on two cores, events per second. */
const AIM = 50_000;
const BATCH_EVENTS = 10_000;
/** Share of the events that are counted before the measurement, for warm-up. */
const WARM_UP = 0.2;

/** Fills a stream, measures the floor and royalty, and prints the figures. */
export async function runRoyaltyBench(events = 500_000): Promise<Figure[]> {
  await using stack = await Stack.start({}, { durable: true });
  const ids = await fillStream(await stack.connect("ingest"), events);
  const floor = await measureFloor(stack, ids);
  const royalty = await measureRoyalty(stack, events);
  console.log(report([floor]));
  console.log(report([royalty], floor, AIM));
  const microseconds = (who: string) =>
    ((royalty.cores[who] ?? NaN) * 1_000_000 / rateOf(royalty)).toFixed(1);
  console.log(
    `CPU per event: royalty ${microseconds("royalty")} µs, Postgres ${microseconds("postgres")} µs`,
  );
  return [floor, royalty];
}

async function measureFloor(stack: Stack, ids: readonly string[]): Promise<Figure> {
  const sql = stack.admin();
  await sql`create table floor_key (event_id uuid primary key, fingerprint integer not null)`;
  const batches: Buffer[] = [];
  for (let at = 0; at < ids.length; at += BATCH_EVENTS) {
    const rows = ids.slice(at, at + BATCH_EVENTS).map((id, i) => `${id}\t${at + i}\n`);
    batches.push(Buffer.from(rows.join("")));
  }
  await sql`checkpoint`;
  const figure = await measure(
    "COPY of the same ids",
    { postgres: stack.postgres.pid },
    async () => {
      for (const batch of batches) await copy(sql, batch);
      return ids.length;
    },
  );
  await sql`drop table floor_key`;
  await sql`checkpoint`;
  return figure;
}

async function copy(sql: Sql, rows: Buffer): Promise<void> {
  const target = await sql`copy floor_key (event_id, fingerprint) from stdin`.writable();
  target.end(rows);
  await once(target, "finish");
}

async function measureRoyalty(
  stack: Stack,
  total: number,
): Promise<Figure> {
  const royalty = await stack.service("royalty", {
    TWOFOLD_ROYALTY_BATCH_EVENTS: String(BATCH_EVENTS),
  });
  const accountedFor = async () => {
    const metrics = await royalty.metrics();
    return ["counted", "duplicate"].reduce(
      (sum, outcome) => sum + sumOf(metrics, "twofold_royalty_events_total", { outcome }),
      0,
    );
  };
  const before = await waitFor("the warm-up", async () => {
    const events = await accountedFor();
    return events >= total * WARM_UP ? events : undefined;
  });
  const figure = await measure(
    "royalty, batches of 10,000",
    { royalty: royalty.pid, postgres: stack.postgres.pid, nats: stack.nats.pid },
    async () => {
      const done = async () => (await accountedFor()) === total;
      await waitFor("the whole stream to be counted", done, { timeoutMs: 120_000 });
      return total - before;
    },
  );
  return figure;
}

if (import.meta.main) {
  await runRoyaltyBench(Number(Deno.args[0] ?? 500_000));
  await runKeyBench(Deno.args[1]?.split(",").map(Number));
  await runRecountBench();
  await runCloseBench();
  Deno.exit(0);
}
