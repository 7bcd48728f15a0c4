/**
 * The royalty process on real servers: what it guarantees, through its public faces.
 *
 * @module
 */
import { assert, assertEquals, assertExists, assertMatch, assertStringIncludes } from "@std/assert";
import { jetstream, type JetStreamClient, jetstreamManager } from "nats/jetstream";
import type { Sql } from "postgres";
import { alertSchema } from "../../shared/contract/alert.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { ServiceProcess, sumOf } from "../../shared/dev/servers/service_process.ts";
import { DATABASE, Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { headerValue } from "../../shared/contract/quarantine.ts";
import {
  DEFAULT_TOPOLOGY,
  desiredTopology,
  QUARANTINE_HEADER,
  type TopologyOptions,
} from "../../shared/contract/topology.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";

interface OutcomesRow {
  readonly last_seq: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly gaps: number;
}

interface CreditedRow {
  readonly title_id: string;
  readonly ms: string;
}

/** Over all streams. */
interface SumRow {
  readonly last_seq: string;
  readonly counted: string;
  readonly duplicates: string;
}

/** What a command came to. */
interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Servers, a publisher that keeps its own account of minutes, and royalty processes. */
class Rig implements AsyncDisposable {
  readonly random = new Random(1);
  /** What must be credited, by title. */
  readonly expectedMs = new Map<string, number>();
  readonly #processes: ServiceProcess[] = [];

  private constructor(readonly stack: Stack, readonly js: JetStreamClient, readonly sql: Sql) {}

  static async start(options: Partial<TopologyOptions> = {}): Promise<Rig> {
    const stack = await Stack.start(options);
    const js = jetstream(await stack.connect("ingest"));
    return new Rig(stack, js, stack.postgres.connect(DATABASE));
  }

  /** Environment of the service and of the CLI. */
  get environment(): Record<string, string> {
    return {
      ...this.stack.nats.settings("royalty"),
      TWOFOLD_POSTGRES_URL: this.stack.databaseUrl("royalty"),
    };
  }

  /** A royalty process that is ready. */
  async royalty(settings: Record<string, string> = {}): Promise<ServiceProcess> {
    const { stack } = this;
    const service = await ServiceProcess.start(stack.workspace, "royalty", {
      httpPort: freePort(),
      reach: [stack.nats.url, `127.0.0.1:${stack.postgres.port}`],
      settings: { ...this.environment, ...settings },
    });
    this.#processes.push(service);
    return service;
  }

  /** New events, published and expected. */
  async publish(count: number, changes: Partial<Heartbeat> = {}): Promise<Heartbeat[]> {
    const events = Array.from({ length: count }, () =>
      aHeartbeat(this.random, Date.now(), {
        played_ms: this.random.int(1, 9_999),
        title_id: `title-${this.random.int(0, 4)}`,
        ...changes,
      }));
    for (const { title_id, played_ms } of events) {
      this.expectedMs.set(title_id, (this.expectedMs.get(title_id) ?? 0) + played_ms);
    }
    await this.repeat(events);
    return events;
  }

  /** Publishes again, as a retry does: the edge's message id is the same. */
  async repeat(events: readonly Heartbeat[]): Promise<void> {
    await Promise.all(
      events.map((event) => this.js.publish("hb.0.de", encode(event), { msgID: event.event_id })),
    );
  }

  /** Publishes bytes that are no event. */
  async publishBroken(text: string): Promise<void> {
    await this.js.publish("hb.0.none", text, { timeout: 1_000 });
  }

  async position(): Promise<OutcomesRow> {
    const rows = await this.sql<OutcomesRow[]>`
      select last_seq::int, counted::int, duplicates::int, quarantined::int, gaps::int
      from royalty.stream_position where stream = 'HEARTBEATS'`;
    return { ...onlyRow(rows, "the position of HEARTBEATS") };
  }

  /** Waits until the books are at `lastSeq`, and checks every title to the ms. */
  async counted(lastSeq: number, expected: Partial<OutcomesRow> = {}): Promise<void> {
    await waitFor(`the books at ${lastSeq}`, async () => {
      const position = await this.position();
      if (position.last_seq !== lastSeq) throw new Error(JSON.stringify(position));
      return true;
    }, { timeoutMs: 30_000 });
    const position = await this.position();
    assertEquals(position, { ...position, ...expected });
    const rows = await this.sql<CreditedRow[]>`
      select title_id, sum(ms_watched) as ms from royalty.accrual group by title_id`;
    const credited = new Map(rows.map((row) => [row.title_id, Number(row.ms)]));
    assertEquals(new Map([...credited].sort()), new Map([...this.expectedMs].sort()));
  }

  /** Runs the CLI as a person does. */
  async cli(...args: string[]): Promise<Outcome> {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "royalty", ...args],
      cwd: new URL("../../", import.meta.url),
      env: this.environment,
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((service) => service.stop()));
    await this.sql.end({ timeout: 1 });
    await this.stack[Symbol.asyncDispose]();
  }
}

