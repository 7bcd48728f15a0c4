import { assert, assertEquals, assertMatch } from "@std/assert";
import { FillingWatch } from "./filling_watch.ts";

const GIB = 1024 ** 3;
const HOUR_MS = 3_600_000;

/** Measures a stream every 5 s that grows at `mbPerSecond`, until `untilMs`; when it first is ill. */
function grow(
  watch: FillingWatch,
  { mbPerSecond, startBytes = 0, agesInMs = Infinity, untilMs = 20 * 60_000 }: {
    readonly mbPerSecond: number;
    readonly startBytes?: number;
    readonly agesInMs?: number;
    readonly untilMs?: number;
  },
): number | undefined {
  for (let ms = 0; ms <= untilMs; ms += 5_000) {
    const bytes = Math.min(64 * GIB, startBytes + mbPerSecond * 1_000 * ms);
    watch.measured("HEARTBEATS", { bytes, limitBytes: 64 * GIB, agesInMs: agesInMs - ms }, ms);
    if (watch.findings(ms).some(({ isIll }) => isIll)) return ms;
  }
}

Deno.test("an attack pages within a minute, with the hours left", () => {
  const watch = new FillingWatch(["HEARTBEATS"]);
  assertEquals(grow(watch, { mbPerSecond: 32 }), 30_000);
  const [finding] = watch.findings(30_000);
  assertEquals(finding?.what, "stream-filling");
  assertMatch(
    finding?.summary ?? "",
    /^HEARTBEATS is 1 % full, and full in 0\.59 hours .* 32 MB a/,
  );
  assertMatch(finding?.summary ?? "", /raise TWOFOLD_HEARTBEATS_MAX_BYTES/);
});

Deno.test("a stream that is too small pages hours before it is full", () => {
  const watch = new FillingWatch(["HEARTBEATS"]);
  assertEquals(grow(watch, { mbPerSecond: 2 }), undefined, "more than six hours are left");
  const later = new FillingWatch(["HEARTBEATS"]);
  const pagedMs = grow(later, { mbPerSecond: 2, startBytes: 30 * GIB });
  assertEquals(pagedMs, 300_000, "after half of the ten minutes");
});

Deno.test("a stream that will lose its oldest messages before it is full does not page", () => {
  const watch = new FillingWatch(["HEARTBEATS"]);
  const agesInMs = HOUR_MS;
  assertEquals(grow(watch, { mbPerSecond: 4, startBytes: 40 * GIB, agesInMs }), undefined);
});

Deno.test("nearly full and growing, or full, pages; it ends a minute after there is room", () => {
  const watch = new FillingWatch(["HEARTBEATS"]);
  assert(grow(watch, { mbPerSecond: 0.01, startBytes: 60 * GIB }) !== undefined);
  const full = new FillingWatch(["HEARTBEATS"]);
  assertEquals(grow(full, { mbPerSecond: 0, startBytes: 64 * GIB }), 0);
  assertMatch(full.findings(0)[0]?.summary ?? "", /is full and refuses/);
  const room = { bytes: 64 * GIB, limitBytes: 128 * GIB, agesInMs: Infinity };
  full.measured("HEARTBEATS", room, 5_000);
  assertEquals(full.findings(5_000), []);
  assertEquals(full.findings(65_000).map(({ isIll }) => isIll), [false]);
});

Deno.test("nothing is said to be well before every stream was measured", () => {
  const watch = new FillingWatch(["HEARTBEATS", "QUARANTINE"]);
  const size = { bytes: 1, limitBytes: GIB, agesInMs: Infinity };
  watch.measured("HEARTBEATS", size, 0);
  assertEquals(watch.findings(0), []);
  watch.measured("QUARANTINE", size, 0);
  assertEquals(watch.findings(0).map(({ isIll }) => isIll), [false]);
});
