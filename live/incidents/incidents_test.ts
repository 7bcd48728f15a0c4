import { assert, assertEquals } from "@std/assert";
import type { JetStreamClient } from "nats/jetstream";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { alertSchema } from "../../shared/contract/alert.ts";
import { Log } from "../../shared/process/log.ts";
import { Incidents, subjectOf } from "./incidents.ts";
import { Outbox } from "./outbox.ts";
import type { Decision } from "../detect/rules.ts";

const OPTIONS = { bucketMs: 1_000, openRatio: 0.05, resolveRatio: 0.02, silenceMs: 30_000 };
const log = new Log("live-test", "error");

function decision(change: "opened" | "resolved", titleId = "a.b *"): Decision {
  const evidence = {
    buckets: 15,
    heartbeats: 100,
    playedMs: 900_000,
    rebufferMs: 100_000,
    ratio: 0.1,
    stalledSessions: 12,
    receivedAt: 995,
  };
  const key = { titleId, region: "de" };
  return change === "opened"
    ? { change, key, evidence }
    : { change, key, evidence, outcome: "recovered" };
}

Deno.test("an alert contains its evidence and matches the schema", () => {
  const incidents = new Incidents(OPTIONS);
  const alert = incidents.rebuffer(decision("opened"), 1_000);
  assertEquals(alertSchema.parse(alert), alert);
  assertEquals(subjectOf(alert), "alerts.rebuffer.de.a%2Eb%20%2A");
  assertEquals([alert.window_ms, alert.threshold, alert.received_at], [15_000, 0.05, 995]);
  assert(alert.summary.includes("10.0 %") && alert.summary.includes("12 sessions"), alert.summary);
});

Deno.test("open and resolve have the same incident_id, the next incident has another", () => {
  const incidents = new Incidents(OPTIONS);
  const opened = incidents.rebuffer(decision("opened"), 1_000);
  assertEquals(incidents.rebufferKeys, [{ titleId: "a.b *", region: "de" }]);
  const resolved = incidents.rebuffer(decision("resolved"), 90_000);
  assertEquals(resolved.incident_id, opened.incident_id);
  assertEquals([resolved.opened_at, resolved.at, resolved.threshold], [1_000, 90_000, 0.02]);
  assertEquals(incidents.rebufferKeys, []);
  const again = incidents.rebuffer(decision("opened"), 200_000);
  assert(again.incident_id !== opened.incident_id);
});

Deno.test("silence is a separate incident", () => {
  const incidents = new Incidents(OPTIONS);
  const opened = incidents.silence("opened", 1_000);
  assertEquals(alertSchema.parse(opened), opened);
  assert(incidents.isSilent);
  assertEquals(incidents.rebufferKeys, []);
  assertEquals(incidents.silence("resolved", 2_000).incident_id, opened.incident_id);
  assert(!incidents.isSilent);
});

/** A stub of JetStream: records publishes, which can be made to fail or to wait. */
class Publishes {
  readonly log: string[] = [];
  failures = 0;
  gate: Promise<void> = Promise.resolve();

  readonly client = {
    publish: async (_subject: string, _body: string, options: { msgID: string }) => {
      await this.gate;
      if (this.failures-- > 0) {
        this.log.push(`failed ${options.msgID}`);
        throw new Error("timeout");
      }
      this.log.push(options.msgID);
    },
  } as unknown as JetStreamClient;
}

Deno.test("a publish is retried with the same message id, and the resolve waits for its open", async () => {
  const publishes = new Publishes();
  publishes.failures = 2;
  const published: string[] = [];
  const outbox = new Outbox(publishes.client, 10, log, ({ status }) => published.push(status));
  const incidents = new Incidents(OPTIONS);
  outbox.add(incidents.rebuffer(decision("opened", "t"), 1));
  outbox.add(incidents.rebuffer(decision("resolved", "t"), 2));
  await outbox.flush();
  assertEquals(publishes.log, [
    "failed de.t.1.open",
    "failed de.t.1.open",
    "de.t.1.open",
    "de.t.1.resolved",
  ]);
  assertEquals(published, ["open", "resolved"]);
});

Deno.test("the outbox is full at its capacity, and accepts alerts again after publishing", async () => {
  const publishes = new Publishes();
  const gate = Promise.withResolvers<void>();
  publishes.gate = gate.promise;
  const outbox = new Outbox(publishes.client, 3, log, () => {});
  const incidents = new Incidents(OPTIONS);
  for (const title of ["a", "b", "c"]) {
    assert(!outbox.full);
    outbox.add(incidents.rebuffer(decision("opened", title), 1));
  }
  assert(outbox.full);
  gate.resolve();
  await waitFor("room", () => !outbox.full);
  await outbox.flush();
  assertEquals(publishes.log.length, 3);
});
