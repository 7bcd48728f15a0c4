/**
 * Royalty with several streams, processes and databases counts the same.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Sql } from "postgres";
import { parseCsv } from "../../shared/dev/testing/csv.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import type { ServiceProcess } from "../../shared/dev/servers/service_process.ts";
import { createDatabase, DATABASE, roleUrl } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { heartbeatStreams } from "../../shared/contract/topology.ts";
import { readIssued } from "../books/statements.ts";
import { readAccounts } from "../books/accounts.ts";
import { readRecognisedLines } from "../books/lines.ts";
import type { StatementLine } from "../statement/statement_csv.ts";

const PARTITIONS = 4;
const STREAMS = heartbeatStreams(PARTITIONS);
/** Maximum time until another process counts the streams of a killed one. */
const MAX_TAKEOVER_MS = 15_000;
/** Databases and the partitions that each counts. */
const SHARES = [["twofold_a", "0,3"], ["twofold_b", "1,2"]] as const;
const DAY_MS = 86_400_000;
// A day that is over, so that it does not end during the test.
const WATCHED_AT = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS / 2;
const WATCHED_ON = new Date(WATCHED_AT).toISOString().slice(0, 10);

/** Servers, a publisher with retries that keeps an account, and databases that share the streams. */
class ScaleRig implements AsyncDisposable {
  /** Events sent, without copies. */
  unique = 0;
  /** Copies of them sent. */
  copies = 0;

  private constructor(readonly rig: RoyaltyRig) {}

  static async start(random: Random): Promise<ScaleRig> {
    const topology = { partitions: PARTITIONS, heartbeatsMaxBytes: 128 * 1024 ** 2 };
    const settings = { TWOFOLD_CLOSE_SCHEDULE: "off" };
    return new ScaleRig(await RoyaltyRig.start({ topology, settings, random, framed: true }));
  }

  /** Messages sent to each stream. */
  get sent(): number[] {
    return STREAMS.map((stream) => this.rig.lastSeqs.get(stream) ?? 0);
  }

  /** Sends `count` new events to the partition of their session, a fifth of them twice. */
  async watch(count: number): Promise<void> {
    const { random } = this.rig;
    for (let i = 0; i < count; i += 100) {
      const events = Array.from(
        { length: 100 },
        () =>
          aHeartbeat(random, WATCHED_AT + random.int(0, 3_600_000), {
            played_ms: random.int(0, 10_000),
          }),
      );
      for (const event of events) this.rig.expect(event);
      this.unique += events.length;
      // Without a message id, the stream keeps every copy, as after its duplicate window.
      const copies = events.filter(() => random.chance(0.2));
      this.copies += copies.length;
      await this.rig.publish([...events, ...copies]);
    }
  }

  /** A superuser's pool of `database`, which is created unless it exists. */
  async database(name: string): Promise<Sql> {
    const { stack } = this.rig;
    await createDatabase(stack.postgres, name);
    return stack.admin(name);
  }

