/**
 * Keys under clocks that lie, on a real Postgres: what was dropped too early counts nothing twice.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { BooksRig, commitPosting, postingOf } from "../../shared/e2e/books_rig.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { ComparedClocks, streamClock } from "../../shared/process/clock/clocks.ts";
import { Health } from "../../shared/process/health.ts";
import { Log } from "../../shared/process/log.ts";
import { Metrics } from "../../shared/process/metrics.ts";
import { openBooks } from "../books/connection.ts";
import { PostingMetrics } from "./posting_metrics.ts";
import { StreamWorker } from "./worker.ts";
import { type KeyRetention, maintainKeys } from "./key_partitions.ts";
import { LedgerSession } from "./ledger.ts";

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 10, 22, 12);
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 7 * DAY_MS,
  futureToleranceMs: 300_000,
};
const RETENTION: KeyRetention = {
  streams: ["HEARTBEATS"],
  latenessHorizonMs: 7 * DAY_MS,
  otherKeysMs: 8 * DAY_MS,
};

/** Books with one event counted on each of the last nine days, by ids with and without a time. */
class Scene implements AsyncDisposable {
  readonly counted: Heartbeat[] = [];
  #after = 0;

  private constructor(readonly books: BooksRig, readonly session: LedgerSession) {}

  static async start(): Promise<Scene> {
    const books = await BooksRig.start({ zone: "UTC" });
    const session = new LedgerSession(books.url, "HEARTBEATS");
    const scene = new Scene(books, session);
    await session.position();
    const random = new Random(7);
    for (let ageDays = 8; ageDays >= 0; ageDays--) {
      const ts = START - ageDays * DAY_MS;
      await maintainKeys(books.sql, RETENTION, ts);
      const events = [
        aHeartbeat(random, ts),
        aHeartbeat(random, ts, { event_id: crypto.randomUUID() }),
      ];
      scene.counted.push(...events);
      await scene.post(events, ts);
    }
    return scene;
  }

  async post(
    bodies: readonly Heartbeat[],
    receivedAtMs: number,
    beforeCommit?: () => Promise<void>,
  ) {
    const batch = { stream: "HEARTBEATS", after: this.#after, bodies, receivedAtMs };
    const posting = postingOf(batch, RULES);
    const position = await commitPosting(this.session, posting, beforeCommit);
    this.#after = position.lastSeq;
    return position;
  }

  /** The days that rounds drop while every clock is 12 days ahead. */
  async lie(rounds: number): Promise<string[]> {
    const now = START + 12 * DAY_MS;
    await this.post([aHeartbeat(new Random(8), now)], now);
    const dropped: string[] = [];
    for (let i = 0; i < rounds; i++) {
      const round = await maintainKeys(this.books.sql, RETENTION, now);
      if (round.dropped !== undefined) dropped.push(round.dropped);
    }
    return dropped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    await this.books[Symbol.asyncDispose]();
  }
}

Deno.test("with all clocks 12 days ahead a round drops one day, and nothing counts twice", async () => {
  await using scene = await Scene.start();
  assertEquals(await scene.lie(3), ["2026-11-12", "2026-11-13", "2026-11-14"]);
  const before = await scene.session.position();
  // The clocks are right again: all of it comes once more, with its own times and with new ones.
  const again = await scene.post(scene.counted, START + 1);
  assertEquals(again.counted, before.counted);
  const renamed = scene.counted.map((event) => ({ ...event, ts: START + 2 }));
  const withNewTimes = renamed.filter(({ event_id }) => event_id[14] === "7");
  assertEquals((await scene.post(withNewTimes, START + 2)).counted, before.counted);
  // What is new counts, whatever was dropped.
  const fresh = [aHeartbeat(new Random(9), START + 3)];
  assertEquals((await scene.post(fresh, START + 3)).counted, before.counted + 1);
});

Deno.test("keys that are dropped between plan and commit make the plan outdated", async () => {
  await using scene = await Scene.start();
  const before = await scene.session.position();
  // Its id is as old as the oldest day, where no key of it was entered yet.
  const ts = START - 7 * DAY_MS;
  const event = { ...aHeartbeat(new Random(10), ts), event_id: new Random(11).uuidv7(ts - DAY_MS) };
  let plans = 0;
  const drop = async () => {
    if (plans++ > 0) return;
    await scene.books.sql`update royalty.keys_forgotten set before_day = '2026-11-15'`;
  };
  const after = await scene.post([event], START, drop);
  assertEquals(plans, 2);
  assertEquals([after.counted, after.quarantined], [before.counted, before.quarantined + 1]);
});

Deno.test("by a stream's clock that nobody confirms no event is refused for its age", async () => {
  await using rig = await RoyaltyRig.start();
  const url = rig.stack.databaseUrl("royalty");
  await openBooks(url, "UTC");
  const nc = await rig.stack.connect("royalty");
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  // Only differences count: all clocks but that of the stream are an hour ahead.
  let aheadMs = 3_600_000;
  const shifted = () => Date.now() + aheadMs;
  const clocks = new ComparedClocks(shifted, {
    Postgres: () => Promise.resolve(shifted()),
    HEARTBEATS: streamClock(jsm, "HEARTBEATS"),
  });
  const health = new Health();
  const options = {
    ...{ databaseUrl: url, maxEvents: 100, maxWaitMs: 1_000, rules: RULES, observers: [], clocks },
    now: Date.now,
  };
  const metrics = new PostingMetrics(new Metrics(), ["HEARTBEATS"]);
  const part = health.rounds("HEARTBEATS");
  const worker = new StreamWorker("HEARTBEATS", nc, options, metrics, part, new Log("t", "error"));
  const stop = new AbortController();
  const running = worker.run(stop.signal);
  try {
    await rig.watch(5);
    await rig.accountedFor();
    await rig.publish([aHeartbeat(new Random(12), Date.now() - 8 * DAY_MS)]);
    await waitFor("counting to wait", () => health.notReady?.includes("refused for their age"));
    assertStringIncludes(health.notReady ?? "", "the clock of HEARTBEATS is 60 min behind");
    assertEquals((await rig.position()).quarantined, 0);
    aheadMs = 0;
    await rig.accountedFor();
    assertEquals((await rig.position()).quarantined, 1);
  } finally {
    stop.abort();
    await running;
  }
});
