/** What live finds, on a real server, through the stream, ALERTS and HTTP. */
import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { isPage } from "../shared/contract/alert.ts";
import { alertSubject } from "../shared/contract/topology.ts";
import { landBatch } from "../shared/dev/fleet/filled_stream.ts";
import { LiveRig, WORLD_VIEWERS } from "../shared/dev/servers/live_rig.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { Random } from "../shared/dev/testing/random.ts";

const PREMIERE = { title_id: "premiere", region: "de" };
const SUBJECT = "alerts.rebuffer.de.premiere";
/** Longest time from a step of 40 % on 50 viewers to its page. */
const MAX_TO_PAGE_MS = 12_000;

Deno.test("a step of 40 % on 50 viewers is paged within 12 s and resolved, with its evidence", async () => {
  await using rig = await LiveRig.start();
  const { viewers } = rig;
  const premiere = viewers.add(50, PREMIERE);
  viewers.addWorld();
  await rig.heard();
  const stepMs = Date.now();
  viewers.stall(premiere, 0.4);
  const tookMs = await rig.paged(SUBJECT);
  assert(tookMs <= MAX_TO_PAGE_MS, `it took ${tookMs} ms`);
  // At exactly a fifth it opens a second before it pages: the excess over what is usual is less.
  const open = await rig.alertThat("the page", isPage);
  assert(open.kind === "incident" && open.ratio !== null);
  assertEquals(open.cell, { kind: "title_region", title: "premiere", region: "de" });
  assertEquals([open.severity, open.page, open.coverage], ["critical", true, 1]);
  assertEquals(open.ratio, open.rebuffer_ms / (open.played_ms + open.rebuffer_ms));
  assert(open.ratio > 0 && open.ratio <= 0.4, `ratio ${open.ratio}`);
  assert(open.watching === 50 && open.impaired >= 4 && open.impaired <= 50);
  assert(open.impaired >= open.bound && open.share > open.baseline && open.evidence > 8);
  const onsetErrorMs = Math.abs(open.onset_at - stepMs);
  assert(onsetErrorMs <= 5_000, `the onset is ${onsetErrorMs} ms off`);
  assert(open.received_at <= open.at && open.detected_ms <= MAX_TO_PAGE_MS + 5_000);
  await rig.metricIs('twofold_live_open_incidents{subject="own"}', 1);
  await rig.metricIs("twofold_live_alert_latency_seconds_count", 1);
  await rig.metricIs("twofold_live_sessions", 50 + WORLD_VIEWERS);

  viewers.recover(premiere);
  const resolve = await rig.alertIs("resolved");
  assertEquals(rig.statuses(), [`${SUBJECT} open`, `${SUBJECT} resolved`]);
  assertEquals(rig.pages(), [SUBJECT]);
  assert(resolve.kind === "incident");
  assertEquals([resolve.outcome, resolve.incident_id], ["recovered", open.incident_id]);
  await viewers.leave();
  await rig.metricIs("twofold_live_events_total", viewers.stored);
});

const HOSTILE_TITLE = "x'\u202e$(reboot) `id` *.> \u2028\"";
const HOSTILE_CDN = `\u001b]0;\u0007\n${"c".repeat(5_000)}`;

Deno.test("in three partitions, whatever clocks devices have and whatever text they send", async () => {
  await using rig = await LiveRig.start({}, { partitions: 3 });
  const { viewers } = rig;
  viewers.add(100, { region: "jp", title_id: "healthy" }, 3_600_000);
  viewers.add(100, { region: "br", title_id: "other", cdn: HOSTILE_CDN, isp: "\n" });
  viewers.addWorld();
  // Two minutes slow, an hour fast, years off: one title.
  const odd = { title_id: "premiere", region: "in" };
  const clocks = [-120_000, 3_600_000, -10 * 365 * 86_400_000].map((ms) =>
    viewers.add(20, odd, ms)
  );
  const hostile = viewers.add(40, { region: "br", title_id: HOSTILE_TITLE, cdn: HOSTILE_CDN });
  // Clocks far off have to show that they run: by their second heartbeat, ten seconds later.
  await rig.heard();
  for (const audience of clocks) viewers.stall(audience, 0.4);
  const ofClocks = alertSubject.rebuffer("in", "premiere");
  const tookMs = await rig.paged(ofClocks);
  assert(tookMs <= MAX_TO_PAGE_MS, `it took ${tookMs} ms`);
  const open = await rig.alertIs("open", ofClocks);
  assert(open.kind === "incident" && open.watching === 60);
  assert(Math.abs(open.at - Date.now()) < 5_000, "alerts have the time of receipt");

  viewers.stall(hostile, 0.4);
  await rig.land("{ not json");
  const ofHostile = alertSubject.rebuffer("br", HOSTILE_TITLE);
  await rig.paged(ofHostile);
  const alert = await rig.alertIs("open", ofHostile);
  assert(alert.kind === "incident");
  assertEquals(alert.cell.title, HOSTILE_TITLE);
  assertEquals(alert.summary.match(/[\p{Cc}\p{Cf}\p{Zl}]/u), null, alert.summary);
  assert(JSON.stringify(alert).length < 8_000);

  await rig.watch(12);
  assertEquals(rig.statuses(), [`${ofClocks} open`, `${ofHostile} open`]);
  await rig.caughtUp();
  await rig.metricIs("twofold_live_rejected_total", 1);
  await rig.metricIs('twofold_live_quarantine_copies_total{outcome="made"}', 1);
  assertEquals(await rig.metric('twofold_live_no_evidence_total{why="late"}'), 0);
});

const INVENTED_TITLES = 120_000;
const BATCH = 4_000;

async function landInvented(rig: LiveRig): Promise<void> {
  const random = new Random(3);
  for (let first = 0; first < INVENTED_TITLES; first += BATCH) {
    const bodies = Array.from({ length: BATCH }, (_, i) => {
      const name = `invented-${first + i}`;
      // One in fifty stalls: more of them would be an outage.
      const stalled = i % 50 === 0 ? { played_ms: 0, rebuffer_ms: 10_000 } : {};
      const values = { session_id: name, title_id: name, region: "br", seq: 9, ...stalled };
      const device = { model: "invented", os: "x", build: `b-${first + i}` };
      return encode(aHeartbeat(random, Date.now(), { ...values, device }));
    });
    await landBatch(rig.ingest, bodies);
  }
}

Deno.test("120,000 invented titles neither page nor delay the page of a real one", async () => {
  await using rig = await LiveRig.start();
  const { viewers } = rig;
  viewers.addWorld();
  const premiere = viewers.add(50, PREMIERE);
  await rig.heard();
  viewers.stall(premiere, 0.4);
  const [tookMs] = await Promise.all([rig.paged(SUBJECT), landInvented(rig)]);
  assert(tookMs <= MAX_TO_PAGE_MS, `it took ${tookMs} ms`);
  // That they all vanish at once, which is true, may be told too.
  const pages = rig.pages().filter((subject) => !subject.startsWith("alerts.silent."));
  assertEquals(pages, [SUBJECT]);
  const others = await rig.metric('twofold_live_full_total{what="value"}') ?? 0;
  assert(others > INVENTED_TITLES - 100_000, `${others} values beyond capacity`);
  await viewers.leave();
  // On a busy machine live may jump ahead of some of them.
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await waitFor("live to have read them", async () => {
    return (await jsm.consumers.info("HEARTBEATS", "live")).num_pending === 0;
  }, { timeoutMs: 120_000 });
});
