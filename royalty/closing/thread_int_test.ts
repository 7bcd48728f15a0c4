/**
 * Two royalty processes, the commands and real servers: days close, late events land once.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";

const DAY_MS = 86_400_000;
const EARLY = ["--by", "Ada", "--reason", "it is over"];

interface WaitingRow {
  /** Of the Postgres process that waits. */
  readonly pid: number;
}

interface StatementRow {
  readonly events: string;
  readonly previous_sha256: string | null;
}

interface SealsRow {
  readonly seals: number;
}

/** A zone in which it is about noon, so that no day ends during the test. */
function noonZone(): string {
  const offset = 12 - new Date().getUTCHours();
  return `Etc/GMT${offset > 0 ? "-" : "+"}${Math.abs(offset)}`;
}

/** Days close in `zone` as soon as they have ended, and statements are files. */
async function startRig(zone: string, random: Random): Promise<RoyaltyRig> {
  const settings = { TWOFOLD_BUSINESS_ZONE: zone, TWOFOLD_CLOSE_GRACE_MS: "0" };
  return await RoyaltyRig.start({ settings, hasFiles: true, framed: true, random });
}

Deno.test("days close automatically and by command, and late events are recognised once", async () => {
  const zone = noonZone();
  const random = new Random(3);
  await using rig = await startRig(zone, random);
  const folder = rig.statementsFolder;
  const now = Date.now();
  const watched = (ts: number, count: number) =>
    Array.from(
      { length: count },
      () => aHeartbeat(random, ts, { played_ms: random.int(1, 9_999), title_id: "t" }),
    );
  const yesterday = new BusinessCalendar(zone).dayOf(now - DAY_MS);
  const today = nextDay(yesterday);
  const ms = (events: readonly Heartbeat[]) =>
    events.reduce((sum, { played_ms }) => sum + played_ms, 0);

  const [first, current] = [watched(now - DAY_MS, 200), watched(now, 50)];
  await rig.publish([...first, ...first.slice(0, 40), ...current, "not json"]);
  await Promise.all([1, 2].map(() => rig.process()));
  const opened = await rig.command("open", "--day", yesterday, "--by", "Ada");
  assertEquals([opened.code, opened.err], [0, ""]);
  assertEquals((await rig.command("open", "--day", today, "--by", "Ada")).code, 1);
  const manifestOf = async (day: string) =>
    JSON.parse(await Deno.readTextFile(`${folder}/statement-${day}-v1.manifest.json`));
  const manifest = await waitFor(`${yesterday} to close`, () => manifestOf(yesterday), {
    timeoutMs: 40_000,
  });
  assertEquals([manifest.total_events, manifest.total_ms], [200, ms(first)]);
  assertEquals(manifest.recount.ms, ms(first));
  assertEquals([manifest.duplicates_absorbed, manifest.quarantined], [40, 1]);

  const late = watched(now - DAY_MS, 30);
  await rig.publish([...late, ...first.slice(0, 10), ...current.slice(0, 10)]);
  await rig.accountedFor();
  assertEquals((await rig.position()).counted, 280);
  const early = await rig.command("close", "--day", today, "--by", "Ada");
  assertEquals(early.code, 1);
  assertStringIncludes(early.err, "it is not over");
  const asOfMs = new Date(now + DAY_MS).toISOString();
  const closes = await Promise.all(
    [1, 2].map(() => rig.command("close", "--day", today, "--as-of", asOfMs, ...EARLY)),
  );
  assertEquals(closes.map(({ code }) => code), [0, 0], closes.map(({ err }) => err).join("\n"));
  assertEquals(closes.filter(({ out }) => out.includes("was closed before")).length, 1);

  const { out: csv } = await rig.command("export", "--day", today);
  assertEquals(csv, await Deno.readTextFile(`${folder}/statement-${today}-v1.csv`));
  const rows = csv.trimEnd().split("\r\n").slice(1).map((line) => line.split(","));
  const sums = new Map<string, number>();
  for (const [type, , eventDay, , , , , ms] of rows) {
    const key = `${type} ${eventDay}`;
    sums.set(key, (sums.get(key) ?? 0) + Number(ms));
  }
  assertEquals(
    sums,
    new Map([[`USAGE ${today}`, ms(current)], [`ADJUSTMENT ${yesterday}`, ms(late)]]),
  );
  const second = await manifestOf(today);
  assertEquals(second.adjustments.ms, ms(late));
  assertEquals(second.duplicates_absorbed, 20);
  assert(second.recount.method.length > 0);
  const chain = await rig.command("verify-chain");
  assertEquals([chain.code, chain.err], [0, ""]);
  assertStringIncludes(chain.out, "2 statements and their files");
});

Deno.test("when a process is killed during a close, another continues it, with one statement", async () => {
  const random = new Random(4);
  const zone = noonZone();
  await using rig = await startRig(zone, random);
  const { sql } = rig;
  const now = Date.now();
  const events = Array.from({ length: 200 }, () => aHeartbeat(random, now - DAY_MS));
  await rig.publish(events);
  const counter = await rig.process({ TWOFOLD_CLOSE_SCHEDULE: "off" });
  await rig.accountedFor();
  const yesterday = new BusinessCalendar(zone).dayOf(now - DAY_MS);
  const opened = await rig.command("open", "--day", yesterday, "--by", "Ada");
  assertEquals([opened.code, opened.err], [0, ""]);
  await counter.stop();
  /** Postgres' processes that wait to issue a statement. */
  const waiting = async () =>
    (await sql<WaitingRow[]>`
      select pid from pg_locks
      where not granted and relation = 'royalty.statement'::regclass`).map(({ pid }) => pid);
  // The lock stops a close at its statement, after seal and recount; it does not block readers.
  await sql.begin(async (tx) => {
    await tx`lock table royalty.statement in exclusive mode`;
    const killed = await rig.process();
    const [first] = await waitFor("the first process to close", async () => {
      const pids = await waiting();
      return pids.length > 0 ? pids : undefined;
    });
    // Posting continues while a statement is issued.
    await rig.publish([aHeartbeat(random, now)]);
    await rig.accountedFor();
    await rig.process();
    await killed.stop("SIGKILL");
    await waitFor("the second process alone to close", async () => {
      const pids = await waiting();
      return pids.length === 1 && pids[0] !== first;
    });
  });
  const statements = await waitFor("the statement", async () => {
    const rows = await sql<StatementRow[]>`select events, previous_sha256 from royalty.statement`;
    return rows.length > 0 ? rows : undefined;
  });
  assertEquals([...statements], [{ events: String(events.length), previous_sha256: null }]);
  const seals = await sql<SealsRow[]>`select count(*)::int as seals from royalty.seal`;
  assertEquals([...seals], [{ seals: 1 }]);
});
