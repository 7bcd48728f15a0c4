import { assertEquals, assertMatch } from "@std/assert";
import { type Replica, ReplicaWatch } from "./replica_watch.ts";

const WELL: Replica = { node: "nats-1", isCurrent: true, isOffline: false, silentMs: 50 };
const FULL: Replica = { node: "nats-2", isCurrent: false, isOffline: false, silentMs: 15_000 };

/** Asks every 5 s until `untilMs`; when it is ill first. */
function illFrom(watch: ReplicaWatch, replicas: readonly Replica[], untilMs = 60_000) {
  for (let ms = 0; ms <= untilMs; ms += 5_000) {
    watch.measured("HEARTBEATS", replicas, ms);
    if (watch.findings(ms).some(({ isIll }) => isIll)) return ms;
  }
}

Deno.test("a node with a full disk is named after 20 s, with the remedy, and its end after 5 s", () => {
  const watch = new ReplicaWatch(["HEARTBEATS"]);
  assertEquals(illFrom(watch, [WELL, FULL]), 20_000);
  assertMatch(
    watch.findings(20_000)[0]?.summary ?? "",
    /nats-2 stores nothing of HEARTBEATS; it runs, .* make space, then restart nats-server on it/,
  );
  watch.measured("HEARTBEATS", [WELL, { ...FULL, isCurrent: true, silentMs: 10 }], 25_000);
  assertEquals(watch.findings(25_000), []);
  assertEquals(watch.findings(30_000).map(({ isIll }) => isIll), [false]);
});

Deno.test("a node that is gone is named; one that the leader never heard of is missing too", () => {
  const watch = new ReplicaWatch(["HEARTBEATS"]);
  illFrom(watch, [{ ...WELL, isOffline: true }, WELL]);
  assertMatch(watch.findings(60_000)[0]?.summary ?? "", /nats-1 stores nothing .*; the others/);
  const never = new ReplicaWatch(["HEARTBEATS"]);
  assertEquals(illFrom(never, [{ ...FULL, silentMs: Infinity }]), 20_000);
});

Deno.test("a node that is behind for a moment, or catches up, is not missing", () => {
  const watch = new ReplicaWatch(["HEARTBEATS"]);
  assertEquals(illFrom(watch, [{ ...FULL, silentMs: 60 }]), undefined);
});

Deno.test("while no leader answers nothing is concluded, and nothing is well before all were asked", () => {
  const watch = new ReplicaWatch(["HEARTBEATS", "QUARANTINE"]);
  watch.measured("HEARTBEATS", [FULL], 0);
  watch.measured("HEARTBEATS", [FULL], 5_000);
  assertEquals(watch.findings(90_000), []);
});
