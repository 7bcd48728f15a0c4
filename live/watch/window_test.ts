import { assert, assertEquals, assertExists } from "@std/assert";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { type AddOutcome, type MeasuredHeartbeat, Window, type WindowOptions } from "./window.ts";

const OPTIONS: WindowOptions = {
  windowMs: 60_000,
  bucketMs: 1_000,
  maxKeys: 1_000,
  rewindAfterTicks: 3,
};
const T0 = 1_795_000_000_000;

function measured(changes: Partial<MeasuredHeartbeat> = {}): MeasuredHeartbeat {
  const base = { title_id: "t", region: "de", session_id: "s", ts: T0 };
  return { ...base, played_ms: 9_000, rebuffer_ms: 1_000, ...changes };
}

Deno.test("a heartbeat counts while its bucket is in the window", () => {
  const window = new Window(OPTIONS);
  assertEquals(window.add(measured(), T0), "counted");
  assertEquals(window.add(measured({ region: "us", ts: T0 + 59_999 }), T0 + 59_999), "counted");
  assertEquals([...window.cells()].map(({ region }) => region), ["de", "us"]);
  assertEquals(window.add(measured({ region: "us", ts: T0 + 60_000 }), T0 + 60_000), "counted");
  assertEquals([...window.cells()].map(({ region }) => region), ["us"]);
  assertEquals(window.keys, 1, "an idle title is removed");
});

Deno.test("a heartbeat later than the window is left out", () => {
  const window = new Window(OPTIONS);
  window.add(measured({ ts: T0 + 60_000 }), T0 + 60_000);
  assertEquals(window.add(measured({ ts: T0 + 999 }), T0 + 60_000), "late");
  assertEquals(window.add(measured({ ts: T0 + 1_000 }), T0 + 60_000), "counted");
  assertEquals([...window.cells()].map(({ heartbeats }) => heartbeats), [2]);
});

Deno.test("a device clock that runs fast does not move the watermark past receipt", () => {
  const window = new Window(OPTIONS);
  window.add(measured({ ts: T0 + 86_400_000 }), T0);
  assertEquals(window.watermarkMs, T0);
  assertEquals(window.add(measured(), T0), "counted");
});

Deno.test("the window is reset when event time ran ahead and every heartbeat is late", () => {
  const window = new Window(OPTIONS);
  window.add(measured({ ts: T0 + 3_600_000 }), T0 + 3_600_000);
  window.tick();
  for (let tick = 0; tick < 3; tick++) {
    assertEquals(window.add(measured({ ts: T0 + tick }), T0 + 3_600_000), "late");
    window.tick();
  }
  assertEquals(window.rewinds, 1);
  assertEquals(window.watermarkMs, T0 + 2);
  assertEquals(window.add(measured({ ts: T0 + 3 }), T0 + 3_600_000), "counted");
  const [cell] = window.cells();
  assertEquals(cell?.heartbeats, 1, "the sums before the reset are cleared");
});

Deno.test("late heartbeats among timely ones do not reset the window", () => {
  const window = new Window(OPTIONS);
  for (let tick = 0; tick < 10; tick++) {
    window.add(measured({ ts: T0 + 3_600_000 + tick }), T0 + 3_700_000);
    window.add(measured(), T0 + 3_700_000);
    window.tick();
  }
  for (let tick = 0; tick < 10; tick++) window.tick();
  assertEquals(window.rewinds, 0);
});

Deno.test("stalled sessions are estimated, over the newest buckets only", () => {
  const window = new Window(OPTIONS);
  for (let i = 0; i < 40; i++) {
    const session_id = `early-${i}`;
    for (let again = 0; again < 3; again++) window.add(measured({ session_id }), T0);
    window.add(measured({ session_id: `healthy-${i}`, rebuffer_ms: 0 }), T0);
  }
  for (const session_id of ["a", "b", "c"]) {
    window.add(measured({ session_id, ts: T0 + 30_000 }), T0 + 30_000);
  }
  const [cell] = window.cells();
  assertExists(cell);
  const all = cell.stalledSessions(60);
  assert(all >= 33 && all <= 55, `43 sessions stalled, estimated ${all}`);
  assertEquals(cell.stalledSessions(15), 3);
});

Deno.test("the least recently updated title is evicted beyond maxKeys", () => {
  const window = new Window({ ...OPTIONS, maxKeys: 2 });
  for (const title_id of ["a", "b", "a", "c"]) window.add(measured({ title_id }), T0);
  assertEquals([...window.cells()].map(({ titleId }) => titleId), ["a", "c"]);
  assertEquals(window.evictedKeys, 1);
});

