/**
 * Royalty and dlq-triage while the way to Postgres is silent, cut, or the server dies: they say so,
 * they stay up, they go on by themselves, and everything is counted once.
 *
 * @module
 */
import { assert, assertEquals, assertExists } from "@std/assert";
import { jetstream, type JetStreamClient } from "nats/jetstream";
import type { Sql } from "postgres";
import { freePort } from "../dev/servers/free_port.ts";
import { ServiceProcess, sumOf } from "../dev/servers/service_process.ts";
import { DATABASE, Stack } from "../dev/servers/stack.ts";
import { TcpProxy } from "../dev/servers/tcp_proxy.ts";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { openPool } from "../process/postgres/pool.ts";
import { onlyRow } from "../process/postgres/rows.ts";
import { pause } from "../process/retry.ts";

/** Longest until `/readyz` of royalty says so, ms; alone, under 4 s. */
const NOTICED_MS = 10_000;
/** Longest until `/readyz` says so, and until work goes on after the link is back, ms. */
const BOUND_MS = 15_000;
const LOAD_MS = 10_000;
const KILL_EVERY_MS = 250;

/** The books and the quarantine, as far as they can be counted. */
interface TallyRow {
  readonly last_seq: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly gaps: number;
  readonly credited_ms: number;
  readonly credits: number;
  readonly triaged: number;
}

/** Servers, a link to Postgres, the two services behind it, and what was published. */
class Rig implements AsyncDisposable {
  readonly #random = new Random(21);
  #good = 0;
  #broken = 0;
  #playedMs = 0;

  private constructor(
    readonly stack: Stack,
    readonly link: TcpProxy,
    readonly js: JetStreamClient,
    readonly services: readonly ServiceProcess[],
    readonly admin: Sql,
  ) {}

  static async start(): Promise<Rig> {
    const stack = await Stack.start();
    const link = new TcpProxy(stack.postgres.port);
    const way = `127.0.0.1:${link.port}`;
    const start = (name: "royalty" | "triage") => {
      const urlOf = (role: "royalty" | "issuer" | "triage") =>
        `postgres://${role}:${stack.postgres.passwords[role]}@${way}/${DATABASE}`;
      return ServiceProcess.start(stack.workspace, name, {
        httpPort: freePort(),
        reach: [stack.nats.url, way],
        settings: {
          ...stack.nats.settings(name),
          TWOFOLD_POSTGRES_URL: urlOf(name),
          ...(name === "royalty" ? { TWOFOLD_ISSUER_POSTGRES_URL: urlOf("issuer") } : {}),
        },
      });
    };
    const services = await Promise.all([start("royalty"), start("triage")]);
    const admin = openPool(stack.postgres.url(DATABASE), { purpose: "test", max: 1 });
    return new Rig(stack, link, jetstream(await stack.connect("ingest")), services, admin);
  }

