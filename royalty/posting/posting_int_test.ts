/**
 * The royalty process on real servers: what it guarantees, through its public faces.
 *
 * @module
 */
import { assert, assertEquals, assertExists, assertMatch, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { type OutcomesRow, RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { type ServiceProcess, sumOf } from "../../shared/dev/servers/service_process.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { headerValue } from "../../shared/contract/quarantine.ts";
import { QUARANTINE_HEADER } from "../../shared/contract/topology.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";

/** Over all streams. */
interface SumRow {
  readonly last_seq: string;
  readonly counted: string;
  readonly duplicates: string;
}

/**
 * Waits until the books account for so many events and lost messages, and checks every title and region
 * to the ms.
 */
async function counted(
  rig: RoyaltyRig,
  accounted: number,
  expected: Partial<OutcomesRow> = {},
): Promise<void> {
  await waitFor(`the books at ${accounted}`, async () => {
    const position = await rig.position();
    if (position.events + position.gaps !== accounted) throw new Error(JSON.stringify(position));
    return true;
  }, { timeoutMs: 30_000 });
  const position = await rig.position();
  assertEquals(position, { ...position, ...expected });
  const credited = [...await rig.creditedMs()].sort();
  assertEquals(new Map(credited), new Map([...rig.expectedMs].sort()));
}

/** Why a service is not ready, once it is not. */
async function reasonNotReady(service: ServiceProcess): Promise<string> {
  return await waitFor("royalty not to be ready", async () => {
    const { status, reason } = await service.readiness();
    return status === 503 ? reason : undefined;
  });
}

Deno.test("retries count once: within the duplicate window, after it, and across a broker crash", async () => {
  await using rig = await RoyaltyRig.start({ topology: { duplicateWindowMs: 500 } });
  const royalty = await rig.process();
  const events = await rig.watch(300);
  const [first] = events;
  assertExists(first);
  await rig.publish(events.slice(0, 100), { withIds: true });
  await counted(rig, 300, { counted: 300, duplicates: 0 });

  await waitFor("the window to pass", async () => {
    const ack = await rig.js.publish("hb.0.de", encode(first), { msgID: first.event_id });
    return !ack.duplicate;
  });
  await counted(rig, 301, { duplicates: 1 });
  await rig.publish(events.slice(100, 200), { withIds: true });
  await counted(rig, 401, { counted: 300, duplicates: 101 });

  await rig.stack.nats.stop("SIGKILL");
  await waitFor(
    "royalty to be not ready",
    async () => (await royalty.readiness()).reason.includes("NATS"),
  );
  await rig.stack.nats.start();
  await waitFor(
    "the publisher",
    () => rig.js.publish("hb.0.none", "", { timeout: 1_000 }).then(() => true, () => false),
  );
  await royalty.ready();
  const { last_seq } = await waitFor("the broken event", async () => {
    const position = await rig.position();
    return position.quarantined > 0 ? position : undefined;
  });
  await rig.publish(events.slice(0, 50), { withIds: true });
  await rig.watch(50);
  await counted(rig, last_seq + 100, { counted: 350, duplicates: 151 });
  // The gauges agree with the books.
  const metrics = await royalty.metrics();
  assertEquals(sumOf(metrics, "twofold_royalty_books_events", { outcome: "counted" }), 350);
  assertEquals(sumOf(metrics, "twofold_royalty_books_events", { outcome: "duplicate" }), 151);
  const creditedMs = [...rig.expectedMs.values()].reduce((sum, ms) => sum + ms, 0);
  assertEquals(sumOf(metrics, "twofold_royalty_books_credited_seconds"), creditedMs / 1_000);
});

Deno.test("refusals are quarantined with their bytes, and their neighbours count", async () => {
  await using rig = await RoyaltyRig.start();
  const [first] = await rig.watch(10);
  assertExists(first);
  await rig.publish(['{"v":1,"played_ms":"many"}']);
  await rig.watch(10);
  const conflict = encode({ ...first, played_ms: first.played_ms + 1 });
  await rig.js.publish("hb.0.de", conflict);
  const day = 86_400_000;
  await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now() - 8 * day)));
  await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now() + day)));
  await rig.process();
  await counted(rig, 24, { counted: 20, quarantined: 4, duplicates: 0 });

  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await waitFor("the copies", async () => {
    return (await jsm.streams.info("QUARANTINE")).state.messages === 4;
  });
  const entries = await Promise.all([1, 2, 3, 4].map(async (seq) => {
    const entry = await jsm.streams.getMessage("QUARANTINE", { seq });
    assertExists(entry);
    const header = (name: keyof typeof QUARANTINE_HEADER) =>
      headerValue(entry.header.get(QUARANTINE_HEADER[name]));
    return { sequence: Number(header("sequence")), reason: header("reason"), bytes: entry.data };
  }));
  const inOrder = entries.sort((a, b) => a.sequence - b.sequence);
  assertEquals(inOrder.map(({ sequence, reason }) => [sequence, reason]), [
    [11, "malformed"],
    [22, "conflict"],
    [23, "too_late"],
    [24, "from_the_future"],
  ]);
  const [, second] = inOrder;
  assertExists(second);
  assertEquals(new Uint8Array(second.bytes), conflict);
});

