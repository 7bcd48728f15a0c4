import { assert, assertEquals, assertExists, assertGreater, assertLessOrEqual } from "@std/assert";
import { type Heartbeat, judge } from "../../contract/event.ts";
import type { Send } from "./player.ts";
import { forgottenAfterMs } from "./uplink.ts";
import { propertyRandom } from "../testing/random.ts";
import { DEFAULT_SIMULATION, Simulator, type SimulatorOptions } from "./simulator.ts";
import { Truth } from "./truth.ts";

const START_MS = Date.UTC(2026, 0, 5);
const WINDOW_MS = 3_000;
/** The incident spreads to a second region, and ends. */
const INCIDENT = {
  cdn: "cdn-b",
  stages: [
    { atMs: 10_000, region: "us-east", share: 1 },
    { atMs: 20_000, region: "us-west", share: 0.5 },
  ],
  untilMs: 48_000,
  stallRatio: 0.3,
} as const;
/** Until all affected players stall, or have recovered, and their heartbeats speak of nothing else. */
const CHANGE_MS = 13_000;
const OPTIONS: SimulatorOptions = {
  ...DEFAULT_SIMULATION,
  seed: 1,
  startEpochMs: START_MS,
  durationMs: 75_000,
  sessions: 1_200,
  brokenShare: 0.03,
  incidents: [INCIDENT],
  uplink: { ...DEFAULT_SIMULATION.uplink, duplicateWindowMs: WINDOW_MS, lateMaxMs: 20_000 },
};

Deno.test("property: the same seed gives the same timeline, another seed another", async () => {
  const seed = propertyRandom("simulator determinism").int(0, 2 ** 31);
  const first = await digest(sendsOf({ seed }));
  assertEquals(await digest(sendsOf({ seed })), first);
  assert(await digest(sendsOf({ seed: seed + 1 })) !== first);
});

Deno.test("property: valid sends pass the schema, malformed ones do not", () => {
  const seed = propertyRandom("simulator validity").int(0, 2 ** 31);
  for (const send of sendsOf({ seed })) {
    const judgement = judge(send.bytes);
    assertEquals(judgement.ok, send.kind !== "malformed", JSON.stringify(judgement));
    if (!judgement.ok) continue;
    assertEquals(judgement.heartbeat.title_id, send.titleId);
    assertEquals(judgement.heartbeat.region, send.region);
    assertEquals(judgement.heartbeat.played_ms, send.playedMs);
    assertLessOrEqual(judgement.heartbeat.ts, START_MS + send.sendAtMs);
  }
});

Deno.test("property: the ground truth equals a naive recount of the bytes", () => {
  const seed = propertyRandom("truth against a recount").int(0, 2 ** 31);
  const truth = new Truth(WINDOW_MS);
  const naive = { ids: new Map<string, string>(), malformed: 0, duplicates: 0, conflicts: 0 };
  const ms = new Map<string, number>();
  let sent = 0;
  for (const send of sendsOf({ seed })) {
    sent++;
    truth.record(send, "acknowledged", send.sendAtMs);
    const judgement = judge(send.bytes);
    if (!judgement.ok) {
      naive.malformed++;
      continue;
    }
    const { event_id, title_id, played_ms } = judgement.heartbeat;
    const text = new TextDecoder().decode(send.bytes);
    const known = naive.ids.get(event_id);
    if (known === undefined) {
      naive.ids.set(event_id, text);
      ms.set(title_id, (ms.get(title_id) ?? 0) + played_ms);
    } else if (known === text) naive.duplicates++;
    else naive.conflicts++;
  }
  const report = truth.report();
  assertEquals(report.sent, sent);
  assertEquals(report.events, naive.ids.size);
  assertEquals(report.malformed, naive.malformed);
  assertEquals(report.duplicates, naive.duplicates);
  assertEquals(report.conflicts, naive.conflicts);
  assertEquals(
    new Map([...report.titles].map(([title, totals]) => [title, totals.ms])),
    ms,
  );
  assertEquals(report.conflicts, OPTIONS.conflicts);
  assertGreater(report.duplicatesBeyondWindow, 10);
});

Deno.test("the network delays, reorders, and repeats within and after the duplicate window", () => {
  const sends = sendsOf({});
  const fresh = sends.filter(({ kind }) => kind === "fresh");
  const retries = sends.filter(({ kind }) => kind === "retry");
  const first = new Map(fresh.map((send) => [send.claim, send]));
  const gaps = retries.map((retry) => {
    const original = first.get(retry.claim);
    assertExists(original);
    assert(retry.bytes === original.bytes, "a retry has other bytes");
    return retry.sendAtMs - original.sendAtMs;
  });
  const share = retries.length / fresh.length;
  assert(share > 0.035 && share < 0.06, `retries are ${share} of the events`);
  assert(gaps.every((gap) => gap > 0), "a retry is sent before its event");
  assertGreater(gaps.filter((gap) => gap < WINDOW_MS / 2).length, 10);
  assertGreater(gaps.filter((gap) => gap > forgottenAfterMs(WINDOW_MS)).length, 10);

  const late = fresh.map((send) => START_MS + send.sendAtMs - heartbeatOf(send).ts);
  assertGreater(late.filter((ms) => ms > 8_000).length, 10);
  assertGreater(overtaken(fresh), fresh.length / 100);
});

