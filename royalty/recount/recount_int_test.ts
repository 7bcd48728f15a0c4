/**
 * Recount and rebuild against real servers, the service and the commands as people run them.
 *
 * @module
 */
import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream, jetstreamManager } from "nats/jetstream";
import type { Sql } from "postgres";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import type { NatsUser } from "../../shared/dev/servers/nats_server.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { ServiceProcess } from "../../shared/dev/servers/service_process.ts";
import { DATABASE, DEV_PASSWORD, Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { heartbeatSubject, partitionOf } from "../../shared/contract/topology.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { readStored } from "../books/statements.ts";
import { rawExtent, readRaw } from "../raw/raw_stream.ts";

const DAY_MS = 86_400_000;
const PARTITIONS = 2;

function dayOf(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10);
}

interface PostedRow {
  readonly posted: string;
}

interface ChangedRow {
  readonly title_id: string;
  readonly region: string;
  readonly event_day: string;
}

/** Two streams, the royalty service, and the commands. */
class Rig implements AsyncDisposable {
  sent = 0;

  private constructor(
    readonly stack: Stack,
    readonly service: ServiceProcess,
    readonly ingest: NatsConnection,
    readonly sql: Sql,
  ) {}

  static async start(): Promise<Rig> {
    const stack = await Stack.start({ partitions: PARTITIONS });
    const service = await ServiceProcess.start(stack.workspace, "royalty", {
      httpPort: freePort(),
      reach: [stack.nats.url, `127.0.0.1:${stack.postgres.port}`],
      settings: { ...settingsOf(stack, "royalty"), TWOFOLD_CLOSE_GRACE_MS: "0" },
    });
    const sql = stack.postgres.connect(DATABASE);
    return new Rig(stack, service, await stack.connect("ingest"), sql);
  }

  /** Lands `events` as ingest does; bytes land as they are. */
  async land(events: readonly (Heartbeat | Uint8Array)[]): Promise<void> {
    const js = jetstream(this.ingest);
    for (const event of events) {
      const partition = event instanceof Uint8Array ? 0 : partitionOf(event.session_id, PARTITIONS);
      const bytes = event instanceof Uint8Array ? event : encode(event);
      await js.publish(heartbeatSubject(partition, "de"), bytes);
    }
    this.sent += events.length;
    await waitFor("royalty to have posted all", async () => {
      const rows = await this.sql<PostedRow[]>`
        select coalesce(sum(last_seq), 0) as posted from royalty.stream_position`;
      return Number(onlyRow(rows, "the sum of all positions").posted) === this.sent;
    });
  }

  /** Runs a command; `role` is who it is for NATS. */
  async cli(role: NatsUser, ...args: string[]) {
    return await this.cliWith({}, role, ...args);
  }

  /** The same, with `settings` besides. */
  async cliWith(settings: Record<string, string>, role: NatsUser, ...args: string[]) {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "royalty", ...args],
      cwd: new URL("../../", import.meta.url),
      env: { ...settingsOf(this.stack, role), TWOFOLD_CLOSE_GRACE_MS: "0", ...settings },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  }

  async manifest(day: string) {
    const stored = await readStored(this.sql, day);
    return stored && JSON.parse(new TextDecoder().decode(stored.manifest));
  }

  async emptyDatabase(): Promise<string> {
    const name = `rebuild_${crypto.randomUUID().replaceAll("-", "")}`;
    await this.sql`create database ${this.sql(name)} owner royalty`;
    return this.stack.postgres.url(name, "royalty", DEV_PASSWORD);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end({ timeout: 1 });
    await this.service.stop();
    await this.stack[Symbol.asyncDispose]();
  }
}

function settingsOf(stack: Stack, role: NatsUser): Record<string, string> {
  return {
    ...stack.nats.settings(role),
    TWOFOLD_PARTITIONS: String(PARTITIONS),
    TWOFOLD_POSTGRES_URL: stack.databaseUrl("royalty"),
  };
}

// Retries, reused ids, clocks that are wrong, and rubbish; `watched` is when it was watched.
function traffic(random: Random, count: number, watched: () => number) {
  const events: (Heartbeat | Uint8Array)[] = [];
  const good: Heartbeat[] = [];
  while (events.length < count) {
    const fresh = aHeartbeat(random, watched(), { played_ms: random.int(0, 16_000) });
    const kind = random.int(0, 9);
    if (kind === 0 && good.length > 0) events.push(random.pick(good));
    else if (kind === 1 && good.length > 0) events.push({ ...random.pick(good), played_ms: 1 });
    else if (kind === 2) events.push(random.pick([new Uint8Array([0xff]), encode({ v: 1 })]));
    else if (kind === 3) {
      events.push({ ...fresh, ts: Date.now() + random.pick([DAY_MS, -9 * DAY_MS]) });
    } else {
      good.push(fresh);
      events.push(fresh);
    }
  }
  return { events, good };
}

