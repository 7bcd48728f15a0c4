/**
 * Recount and rebuild on real servers, by the service and by the commands.
 *
 * @module
 */
import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import type { NatsUser } from "../../shared/dev/servers/nats_server.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { roleUrl } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { readStored } from "../books/statements.ts";
import { rawExtent, readRaw } from "../../shared/process/raw/raw_stream.ts";

const DAY_MS = 86_400_000;

function dayOf(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10);
}

interface ChangedRow {
  readonly title_id: string;
  readonly region: string;
  readonly event_day: string;
}

/** Lands heartbeats as ingest does, and bytes as they are; waits until royalty has posted all. */
async function land(rig: RoyaltyRig, bodies: readonly (Heartbeat | Uint8Array)[]): Promise<void> {
  await rig.publish(bodies);
  await rig.accountedFor();
}

const EARLY = ["--by", "Ada", "--reason", "it is over"];

async function manifestOf(rig: RoyaltyRig, day: string) {
  const stored = await readStored(rig.sql, day);
  return stored && JSON.parse(new TextDecoder().decode(stored.manifest));
}

/** The URL of a new database of the royalty role. */
async function emptyDatabase({ sql, stack }: RoyaltyRig): Promise<string> {
  const name = `rebuild_${crypto.randomUUID().replaceAll("-", "")}`;
  await sql`create database ${sql(name)} owner royalty`;
  return roleUrl(stack.postgres, "royalty", name);
}

// Retries, reused ids, wrong clocks and malformed bytes. `watched` returns the `ts` of a heartbeat.
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

