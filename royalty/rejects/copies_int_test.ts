/**
 * Rejects in the books and their copies in QUARANTINE, on real servers.
 *
 * @module
 */
import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { eventsOf } from "../../shared/contract/delivery/frame.ts";
import { headerValue } from "../../shared/contract/quarantine.ts";
import { ENDS_HEADER, QUARANTINE, QUARANTINE_HEADER } from "../../shared/contract/topology.ts";
import { BooksRig } from "../../shared/e2e/books_rig.ts";
import { readAccounts } from "../books/accounts.ts";
import { openBooks } from "../books/connection.ts";
import type { ReceivedAlert } from "../../shared/dev/servers/stack.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { sumOf } from "../../shared/dev/servers/service_process.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Log } from "../../shared/process/log.ts";
import { RejectCopier } from "./copier.ts";
import { CopyStore } from "./copy_store.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Under load, a page and a retry of a copy may come late. */
const PATIENT = { timeoutMs: 60_000 };

interface RejectRow {
  readonly seq: number;
  readonly place: number;
  readonly reason: string;
}

interface SumsRow {
  readonly entries: number;
  readonly listed: number;
}

/** The rejects in the books: `sequence:index reason`, in order. */
async function rejectsOf(rig: RoyaltyRig): Promise<string[]> {
  const rows = await rig.sql<RejectRow[]>`
    select seq::int, place, reason from royalty.reject order by seq, place`;
  return rows.map(({ seq, place, reason }) => `${seq}:${place} ${reason}`);
}

/**
 * What QUARANTINE has: `sequence:index reason`, by address. Each body is that of the event in the raw
 * stream.
 */
async function copiesOf(jsm: JetStreamManager): Promise<string[]> {
  const { state: { messages, first_seq } } = await jsm.streams.info(QUARANTINE);
  const copies: [sequence: number, index: number, reason: string][] = [];
  for (let seq = first_seq; seq < first_seq + messages; seq++) {
    const entry = await jsm.streams.getMessage(QUARANTINE, { seq });
    assertExists(entry);
    const header = (name: keyof typeof QUARANTINE_HEADER) =>
      headerValue(entry.header.get(QUARANTINE_HEADER[name]));
    const [sequence, index] = [Number(header("sequence")), Number(header("index"))];
    const raw = await jsm.streams.getMessage(header("stream"), { seq: sequence });
    assertExists(raw);
    const event = eventsOf(raw.data, raw.header?.get(ENDS_HEADER) || undefined)[index];
    assertEquals(entry.data, event, `the bytes of ${sequence}:${index}`);
    copies.push([sequence, index, header("reason")]);
  }
  return copies.sort(([a, i], [b, j]) => a - b || i - j)
    .map(([sequence, index, reason]) => `${sequence}:${index} ${reason}`);
}

async function everyRejectIsCopiedOnce(rig: RoyaltyRig, jsm: JetStreamManager): Promise<void> {
  const rejects = await rejectsOf(rig);
  await waitFor("every reject in QUARANTINE", async () => {
    const { messages } = (await jsm.streams.info(QUARANTINE)).state;
    if (messages < rejects.length) throw new Error(`${messages} of ${rejects.length}`);
    return true;
  }, PATIENT);
  assertEquals(await copiesOf(jsm), rejects);
}

async function alerted(
  alerts: readonly ReceivedAlert[],
  status: "open" | "resolved",
  what = "quarantine-behind",
): Promise<ReceivedAlert> {
  return await waitFor(`the alert to be ${status}`, () => {
    return alerts.find(({ subject, alert }) =>
      subject === `alerts.pipeline.${what}` && alert.status === status
    );
  }, PATIENT);
}

/** Sixty broken heartbeats of 16 kB each, in one request of a few kB. */
async function postFlood(edgeUrl: string, key: string): Promise<number> {
  const lines = Array.from(
    { length: 60 },
    (_, i) => `{"v":1,"n":${i},"p":"${" ".repeat(16_000)}"}`,
  );
  const gzip = new Blob([lines.join("\n")]).stream().pipeThrough(new CompressionStream("gzip"));
  const body = await new Response(gzip).bytes();
  assert(body.length < 6_000, `${body.length} bytes`);
  const response = await fetch(`${edgeUrl}/v1/heartbeats`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/x-ndjson",
      "content-encoding": "gzip",
    },
    body,
  });
  assertEquals(response.status, 202, await response.text());
  return lines.length;
}