Deno.test("days are recounted before they close, and rebuilt to the same bytes", async (t) => {
  const random = propertyRandom("recount and rebuild on real servers");
  await using rig = await Rig.start();
  const now = Date.now();
  const [yesterday, today, tomorrow] = [dayOf(now - DAY_MS), dayOf(now), dayOf(now + DAY_MS)];
  const aimedAt = (day: string) => Date.parse(day) + random.int(0, DAY_MS - 1);
  const first = traffic(random, 300, () => Math.min(aimedAt(random.pick([yesterday, today])), now));

  await t.step("an open day agrees, for royalty and for an auditor", async () => {
    await rig.land(first.events);
    for (const role of ["royalty", "auditor"] as const) {
      const { code, out, err } = await rig.cli(role, "recount", "--day", yesterday);
      assertEquals([code, err], [0, ""], out);
      assertStringIncludes(out, `${yesterday} (open), recounted from raw heartbeats`);
      assertStringIncludes(out, "accruals: no difference");
      assert(out.trimEnd().endsWith("the recount agrees"), out);
    }
  });

  await t.step("the service recounts before it closes", async () => {
    await rig.service.stop();
    await rig.service.restart();
    const manifest = await waitFor("yesterday to be closed", () => rig.manifest(yesterday));
    assertStringIncludes(manifest.recount.method, "external sort of raw heartbeats");
    assertEquals(manifest.recount.events, manifest.total_events);
    assertEquals(manifest.recount.ms, manifest.total_ms);
  });

  await t.step(
    "late events and repeats of closed ones are recounted where they belong",
    async () => {
      const late = traffic(random, 100, () => aimedAt(yesterday));
      await rig.land([...late.events, ...random.shuffle(first.good).slice(0, 50)]);
      const file = await Deno.makeTempFile({ suffix: ".csv" });
      await Deno.writeTextFile(
        file,
        'title_id,studio\r\ntitle-1,"Acme, Inc"\r\ntitle-2,=Studio\r\n',
      );
      assertEquals((await rig.cli("royalty", "catalogue", file)).code, 0);
      await Deno.remove(file);
      const asOf = new Date(Date.parse(today) + DAY_MS).toISOString();
      const closed = await rig.cli("royalty", "close", "--day", today, "--as-of", asOf);
      assertEquals([closed.code, closed.err], [0, ""]);
      for (const day of [yesterday, today]) {
        const { code, out, err } = await rig.cli("auditor", "recount", "--day", day);
        assertEquals([code, err], [0, ""], out);
        assertStringIncludes(out, "statement version 1: no difference");
      }
      const { adjustments } = await rig.manifest(today);
      assert(adjustments.events > 0);
    },
  );

  await t.step(
    "a close may look back less far; what it cannot tell is taken as booked",
    async () => {
      const late = traffic(random, 60, () => aimedAt(yesterday));
      await rig.land([...late.events, ...random.shuffle(first.good).slice(0, 30)]);
      const asOf = new Date(Date.parse(tomorrow) + DAY_MS).toISOString();
      const close = ["close", "--day", tomorrow, "--as-of", asOf];
      const closed = await rig.cliWith({ TWOFOLD_RECOUNT_LOOK_BACK_MS: "0" }, "royalty", ...close);
      assertEquals([closed.code, closed.err], [0, ""]);
      const { recount, total_events, total_ms } = await rig.manifest(tomorrow);
      assert(/; \d+ events taken as booked, /.test(recount.method), recount.method);
      assertEquals([recount.events, recount.ms], [total_events, total_ms]);
      // All that is kept tells everything.
      const { code, out } = await rig.cli("auditor", "recount", "--day", tomorrow);
      assertEquals(code, 0, out);
      assert(!out.includes("cannot tell"), out);
    },
  );

  await t.step("one millisecond more in the books is found", async () => {
    const [line] = await rig.sql<ChangedRow[]>`
      update royalty.accrual set ms_watched = ms_watched + 1
      where ctid = (select ctid from royalty.accrual where recognised_day = ${today}::text::date
        limit 1)
      returning title_id, region, event_day::text`;
    assertExists(line);
    const { code, out } = await rig.cli("auditor", "recount", "--day", today);
    assertEquals(code, 1);
    assertStringIncludes(out, "accruals: 1 lines differ");
    assertStringIncludes(out, "statement version 1: no difference");
    const row = out.split("\n").find((text) => text.startsWith(`  ${line.event_day}`));
    assert(row?.includes(line.region) && row.includes(line.title_id), out);
  });

  await t.step("a rebuild makes the same bytes, in an empty database only", async () => {
    for (const day of [yesterday, today]) {
      const into = await rig.emptyDatabase();
      const { code, out, err } = await rig.cli("auditor", "rebuild", "--day", day, "--into", into);
      assertEquals([code, err], [0, ""], out);
      const [stored, rebuilt, verdict] = out.split("\n");
      assertEquals(rebuilt?.slice(0, 64), stored?.slice(0, 64));
      assertEquals(stored?.slice(0, 64), (await rig.manifest(day)).csv.sha256);
      assertEquals(verdict, "the same bytes");
      const again = await rig.cli("auditor", "rebuild", "--day", day, "--into", into);
      assertEquals(again.code, 1);
      assertStringIncludes(again.err, "is not empty: it has royalty.");
    }
    const open = dayOf(now + 2 * DAY_MS);
    const into = await rig.emptyDatabase();
    const unknown = await rig.cli("auditor", "rebuild", "--day", open, "--into", into);
    assertEquals(unknown.code, 1);
    assertStringIncludes(unknown.err, `${open} has no statement yet`);
  });

  await t.step("what a stream does not keep any more is refused, not guessed", async () => {
    const ops = await jetstreamManager(await rig.stack.connect("ops"));
    await ops.streams.update("HEARTBEATS_1", {
      max_age: 1_000_000_000,
      duplicate_window: 500_000_000,
    });
    const auditor = await rig.stack.connect("auditor");
    await waitFor(
      "heartbeats to age",
      async () => (await rawExtent(auditor, "HEARTBEATS_1")).firstReceivedAt === undefined,
    );
    const into = await rig.emptyDatabase();
    for (const args of [["recount"], ["rebuild", "--into", into]]) {
      const { code, err } = await rig.cli("auditor", ...args, "--day", today);
      assertEquals(code, 1);
      assertStringIncludes(err, "It cannot be recounted any more");
    }
    const batches = readRaw(auditor, "HEARTBEATS_1", { from: 1, through: 10 });
    assertEquals(await Array.fromAsync(batches), []);
  });
});
