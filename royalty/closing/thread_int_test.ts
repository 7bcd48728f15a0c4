/**
 * Two royalty processes, the commands and real servers: days close, late events land once.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { jetstream } from "nats/jetstream";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { ServiceProcess } from "../../shared/dev/servers/service_process.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { connectBooks } from "../books/connection.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";

const DAY_MS = 86_400_000;

interface CountedRow {
  readonly counted: string;
}

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

function settingsOf(stack: Stack, zone: string) {
  return {
    ...stack.nats.settings("royalty"),
    TWOFOLD_POSTGRES_URL: stack.databaseUrl("royalty"),
    TWOFOLD_BUSINESS_ZONE: zone,
    TWOFOLD_CLOSE_GRACE_MS: "0",
    TWOFOLD_STATEMENTS_DIR: `${stack.workspace.folder}/statements`,
  };
}

/** A royalty process that is ready. */
function startRoyalty(
  stack: Stack,
  settings: ReturnType<typeof settingsOf>,
): Promise<ServiceProcess> {
  return ServiceProcess.start(stack.workspace, "royalty", {
    httpPort: freePort(),
    reach: [stack.nats.url, `127.0.0.1:${stack.postgres.port}`],
    settings,
  });
}

Deno.test("days close by themselves and by command, and late events land once", async () => {
  await using stack = await Stack.start();
  const zone = noonZone();
  const settings = settingsOf(stack, zone);
  const folder = settings.TWOFOLD_STATEMENTS_DIR;
  const cli = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "royalty", ...args],
      cwd: new URL("../../", import.meta.url),
      env: settings,
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  };
  const js = jetstream(await stack.connect("ingest"));
  const publish = (events: readonly Heartbeat[]) =>
    Promise.all(events.map((event) => js.publish("hb.0.de", encode(event))));
  const random = new Random(3);
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
  await publish([...first, ...first.slice(0, 40), ...current]);
  await js.publish("hb.0.none", "not json");
  const services = await Promise.all([1, 2].map(() => startRoyalty(stack, settings)));
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  const manifestOf = async (day: string) =>
    JSON.parse(await Deno.readTextFile(`${folder}/statement-${day}-v1.manifest.json`));
  try {
    const manifest = await waitFor(`${yesterday} to close`, () => manifestOf(yesterday), {
      timeoutMs: 40_000,
    });
    assertEquals([manifest.total_events, manifest.total_ms], [200, ms(first)]);
    assertEquals(manifest.recount.ms, ms(first));
    assertEquals([manifest.duplicates_absorbed, manifest.quarantined], [40, 1]);

    const late = watched(now - DAY_MS, 30);
    await publish([...late, ...first.slice(0, 10), ...current.slice(0, 10)]);
    await waitFor("late events to be counted", async () => {
      const [position] = await sql<CountedRow[]>`select counted from royalty.stream_position`;
      return Number(position?.counted) === 280;
    });
    const early = await cli("close", "--day", today);
    assertEquals(early.code, 1);
    assertStringIncludes(early.err, "it is not over");
    const asOf = new Date(now + DAY_MS).toISOString();
    const closes = await Promise.all(
      [1, 2].map(() => cli("close", "--day", today, "--as-of", asOf)),
    );
    assertEquals(closes.map(({ code }) => code), [0, 0], closes.map(({ err }) => err).join("\n"));
    assertEquals(closes.filter(({ out }) => out.includes("was closed before")).length, 1);

    const { out: csv } = await cli("export", "--day", today);
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
    const chain = await cli("verify-chain");
    assertEquals([chain.code, chain.err], [0, ""]);
    assertStringIncludes(chain.out, "2 statements and their files");
  } finally {
    await sql.end({ timeout: 1 });
    await Promise.all(services.map((service) => service.stop()));
  }
});

Deno.test("a process killed while it closes leaves the day to another, with one statement", async () => {
  await using stack = await Stack.start();
  const zone = noonZone();
  const settings = settingsOf(stack, zone);
  const js = jetstream(await stack.connect("ingest"));
  const random = new Random(4);
  const now = Date.now();
  const events = Array.from({ length: 200 }, () => aHeartbeat(random, now - DAY_MS));
  await Promise.all(events.map((event) => js.publish("hb.0.de", encode(event))));
  const counting = { ...settings, TWOFOLD_CLOSE_SCHEDULE: "off" };
  const counter = await startRoyalty(stack, counting);
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  const counted = (count: number) =>
    waitFor(`${count} events to be counted`, async () => {
      const [position] = await sql<CountedRow[]>`select counted from royalty.stream_position`;
      return Number(position?.counted) === count;
    });
  await counted(events.length);
  await counter.stop();
  /** Postgres' processes that wait to issue a statement. */
  const waiting = async () =>
    (await sql<WaitingRow[]>`
      select pid from pg_locks
      where not granted and relation = 'royalty.statement'::regclass`).map(({ pid }) => pid);
  const services: ServiceProcess[] = [];
  try {
    // Whoever closes is stopped at the statement, after the seal and the recount; readers pass.
    await sql.begin(async (tx) => {
      await tx`lock table royalty.statement in exclusive mode`;
      const killed = await startRoyalty(stack, settings);
      services.push(killed);
      const [first] = await waitFor("the first process to close", async () => {
        const pids = await waiting();
        return pids.length > 0 ? pids : undefined;
      });
      // Counting goes on while a statement is made.
      await js.publish("hb.0.de", encode(aHeartbeat(random, now)));
      await counted(events.length + 1);
      services.push(await startRoyalty(stack, settings));
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
  } finally {
    await Promise.all(services.map((service) => service.stop()));
    await sql.end({ timeout: 1 });
  }
});
