import { assert, assertEquals, assertExists, assertGreater, assertLessOrEqual } from "@std/assert";
import { type Heartbeat, judge } from "../../contract/event.ts";
import type { Send } from "./player.ts";
import { forgottenAfterMs } from "./uplink.ts";
import { propertyRandom } from "../testing/random.ts";
import { DEFAULT_SIMULATION, Simulator, type SimulatorOptions } from "./simulator.ts";
import { Truth } from "./truth.ts";

const START_MS = Date.UTC(2026, 0, 5);
const WINDOW_MS = 3_000;
const INCIDENT_MS = 20_000;
const OPTIONS: SimulatorOptions = {
  ...DEFAULT_SIMULATION,
  seed: 1,
  startEpochMs: START_MS,
  durationMs: 50_000,
  sessions: 1_200,
  brokenShare: 0.03,
  incident: { atMs: INCIDENT_MS, stallRatio: 0.3 },
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

Deno.test("only the cohort of the incident stalls, from its start, with about its ratio", () => {
  const stalls = { incident: ratio(), before: ratio(), healthy: ratio() };
  const simulator = new Simulator(OPTIONS);
  const { titleId, region } = simulator.biggest;
  for (const { sends } of simulator.ticks()) {
    for (const send of sends.filter(({ kind }) => kind === "fresh")) {
      const heartbeat = heartbeatOf(send);
      const hit = send.titleId === titleId && send.region === region;
      const after = heartbeat.ts - START_MS > INCIDENT_MS + 10_000;
      const before = heartbeat.ts - START_MS <= INCIDENT_MS;
      if (hit && after) stalls.incident.add(heartbeat);
      else if (hit && before) stalls.before.add(heartbeat);
      else if (!hit) stalls.healthy.add(heartbeat);
    }
  }
  assert(Math.abs(stalls.incident.value - 0.3) < 0.08, `incident: ${stalls.incident.value}`);
  assertLessOrEqual(stalls.before.value, 0.01);
  assertLessOrEqual(stalls.healthy.value, 0.005);
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