  /** A royalty process on `database` that is ready. */
  async royalty(database: string, settings: Record<string, string> = {}): Promise<ServiceProcess> {
    return await this.rig.process({ ...this.#urlOf(database), ...settings });
  }

  /** Closes the day in `database` by command, and returns the statement. */
  async close(database: string, partitions: string) {
    const settings = {
      ...this.#urlOf(database),
      TWOFOLD_ROYALTY_PARTITIONS: partitions,
      TWOFOLD_CLOSE_GRACE_MS: "0",
    };
    const { code, err } = await this.rig.commandIn(
      { settings },
      "close",
      "--day",
      WATCHED_ON,
      "--by",
      "Ada",
    );
    assertEquals(code, 0, err);
    const sql = await this.database(database);
    const statement = await readIssued(sql, WATCHED_ON);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { csv: text(statement.csv), manifest: JSON.parse(text(statement.manifest)) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rig[Symbol.asyncDispose]();
  }

  #urlOf(database: string) {
    const { postgres } = this.rig.stack;
    return {
      TWOFOLD_POSTGRES_URL: roleUrl(postgres, "royalty", database),
      TWOFOLD_ISSUER_POSTGRES_URL: roleUrl(postgres, "issuer", database),
    };
  }
}

/** Ms by `title territory`, of one or of several databases. */
function creditedMs(lines: readonly StatementLine[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { titleId, territory, msWatched } of lines) {
    const key = `${titleId} ${territory}`;
    sums.set(key, (sums.get(key) ?? 0) + Number(msWatched));
  }
  return new Map([...sums].sort());
}

async function assertExact(scale: ScaleRig, databases: readonly Sql[]): Promise<void> {
  const accounts = await Promise.all(databases.map(readAccounts));
  assertEquals(accounts.flatMap(({ disagreements }) => disagreements), []);
  const streams = accounts.flatMap((each) => each.streams);
  assert(streams.every(({ identityHolds }) => identityHolds));
  const counted = streams.reduce((sum, each) => sum + each.counted, 0);
  const duplicates = streams.reduce((sum, each) => sum + each.duplicates, 0);
  assertEquals({ counted, duplicates }, { counted: scale.unique, duplicates: scale.copies });
  const lines = await Promise.all(databases.map((sql) => readRecognisedLines(sql, WATCHED_ON)));
  assertEquals(creditedMs(lines.flat()), new Map([...scale.rig.expectedMs].sort()));
}

Deno.test("four partitions are counted exactly by two processes, and by two databases", async (t) => {
  await using scale = await ScaleRig.start(propertyRandom("royalty scaled out"));
  const one = await scale.database(DATABASE);

  await t.step("one process counts all streams exactly", async () => {
    const royalty = await scale.royalty(DATABASE);
    await scale.watch(1_000);
    await scale.rig.accountedFor([one]);
    await assertExact(scale, [one]);
    assert(scale.sent.every((sent) => sent > 0), `no stream is idle: ${scale.sent}`);
    assertEquals(await royalty.stop(), 0);
  });

  await t.step(
    "when one of two processes is killed under traffic, the other takes over",
    async () => {
      const pair = [await scale.royalty(DATABASE), await scale.royalty(DATABASE)];
      for (const killed of [...pair, ...pair]) {
        const traffic = scale.watch(1_500);
        await waitFor("some of it to be counted", async () => {
          const { streams } = await readAccounts(one);
          const done = streams.reduce((sum, { events }) => sum + events, 0);
          return done > scale.unique + scale.copies - 1_400;
        });
        await killed.stop("SIGKILL");
        await scale.watch(100);
        await traffic;
        await scale.rig.accountedFor([one], MAX_TAKEOVER_MS);
        await assertExact(scale, [one]);
        await killed.restart();
        await killed.ready();
      }
      for (const service of pair) assertEquals(await service.stop(), 0);
    },
  );

  await t.step("two databases with two streams each add up to the lines of one", async () => {
    const whole = await readRecognisedLines(one, WATCHED_ON);
    const halves = [await scale.database(SHARES[0][0]), await scale.database(SHARES[1][0])];
    for (const [name, partitions] of SHARES) {
      await scale.royalty(name, { TWOFOLD_ROYALTY_PARTITIONS: partitions });
    }
    await scale.rig.accountedFor(halves);
    await assertExact(scale, halves);
    const streams = await Promise.all(
      halves.map(async (sql) => (await readAccounts(sql)).streams.map(({ stream }) => stream)),
    );
    assertEquals(streams, [[STREAMS[0], STREAMS[3]], [STREAMS[1], STREAMS[2]]]);
    const parts = await Promise.all(halves.map((sql) => readRecognisedLines(sql, WATCHED_ON)));
    assert(parts.every((lines) => lines.length > 0));
    assertEquals(creditedMs(parts.flat()), creditedMs(whole));
  });

  await t.step("each database recounts and closes its streams; the statements add up", async () => {
    const covered: string[] = [];
    const sums = new Map<string, number>();
    for (const [name, partitions] of SHARES) {
      const { csv, manifest } = await scale.close(name, partitions);
      assert(manifest.recount.method.length > 0);
      assertEquals(manifest.recount.ms, manifest.total_ms);
      covered.push(...manifest.streams.map(({ stream }: { stream: string }) => stream));
      for (const { values } of parseCsv(csv)) {
        const key = `${values.title_id} ${values.territory}`;
        sums.set(key, (sums.get(key) ?? 0) + Number(values.ms_watched));
      }
    }
    assertEquals(covered.sort(), [...STREAMS]);
    assertEquals(new Map([...sums].sort()), new Map([...scale.rig.expectedMs].sort()));
  });
});