  /** Publishes so many heartbeats, and so many texts that are none. */
  async publish(good: number, broken: number): Promise<void> {
    const events = Array.from(
      { length: good },
      () => aHeartbeat(this.#random, Date.now(), { played_ms: this.#random.int(1, 9_999) }),
    );
    const texts = Array.from({ length: broken }, (_, i) => `broken ${this.#broken + i}`);
    await Promise.all([
      ...events.map((event) =>
        this.js.publish("hb.0.de", encode(event), { msgID: event.event_id })
      ),
      ...texts.map((text) => this.js.publish("hb.0.none", text)),
    ]);
    this.#good += good;
    this.#broken += broken;
    this.#playedMs += events.reduce((sum, { played_ms }) => sum + played_ms, 0);
  }

  async tally(): Promise<TallyRow> {
    const rows = await this.admin<TallyRow[]>`
      select last_seq::int, counted::int, duplicates::int, quarantined::int, gaps::int,
        credited_ms::int,
        (select coalesce(sum(events), 0)::int from royalty.accrual) as credits,
        (select count(*)::int from triage.entry) as triaged
      from royalty.stream_position where stream = 'HEARTBEATS'`;
    return { ...onlyRow(rows, "the tally") };
  }

  /** Waits until all that was published is in the books and in triage, each once; to the ms. */
  async everythingOnce(timeoutMs: number): Promise<void> {
    const [good, broken] = [this.#good, this.#broken];
    await waitFor("all outcomes", async () => {
      const tally = await this.tally();
      if (tally.last_seq === good + broken && tally.triaged === broken) return true;
      throw new Error(JSON.stringify(tally));
    }, { timeoutMs });
    assertEquals(await this.tally(), {
      last_seq: good + broken,
      counted: good,
      duplicates: 0,
      quarantined: broken,
      gaps: 0,
      credited_ms: this.#playedMs,
      credits: good,
      triaged: broken,
    });
  }

  /** Waits until all that was published is counted, each once; to the ms. */
  async everythingCounted(timeoutMs: number): Promise<void> {
    const good = this.#good;
    await waitFor("everything in the books", async () => {
      const tally = await this.tally();
      return tally.last_seq >= good || Promise.reject(new Error(JSON.stringify(tally)));
    }, { timeoutMs });
    const { counted, duplicates, credited_ms, credits } = await this.tally();
    assertEquals({ counted, duplicates, credited_ms, credits }, {
      counted: good,
      duplicates: 0,
      credited_ms: this.#playedMs,
      credits: good,
    });
  }

  /** Ms from now until `/readyz` of each service answers `status`. */
  async untilAnswered(status: number): Promise<readonly number[]> {
    const start = performance.now();
    return await Promise.all(
      this.services.map(async (service) => {
        await waitFor(`${service.name} to answer ${status}`, async () => {
          const response = await fetch(`${service.url}/readyz`);
          const text = await response.text();
          return response.status === status || Promise.reject(new Error(text));
        }, { timeoutMs: 4 * BOUND_MS });
        return performance.now() - start;
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.services.map((service) => service.stop()));
    await this.admin.end({ timeout: 1 });
    this.link[Symbol.dispose]();
    await this.stack[Symbol.asyncDispose]();
  }
}

/** Longest until postings go on after a link that was half-open for a moment, ms; alone, under 3 s. */
const MOMENT_BOUND_MS = 9_000;

/** Ms until what was published is in the books, once and to the ms. */
async function untilCounted(rig: Rig): Promise<number> {
  const start = performance.now();
  await rig.everythingCounted(4 * BOUND_MS);
  return performance.now() - start;
}

Deno.test("a link that was half-open for 1.6 s holds postings for a moment only", async () => {
  await using rig = await Rig.start();
  for (let round = 0; round < 4; round++) {
    await rig.publish(100, 0);
    await rig.everythingCounted(2 * BOUND_MS);
    rig.link.silence();
    await rig.publish(100, 0);
    // No sleep: the link is silent for this long.
    await pause(1_600);
    rig.link.heal();
    const ms = await untilCounted(rig);
    console.log(`half-open for 1.6 s: all counted ${secondsText([ms])} s later`);
    assert(ms < MOMENT_BOUND_MS, `counted after ${secondsText([ms])} s`);
  }
});

Deno.test("a commit whose answer is lost is in the books once", async () => {
  await using rig = await Rig.start();
  await rig.publish(100, 0);
  await rig.everythingCounted(2 * BOUND_MS);
  rig.link.loseAnswersWith("COMMIT");
  await rig.publish(100, 0);
  await rig.everythingCounted(2 * BOUND_MS);
  rig.link.heal();
  await rig.publish(100, 0);
  const ms = await untilCounted(rig);
  console.log(`a commit without an answer: all counted ${secondsText([ms])} s later`);
  assert(ms < MOMENT_BOUND_MS, `counted after ${secondsText([ms])} s`);
  // The process counts what it was told.
  const [royalty] = rig.services;
  assertExists(royalty);
  const told = sumOf(await royalty.metrics(), "twofold_royalty_events_total");
  assert(told < 300, `royalty was told of ${told} events`);
});

/** Events whose plan alone takes longer than any silence of Postgres that is waited for, at 20 kB/s. */
const THIN_EVENTS = 5_000;
/** Longest until they are counted, ms; alone, a minute. */
const THIN_BOUND_MS = 240_000;

Deno.test("over a link of 20 kB/s with jitter everything is counted once, in smaller batches", async () => {
  await using rig = await Rig.start();
  const [royalty] = rig.services;
  assertExists(royalty);
  const limit = async () => sumOf(await royalty.metrics(), "twofold_royalty_batch_limit_events");
  const whole = await limit();
  rig.link.shape({ bytesPerSecond: 20_000, delayMs: 20, jitterMs: 100 });
  await rig.publish(THIN_EVENTS, 20);
  const reduced = waitFor("smaller batches", async () => {
    const events = await limit();
    return events < whole || Promise.reject(new Error(`${events} events`));
  }, { timeoutMs: THIN_BOUND_MS });
  const start = performance.now();
  await rig.everythingOnce(THIN_BOUND_MS);
  const rate = THIN_EVENTS * 1_000 / (performance.now() - start);
  console.log(`20 kB/s: ${rate.toFixed(0)} events/s in batches of at most ${await limit()}`);
  await reduced;
  await rig.untilAnswered(200);
  rig.link.shape({});
  await rig.publish(2 * THIN_EVENTS, 0);
  await rig.everythingOnce(THIN_BOUND_MS);
});

function secondsText(each: readonly number[]): string {
  return each.map((ms) => (ms / 1_000).toFixed(1)).join(" and ");
}

Deno.test("a half-open link is said within 15 s, and healed within 15 s", async (t) => {
  await using rig = await Rig.start();
  await rig.publish(200, 20);
  await rig.everythingOnce(2 * BOUND_MS);
  // Healed as soon as it is noticed, old sessions are still alive on the server; later, gone.
  for (const heldMs of [0, 10_000]) {
    await t.step(`healed ${heldMs / 1_000} s after it was noticed`, async () => {
      rig.link.silence();
      await rig.publish(300, 20);
      const noticed = await rig.untilAnswered(503);
      // No sleep: the link stays silent for this long.
      await pause(heldMs);
      rig.link.heal();
      const healed = performance.now();
      const [ready] = await Promise.all([
        rig.untilAnswered(200),
        rig.everythingOnce(4 * BOUND_MS),
      ]);
      const countedMs = performance.now() - healed;
      console.log(
        `royalty and triage: 503 after ${secondsText(noticed)} s; healed: 200 after ` +
          `${secondsText(ready)} s, all counted after ${secondsText([countedMs])} s`,
      );
      const [royaltyMs = Infinity] = noticed;
      assert(royaltyMs < NOTICED_MS, `royalty noticed after ${secondsText([royaltyMs])} s`);
      assert(Math.max(...noticed) < BOUND_MS, `noticed after ${secondsText(noticed)} s`);
      assert(countedMs < BOUND_MS, `counted after ${secondsText([countedMs])} s`);
      assertEquals(rig.services.map(({ exitCode }) => exitCode), [null, null]);
    });
  }
});

Deno.test("under load, killed sessions and a killed server end no service and count nothing twice", async () => {
  await using rig = await Rig.start();
  const pids = rig.services.map(({ pid }) => pid);
  const end = performance.now() + LOAD_MS;
  let kills = 0;
  const load = (async () => {
    while (performance.now() < end) await rig.publish(100, 5);
  })();
  const terminating = (async () => {
    while (performance.now() < end) {
      const ended = await rig.admin`
        select pg_terminate_backend(pid) from pg_stat_activity where usename <> 'postgres'`
        .catch(() => []);
      kills += ended.length;
      // No sleep: the rate of kills is part of the load.
      await pause(KILL_EVERY_MS);
    }
  })();
  // No sleep: the server is killed in the middle of the load.
  await pause(LOAD_MS / 3);
  await rig.stack.postgres.stop("SIGKILL");
  // Sessions of the old server may have to end first.
  await waitFor("Postgres to start again", () => rig.stack.postgres.start().then(() => true), {
    timeoutMs: 30_000,
  });
  await Promise.all([load, terminating]);
  await rig.everythingOnce(60_000);
  await rig.untilAnswered(200);
  const { last_seq, counted } = await rig.tally();
  console.log(`${kills} sessions and the server killed; ${counted} of ${last_seq} counted once`);
  assert(kills >= 5, `only ${kills} sessions were killed`);
  assertEquals(rig.services.map(({ pid }) => pid), pids);
  assertEquals(rig.services.map(({ exitCode }) => exitCode), [null, null]);
});