async function readiness(service: ServiceProcess): Promise<string> {
  const response = await fetch(`${service.url}/readyz`);
  return await response.text();
}

Deno.test("retries count once: inside the window, beyond it, and across a broker crash", async () => {
  await using rig = await Rig.start({ duplicateWindowMs: 500 });
  const royalty = await rig.royalty();
  const events = await rig.publish(300);
  const [first] = events;
  assertExists(first);
  await rig.repeat(events.slice(0, 100));
  await rig.counted(300, { counted: 300, duplicates: 0 });

  await waitFor("the window to pass", async () => {
    const ack = await rig.js.publish("hb.0.de", encode(first), { msgID: first.event_id });
    return !ack.duplicate;
  });
  await rig.counted(301, { duplicates: 1 });
  await rig.repeat(events.slice(100, 200));
  await rig.counted(401, { counted: 300, duplicates: 101 });

  await rig.stack.nats.stop("SIGKILL");
  await waitFor("royalty to say so", async () => (await readiness(royalty)).includes("NATS"));
  await rig.stack.nats.start();
  await waitFor("the publisher", () => rig.publishBroken("").then(() => true, () => false));
  await royalty.ready();
  const { last_seq } = await waitFor("the broken event", async () => {
    const position = await rig.position();
    return position.quarantined > 0 ? position : undefined;
  });
  await rig.repeat(events.slice(0, 50));
  await rig.publish(50);
  await rig.counted(last_seq + 100, { counted: 350, duplicates: 151 });
  // The counters follow the books, so they agree with them after all this.
  const metrics = await royalty.metrics();
  assertEquals(sumOf(metrics, "twofold_royalty_books_events", { outcome: "counted" }), 350);
  assertEquals(sumOf(metrics, "twofold_royalty_books_events", { outcome: "duplicate" }), 151);
  const creditedMs = [...rig.expectedMs.values()].reduce((sum, ms) => sum + ms, 0);
  assertEquals(sumOf(metrics, "twofold_royalty_books_credited_seconds"), creditedMs / 1_000);
});

Deno.test("rejects go to quarantine with their bytes, and their neighbours count", async () => {
  await using rig = await Rig.start();
  const [first] = await rig.publish(10);
  assertExists(first);
  await rig.publishBroken('{"v":1,"played_ms":"many"}');
  await rig.publish(10);
  const conflict = encode({ ...first, played_ms: first.played_ms + 1 });
  await rig.js.publish("hb.0.de", conflict);
  const day = 86_400_000;
  await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now() - 8 * day)));
  await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now() + day)));
  await rig.royalty();
  await rig.counted(24, { counted: 20, quarantined: 4, duplicates: 0 });

  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
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

