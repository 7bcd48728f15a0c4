import { assertEquals, assertStringIncludes } from "@std/assert";
import { canaryOf, canarySession } from "../../shared/contract/canary/canary.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";

const DAY_MS = 86_400_000;

/** A canary; `changes` forge it. */
function canary(seq: number, ts: number, changes: Partial<Heartbeat> = {}): Heartbeat {
  const session = canarySession(0, 1);
  return { ...canaryOf({ eventId: crypto.randomUUID(), session, seq, ts }), ...changes };
}

/** Posts `bodies`, closes `day` with its recount, and proves it; returns the CSV. */
async function closedDay(day: string, bodies: readonly Heartbeat[], canaries: number) {
  await using rig = await RoyaltyRig.start();
  const royalty = await rig.process();
  await rig.publish(bodies);
  await rig.accountedFor();
  assertEquals(await royalty.stop(), 0);
  const asOf = new Date(Date.parse(day) + DAY_MS + 3_600_000).toISOString();
  const run = async (...args: string[]) => {
    const { code, out, err } = await rig.command(...args);
    assertEquals(code, 0, `${args.join(" ")}: ${out}${err}`);
    return out;
  };
  await run("close", "--day", day, "--as-of", asOf, "--by", "Ada", "--reason", "it is over");
  assertStringIncludes(await run("audit", "--day", day), "the account is complete");
  const recount = JSON.parse(await run("recount", "--day", day, "--json"));
  assertEquals([recount.agrees, recount.unearned.canary], [true, canaries]);
  const { streams: [stream] } = JSON.parse(await run("status", "--json"));
  assertEquals([stream.canaries, stream.quarantined, stream.identity_holds], [canaries, 0, true]);
  await run("verify-chain");
  return await run("export", "--day", day);
}

Deno.test("a day with canaries between its heartbeats has the statement that it has without them", async () => {
  const now = Date.now();
  const day = new Date(now).toISOString().slice(0, 10);
  const random = new Random(11);
  const paid = Array.from({ length: 40 }, () => aHeartbeat(random, now, { played_ms: 9_000 }));
  const repeated = canary(0, now);
  const forged = [
    repeated,
    repeated,
    canary(1, now, { interval_ms: 10_000, played_ms: 9_000, state: "playing" }),
    // Outside the horizons of royalty, and with the id of a heartbeat that is paid.
    canary(2, now - 30 * DAY_MS),
    canary(3, now + 30 * DAY_MS),
    canary(4, now, { event_id: paid[20]?.event_id ?? "" }),
  ];
  const mixed = [...paid.slice(0, 10), ...forged, ...paid.slice(10)];
  const without = await closedDay(day, paid, 0);
  assertEquals(await closedDay(day, mixed, forged.length), without);
  assertEquals(without.includes("_canary"), false);
});
