/** Which alerts page, on a real server: silences, invented titles, and more than may page. */
import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { isPage } from "../shared/contract/alert.ts";
import { alertSubject } from "../shared/contract/topology.ts";
import { landBatch } from "../shared/dev/fleet/filled_stream.ts";
import { LiveRig, WORLD_VIEWERS } from "../shared/dev/servers/live_rig.ts";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { Random } from "../shared/dev/testing/random.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import type { Silence } from "./incidents/silence.ts";
import { writeSilence } from "./incidents/silences.ts";

const PREMIERE = { title_id: "premiere", region: "de" };
const SUBJECT = "alerts.rebuffer.de.premiere";
const MANY = "alerts.rebuffer._._";

Deno.test("a silence suppresses the page and not the alert; once it ends, what goes on pages", async () => {
  const nowMs = Date.now();
  const silence: Silence = {
    v: 1,
    id: "a1",
    subject: "alerts.*.de.>",
    by: "ada",
    reason: "CDN upgrade",
    from: nowMs,
    until: nowMs + 3_600_000,
    created_at: nowMs,
  };
  await using rig = await LiveRig.start(
    {},
    {},
    async (stack) => writeSilence(await jetstreamManager(await stack.connect("ops")), silence),
  );
  const { viewers } = rig;
  viewers.addWorld();
  const premiere = viewers.add(50, PREMIERE);
  await rig.heard();
  viewers.stall(premiere, 0.4);
  const open = await rig.alertThat("what would page", ({ severity }) => severity === "critical");
  assert(open.kind === "incident");
  assertEquals([open.page, open.paged_at], [false, undefined]);
  assertEquals(open.suppressed_by, {
    silence_id: "a1",
    subject: "alerts.*.de.>",
    until: silence.until,
    by: "ada",
    reason: "CDN upgrade",
  });

  const ops = await jetstreamManager(await rig.stack.connect("ops"));
  await writeSilence(ops, { ...silence, until: Date.now(), ended_by: "bob" });
  await rig.paged(SUBJECT);
  const page = await rig.alertThat("the page", isPage);
  assert(page.kind === "incident");
  assertEquals([page.incident_id, page.suppressed_by], [open.incident_id, undefined]);
  assertEquals(rig.statuses(), [`${SUBJECT} open`]);
  assertEquals(rig.pages(), [SUBJECT]);
});

Deno.test("more incidents at once than may page are one more page, which names how many", async () => {
  await using rig = await LiveRig.start({ TWOFOLD_LIVE_PAGES_PER_MINUTE: "2" });
  const { viewers } = rig;
  viewers.addWorld();
  const places = [["premiere", "de"], ["finale", "jp"], ["match", "br"]] as const;
  const audiences = places.map(([title_id, region]) => viewers.add(50, { title_id, region }));
  await rig.heard();
  for (const audience of audiences) viewers.stall(audience, 0.4);
  await rig.paged(MANY);
  await rig.metricIs('twofold_live_open_incidents{subject="withheld"}', 2);
  const [first, many] = rig.pages();
  assert(places.some(([title, region]) => first === alertSubject.rebuffer(region, title)), first);
  assertEquals([many, rig.pages().length], [MANY, 2]);
  const open = await rig.alertIs("open", MANY);
  assert(open.kind === "incident" && open.withheld !== undefined);
  assert(open.withheld.alone && open.withheld.incidents >= 1, open.summary);

  for (const audience of audiences) viewers.recover(audience);
  const resolved = await rig.alertIs("resolved", MANY);
  assertEquals(resolved.incident_id, open.incident_id);
  await rig.metricIs('twofold_live_open_incidents{subject="own"}', 0);
  assertEquals(rig.pages().length, 2);
});

const TITLES = 1_000;
const VIEWERS_OF_TITLE = 5;
/** Time in which invented sessions have expired and everything about them is decided. */
const SETTLED_SECONDS = 60;

Deno.test("1,000 titles that are invented and stall in one batch are at most 3 pages", async () => {
  await using rig = await LiveRig.start();
  rig.viewers.addWorld();
  await rig.heard();
  const random = new Random(5);
  const bodies = Array.from({ length: TITLES * VIEWERS_OF_TITLE }, (_, i) => {
    const values = { session_id: `x-${i}`, title_id: `invented-${i % TITLES}`, seq: 9 };
    const stalled = { region: "br", played_ms: 0, rebuffer_ms: 10_000 };
    return encode(aHeartbeat(random, Date.now(), { ...values, ...stalled }));
  });
  await landBatch(rig.ingest, bodies);
  await waitFor("a page", () => rig.pages().length > 0, { timeoutMs: 60_000 });
  const landedSeconds = await rig.metric("twofold_live_decided_seconds") ?? 0;
  await waitFor("it to be over", async () => {
    const decided = await rig.metric("twofold_live_decided_seconds") ?? 0;
    return decided >= landedSeconds + SETTLED_SECONDS;
  }, { timeoutMs: 180_000 });
  assert(rig.pages().length <= 3, rig.pages().join(", "));
  assert(rig.alerts.length <= 12, rig.statuses().join(", "));
  assertEquals(await rig.metric("twofold_live_sessions"), WORLD_VIEWERS);
});