/** A naive model of the window: goes through every heartbeat that was added. */
class NaiveWindow {
  events: { name: string; bucket: number; heartbeat: MeasuredHeartbeat; receivedAt: number }[] = [];
  names: string[] = [];
  watermarkMs = 0;

  constructor(readonly options: WindowOptions) {}

  bucketOf(ms: number): number {
    return Math.floor(ms / this.options.bucketMs);
  }
  get firstBucket(): number {
    return this.bucketOf(this.watermarkMs) - this.options.windowMs / this.options.bucketMs + 1;
  }

  add(heartbeat: MeasuredHeartbeat, receivedAt: number): AddOutcome {
    const ts = Math.min(heartbeat.ts, receivedAt);
    if (this.bucketOf(ts) < this.firstBucket) return "late";
    this.watermarkMs = Math.max(this.watermarkMs, ts);
    const name = `${heartbeat.region}/${heartbeat.title_id}`;
    this.names = [...this.names.filter((each) => each !== name), name];
    const [oldest] = this.names;
    if (oldest !== undefined && this.names.length > this.options.maxKeys) this.forget(oldest);
    this.events.push({ name, bucket: this.bucketOf(ts), heartbeat, receivedAt });
    return "counted";
  }

  forget(name: string): void {
    this.names = this.names.filter((each) => each !== name);
    this.events = this.events.filter((event) => event.name !== name);
  }

  cells(newest: number) {
    for (const name of this.names) {
      if (this.sums(name, this.firstBucket).heartbeats === 0) this.forget(name);
    }
    return this.names.map((name) => ({
      name,
      ...this.sums(name, this.firstBucket),
      receivedAt: Math.max(...this.of(name, 0).map(({ receivedAt }) => receivedAt)),
      newest: this.sums(name, this.bucketOf(this.watermarkMs) - newest + 1),
    }));
  }

  of(name: string, from: number) {
    return this.events.filter((event) => event.name === name && event.bucket >= from);
  }
  sums(name: string, from: number) {
    const heartbeats = this.of(name, from).map(({ heartbeat }) => heartbeat);
    const sum = (of: (heartbeat: MeasuredHeartbeat) => number) =>
      heartbeats.reduce((total, heartbeat) => total + of(heartbeat), 0);
    return {
      heartbeats: heartbeats.length,
      playedMs: sum(({ played_ms }) => played_ms),
      rebufferMs: sum(({ rebuffer_ms }) => rebuffer_ms),
    };
  }
}

Deno.test("the window equals a naive model", () => {
  const random = propertyRandom("window equals the naive model");
  for (let run = 0; run < 40; run++) {
    const options = {
      windowMs: random.pick([3_000, 10_000, 60_000]),
      bucketMs: 1_000,
      maxKeys: random.int(1, 12),
      rewindAfterTicks: 3,
    };
    const window = new Window(options);
    const naive = new NaiveWindow(options);
    let now = T0;
    for (let step = 0; step < 300; step++) {
      now += random.chance(0.03) ? random.int(0, 100_000) : random.int(0, 1_500);
      const heartbeat = anyMeasured(random, now);
      assertEquals(window.add(heartbeat, now), naive.add(heartbeat, now));
      assertEquals(window.watermarkMs, naive.watermarkMs);
      if (random.chance(0.2)) assertSame(window, naive, random.int(1, 70));
    }
  }
});

function anyMeasured(random: Random, now: number): MeasuredHeartbeat {
  const stalled = random.chance(0.3) ? random.int(1, 10_000) : 0;
  return {
    title_id: `t${random.int(0, 5)}`,
    region: random.pick(["de", "us", "br"]),
    session_id: `s${random.int(0, 20)}`,
    ts: now - random.pick([0, random.int(0, 4_000), random.int(-50_000, 120_000)]),
    played_ms: 10_000 - stalled,
    rebuffer_ms: stalled,
  };
}

function assertSame(window: Window, naive: NaiveWindow, newest: number): void {
  const cells = [...window.cells()].map((cell) => ({
    name: `${cell.region}/${cell.titleId}`,
    heartbeats: cell.heartbeats,
    playedMs: cell.playedMs,
    rebufferMs: cell.rebufferMs,
    receivedAt: cell.receivedAt,
    newest: cell.newest(newest),
  }));
  assertEquals(cells, naive.cells(Math.min(newest, naive.options.windowMs / 1_000)));
}