Deno.test("a SIGKILL between commit and acknowledgement does not change the books", async () => {
  await using rig = await RoyaltyRig.start({ framed: true });
  const killed = await rig.process();
  // The row lock delays the transaction, so that the broker can be killed before the ack.
  await rig.sql.begin(async (tx) => {
    const locked = await tx`select * from royalty.stream_position for update`;
    assertEquals(locked.length, 1, "a service that is ready has its position in the books");
    await rig.watch(200);
    await waitFor("the transaction to wait for the row", async () => {
      const rows = await rig.sql`
        select 1 from pg_stat_activity where usename = 'royalty' and wait_event_type = 'Lock'`;
      return rows.length > 0;
    });
    await rig.stack.nats.stop("SIGKILL");
  });
  await counted(rig, 200, { counted: 200 });
  await killed.stop("SIGKILL");
  await rig.stack.nats.start();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const info = await jsm.consumers.info("HEARTBEATS", "royalty");
  assert(info.ack_floor.stream_seq < 200, `acknowledged ${info.ack_floor.stream_seq}`);

  await rig.process();
  await rig.watch(10);
  await counted(rig, 210, { counted: 210, duplicates: 0, gaps: 0 });
});

Deno.test("a SIGKILL during the transaction enters nothing", async () => {
  await using rig = await RoyaltyRig.start({ framed: true });
  const killed = await rig.process();
  await rig.sql.begin(async (tx) => {
    // Keys can be inserted and credits have to wait: the middle of the transaction.
    await tx`lock table royalty.accrual in share mode`;
    await rig.watch(100);
    await waitFor("the transaction to be in the middle", async () => {
      const rows = await rig.sql`
        select 1 from pg_stat_activity
        where usename = 'royalty' and wait_event_type = 'Lock' and query like '%royalty.accrual%'`;
      return rows.length > 0;
    });
    const seen = await rig.sql`select 1 from royalty.event_key`;
    assertEquals(seen.length, 0, "another connection sees half a transaction");
    await killed.stop("SIGKILL");
  });
  await waitFor("the dead session to end", async () => {
    const rows = await rig.sql`select 1 from pg_stat_activity where usename = 'royalty'`;
    return rows.length === 0;
  });
  assertEquals((await rig.sql`select 1 from royalty.event_key`).length, 0);
  assertEquals((await rig.sql`select 1 from royalty.accrual`).length, 0);
  assertEquals((await rig.position()).last_seq, 0);

  await rig.process();
  await counted(rig, 100, { counted: 100, duplicates: 0 });
});

Deno.test("while Postgres is down nothing is acknowledged and readiness says why; then it recovers", async () => {
  await using rig = await RoyaltyRig.start();
  const royalty = await rig.process();
  await rig.watch(50);
  await counted(rig, 50);
  await rig.stack.postgres.stop("SIGQUIT");
  await rig.watch(50);
  const reason = await reasonNotReady(royalty);
  assertMatch(reason, /HEARTBEATS: .*(ECONNREFUSED|CONNECTION|connection)/);
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const info = await jsm.consumers.info("HEARTBEATS", "royalty");
  assert(info.ack_floor.stream_seq <= 50, `acknowledged ${info.ack_floor.stream_seq}`);
  await rig.stack.postgres.start();
  await royalty.ready();
  await counted(rig, 100, { counted: 100, duplicates: 0, gaps: 0 });
});