Deno.test("days are recounted before they close, and a rebuild gives the same bytes", async (t) => {
  const random = propertyRandom("recount and rebuild on real servers");
  await using rig = await RoyaltyRig.start({
    topology: { partitions: 2 },
    settings: { TWOFOLD_CLOSE_GRACE_MS: "0" },
    framed: true,
    random,
  });
  const service = await rig.process();
  const commandAs = (user: NatsUser, ...args: string[]) => rig.commandIn({ user }, ...args);
  const now = Date.now();
  const [yesterday, today, tomorrow] = [dayOf(now - DAY_MS), dayOf(now), dayOf(now + DAY_MS)];
  const aimedAt = (day: string) => Date.parse(day) + random.int(0, DAY_MS - 1);
  const first = traffic(random, 300, () => Math.min(aimedAt(random.pick([yesterday, today])), now));

  await t.step("the recount of an open day agrees, as royalty and as auditor", async () => {
    await land(rig, first.events);
    for (const role of ["royalty", "auditor"] as const) {
      const { code, out, err } = await commandAs(role, "recount", "--day", yesterday);
      assertEquals([code, err], [0, ""], out);
      assertStringIncludes(out, `${yesterday} (open), recounted from raw heartbeats`);
      assertStringIncludes(out, "accruals: no difference");
      assert(out.trimEnd().endsWith("the recount agrees"), out);
    }
  });

  await t.step("the service recounts before it closes", async () => {
    assertEquals((await rig.command("open", "--day", yesterday, "--by", "Ada")).code, 0);
    await service.stop();
    await service.restart();
    const manifest = await waitFor("yesterday to be closed", () => manifestOf(rig, yesterday));
    assertStringIncludes(manifest.recount.method, "external sort of raw heartbeats");
    assertEquals(manifest.recount.events, manifest.total_events);
    assertEquals(manifest.recount.ms, manifest.total_ms);
  });

  await t.step(
    "late events are recounted as adjustments, and repeats of counted events are not",
    async () => {
      const late = traffic(random, 100, () => aimedAt(yesterday));
      await land(rig, [...late.events, ...random.shuffle(first.good).slice(0, 50)]);
      const file = await Deno.makeTempFile({ suffix: ".csv" });
      await Deno.writeTextFile(
        file,
        'title_id,studio\r\ntitle-1,"Acme, Inc"\r\ntitle-2,=Studio\r\n',
      );
      assertEquals((await rig.command("catalogue", file, "--by", "Ada")).code, 0);
      await Deno.remove(file);
      const asOfMs = new Date(Date.parse(today) + DAY_MS).toISOString();
      const closed = await rig.command("close", "--day", today, "--as-of", asOfMs, ...EARLY);
      assertEquals([closed.code, closed.err], [0, ""]);
      for (const day of [yesterday, today]) {
        const { code, out, err } = await commandAs("auditor", "recount", "--day", day);
        assertEquals([code, err], [0, ""], out);
        assertStringIncludes(out, "statement version 1: no difference");
      }
      const { adjustments } = await manifestOf(rig, today);
      assert(adjustments.events > 0);
    },
  );

  await t.step(
    "with a look-back limit, a close takes doubtful events as booked",
    async () => {
      const late = traffic(random, 60, () => aimedAt(yesterday));
      await land(rig, [...late.events, ...random.shuffle(first.good).slice(0, 30)]);
      const asOfMs = new Date(Date.parse(tomorrow) + DAY_MS).toISOString();
      const close = ["close", "--day", tomorrow, "--as-of", asOfMs, ...EARLY];
      const settings = { TWOFOLD_RECOUNT_LOOK_BACK_MS: "0" };
      const closed = await rig.commandIn({ settings }, ...close);
      assertEquals([closed.code, closed.err], [0, ""]);
      const { recount, total_events, total_ms } = await manifestOf(rig, tomorrow);
      assert(/; \d+ events taken as booked, /.test(recount.method), recount.method);
      assertEquals([recount.events, recount.ms], [total_events, total_ms]);
      // With everything that is kept, no event is doubtful.
      const { code, out } = await commandAs("auditor", "recount", "--day", tomorrow);
      assertEquals(code, 0, out);
      assert(!out.includes("cannot tell"), out);
    },
  );

  await t.step("a difference of one millisecond is found", async () => {
    const [line] = await rig.stack.database.tamper((tx) =>
      tx<ChangedRow[]>`
      update royalty.accrual set ms_watched = ms_watched + 1
      where ctid = (select ctid from royalty.accrual where recognised_day = ${today}::text::date
        limit 1)
      returning title_id, region, event_day::text`
    );
    assertExists(line);
    const { code, out } = await commandAs("auditor", "recount", "--day", today);
    assertEquals(code, 1);
    assertStringIncludes(out, "accruals: 1 lines differ");
    assertStringIncludes(out, "statement version 1: no difference");
    const row = out.split("\n").find((text) => text.startsWith(`  ${line.event_day}`));
    assert(row?.includes(line.region) && row.includes(line.title_id), out);
  });

  await t.step("a rebuild gives the same bytes, and needs an empty database", async () => {
    for (const day of [yesterday, today]) {
      const into = await emptyDatabase(rig);
      const { code, out, err } = await commandAs(
        "auditor",
        "rebuild",
        "--day",
        day,
        "--into",
        into,
      );
      assertEquals([code, err], [0, ""], out);
      const [stored, rebuilt, verdict] = out.split("\n");
      assertEquals(rebuilt?.slice(0, 64), stored?.slice(0, 64));
      assertEquals(stored?.slice(0, 64), (await manifestOf(rig, day)).csv.sha256);
      assertEquals(verdict, "the same bytes");
      const again = await commandAs("auditor", "rebuild", "--day", day, "--into", into);
      assertEquals(again.code, 1);
      assertStringIncludes(again.err, "is not empty: it has royalty.");
    }
    const open = dayOf(now + 2 * DAY_MS);
    const into = await emptyDatabase(rig);
    const unknown = await commandAs("auditor", "rebuild", "--day", open, "--into", into);
    assertEquals(unknown.code, 1);
    assertStringIncludes(unknown.err, `${open} has no statement yet`);
  });

  await t.step("a day is refused when its raw heartbeats are no longer kept", async () => {
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
    const into = await emptyDatabase(rig);
    for (const args of [["recount"], ["rebuild", "--into", into]]) {
      const { code, err } = await commandAs("auditor", ...args, "--day", today);
      assertEquals(code, 1);
      assertStringIncludes(err, "It can no longer be recounted");
    }
    const batches = readRaw(auditor, "HEARTBEATS_1", { from: 1, through: 10 });
    assertEquals(await Array.fromAsync(batches), []);
  });
});
