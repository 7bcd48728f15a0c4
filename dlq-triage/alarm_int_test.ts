import { assertEquals, assertRejects } from "@std/assert";
import { jetstream, type JetStreamClient, jetstreamManager } from "nats/jetstream";
import { type QuarantineAlert, quarantineAlertSchema } from "../shared/contract/alert.ts";
import { Stack } from "../shared/dev/servers/stack.ts";
import { RetryAfter } from "../shared/process/errors.ts";
import { ALERTS, alertSubject } from "../shared/contract/topology.ts";
import { Alarm, type AlarmOptions } from "./alarm.ts";
import { type Entry, groupOf } from "./classify.ts";
import { Quarantine } from "./quarantine.ts";

type Publisher = Pick<JetStreamClient, "publish">;

const NOW = 1_700_000_000_000;
const OPTIONS: AlarmOptions = {
  depthWindowMs: 3_600_000,
  limits: [
    { measure: "depth", opensAbove: 15, resolvesBelow: 12 },
    { measure: "growth_per_minute", opensAbove: 10, resolvesBelow: 8 },
  ],
};

function entries(count: number, quarantinedAt: number): Entry[] {
  return Array.from({ length: count }, (_, i) => ({
    group: groupOf("malformed", "$.played_ms", "9.2"),
    detail: "expected int",
    sourceStream: "HEARTBEATS",
    sourceSequence: quarantinedAt + i,
    sourceIndex: 0,
    rejectedBy: "live",
    receivedAtMs: quarantinedAt,
    quarantinedAt,
    subject: "quarantine.malformed",
    deviceId: undefined,
    bytes: new Uint8Array([i]),
  }));
}

Deno.test("an alert opens once and resolves once, across restarts and a failed publish", async () => {
  await using stack = await Stack.start();
  await using store = new Quarantine(stack.databaseUrl("triage"));
  await store.migrate();
  const js = jetstream(await stack.connect("triage"));
  const alerts = async () => await allAlerts(stack);
  const alarm = new Alarm(store, js, OPTIONS);

  await store.store(entries(10, NOW - 1_000));
  assertEquals((await alarm.evaluate(NOW)).openAlerts, 0);
  assertEquals(await alerts(), [], "a value at the limit is not above it");

  await store.store(entries(4, NOW));
  // JetStream does not answer: the decision is kept, the message waits.
  const failing: Publisher = { publish: () => Promise.reject(new Error("timeout")) };
  const unpublished = new Alarm(store, failing, OPTIONS);
  await assertRejects(() => unpublished.evaluate(NOW + 1_000), RetryAfter, "ALERTS");
  assertEquals(await alerts(), []);

  // Another process later publishes the waiting message and does not open the alert again.
  const restarted = new Alarm(store, js, OPTIONS);
  assertEquals((await restarted.evaluate(NOW + 2_000)).openAlerts, 1);
  assertEquals((await alarm.evaluate(NOW + 3_000)).openAlerts, 1);
  const [open] = await alerts();
  assertEquals(summaryOf(await alerts()), ["open growth_per_minute 14"]);
  assertEquals(open?.opened_at, NOW + 1_000);

  // Depth opens while growth is still open; then no entry arrives.
  await store.store(entries(2, NOW + 4_000));
  assertEquals((await alarm.evaluate(NOW + 5_000)).openAlerts, 2);
  assertEquals((await alarm.evaluate(NOW + 66_000)).openAlerts, 1);
  assertEquals((await restarted.evaluate(NOW + 3_700_000)).openAlerts, 0);
  await alarm.evaluate(NOW + 3_800_000);
  const published = await alerts();
  assertEquals(summaryOf(published), [
    "open growth_per_minute 14",
    "open depth 16",
    "resolved growth_per_minute 0",
    "resolved depth 0",
  ]);
  const [growth, depth, ...resolved] = published.map(({ incident_id }) => incident_id);
  assertEquals(resolved, [growth, depth]);
});

Deno.test("a message published just before a crash is published again and stored once", async () => {
  await using stack = await Stack.start();
  await using store = new Quarantine(stack.databaseUrl("triage"));
  await store.migrate();
  const js = jetstream(await stack.connect("triage"));
  await store.store(entries(11, NOW));
  // The publish succeeds and the process dies before it can take the alert out of the outbox.
  const dying: Publisher = {
    publish: async (...args: Parameters<Publisher["publish"]>) => {
      await js.publish(...args);
      throw new Error("killed");
    },
  };
  await assertRejects(() => new Alarm(store, dying, OPTIONS).evaluate(NOW), RetryAfter);
  assertEquals((await new Alarm(store, js, OPTIONS).evaluate(NOW)).openAlerts, 1);
  assertEquals(await store.outbox(), []);
  assertEquals(summaryOf(await allAlerts(stack)), ["open growth_per_minute 11"]);
});

async function allAlerts(stack: Stack): Promise<QuarantineAlert[]> {
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const { state } = await jsm.streams.info(ALERTS);
  const alerts: QuarantineAlert[] = [];
  for (let seq = 1; seq <= state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(ALERTS, { seq });
    assertEquals(message?.subject, alertSubject.quarantine("all"));
    alerts.push(quarantineAlertSchema.parse(message?.json()));
  }
  return alerts;
}

function summaryOf(alerts: readonly QuarantineAlert[]): string[] {
  return alerts.map(({ status, measure, value }) => `${status} ${measure} ${value}`);
}
