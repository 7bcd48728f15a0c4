/** `deno task royalty audit` as a command, on real servers, with a closed day. */
import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import type { NatsUser } from "../../shared/dev/servers/nats_server.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";

const DAY_MS = 86_400_000;
/** Three days ago and the day after it; both are over. */
const FIRST_MS = (Math.floor(Date.now() / DAY_MS) - 3) * DAY_MS;
const FIRST = dayOf(FIRST_MS);
const SECOND = dayOf(FIRST_MS + DAY_MS);

function dayOf(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10);
}

/** Closing is left to the commands. */
const SETTINGS = { TWOFOLD_CLOSE_SCHEDULE: "off" };
const AN_HOUR_MS = 3_600_000;

/** Servers and a royalty process. With this window a stream may have a max_age of a second. */
async function startRig(): Promise<RoyaltyRig> {
  const rig = await RoyaltyRig.start({
    topology: { duplicateWindowMs: 100 },
    settings: SETTINGS,
    random: new Random(3),
  });
  await rig.process();
  return rig;
}

/** A heartbeat of `title_id` in `region`, an hour into the day that begins at `dayMs`. */
function watched(random: Random, dayMs: number, title_id: string, region: string): Heartbeat {
  return aHeartbeat(random, dayMs + AN_HOUR_MS + random.int(0, AN_HOUR_MS), { title_id, region });
}

/** Publishes bodies in this order and waits until the books account for them. */
async function enter(rig: RoyaltyRig, bodies: readonly (Heartbeat | string)[]): Promise<void> {
  await rig.publish(bodies);
  await rig.accountedFor();
}

/** Runs a command whose arguments hold no spaces. */
async function royalty(rig: RoyaltyRig, args: string, user: NatsUser = "royalty") {
  return await rig.commandIn({ user }, ...args.split(" "));
}

Deno.test("audit checks a day from its streams to its lines, and traces a line to its heartbeats", async () => {
  await using rig = await startRig();
  const { random } = rig;
  const early = [
    ...Array.from({ length: 12 }, () => watched(rig.random, FIRST_MS, "title-1", "de")),
    ...Array.from({ length: 5 }, () => watched(rig.random, FIRST_MS, "title-1", "br")),
    ...Array.from({ length: 4 }, () => watched(rig.random, FIRST_MS, "title-2", "de")),
  ];
  // With an extra field that no reader uses, so that the stream does not drop it as a duplicate.
  const again = (heartbeat: Heartbeat) => ({ ...heartbeat, retry: random.int(1, 1e9) });
  const [first, second] = early;
  assertExists(first);
  assertExists(second);
  await enter(rig, [
    ...early,
    again(first),
    { ...second, played_ms: 9_999 },
    "not a heartbeat",
  ]);
  const closed = await royalty(rig, `close --day ${FIRST} --by Ada`);
  assertEquals(closed.code, 0, closed.err);

  const late = Array.from({ length: 3 }, () => watched(rig.random, FIRST_MS, "title-1", "de"));
  const next = Array.from(
    { length: 6 },
    () => watched(rig.random, FIRST_MS + DAY_MS, "title-1", "de"),
  );
  const [repeated] = next;
  assertExists(repeated);
  await enter(rig, [...late, again(first), ...next, again(repeated)]);

  const ofFirst = await royalty(rig, `audit --day ${FIRST}`);
  assertEquals(ofFirst.code, 0, ofFirst.out + ofFirst.err);
  assertStringIncludes(ofFirst.out, `${FIRST} is closed: version 1, as of `);
  assert(/^HEARTBEATS +1 +24 +24 +21 +1 +2 +0 +0 +yes$/m.test(ofFirst.out), ofFirst.out);
  assert(/^USAGE +3 +21 +210000 +3\.500$/m.test(ofFirst.out), ofFirst.out);
  assert(/^ADJUSTMENT +0 +0 +0 +0\.000$/m.test(ofFirst.out), ofFirst.out);
  assert(ofFirst.out.endsWith("the account is complete\n"));

  const ofSecond = await royalty(rig, `audit --day ${SECOND}`);
  assertEquals(ofSecond.code, 0, ofSecond.out + ofSecond.err);
  assertStringIncludes(ofSecond.out, `${SECOND} is open: `);
  assert(/^HEARTBEATS +25 +35 +11 +9 +2 +0 +0 +0 +yes$/m.test(ofSecond.out), ofSecond.out);
  assert(/^ADJUSTMENT +1 +3 +30000 +0\.500$/m.test(ofSecond.out), ofSecond.out);

  // The NATS user auditor has every right that this needs.
  const line = await royalty(
    rig,
    `audit --day ${FIRST} --title title-1 --limit 20`,
    "auditor",
  );
  assertEquals(line.code, 0, line.out + line.err);
  assertStringIncludes(line.out, "counted 17, duplicate 1, conflict 1, earlier 0, missing 0");
  assert(/^USAGE +\S+ +de +12 +12 +120000 +120000 +equal$/m.test(line.out), line.out);
  assert(/^USAGE +\S+ +br +5 +5 +50000 +50000 +equal$/m.test(line.out), line.out);
  for (const [i, { event_id, ts }] of early.slice(0, 17).entries()) {
    const row = `${event_id} +HEARTBEATS +${i + 1} +0 +${
      new Date(ts).toISOString()
    } +10000 .* counted`;
    assert(new RegExp(`^${row}$`, "m").test(line.out), `${row} in ${line.out}`);
  }
  assert(new RegExp(`^${first.event_id} +HEARTBEATS +22 .* duplicate$`, "m").test(line.out));
  assert(
    new RegExp(`^${second.event_id} +HEARTBEATS +23 .* 9999 .* conflict$`, "m").test(line.out),
  );

  const narrowed = await royalty(
    rig,
    `audit --day ${SECOND} --title title-1 --territory de --event-day ${FIRST} --limit 1`,
  );
  assertEquals(narrowed.code, 0, narrowed.out + narrowed.err);
  assertStringIncludes(narrowed.out, "counted 3, duplicate 2, conflict 1, earlier 12, missing 0");
  assert(/^ADJUSTMENT +\S+ +de +3 +3 +30000 +30000 +equal$/m.test(narrowed.out), narrowed.out);
  assertStringIncludes(narrowed.out, "… and 17 more; --limit N shows N");
});