Deno.test("a SIGKILL between commit and acknowledgement changes nothing", async () => {
  await using rig = await Rig.start();
  const killed = await rig.royalty();
  // The row lock holds the transaction, so the broker can go before there is anything to ack.
  await rig.sql.begin(async (tx) => {
    await tx`select * from royalty.stream_position for update`;
    await rig.publish(200);
    await waitFor("the transaction to wait for the row", async () => {
      const rows = await rig.sql`
        select 1 from pg_stat_activity where usename = 'royalty' and wait_event_type = 'Lock'`;
      return rows.length > 0;
    });
    await rig.stack.nats.stop("SIGKILL");
  });
  await rig.counted(200, { counted: 200 });
  await killed.stop("SIGKILL");
  await rig.stack.nats.start();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const info = await jsm.consumers.info("HEARTBEATS", "royalty");
  assert(info.ack_floor.stream_seq < 200, `acknowledged ${info.ack_floor.stream_seq}`);

  await rig.royalty();
  await rig.publish(10);
  await rig.counted(210, { counted: 210, duplicates: 0, gaps: 0 });
});

Deno.test("a SIGKILL inside the transaction leaves nothing behind", async () => {
  await using rig = await Rig.start();
  const killed = await rig.royalty();
  await rig.sql.begin(async (tx) => {
    // Keys can be written, credits have to wait: the middle of the transaction.
    await tx`lock table royalty.accrual in share mode`;
    await rig.publish(100);
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

  await rig.royalty();
  await rig.counted(100, { counted: 100, duplicates: 0 });
});

Deno.test("Postgres down: nothing is acknowledged, readiness says why, it comes back alone", async () => {
  await using rig = await Rig.start();
  const royalty = await rig.royalty();
  await rig.publish(50);
  await rig.counted(50);
  await rig.stack.postgres.stop("SIGQUIT");
  await rig.publish(50);
  const reason = await waitFor("royalty to say so", async () => {
    const text = await readiness(royalty);
    return text.includes("not ready") ? text : undefined;
  });
  assertMatch(reason, /HEARTBEATS: .*(ECONNREFUSED|CONNECTION|connection)/);
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const info = await jsm.consumers.info("HEARTBEATS", "royalty");
  assert(info.ack_floor.stream_seq <= 50, `acknowledged ${info.ack_floor.stream_seq}`);
  await rig.stack.postgres.start();
  await royalty.ready();
  await rig.counted(100, { counted: 100, duplicates: 0, gaps: 0 });
});

Deno.test("two processes: one leads, the other takes over, nothing counts twice", async () => {
  await using rig = await Rig.start();
  const first = await rig.royalty();
  await rig.publish(100);
  await rig.counted(100);
  const second = await rig.royalty();
  await rig.publish(500);
  await first.stop("SIGKILL");
  await rig.publish(100);
  await rig.counted(700, { counted: 700, duplicates: 0, gaps: 0 });

  // The lead is lost and won with traffic under way; either process may win it.
  await first.restart();
  await first.ready();
  for (let round = 0; round < 4; round++) {
    await rig.publish(100);
    await rig.sql`
      select pg_terminate_backend(pid) from pg_locks
      where locktype = 'advisory' and granted and pid <> pg_backend_pid()`;
    await rig.publish(100);
  }
  await rig.counted(1500, { counted: 1500, duplicates: 0, gaps: 0 });
  await waitFor("both to be well", async () => {
    const texts = await Promise.all([first, second].map(readiness));
    return texts.every((text) => text.includes('"ready"'));
  });
});

Deno.test("a full quarantine stops the batch and says so; nothing is dropped", async () => {
  await using rig = await Rig.start({ quarantineMaxBytes: 2_048 });
  const royalty = await rig.royalty();
  await rig.publish(10);
  for (let i = 0; i < 20; i++) await rig.publishBroken(`broken ${i}`);
  await rig.publish(10);
  const reason = await waitFor("royalty to say so", async () => {
    const text = await readiness(royalty);
    return text.includes("not ready") ? text : undefined;
  });
  assertStringIncludes(reason, "QUARANTINE takes no copy");
  const stopped = await rig.position();
  assert(stopped.last_seq < 40, `went on to ${stopped.last_seq}`);
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.update("QUARANTINE", { max_bytes: 1024 ** 2 });
  await rig.counted(40, { counted: 20, quarantined: 20 });
  assertEquals((await jsm.streams.info("QUARANTINE")).state.messages, 20);
});

// A stream as the topology makes it, except that messages can be deleted.
async function makeDeletable(rig: Rig) {
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const desired = desiredTopology({ ...DEFAULT_TOPOLOGY, heartbeatsMaxBytes: 1024 ** 3 });
  const stream = desired.streams.find(({ name }) => name === "HEARTBEATS");
  assertExists(stream);
  await jsm.streams.delete("HEARTBEATS");
  await jsm.streams.add({ ...stream, deny_delete: false, deny_purge: false });
  for (const consumer of desired.consumers) {
    if (consumer.stream === "HEARTBEATS") await jsm.consumers.add("HEARTBEATS", consumer.config);
  }
  return jsm;
}

Deno.test("lost messages are named gaps: in the books, in the status, on call, once", async () => {
  await using rig = await Rig.start();
  const jsm = await makeDeletable(rig);
  const heard: string[] = [];
  const oncall = await rig.stack.connect("oncall");
  oncall.subscribe("alerts.>", {
    callback: (_, message) => {
      const alert = alertSchema.parse(message.json());
      heard.push(`${message.subject} ${alert.incident_id}`);
    },
  });
  await oncall.flush();
  const events = await rig.publish(10);
  for (const seq of [4, 5, 10]) {
    await jsm.streams.deleteMessage("HEARTBEATS", seq);
    const lost = events[seq - 1];
    assertExists(lost);
    const expectedMs = rig.expectedMs.get(lost.title_id);
    assertExists(expectedMs);
    rig.expectedMs.set(lost.title_id, expectedMs - lost.played_ms);
  }
  const royalty = await rig.royalty();
  await rig.counted(9, { counted: 7, gaps: 2 });
  await rig.publish(1);
  await rig.counted(11, { counted: 8, gaps: 3 });
  await waitFor("both alerts", () => heard.length >= 2);
  assertEquals(await royalty.stop(), 0, "an orderly stop");
  await royalty.restart();
  await rig.publish(1);
  await rig.counted(12, { counted: 9, gaps: 3 });
  assertEquals(heard, [
    "alerts.pipeline.royalty-gap royalty-gap:HEARTBEATS:4",
    "alerts.pipeline.royalty-gap royalty-gap:HEARTBEATS:10",
  ]);
  const { code, out } = await rig.cli("status");
  assertEquals(code, 0);
  assertMatch(out, /HEARTBEATS\s+12\s+9\s+0\s+0\s+3\s+yes\s+0/);
});

Deno.test("a stream that is not the one counted is refused, not skipped", async () => {
  await using rig = await Rig.start();
  const royalty = await rig.royalty();
  await rig.publish(10);
  await rig.counted(10);
  await makeDeletable(rig);
  await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now())));
  await waitFor("the short stream to be refused", async () => {
    return (await readiness(royalty)).includes("HEARTBEATS ends at 1, but 10 is accounted for");
  });
  for (let i = 0; i < 20; i++) {
    await rig.js.publish("hb.0.de", encode(aHeartbeat(rig.random, Date.now())));
  }
  await royalty.stop();
  await royalty.restart();
  await waitFor("the other stream to be refused", async () => {
    return (await readiness(royalty)).includes("is not the stream that was counted");
  });
  assertEquals((await rig.position()).last_seq, 10);
});

