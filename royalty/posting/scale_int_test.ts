/**
 * Royalty on more than one stream, process and database: what it counts stays the same.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { jetstream, type JetStreamClient } from "nats/jetstream";
import type { Sql } from "postgres";
import { parseCsv } from "../../shared/dev/testing/csv.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { ServiceProcess } from "../../shared/dev/servers/service_process.ts";
import { DATABASE, DEV_PASSWORD, Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { provisionRoles } from "../../shared/provision/roles.ts";
import { heartbeatStreams, heartbeatSubject, partitionOf } from "../../shared/contract/topology.ts";
import { readIssued } from "../books/statements.ts";
import { readAccounts } from "../books/accounts.ts";
import { readRecognisedLines } from "../books/lines.ts";
import type { StatementLine } from "../statement/csv.ts";

const PARTITIONS = 4;
const STREAMS = heartbeatStreams(PARTITIONS);
/** The promise: a dead worker's streams are counted again by then. */
const TAKEOVER_MS = 15_000;
/** Databases and the partitions that each counts. */
const SHARES = [["twofold_a", "0,3"], ["twofold_b", "1,2"]] as const;
const DAY_MS = 86_400_000;
// A whole day ago, so that no test runs across the end of the day that it watches.
const WATCHED_AT = Math.floor(Date.now() / DAY_MS) * DAY_MS - DAY_MS / 2;
const WATCHED_ON = new Date(WATCHED_AT).toISOString().slice(0, 10);

interface DatabaseRow {
  readonly datname: string;
}

/** Players that send to the partition of their session, repeat themselves, and keep account. */
class Players {
  /** What must be credited, `title territory` to ms. */
  readonly expectedMs = new Map<string, number>();
  readonly sent: number[] = STREAMS.map(() => 0);
  unique = 0;

  constructor(readonly js: JetStreamClient, readonly random: Random) {}

  /** Sends `count` new events, a fifth of them twice. */
  async watch(count: number): Promise<void> {
    const { random } = this;
    for (let i = 0; i < count; i += 100) {
      await Promise.all(Array.from({ length: 100 }, async () => {
        const event = aHeartbeat(random, WATCHED_AT + random.int(0, 3_600_000), {
          played_ms: random.int(0, 10_000),
        });
        const key = `${event.title_id} ${event.region}`;
        this.expectedMs.set(key, (this.expectedMs.get(key) ?? 0) + event.played_ms);
        this.unique += 1;
        const partition = partitionOf(event.session_id, PARTITIONS);
        const subject = heartbeatSubject(partition, event.region);
        // No message id: the stream keeps every copy, as it does once its window is over.
        for (let copy = random.chance(0.2) ? 2 : 1; copy > 0; copy--) {
          await this.js.publish(subject, encode(event));
          this.sent[partition] = (this.sent[partition] ?? 0) + 1;
        }
      }));
    }
  }
}

class Rig implements AsyncDisposable {
  readonly #processes: ServiceProcess[] = [];
  readonly #connections: Sql[] = [];

  private constructor(readonly stack: Stack, readonly players: Players) {}

  static async start(random: Random): Promise<Rig> {
    const stack = await Stack.start({
      partitions: PARTITIONS,
      heartbeatsMaxBytes: 128 * 1024 ** 2,
    });
    return new Rig(stack, new Players(jetstream(await stack.connect("ingest")), random));
  }

  /** A superuser's connection to `database`, which is made if it is not there. */
  async database(name: string): Promise<Sql> {
    const { postgres } = this.stack;
    const sql = postgres.connect(name);
    this.#connections.push(sql);
    const admin = postgres.connect();
    const [exists] = await admin<DatabaseRow[]>`
      select datname from pg_database where datname = ${name}`;
    if (!exists) await admin`create database ${admin(name)}`;
    await admin.end();
    if (!exists) {
      await provisionRoles(sql, { royalty: DEV_PASSWORD, triage: DEV_PASSWORD });
    }
    return sql;
  }

  /** A royalty process that is ready. */
  async royalty(database: string, settings: Record<string, string> = {}): Promise<ServiceProcess> {
    const { nats, postgres, workspace } = this.stack;
    const service = await ServiceProcess.start(workspace, "royalty", {
      httpPort: freePort(),
      reach: [nats.url, `127.0.0.1:${postgres.port}`],
      settings: {
        ...nats.settings("royalty"),
        TWOFOLD_POSTGRES_URL: postgres.url(database, "royalty", DEV_PASSWORD),
        TWOFOLD_PARTITIONS: String(PARTITIONS),
        TWOFOLD_CLOSE_SCHEDULE: "off",
        ...settings,
      },
    });
    this.#processes.push(service);
    return service;
  }

