/** What live keeps when processes, servers and durables end and come back. */
import { assert, assertEquals } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import type { IncidentAlert } from "../shared/contract/alert.ts";
import { ALERT_EXAMPLES } from "../shared/contract/alert_examples.ts";
import { alertSubject, baselinesSubject, LIVE_STATE } from "../shared/contract/topology.ts";
import { LiveRig, WORLD_VIEWERS } from "../shared/dev/servers/live_rig.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";

const PREMIERE = { title_id: "premiere", region: "de" };
const SUBJECT = "alerts.rebuffer.de.premiere";

Deno.test("after SIGKILL and SIGTERM in an incident no page is repeated and the resolve is sent", async () => {
  await using rig = await LiveRig.start();
  const { viewers, service } = rig;
  viewers.addWorld();
  const premiere = viewers.add(50, PREMIERE);
  viewers.stall(premiere, 0.4);
  await rig.paged(SUBJECT);

  await service.stop("SIGKILL");
  await rig.watch(3);
  await service.restart();
  await service.ready();
  await rig.metricIs('twofold_live_open_incidents{subject="own"}', 1);
  await rig.watch(12);
  await rig.caughtUp();
  assertEquals(rig.statuses(), [`${SUBJECT} open`]);
  assertEquals(rig.pages(), [SUBJECT]);

  assertEquals(await service.stop("SIGTERM"), 0);
  viewers.recover(premiere);
  // What cannot be read must not keep live from starting.
  await jetstream(await rig.stack.connect("ops")).publish(baselinesSubject(), "not a snapshot");
  await service.restart();
  const resolve = await rig.alertIs("resolved");
  assertEquals(rig.statuses(), [`${SUBJECT} open`, `${SUBJECT} resolved`]);
  assertEquals(rig.pages(), [SUBJECT]);
  const open = await rig.alertIs("open");
  assertEquals(resolve.incident_id, open.incident_id);
  assertEquals(resolve.opened_at, open.opened_at);
});

Deno.test("SIGTERM acknowledges everything read, keeps what was learned and exits with 0", async () => {
  await using rig = await LiveRig.start();
  rig.viewers.addWorld();
  // A cell is worth saving from 500 sessions sampled every five seconds.
  await rig.heard();
  await rig.watch(20);
  const read = await rig.metric("twofold_live_events_total") ?? 0;
  assertEquals(await rig.service.stop(), 0);
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const { ack_floor } = await jsm.consumers.info("HEARTBEATS", "live");
  assert(
    read >= WORLD_VIEWERS && ack_floor.stream_seq >= read,
    `${ack_floor.stream_seq} of ${read}`,
  );
  const { state } = await jsm.streams.info(LIVE_STATE, { subjects_filter: ">" });
  const kept = Object.keys(state.subjects ?? {});
  assert(kept.includes(baselinesSubject()) && kept.includes(baselinesSubject(0, 0)), `${kept}`);
  await rig.service.restart();
  await rig.service.ready();
  const loaded = await rig.metric("twofold_live_loaded_baselines") ?? 0;
  assert(loaded > 0, `baselines of ${loaded} cells were loaded`);
});

Deno.test("incidents are paged after a new durable and after a restart of nats-server", async () => {
  await using rig = await LiveRig.start();
  const { viewers } = rig;
  viewers.addWorld();
  const premiere = viewers.add(50, PREMIERE);
  const finale = viewers.add(50, { title_id: "finale", region: "jp" });
  await rig.heard();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.consumers.delete("HEARTBEATS", "live");
  await rig.stack.provision();
  viewers.stall(premiere, 0.4);
  await rig.paged(SUBJECT);

  await rig.stack.nats.stop("SIGKILL");
  await rig.stack.nats.start();
  await waitFor("the edge to be back", async () => {
    await rig.ingest.rtt();
    return true;
  });
  viewers.stall(finale, 0.4);
  const second = alertSubject.rebuffer("jp", "finale");
  await rig.paged(second);
  assertEquals(rig.statuses(), [`${SUBJECT} open`, `${second} open`]);
  assertEquals(rig.service.exitCode, null);
});

Deno.test("with a full quarantine live continues, and acknowledges no reject before its copy", async () => {
  await using rig = await LiveRig.start({}, { quarantineMaxBytes: 1 });
  const { viewers } = rig;
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const ackFloor = async () =>
    (await jsm.consumers.info("HEARTBEATS", "live")).ack_floor.stream_seq;
  await rig.land("{ not json");
  const premiere = viewers.add(50, PREMIERE);
  viewers.addWorld();
  viewers.stall(premiere, 0.4);
  await waitFor("heartbeats after it to be read", () => viewers.stored > 50);
  assertEquals(await ackFloor(), 0);
  await jsm.streams.update("QUARANTINE", { max_bytes: 1024 ** 2 });
  await rig.paged(SUBJECT);
  await waitFor("the floor to pass the reject", async () => await ackFloor() > 50);
  const { state } = await jsm.streams.info("QUARANTINE", { subjects_filter: ">" });
  assertEquals(state.subjects, { "quarantine.not_json": 1 });
  const entry = await jsm.streams.getMessage("QUARANTINE", { last_by_subj: "quarantine.>" });
  assertEquals(entry?.string(), "{ not json");
  assertEquals(entry?.header.get("Twofold-Rejected-By"), "live");
  assertEquals(entry?.header.get("Twofold-Sequence"), "1");
  await rig.metricIs('twofold_live_quarantine_copies_total{outcome="made"}', 1);
});

Deno.test("absence of heartbeats opens no-data, and resolves it after a restart", async () => {
  await using rig = await LiveRig.start({ TWOFOLD_LIVE_SILENCE_MS: "1000" });
  const viewer = rig.viewers.add(1, PREMIERE);
  await waitFor("a heartbeat", () => rig.viewers.stored === 1);
  viewer.isOn = false;
  const subject = alertSubject.pipeline("no-data");
  const open = await rig.alertIs("open", subject);
  assert(Math.abs(open.at - Date.now()) < 30_000);

  await rig.service.stop("SIGKILL");
  await rig.service.restart();
  await rig.service.ready();
  assertEquals(rig.statuses(), [`${subject} open`]);
  viewer.isOn = true;
  const resolve = await rig.alertIs("resolved", subject);
  assertEquals(rig.statuses().slice(0, 2), [`${subject} open`, `${subject} resolved`]);
  assertEquals(resolve.incident_id, open.incident_id);
});

Deno.test("open incidents are recovered from more subjects than one request allows", async () => {
  await using rig = await LiveRig.start({}, {}, async (stack) => {
    const js = jetstream(await stack.connect("live"));
    const acks = Array.from({ length: 1_500 }, async (_, i) => {
      const title = `t${i}`;
      const alert = anAlert(title, i === 700 ? "open" : "resolved");
      await js.publish(alertSubject.rebuffer("de", title), JSON.stringify(alert));
    });
    await Promise.all(acks);
    await js.publish(alertSubject.rebuffer("de", "odd"), "not an alert");
  });
  await rig.metricIs('twofold_live_open_incidents{subject="own"}', 1);
});

function anAlert(title: string, status: "open" | "resolved"): IncidentAlert {
  return {
    ...ALERT_EXAMPLES.regionOpens,
    incident_id: `rebuffer.de.${title}.1`,
    status,
    cell: { kind: "title_region", title, region: "de" },
  };
}