Deno.test("sends are in order and complete, and sessions number their heartbeats", () => {
  const sends = sendsOf({ brokenShare: 0, conflicts: 0 });
  let last = 0;
  const seqs = new Map<string, Set<number>>();
  for (const send of sends) {
    assert(send.sendAtMs >= last && send.sendAtMs < OPTIONS.durationMs, `${send.sendAtMs}`);
    last = send.sendAtMs;
    const { session_id, seq } = heartbeatOf(send);
    seqs.set(session_id, (seqs.get(session_id) ?? new Set()).add(seq));
  }
  assertGreater(seqs.size, OPTIONS.sessions - 1);
  for (const [session, seen] of seqs) {
    assertEquals(Math.max(...seen), seen.size - 1, `${session} skips a number`);
  }
});

Deno.test("the viewers of a CDN stall in one region after another, and recover", () => {
  const { cdn, untilMs } = INCIDENT;
  const stalls = {
    before: ratio(),
    first: ratio(),
    second: ratio(),
    after: ratio(),
    healthy: ratio(),
  };
  for (const send of sendsOf({ sessions: 3_000 }).filter(({ kind }) => kind === "fresh")) {
    const heartbeat = heartbeatOf(send);
    const index = INCIDENT.stages.findIndex(({ region }) => region === send.region);
    const stage = INCIDENT.stages[index];
    const atMs = heartbeat.ts - START_MS;
    if (heartbeat.cdn !== cdn || stage === undefined) stalls.healthy.add(heartbeat);
    else if (atMs <= stage.atMs) stalls.before.add(heartbeat);
    else if (atMs > untilMs + CHANGE_MS) stalls.after.add(heartbeat);
    else if (atMs > stage.atMs + CHANGE_MS && atMs <= untilMs) {
      stalls[index === 0 ? "first" : "second"].add(heartbeat);
    }
  }
  assert(Math.abs(stalls.first.value - 0.3) < 0.06, `first region: ${stalls.first.value}`);
  assert(Math.abs(stalls.second.value - 0.15) < 0.06, `second region: ${stalls.second.value}`);
  assertLessOrEqual(stalls.before.value, 0.01);
  assertLessOrEqual(stalls.after.value, 0.01);
  // Healthy viewers stall too, for 0.09 to 0.29 % of the time in the long run.
  assert(stalls.healthy.value > 0.000_5, `healthy: ${stalls.healthy.value}`);
  assertLessOrEqual(stalls.healthy.value, 0.004);
});

Deno.test("at the end of the run all viewers leave", () => {
  const newest = new Map<string, Heartbeat>();
  for (const send of sendsOf({ brokenShare: 0, conflicts: 0 })) {
    const heartbeat = heartbeatOf(send);
    const { session_id, seq } = heartbeat;
    if (seq >= (newest.get(session_id)?.seq ?? 0)) newest.set(session_id, heartbeat);
  }
  for (const { session_id, state } of newest.values()) assertEquals(state, "ended", session_id);
});

function sendsOf(changes: Partial<SimulatorOptions>): Send[] {
  return [...new Simulator({ ...OPTIONS, ...changes }).ticks()].flatMap(({ sends }) => sends);
}

function heartbeatOf({ bytes }: Send): Heartbeat {
  const judgement = judge(bytes);
  assert(judgement.ok);
  return judgement.heartbeat;
}

/** How many heartbeats arrive after a later one of their session. */
function overtaken(sends: readonly Send[]): number {
  const newest = new Map<string, number>();
  return sends.filter((send) => {
    const { session_id, seq } = heartbeatOf(send);
    const before = newest.get(session_id) ?? -1;
    newest.set(session_id, Math.max(before, seq));
    return seq < before;
  }).length;
}

function ratio() {
  let [stalled, all] = [0, 0];
  return {
    add({ played_ms, rebuffer_ms }: Heartbeat) {
      stalled += rebuffer_ms;
      all += played_ms + rebuffer_ms;
    },
    get value() {
      return stalled / all;
    },
  };
}

async function digest(sends: readonly Send[]): Promise<string> {
  const parts = sends.flatMap(({ sendAtMs, bytes }) => [String(sendAtMs), bytes]);
  const all = await new Blob(parts).arrayBuffer();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", all)).toHex();
}