Deno.test("one of two processes leads, the other takes over, and nothing counts twice", async () => {
  await using rig = await RoyaltyRig.start({ framed: true });
  const first = await rig.process();
  await rig.watch(100);
  await counted(rig, 100);
  const second = await rig.process();
  await rig.watch(500);
  await first.stop("SIGKILL");
  await rig.watch(100);
  await counted(rig, 700, { counted: 700, duplicates: 0, gaps: 0 });

  // The lead is lost and taken during traffic, by either process.
  await first.restart();
  await first.ready();
  for (let round = 0; round < 4; round++) {
    await rig.watch(100);
    await rig.sql`
      select pg_terminate_backend(pid) from pg_locks
      where locktype = 'advisory' and granted and pid <> pg_backend_pid()`;
    await rig.watch(100);
  }
  await counted(rig, 1500, { counted: 1500, duplicates: 0, gaps: 0 });
  await waitFor("both to be well", async () => {
    const answers = await Promise.all([first, second].map((each) => each.readiness()));
    return answers.every(({ status }) => status === 200);
  });
});

Deno.test("lost messages become gaps in books and status, and alert on-call once", async () => {
  await using rig = await RoyaltyRig.start();
  const jsm = await rig.makeDeletable();
  const alerts = await rig.stack.receiveAlerts();
  const events = await rig.watch(10);
  for (const seq of [4, 5, 10]) {
    await jsm.streams.deleteMessage("HEARTBEATS", seq);
    const lost = events[seq - 1];
    assertExists(lost);
    rig.expect(lost, -1);
  }
  const royalty = await rig.process();
  await counted(rig, 9, { counted: 7, gaps: 2 });
  await rig.watch(1);
  await counted(rig, 11, { counted: 8, gaps: 3 });
  await waitFor("both alerts", () => alerts.length >= 2);
  assertEquals(await royalty.stop(), 0, "an orderly stop");
  await royalty.restart();
  await rig.watch(1);
  await counted(rig, 12, { counted: 9, gaps: 3 });
  assertEquals(alerts.map(({ subject, alert }) => `${subject} ${alert.incident_id}`), [
    "alerts.pipeline.royalty-gap royalty-gap:HEARTBEATS:4",
    "alerts.pipeline.royalty-gap royalty-gap:HEARTBEATS:10",
  ]);
  const { code, out } = await rig.command("status");
  assertEquals(code, 0);
  assertMatch(out, /HEARTBEATS\s+12\s+9\s+9\s+0\s+0\s+0\s+3\s+yes\s+0/);
});

Deno.test("a recreated stream is refused and not counted", async () => {
  await using rig = await RoyaltyRig.start();
  const royalty = await rig.process();
  await rig.watch(10);
  await counted(rig, 10);
  await rig.makeDeletable();
  await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now())));
  await waitFor("the short stream to be refused", async () => {
    return (await royalty.readiness()).reason.includes(
      "HEARTBEATS ends at 1, but 10 is accounted for",
    );
  });
  for (let i = 0; i < 20; i++) {
    await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now())));
  }
  await royalty.stop();
  await royalty.restart();
  await waitFor("the other stream to be refused", async () => {
    return (await royalty.readiness()).reason.includes("is not the stream that was counted");
  });
  assertEquals((await rig.position()).last_seq, 10);
});

Deno.test("every partition has a worker, and an id counts once across partitions", async () => {
  await using rig = await RoyaltyRig.start({ topology: { partitions: 3 } });
  await rig.process();
  const events = Array.from({ length: 300 }, () => aHeartbeat(rig.random, Date.now()));
  await Promise.all(
    [0, 1, 2].flatMap((partition) =>
      rig.random.shuffle(events).map((event) => rig.js.publish(`hb.${partition}.de`, encode(event)))
    ),
  );
  const total = await waitFor("all streams", async () => {
    const rows = await rig.sql<SumRow[]>`
      select sum(last_seq) as last_seq, sum(counted) as counted, sum(duplicates) as duplicates
      from royalty.stream_position`;
    const sum = onlyRow(rows, "the sums over all streams");
    return sum.last_seq === "900" ? sum : undefined;
  });
  assertEquals({ ...total }, { last_seq: "900", counted: "300", duplicates: "600" });
});