  /** Closes the day in `database`, as a person does, and returns what finance gets. */
  async close(database: string, partitions: string) {
    const { nats, postgres } = this.stack;
    const env = {
      ...nats.settings("royalty"),
      TWOFOLD_POSTGRES_URL: postgres.url(database, "royalty", DEV_PASSWORD),
      TWOFOLD_PARTITIONS: String(PARTITIONS),
      TWOFOLD_ROYALTY_PARTITIONS: partitions,
      TWOFOLD_CLOSE_GRACE_MS: "0",
    };
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "royalty", "close", "--day", WATCHED_ON],
      cwd: new URL("../../", import.meta.url),
      env,
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const sql = await this.database(database);
    const statement = await readIssued(sql, WATCHED_ON);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { csv: text(statement.csv), manifest: JSON.parse(text(statement.manifest)) };
  }

  /** Waits until all that was sent is accounted for in `databases`, each with streams of its own. */
  async accountedFor(databases: readonly Sql[], timeoutMs = 30_000): Promise<void> {
    await waitFor("all that was sent to be accounted for", async () => {
      const accounts = await Promise.all(databases.map(readAccounts));
      const streams = accounts.flatMap((each) => each.streams);
      const lastSeqs = STREAMS.map((name) => streams.find((s) => s.stream === name)?.lastSeq ?? 0);
      if (lastSeqs.join() === this.players.sent.join()) return true;
      throw new Error(`at ${lastSeqs}, sent ${this.players.sent}`);
    }, { timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((service) => service.stop("SIGKILL")));
    await Promise.all(this.#connections.map((sql) => sql.end({ timeout: 1 })));
    await this.stack[Symbol.asyncDispose]();
  }
}

/** `title territory` to ms, of one statement or of several databases' together. */
function creditedMs(lines: readonly StatementLine[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { titleId, territory, msWatched } of lines) {
    const key = `${titleId} ${territory}`;
    sums.set(key, (sums.get(key) ?? 0) + Number(msWatched));
  }
  return new Map([...sums].sort());
}

async function assertExact({ players }: Rig, databases: readonly Sql[]): Promise<void> {
  const accounts = await Promise.all(databases.map(readAccounts));
  assertEquals(accounts.flatMap(({ disagreements }) => disagreements), []);
  const streams = accounts.flatMap((each) => each.streams);
  assert(streams.every(({ identityHolds }) => identityHolds));
  const counted = streams.reduce((sum, each) => sum + each.counted, 0);
  const duplicates = streams.reduce((sum, each) => sum + each.duplicates, 0);
  const sent = players.sent.reduce((sum, each) => sum + each, 0);
  assertEquals({ counted, duplicates }, {
    counted: players.unique,
    duplicates: sent - players.unique,
  });
  const lines = await Promise.all(databases.map((sql) => readRecognisedLines(sql, WATCHED_ON)));
  assertEquals(creditedMs(lines.flat()), new Map([...players.expectedMs].sort()));
}

Deno.test("four partitions: two processes take over from each other, two databases share", async (t) => {
  await using rig = await Rig.start(propertyRandom("royalty scaled out"));
  const one = await rig.database(DATABASE);

  await t.step("a worker for each stream: identity and statement hold", async () => {
    const royalty = await rig.royalty(DATABASE);
    await rig.players.watch(1_000);
    await rig.accountedFor([one]);
    await assertExact(rig, [one]);
    assert(rig.players.sent.every((sent) => sent > 0), `no stream is idle: ${rig.players.sent}`);
    assertEquals(await royalty.stop(), 0);
  });

  await t.step(
    "of two processes, either may be killed under traffic; the other goes on",
    async () => {
      const pair = [await rig.royalty(DATABASE), await rig.royalty(DATABASE)];
      for (const killed of [...pair, ...pair]) {
        const traffic = rig.players.watch(1_500);
        await waitFor("some of it to be counted", async () => {
          const { streams } = await readAccounts(one);
          const done = streams.reduce((sum, { lastSeq }) => sum + lastSeq, 0);
          return done > rig.players.sent.reduce((sum, each) => sum + each, 0) - 1_400;
        });
        await killed.stop("SIGKILL");
        await rig.players.watch(100);
        await traffic;
        await rig.accountedFor([one], TAKEOVER_MS);
        await assertExact(rig, [one]);
        await killed.restart();
        await killed.ready();
      }
      for (const service of pair) assertEquals(await service.stop(), 0);
    },
  );

  await t.step("two databases with two streams each add up to the statement of one", async () => {
    const whole = await readRecognisedLines(one, WATCHED_ON);
    const halves = [await rig.database(SHARES[0][0]), await rig.database(SHARES[1][0])];
    for (const [name, partitions] of SHARES) {
      await rig.royalty(name, { TWOFOLD_ROYALTY_PARTITIONS: partitions });
    }
    await rig.accountedFor(halves);
    await assertExact(rig, halves);
    const streams = await Promise.all(
      halves.map(async (sql) => (await readAccounts(sql)).streams.map(({ stream }) => stream)),
    );
    assertEquals(streams, [[STREAMS[0], STREAMS[3]], [STREAMS[1], STREAMS[2]]]);
    const parts = await Promise.all(halves.map((sql) => readRecognisedLines(sql, WATCHED_ON)));
    assert(parts.every((lines) => lines.length > 0));
    assertEquals(creditedMs(parts.flat()), creditedMs(whole));
  });

  await t.step("each database closes its own share, recounted; the statements add up", async () => {
    const covered: string[] = [];
    const sums = new Map<string, number>();
    for (const [name, partitions] of SHARES) {
      const { csv, manifest } = await rig.close(name, partitions);
      assert(manifest.recount.method.length > 0);
      assertEquals(manifest.recount.ms, manifest.total_ms);
      covered.push(...manifest.streams.map(({ stream }: { stream: string }) => stream));
      for (const { values } of parseCsv(csv)) {
        const key = `${values.title_id} ${values.territory}`;
        sums.set(key, (sums.get(key) ?? 0) + Number(values.ms_watched));
      }
    }
    assertEquals(covered.sort(), [...STREAMS]);
    assertEquals(new Map([...sums].sort()), new Map([...rig.players.expectedMs].sort()));
  });
});