Deno.test("a full QUARANTINE pages and delays nothing; when there is room, it has every reject once", async () => {
  await using rig = await RoyaltyRig.start({
    topology: { quarantineMaxBytes: 256 * 1_024 },
    framed: true,
  });
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const alerts = await rig.stack.receiveAlerts("alerts.pipeline.>");
  const key = "a-key-of-the-fleet-0123456789abcdef";
  const edge = await rig.stack.service("ingest", { TWOFOLD_FLEET_KEYS: `tv:${key}` });
  const first = await rig.process();

  const flood = await postFlood(edge.url, key);
  await rig.publish(Array.from({ length: 2_000 }, (_, i) => `broken ${i}`));
  const [watched] = await rig.watch(100);
  assertExists(watched);
  await rig.publish([{ ...watched, played_ms: watched.played_ms + 1 }]);
  await rig.accountedFor();
  const { quarantined, counted } = await rig.position();
  assertEquals([quarantined, counted], [flood + 2_001, 100]);
  assertEquals(await rig.creditedMs(), rig.expectedMs);
  await waitFor(
    "a lag of 0",
    async () => sumOf(await first.metrics(), "twofold_royalty_lag_messages") === 0,
  );
  assertEquals((await first.readiness()).status, 200);

  const { alert } = await alerted(alerts, "open");
  assertEquals(alert.severity, "page");
  assertStringIncludes(alert.summary, "TWOFOLD_QUARANTINE_MAX_BYTES");
  const { state } = await jsm.streams.info(QUARANTINE);
  const waiting = sumOf(await first.metrics(), "twofold_royalty_uncopied_rejects");
  assert(waiting > 0 && waiting >= quarantined - state.messages, `${waiting} wait`);

  // Killed with copies that are made and not recorded; another process goes on.
  await first.stop("SIGKILL");
  const second = await rig.process();
  await rig.watch(10);
  await rig.accountedFor();
  await jsm.streams.update(QUARANTINE, { max_bytes: 64 * 1024 ** 2 });
  await everyRejectIsCopiedOnce(rig, jsm);
  await alerted(alerts, "resolved");
  assertEquals(sumOf(await second.metrics(), "twofold_royalty_uncopied_rejects"), 0);
  const { code, out } = await rig.command("status", "--json");
  assertEquals([code, JSON.parse(out).streams[0].identity_holds], [0, true]);
});

Deno.test("a QUARANTINE that was deleted and made again has every reject again, across a SIGKILL", async () => {
  await using rig = await RoyaltyRig.start();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const alerts = await rig.stack.receiveAlerts("alerts.pipeline.>");
  const royalty = await rig.process();
  await rig.publish(Array.from({ length: 300 }, (_, i) => `before ${i}`));
  await rig.accountedFor();
  await everyRejectIsCopiedOnce(rig, jsm);

  await jsm.streams.delete(QUARANTINE);
  await rig.publish(Array.from({ length: 300 }, (_, i) => `meanwhile ${i}`));
  await rig.watch(10);
  await rig.accountedFor();
  await alerted(alerts, "open");
  await royalty.stop("SIGKILL");
  await rig.stack.provision();
  await royalty.restart();
  await rig.publish(Array.from({ length: 10 }, (_, i) => `after ${i}`));
  await rig.accountedFor();
  await everyRejectIsCopiedOnce(rig, jsm);
  await alerted(alerts, "resolved");
});

Deno.test("rejects older than QUARANTINE keeps are deleted and stay counted; lost bytes hold up no copy", async () => {
  await using rig = await RoyaltyRig.start();
  const jsm = await rig.makeDeletable();
  await jsm.streams.delete(QUARANTINE);
  const royalty = await rig.process();
  await rig.publish(Array.from({ length: 20 }, (_, i) => `broken ${i}`));
  await rig.accountedFor();
  await jsm.streams.purge("HEARTBEATS", { seq: 6 });
  await rig.stack.provision();
  await waitFor(
    "the copies",
    async () => (await jsm.streams.info(QUARANTINE)).state.messages === 15,
  );
  const { lost, copied } = await waitFor("the copies to be recorded", async () => {
    const metrics = await royalty.metrics();
    const outcome = (name: string) =>
      sumOf(metrics, "twofold_royalty_copies_total", { outcome: name });
    const found = { lost: outcome("gone"), copied: outcome("copied") };
    return found.lost + found.copied === 20 ? found : undefined;
  }, PATIENT);
  assertEquals([lost, copied], [5, 15]);
  await royalty.stop();

  await rig.sql`
    update royalty.reject set rejected_at = now() - interval '31 days' where seq <= 12`;
  await using store = new CopyStore(rig.stack.databaseUrl("royalty"));
  assertEquals(await store.forget("HEARTBEATS", 30 * DAY_MS), 12);
  assertEquals((await rejectsOf(rig)).length, 8);
  const sums = await rig.sql<SumsRow[]>`
    select entries::int, listed::int from royalty.quarantined`;
  assertEquals([...sums], [{ entries: 20, listed: 8 }]);
  assertEquals((await rig.command("status")).code, 0);
  await rig.sql`delete from royalty.reject where seq = 15`;
  const { code, out } = await rig.command("status");
  assertEquals(code, 1);
  assertStringIncludes(out, "rejects of HEARTBEATS and those counted by reason differ: 7 and 8");
});