Deno.test("the commands: status, export, catalogue, and what they refuse", async (t) => {
  await using rig = await RoyaltyRig.start();
  const day = new Date().toISOString().slice(0, 10);

  await t.step(
    "before the service has run, the books are empty and balance",
    async () => {
      const { code, out } = await rig.command("status");
      assertEquals(code, 0);
      assertStringIncludes(out, "the books balance");
    },
  );
  await rig.process();
  await rig.watch(2, { title_id: '=1,"x"\\', played_ms: 15_000, region: "de" });
  await rig.watch(1, { title_id: "known", played_ms: 29, region: "us-east" });
  await counted(rig, 3);

  await t.step("a catalogue with a bad row loads nothing and reports the row", async () => {
    const file = `${rig.stack.workspace.folder}/bad.csv`;
    await Deno.writeTextFile(file, "title_id,studio\nknown,Acme\nknown,Beta\n");
    const { code, err } = await rig.command("catalogue", file, "--by", "Ada");
    assertEquals(code, 1);
    assertStringIncludes(
      err,
      `${file}:3: title_id known in every territory has a right of all days on line 2 already`,
    );
    assertEquals((await rig.sql`select 1 from royalty.title_right`).length, 0);
  });
  await t.step("a catalogue maps titles to studios, and a second load changes them", async () => {
    const file = `${rig.stack.workspace.folder}/good.csv`;
    await Deno.writeTextFile(file, "title_id,studio,title_name\nknown,Acme,Known\nother,Beta,\n");
    assertEquals(
      (await rig.command("catalogue", file, "--by", "Ada")).out,
      "titles added: 2, changed: 0, unchanged: 0\n",
    );
    await Deno.writeTextFile(file, 'title_id,studio\nknown,"Acme, Inc"\n');
    assertEquals(
      (await rig.command("catalogue", file, "--by", "Ada")).out,
      "titles added: 0, changed: 1, unchanged: 0\n",
    );
  });
  await t.step("export writes the lines of the day, unmapped titles included", async () => {
    const { code, out } = await rig.command("export", "--day", day);
    assertEquals(code, 0);
    assertEquals(
      out,
      "line_type,recognised_day,event_day,studio,title_id,territory,events,ms_watched,minutes\r\n" +
        `USAGE,${day},${day},"Acme, Inc",known,us-east,1,29,0.000\r\n` +
        `USAGE,${day},${day},UNMAPPED,"'=1,""x""\\",de,2,30000,0.500\r\n`,
    );
    const file = `${rig.stack.workspace.folder}/day.csv`;
    assertEquals((await rig.command("export", `--day=${day}`, "--out", file)).code, 0);
    assertEquals(await Deno.readTextFile(file), out);
    const empty = await rig.command("export", "--day", "2020-02-29");
    assertEquals(empty.out.split("\r\n").length, 2);
  });
  await t.step("mistakes in the command line exit with 2 and the usage", async () => {
    for (
      const [args, complaint] of [
        [[], "which command?"],
        [["frobnicate"], "unknown command frobnicate"],
        [["status", "--fast"], "unknown option --fast"],
        [["export"], "--day YYYY-MM-DD is missing"],
        [["export", "--day", "2026-02-30"], "--day 2026-02-30 is not a day"],
        [["export", "--day"], "--day needs a value"],
        [["catalogue", "--by", "Ada"], "FILE is missing"],
      ] as const
    ) {
      const { code, err } = await rig.command(...args);
      assertEquals(code, 2, err);
      assertStringIncludes(err, complaint);
      assertStringIncludes(err, "usage: deno task royalty");
    }
    const { code, err } = await rig.command("catalogue", "/does/not/exist.csv", "--by", "Ada");
    assertEquals(code, 1);
    assertStringIncludes(err, "/does/not/exist.csv cannot be read");
  });
  await t.step("status exits with 1 when the books do not balance", async () => {
    await rig.sql`update royalty.accrual set ms_watched = ms_watched + 1 where title_id = 'known'`;
    const { code, out } = await rig.command("status", "--json");
    assertEquals(code, 1);
    const report = JSON.parse(out);
    assertEquals(report.disagreements, ["ms credited and ms counted differ: 30030 and 30029"]);
    assertEquals(report.streams[0].identity_holds, true);
  });
});
