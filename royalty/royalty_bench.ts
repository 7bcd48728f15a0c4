/**
 * Royalty alone: `deno run -A royalty/royalty_bench.ts [events] [millions,millions…]`.
 *
 * The stream is filled before; then royalty counts it with a Postgres as safe as in production. One
 * event in twenty comes twice. The floor is `COPY` of the ids that royalty has to keep, in batches
 * of the same size, into a key table of the same shape, in the same run. Then what
 * keys cost while so many millions of them are present, see `key_bench.ts`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import type { NatsConnection } from "nats";
import { startFastIngest } from "nats/jetstream/internal";
import type { Sql } from "postgres";
import { freePort } from "../shared/dev/free_port.ts";
import { aHeartbeat, encode } from "../shared/dev/heartbeats.ts";
import { type Figure, measure, rateOf, report } from "../shared/dev/measure.ts";
import { PostgresServer } from "../shared/dev/postgres_server.ts";
import { Random } from "../shared/dev/random.ts";
import { Service } from "../shared/dev/service.ts";
import { createDatabase, DATABASE, DEV_PASSWORD, NatsStack } from "../shared/dev/stack.ts";
import { waitFor } from "../shared/dev/wait_for.ts";
import { inboxPrefix } from "../shared/nats/connection.ts";
import { heartbeatSubject } from "../shared/topology.ts";
import { runKeyBench } from "./key_bench.ts";

/** Royalty should reach this on two cores, events a second. */
const AIM = 50_000;
const BATCH_EVENTS = 10_000;
const FAST_BATCH_EVENTS = 500;
const REPEATED = 0.05;
/** Share of the events that are counted before the measurement, so that code is compiled. */
const WARM_UP = 0.2;

/** Fills, measures the floor and royalty, and prints the figures. */
export async function runRoyaltyBench(events = 500_000): Promise<Figure[]> {
  await using stack = await NatsStack.start();
  const database = await PostgresServer.start(stack.workspace, { durable: true });
  await createDatabase(database);
  const ids = await fill(await stack.connect("ingest"), events);
  const floor = await measureFloor(database, ids);
  const royalty = await measureRoyalty(stack, database, events);
  await database.stop();
  console.log(report([floor]));
  console.log(report([royalty], floor, AIM));
  const microseconds = (who: string) =>
    (royalty.cores[who] * 1_000_000 / rateOf(royalty)).toFixed(1);
  console.log(
    `CPU per event: royalty ${microseconds("royalty")} µs, Postgres ${microseconds("postgres")} µs`,
  );
  return [floor, royalty];
}

// Returns the ids that are new, in the order of the stream.
async function fill(nc: NatsConnection, events: number): Promise<string[]> {
  const random = new Random(1);
  const now = Date.now();
  const ids: string[] = [];
  let last = encode(aHeartbeat(random, now));
  for (let at = 0; at < events; at += FAST_BATCH_EVENTS) {
    const batch = Array.from({ length: Math.min(FAST_BATCH_EVENTS, events - at) }, () => {
      if (ids.length > 0 && random.chance(REPEATED)) return last;
      const heartbeat = aHeartbeat(random, now - random.int(0, 20_000));
      ids.push(heartbeat.event_id);
      return last = encode(heartbeat);
    });
    await land(nc, batch);
  }
  return ids;
}

async function land(nc: NatsConnection, batch: readonly Uint8Array[]): Promise<void> {
  const subject = heartbeatSubject(0, "de");
  const fast = await startFastIngest(nc, subject, batch[0], {
    ackInterval: FAST_BATCH_EVENTS,
    allowGaps: false,
    inboxPrefix: inboxPrefix("ingest"),
  });
  for (const bytes of batch.slice(1, -1)) await fast.add(subject, bytes);
  await fast.last(subject, batch[batch.length - 1]);
}

async function measureFloor(database: PostgresServer, ids: readonly string[]): Promise<Figure> {
  const sql = database.connect(DATABASE);
  await sql`create table floor_key (event_id uuid primary key, fingerprint integer not null)`;
  const batches: Buffer[] = [];
  for (let at = 0; at < ids.length; at += BATCH_EVENTS) {
    const rows = ids.slice(at, at + BATCH_EVENTS).map((id, i) => `${id}\t${at + i}\n`);
    batches.push(Buffer.from(rows.join("")));
  }
  await sql`checkpoint`;
  const figure = await measure("COPY of the same ids", { postgres: database.pid }, async () => {
    for (const batch of batches) await copy(sql, batch);
    return ids.length;
  });
  await sql`drop table floor_key`;
  await sql`checkpoint`;
  await sql.end();
  return figure;
}

async function copy(sql: Sql, rows: Buffer): Promise<void> {
  const target = await sql`copy floor_key (event_id, fingerprint) from stdin`.writable();
  target.end(rows);
  await once(target, "finish");
}

async function measureRoyalty(
  stack: NatsStack,
  database: PostgresServer,
  total: number,
): Promise<Figure> {
  const { nats } = stack;
  const royalty = await Service.start(stack.workspace, "royalty", {
    httpPort: freePort(),
    reach: [nats.url, `127.0.0.1:${database.port}`],
    settings: {
      ...nats.settings("royalty"),
      TWOFOLD_POSTGRES_URL: database.url(DATABASE, "royalty", DEV_PASSWORD),
      TWOFOLD_ROYALTY_BATCH_EVENTS: String(BATCH_EVENTS),
    },
  });
  const accountedFor = async () => {
    const metrics = await royalty.metrics();
    return ["counted", "duplicate"].reduce(
      (sum, outcome) =>
        sum + (metrics.get(`twofold_royalty_events_total{outcome="${outcome}"}`) ?? 0),
      0,
    );
  };
  const before = await waitFor("the warm-up", async () => {
    const events = await accountedFor();
    return events >= total * WARM_UP ? events : undefined;
  });
  const figure = await measure(
    "royalty, batches of 10,000",
    { royalty: royalty.pid, postgres: database.pid, nats: nats.pid },
    async () => {
      const done = async () => (await accountedFor()) === total;
      await waitFor("the whole stream to be counted", done, { timeoutMs: 120_000 });
      return total - before;
    },
  );
  await royalty.stop();
  return figure;
}

if (import.meta.main) {
  await runRoyaltyBench(Number(Deno.args[0] ?? 500_000));
  await runKeyBench(Deno.args[1]?.split(",").map(Number));
  Deno.exit(0);
}