Deno.test("partitions have a worker each, and an id counts once across them", async () => {
  await using rig = await Rig.start({ partitions: 3 });
  await rig.royalty({ TWOFOLD_PARTITIONS: "3" });
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
  await using rig = await Rig.start();
  const day = new Date().toISOString().slice(0, 10);

  await t.step("before the service has run, they say so", async () => {
    const { code, err } = await rig.cli("status");
    assertEquals([code, err], [
      1,
      "royalty: the books are not opened yet; start the royalty service once\n",
    ]);
  });
  await rig.royalty();
  await rig.publish(2, { title_id: '=1,"x"\\', played_ms: 15_000, region: "de" });
  await rig.publish(1, { title_id: "known", played_ms: 29, region: "us-east" });
  await rig.counted(3);

  await t.step("a catalogue with a bad row loads nothing and names it", async () => {
    const file = `${rig.stack.workspace.folder}/bad.csv`;
    await Deno.writeTextFile(file, "title_id,studio\nknown,Acme\nknown,Beta\n");
    const { code, err } = await rig.cli("catalogue", file);
    assertEquals(code, 1);
    assertStringIncludes(err, `${file}:3: title_id known is already on line 2`);
    assertEquals((await rig.sql`select 1 from royalty.title`).length, 0);
  });
  await t.step("a good one maps titles to studios; a second load corrects", async () => {
    const file = `${rig.stack.workspace.folder}/good.csv`;
    await Deno.writeTextFile(file, "title_id,studio,title_name\nknown,Acme,Known\nother,Beta,\n");
    assertEquals(
      (await rig.cli("catalogue", file)).out,
      "titles added: 2, changed: 0, unchanged: 0\n",
    );
    await Deno.writeTextFile(file, 'title_id,studio\nknown,"Acme, Inc"\n');
    assertEquals(
      (await rig.cli("catalogue", file)).out,
      "titles added: 0, changed: 1, unchanged: 0\n",
    );
  });
  await t.step("export writes the day, the unknown title included", async () => {
    const { code, out } = await rig.cli("export", "--day", day);
    assertEquals(code, 0);
    assertEquals(
      out,
      "line_type,recognised_day,event_day,studio,title_id,territory,events,ms_watched,minutes\r\n" +
        `USAGE,${day},${day},"Acme, Inc",known,us-east,1,29,0.000\r\n` +
        `USAGE,${day},${day},UNMAPPED,"'=1,""x""\\",de,2,30000,0.500\r\n`,
    );
    const file = `${rig.stack.workspace.folder}/day.csv`;
    assertEquals((await rig.cli("export", `--day=${day}`, "--out", file)).code, 0);
    assertEquals(await Deno.readTextFile(file), out);
    const empty = await rig.cli("export", "--day", "2020-02-29");
    assertEquals(empty.out.split("\r\n").length, 2);
  });
  await t.step("what makes no sense is misuse, with the usage", async () => {
    for (
      const [args, complaint] of [
        [[], "which command?"],
        [["frobnicate"], "unknown command frobnicate"],
        [["status", "--fast"], "unknown option --fast"],
        [["export"], "--day YYYY-MM-DD is missing"],
        [["export", "--day", "2026-02-30"], "--day 2026-02-30 is not a day"],
        [["export", "--day"], "--day needs a value"],
        [["catalogue"], "FILE is missing"],
      ] as const
    ) {
      const { code, err } = await rig.cli(...args);
      assertEquals(code, 2, err);
      assertStringIncludes(err, complaint);
      assertStringIncludes(err, "usage: deno task royalty");
    }
    const { code, err } = await rig.cli("catalogue", "/does/not/exist.csv");
    assertEquals(code, 1);
    assertStringIncludes(err, "/does/not/exist.csv cannot be read");
  });
  await t.step("books that do not balance make status fail", async () => {
    await rig.sql`update royalty.accrual set ms_watched = ms_watched + 1 where title_id = 'known'`;
    const { code, out } = await rig.cli("status", "--json");
    assertEquals(code, 1);
    const report = JSON.parse(out);
    assertEquals(report.disagreements, ["ms credited and ms counted differ: 30030 and 30029"]);
    assertEquals(report.streams[0].identity_holds, true);
  });
});