Deno.test("a copy that QUARANTINE does not know by its id any more is not made twice", async () => {
  await using rig = await RoyaltyRig.start();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const royalty = await rig.process();
  await rig.publish(Array.from({ length: 20 }, (_, i) => `broken ${i}`));
  await rig.accountedFor();
  await everyRejectIsCopiedOnce(rig, jsm);
  await royalty.stop();
  // As if it was killed before it recorded the last copies, and started after more than an hour.
  await rig.sql`update royalty.reject_copy set through_seq = 5, copied = 5`;
  await jsm.streams.update(QUARANTINE, { duplicate_window: 100_000_000 });
  const done = Promise.withResolvers<void>();
  const failures: string[] = [];
  const report = {
    counted: () => {},
    lost: () => {},
    waiting: () => {},
    copied: () => done.resolve(),
    failed: (reason: string) => void failures.push(reason),
  };
  const copier = new RejectCopier(
    await rig.stack.connect("royalty"),
    rig.stack.databaseUrl("royalty"),
    ["HEARTBEATS"],
    report,
    new Log("royalty", "error"),
    () => Date.now() + 2 * HOUR_MS,
  );
  const stop = new AbortController();
  const running = copier.run(stop.signal);
  await done.promise;
  stop.abort();
  await running;
  assertEquals(failures, []);
  await everyRejectIsCopiedOnce(rig, jsm);
});

interface NotCopiedRow {
  readonly seq: number;
  readonly not_copied: string;
}

Deno.test("a reject that is too large to be copied is said, and holds up none after it", async () => {
  await using rig = await RoyaltyRig.start();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const alerts = await rig.stack.receiveAlerts("alerts.pipeline.>");
  const royalty = await rig.process();
  // NATS takes 1 MiB with headers, of which the raw message has none.
  await rig.publish(["before", new Uint8Array(1024 ** 2 - 100).fill(32), "between"]);
  await rig.accountedFor();
  const copies = async (count: number) =>
    await waitFor("the other copies", async () => {
      const { messages } = (await jsm.streams.info(QUARANTINE)).state;
      return messages === count || Promise.reject(new Error(`${messages} of ${count}`));
    }, PATIENT);
  await copies(2);
  // The stream has a limit of its own.
  await jsm.streams.update(QUARANTINE, { max_msg_size: 2_000 });
  await rig.publish(["x".repeat(3_000), "after"]);
  await rig.accountedFor();
  await copies(3);
  const rows = await waitFor("the books to say so", async () => {
    const found = await rig.sql<NotCopiedRow[]>`
      select seq::int, not_copied from royalty.reject where not_copied is not null order by seq`;
    return found.length === 2 ? [...found] : undefined;
  }, PATIENT);
  assertEquals(rows, [{ seq: 2, not_copied: "too_large" }, { seq: 4, not_copied: "too_large" }]);
  // They are counted after they are in the books.
  await waitFor("the metrics to say so", async () => {
    const outcomes = await royalty.metrics();
    const outcome = (name: string) =>
      sumOf(outcomes, "twofold_royalty_copies_total", { outcome: name });
    assertEquals([outcome("copied"), outcome("too_large")], [3, 2]);
    assertEquals(sumOf(outcomes, "twofold_royalty_uncopied_rejects"), 0);
    return true;
  }, PATIENT);
  const { alert } = await alerted(alerts, "open", "quarantine-incomplete");
  assertStringIncludes(alert.summary, "larger than NATS or QUARANTINE takes");
  assertEquals((await rejectsOf(rig)).length, 5);
  assertEquals((await rig.command("status")).code, 0);
});

Deno.test("books from before rejects were listed balance, and nothing of them is copied again", async () => {
  await using books = await BooksRig.earlier("006");
  const { sql, url } = books;
  await sql`
    insert into royalty.stream_position (stream, last_seq, quarantined) values ('HEARTBEATS', 7, 7)`;
  await sql`
    insert into royalty.quarantined (stream, reason, entries, readable, ms_at_risk)
    values ('HEARTBEATS', 'malformed', 7, 0, 0)`;
  await openBooks(url, "UTC");
  assertEquals((await readAccounts(sql)).disagreements, []);
  await using store = new CopyStore(url);
  assertEquals(await store.position("HEARTBEATS"), {
    through: { sequence: 0, index: 0 },
    uncopied: 0,
    intoMade: undefined,
  });
});