Deno.test("disagreements are reported with exit code 1; unknown days and lines are refused", async () => {
  await using rig = await startRig();
  await enter(rig, [
    ...Array.from({ length: 4 }, () => watched(rig.random, FIRST_MS, "title-1", "de")),
    ...Array.from({ length: 4 }, () => watched(rig.random, FIRST_MS, "title-2", "de")),
  ]);
  const firstError = async (args: string) => {
    const { code, err } = await royalty(rig, `audit ${args}`);
    return `${code} ${err.split("\n")[0]}`;
  };
  assertEquals(
    await firstError("--day 2024-02-29"),
    "1 royalty: 2024-02-29 has no statement and no credits; " +
      `the books have days from ${FIRST} to ${FIRST}`,
  );
  assertEquals(
    await firstError("--day 2023-02-29"),
    "2 royalty: --day 2023-02-29 is not a day; write it YYYY-MM-DD",
  );
  assertEquals(
    await firstError(`--day ${FIRST} --limit 3`),
    "2 royalty: --title ID is missing; --territory, --event-day and --limit narrow it",
  );
  assertEquals(
    await firstError(`--day ${FIRST} --title title-1 --territory br --event-day ${FIRST}`),
    `1 royalty: no line of title title-1 in br watched on ${FIRST} is recognised on ${FIRST}`,
  );

  assertEquals((await royalty(rig, `close --day ${FIRST} --by Ada`)).code, 0);
  await rig.stack.database.tamper((tx) =>
    tx`update royalty.statement_line set ms_watched = 40001 where title_id = 'title-1'`
  );
  const line = await royalty(rig, `audit --day ${FIRST} --title title-1`);
  assertEquals(line.code, 1, line.out + line.err);
  assertStringIncludes(line.out, "ms in the manifest and in the lines differ: 80000 and 80001");
  assertStringIncludes(line.out, "the account is NOT complete");
  assert(/^USAGE +\S+ +de +4 +4 +40001 +40000 +DIFFERS$/m.test(line.out), line.out);
  assert(line.out.endsWith("the lines are NOT the sum of their heartbeats\n"));
  const other = await royalty(rig, `audit --day ${FIRST} --title title-2`);
  assert(other.out.endsWith("every line is the sum of its heartbeats\n"), other.out);
  assertEquals(other.code, 1, "the day as a whole is still wrong");
  await rig.stack.database.tamper((tx) => tx`update royalty.statement_line set ms_watched = 40000`);

  // Without the raw heartbeats, the account still works and the trace is refused.
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", { max_age: 1_000_000_000 });
  await waitFor("the heartbeats to be dropped", async () => {
    return (await jsm.streams.info("HEARTBEATS")).state.messages === 0;
  });
  assertEquals((await royalty(rig, `audit --day ${FIRST}`)).code, 0);
  const gone = await firstError(`--day ${FIRST} --title title-1`);
  assert(
    /^1 royalty: HEARTBEATS keeps raw heartbeats since .* only; these lines need/.test(gone),
    gone,
  );
});
