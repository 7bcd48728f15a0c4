/** Several processes of live on the same streams: what they tell is what one would tell. */
import { assert, assertEquals } from "@std/assert";
import { jetstream } from "nats/jetstream";
import { type IncidentAlert, isPage } from "../shared/contract/alert.ts";
import { deliveredMessage } from "../shared/contract/delivery/delivery.ts";
import { judge } from "../shared/contract/event.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import { ProcessesRig } from "../shared/dev/servers/live/processes_rig.ts";
import type { LiveRig } from "../shared/dev/servers/live_rig.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { Detector } from "./detect/detector.ts";
import { Decider } from "./incidents/decider.ts";
import { Incidents } from "./incidents/incidents.ts";
import { BatchBuilder, ObservationBatch } from "./sharing/observation_batch.ts";
import { Timeline } from "./sharing/timeline.ts";

/** What a restart may delay a page: another process begins to lead. */
const MAX_TOLD_LATE_MS = 6_000;

/** Asserts that what was told is what one process tells that has read everything. */
async function assertTold(processes: ProcessesRig): Promise<void> {
  await processes.assertOnce();
  const { rig } = processes;
  const expected = await replay(rig);
  const told = rig.alerts.map(({ alert }) => alert)
    .filter((alert) => alert.kind === "incident");
  assertEquals(told.map(outline), expected.slice(0, told.length).map(outline));
  assert(expected.slice(told.length).every((alert) => !isPage(alert)));
}

/** What of an alert must not depend on who tells it. */
function outline(alert: IncidentAlert) {
  const { incident_id, status, at, onset_at, severity, page, impaired, watching, update } = alert;
  return { incident_id, status, at, onset_at, severity, page, impaired, watching, update };
}

/** What one detector finds in the streams as they are. */
async function replay(rig: LiveRig): Promise<IncidentAlert[]> {
  const streams = heartbeatStreams(rig.partitions);
  const timeline = new Timeline(streams, () => {});
  const js = jetstream(await rig.stack.connect("ops"));
  const toldMs = Math.max(...rig.alerts.map(({ alert }) => alert.at));
  let firstMs = Infinity;
  for (const stream of streams) {
    const builder = new BatchBuilder();
    const consumer = await js.consumers.get(stream);
    // What live tells of a stream it knows of all of them.
    const state = await waitFor(`${stream} to reach the last alert`, async () => {
      const { state } = await (await js.streams.get(stream)).info();
      return Date.parse(state.last_ts) > toldMs ? state : undefined;
    });
    let heardMs = 0;
    const messages = state.messages === 0
      ? []
      : await consumer.fetch({ max_messages: state.messages, expires: 10_000 });
    for await (const message of messages) {
      const { sequence, events, receivedAtMs } = deliveredMessage(message);
      builder.cover(sequence, events.length);
      for (const bytes of events) {
        const judgement = judge(bytes);
        if (judgement.ok) builder.add(judgement.heartbeat, receivedAtMs);
      }
      heardMs = receivedAtMs;
      firstMs = Math.min(firstMs, receivedAtMs);
    }
    const bytes = builder.finish({ heard_to: heardMs, lag_ms: 0, by: "replay" });
    const batch = ObservationBatch.of(bytes);
    assert(batch !== undefined);
    timeline.add(stream, batch);
  }
  const alerts: IncidentAlert[] = [];
  const decider = new Decider({
    newDetector: () => new Detector({ falsePagesPerDay: 1, maxSessions: 10_000 }),
    timeline,
    canDecide: () => true,
    onAlert: (alert) => alerts.push(alert),
    onDecided: () => {},
    monotonicMs: () => performance.now(),
  });
  decider.lead(new Incidents({ pagesPerMinute: 10, silenceMs: 30_000 }));
  decider.beginAt(firstMs);
  while (!decider.advance());
  return alerts;
}

for (const partitions of [1, 4]) {
  Deno.test(`1, 2 and 3 processes over ${partitions} partitions tell what one tells`, async () => {
    await using rig = await ProcessesRig.start(partitions);
    await rig.page();
    await rig.join();
    await rig.page();
    await rig.shared();
    await rig.join();
    await rig.page();
    await rig.shared();
    await assertTold(rig);
  });
}

Deno.test("a rolling restart pages nothing, and a slow burn pages as without it", async () => {
  await using rig = await ProcessesRig.start(2);
  await rig.join();
  await rig.shared();
  const { viewers } = rig.rig;
  const [[burning], [subject]] = [rig.audiences, rig.subjects];
  assert(burning !== undefined && subject !== undefined);
  for (const process of rig.processes) {
    assertEquals(await process.stop("SIGTERM"), 0);
    await process.restart();
    await process.ready();
    await rig.leader();
  }
  await rig.shared();
  assertEquals(rig.rig.alerts.map(({ subject }) => subject), []);

  // Too little for the shorter spans: it opens on what was seen before the restart, too.
  viewers.stall(burning, 0.12);
  await rig.rig.watch(20);
  for (const process of rig.processes) {
    assertEquals(await process.stop("SIGTERM"), 0);
    await process.restart();
    await process.ready();
  }
  await rig.rig.paged(subject);
  const expected = (await replay(rig.rig)).find(isPage);
  const page = rig.rig.alerts.map(({ alert }) => alert).find(isPage);
  assert(expected !== undefined && page !== undefined);
  const lateMs = page.at - expected.at;
  assert(lateMs <= MAX_TOLD_LATE_MS, `the restart delayed the page by ${lateMs} ms`);
});
