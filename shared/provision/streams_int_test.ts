import { assert, assertEquals, assertExists, assertRejects } from "@std/assert";
import { createInbox, type NatsConnection } from "nats";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { NatsStack } from "../dev/servers/stack.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { probeSubject } from "../process/node/node_watch.ts";
import { drift, provision } from "./streams.ts";
import {
  alertSubject,
  baselinesSubject,
  DEFAULT_TOPOLOGY,
  desiredTopology,
  heartbeatStreams,
  LIVE_STATE,
} from "../contract/topology.ts";

Deno.test("provisioning is idempotent, and detects and removes drift", async () => {
  await using stack = await NatsStack.start();
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const desired = desiredTopology({ ...DEFAULT_TOPOLOGY, quarantineMaxBytes: 1024 ** 3 });
  await provision(jsm, desired);
  assertEquals(await drift(jsm, desired), []);
  assertEquals(await provision(jsm, desired), []);

  await jsm.streams.update("QUARANTINE", { max_bytes: 4096 });
  await jsm.consumers.delete("HEARTBEATS", "live");
  const found = await drift(jsm, desired);
  assertEquals(found.map(({ what }) => what), ["stream QUARANTINE", "consumer HEARTBEATS/live"]);
  const [changed, missing] = found.map(({ how }) => how);
  assert(changed?.startsWith("max_bytes is 4096, should be "), changed);
  assertEquals(missing, "missing");

  assertEquals(await provision(jsm, desired), found);
  assertEquals(await drift(jsm, desired), []);
});

Deno.test("each partition has a stream with both durables", async () => {
  await using stack = await NatsStack.start({ partitions: 3 });
  const jsm = await jetstreamManager(await stack.connect("ops"));
  for (const partition of [0, 1, 2]) {
    const name = `HEARTBEATS_${partition}`;
    const { config } = await jsm.streams.info(name);
    assertEquals(config.subjects, [`hb.${partition}.>`]);
    assertEquals((await jsm.consumers.info(name, "live")).name, "live");
    assertEquals((await jsm.consumers.info(name, "royalty")).name, "royalty");
  }
});

/** Streams that the auditor and royalty may not read by sequence. */
const NOT_HEARTBEATS = desiredTopology(DEFAULT_TOPOLOGY).streams.map(({ name }) => name)
  .filter((name) => !heartbeatStreams(DEFAULT_TOPOLOGY.partitions).includes(name));

Deno.test("each service's probe is stored, and only the newest of each user is kept", async () => {
  await using stack = await NatsStack.start();
  for (const role of ["ingest", "live", "royalty", "auditor", "triage", "pager"] as const) {
    const js = jetstream(await stack.connect(role));
    for (const text of ["old", "new"]) {
      assertEquals((await js.publish(probeSubject(role), text)).stream, "PROBES");
    }
  }
  const jsm = await jetstreamManager(await stack.connect("ops"));
  assertEquals((await jsm.streams.info("PROBES")).state.messages, 6);
});

/** Subjects that the server must refuse each role. */
const REFUSED: readonly {
  readonly role: "ingest" | "live" | "royalty" | "auditor" | "triage" | "pager" | "oncall";
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}[] = [
  {
    role: "ingest",
    publish: [
      "probe.live",
      "$JS.API.STREAM.CREATE.X",
      "$JS.API.CONSUMER.CREATE.HEARTBEATS.x",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.live",
      "quarantine.malformed",
      "alerts.rebuffer.a.b",
      "$KV.LIVE.baselines",
    ],
    subscribe: ["hb.>", "alerts.>", "_INBOX_live.>", ">"],
  },
  {
    role: "live",
    publish: [
      "hb.0.none",
      "$JS.API.STREAM.DELETE.HEARTBEATS",
      "$JS.API.CONSUMER.CREATE.HEARTBEATS.x",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.royalty",
      "$JS.ACK.HEARTBEATS.royalty.1.1.1.1.1",
      "alerts.quarantine.all",
      "$KV.SILENCES.x",
      "$JS.API.DIRECT.GET.KV_LIVE",
      "$JS.API.STREAM.PURGE.KV_LIVE",
      "$JS.API.CONSUMER.CREATE.KV_LIVE.x",
      "totals.royalty.HEARTBEATS",
    ],
    subscribe: ["hb.>", "totals.>", "_INBOX_royalty.>"],
  },
  {
    role: "royalty",
    publish: [
      "hb.0.none",
      "$JS.API.STREAM.UPDATE.HEARTBEATS",
      "$JS.API.CONSUMER.CREATE.HEARTBEATS.x",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.live",
      // It looks for copies in QUARANTINE.
      ...NOT_HEARTBEATS.filter((stream) => stream !== "QUARANTINE")
        .map((stream) => `$JS.API.DIRECT.GET.${stream}`),
      "$JS.API.DIRECT.GET.HEARTBEATS.hb.0.none",
      "$JS.API.DIRECT.GET.ALERTS.alerts.pipeline.no-data",
      "alerts.rebuffer.a.b",
      "$KV.LIVE.baselines",
      "$JS.API.DIRECT.GET.KV_LIVE.$KV.LIVE.baselines",
      "totals.live.HEARTBEATS",
    ],
    subscribe: ["alerts.>", "totals.>", "canary.>", "_INBOX_live.>"],
  },
  {
    role: "auditor",
    publish: [
      "hb.0.none",
      "quarantine.malformed",
      "alerts.pipeline.x",
      "$JS.API.STREAM.MSG.GET.HEARTBEATS",
      "$JS.API.STREAM.MSG.DELETE.HEARTBEATS",
      "$JS.API.STREAM.PURGE.HEARTBEATS",
      "$JS.API.CONSUMER.CREATE.HEARTBEATS.x",
      "$JS.API.CONSUMER.INFO.HEARTBEATS.royalty",
      "$JS.API.CONSUMER.RESET.HEARTBEATS.royalty",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.royalty",
      "$JS.ACK.HEARTBEATS.royalty.1.1.1.1.1",
      ...NOT_HEARTBEATS.map((stream) => `$JS.API.DIRECT.GET.${stream}`),
    ],
    subscribe: ["hb.>", "quarantine.>", "_INBOX_royalty.>", ">"],
  },
  {
    role: "triage",
    publish: [
      "hb.0.none",
      "quarantine.malformed",
      "$JS.API.STREAM.PURGE.QUARANTINE",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.royalty",
      "alerts.rebuffer.a.b",
      "alerts.pipeline.drift",
      "pulse.pager.x",
      "canary.live.HEARTBEATS",
      "$KV.PAGER.lease",
    ],
    subscribe: ["hb.>", "_INBOX_royalty.>", "pulse.>", "pulse.live.*", "canary.*.*"],
  },
  {
    role: "pager",
    publish: [
      "hb.0.none",
      "alerts.rebuffer.a.b",
      "alerts.quarantine.all",
      "pulse.live.x",
      "canary.live.HEARTBEATS",
      "canary.royalty.HEARTBEATS",
      "$KV.LIVE.baselines",
      "$KV.SILENCES.x",
      "$JS.API.CONSUMER.CREATE.ALERTS.x",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.live",
      "$JS.API.STREAM.PURGE.KV_PAGER",
      "$JS.API.DIRECT.GET.HEARTBEATS",
      "$JS.API.STREAM.UPDATE.HEARTBEATS",
      "$JS.API.STREAM.PURGE.ALERTS",
      "view.live",
    ],
    subscribe: ["hb.>", "alerts.>", "quarantine.>", "_INBOX_live.>"],
  },
  {
    role: "oncall",
    publish: [
      "hb.0.none",
      "alerts.rebuffer.a.b",
      "$KV.SILENCES.x",
      "$KV.LIVE.baselines",
      "$KV.PAGER.lease",
      "pulse.live.x",
      "$JS.API.STREAM.LIST",
      "$JS.API.STREAM.INFO.HEARTBEATS",
      "$JS.API.STREAM.MSG.DELETE.ALERTS",
      "$JS.API.STREAM.PURGE.ALERTS",
      "$JS.API.CONSUMER.CREATE.HEARTBEATS.x",
      "$JS.API.CONSUMER.CREATE.ALERTS.pager",
      "$JS.API.CONSUMER.CREATE.ALERTS.pager.alerts.x",
      "$JS.API.CONSUMER.DURABLE.CREATE.ALERTS.pager",
      "$JS.API.CONSUMER.DELETE.ALERTS.pager",
      "$JS.API.CONSUMER.MSG.NEXT.ALERTS.pager",
      "$JS.ACK.ALERTS.pager.1.1.1.1.1",
      "$JS.API.CONSUMER.MSG.NEXT.HEARTBEATS.live",
    ],
    subscribe: ["hb.>", "quarantine.>", "pulse.>", "_INBOX_live.>"],
  },
];

for (const { role, publish, subscribe } of REFUSED) {
  Deno.test(`the server refuses ${role} what its role does not need`, async () => {
    await using stack = await NatsStack.start();
    const nc = await stack.connect(role);
    const refusals = collectRefusals(nc);
    for (const subject of publish) {
      nc.publish(subject, "{}");
      await waitFor(`refusal of publish ${subject}`, () => refusals.has(`publish ${subject}`));
    }
    for (const subject of subscribe) {
      nc.subscribe(subject, { callback: () => {} });
      await waitFor(
        `refusal of subscribe ${subject}`,
        () => refusals.has(`subscription ${subject}`),
      );
    }
  });
}

Deno.test("each role has the permissions it needs", async () => {
  await using stack = await NatsStack.start();
  const ingest = await stack.connect("ingest");
  await jetstream(ingest).publish("hb.0.none", "x");
  for (const role of ["live", "royalty"] as const) {
    const js = jetstream(await stack.connect(role));
    const consumer = await js.consumers.get("HEARTBEATS", role);
    const message = await consumer.next({ expires: 2_000 });
    assertExists(message);
    assertEquals(message.string(), "x");
    assert(await message.ackAck(), `${role} may acknowledge`);
    await js.publish("quarantine.malformed", "x", { msgID: "HEARTBEATS:1" });
    await js.publish("alerts.pipeline.test", "x");
    await assertRejects(() => js.consumers.get("HEARTBEATS", role === "live" ? "royalty" : "live"));
  }
  const live = await stack.connect("live");
  await jetstream(live).publish(baselinesSubject(), "x");
  const { direct } = await jetstreamManager(live, { checkAPI: false });
  const kept = await direct.getMessage(LIVE_STATE, { last_by_subj: baselinesSubject() });
  assertEquals(kept?.string(), "x");
  const royalty = await jetstreamManager(await stack.connect("royalty"), { checkAPI: false });
  const behind = alertSubject.pipeline("quarantine-behind");
  assertEquals(await royalty.direct.getMessage("ALERTS", { last_by_subj: behind }), null);
  assertEquals((await royalty.streams.info("QUARANTINE")).state.messages, 1);
  assertEquals((await royalty.direct.getMessage("QUARANTINE", { seq: 1 }))?.string(), "x");
  const triage = jetstream(await stack.connect("triage"));
  const entry = await (await triage.consumers.get("QUARANTINE", "triage")).next({ expires: 2_000 });
  assertExists(entry);
  assertEquals(entry.subject, "quarantine.malformed");
  assert(await entry.ackAck());
  await triage.publish("alerts.quarantine.all", "x");
});

Deno.test("on-call reads ALERTS through consumers of its own, without touching the pager's", async () => {
  await using stack = await NatsStack.start();
  const live = jetstream(await stack.connect("live"));
  for (const body of ["1", "2"]) await live.publish("alerts.rebuffer.de.t", body);
  const nc = await stack.connect("oncall");
  const refusals = collectRefusals(nc);
  const request = (subject: string, body: unknown = {}) =>
    nc.request(`$JS.API.${subject}`, JSON.stringify(body), { timeout: 2_000, noMux: true });
  const names = (await request("STREAM.NAMES", { subject: "alerts.>" })).json();
  assertEquals((names as { streams: string[] }).streams, ["ALERTS"]);
  await request("STREAM.INFO.ALERTS");
  const config = {
    name: "mine",
    deliver_policy: "last_per_subject",
    ack_policy: "none",
    filter_subject: "alerts.>",
    inactive_threshold: 60_000_000_000,
  };
  const made = await request("CONSUMER.CREATE.ALERTS.mine.alerts.>", {
    stream_name: "ALERTS",
    config,
  });
  assertEquals((made.json() as { name?: string }).name, "mine", made.string());
  const message = await request("CONSUMER.MSG.NEXT.ALERTS.mine", { batch: 1 });
  assertEquals([message.subject.split(".")[0], message.string()], ["alerts", "2"]);
  nc.publish(message.reply ?? "", "+ACK");
  await request("CONSUMER.DELETE.ALERTS.mine");
  const last = await request("STREAM.MSG.GET.ALERTS", { last_by_subj: "alerts.rebuffer.de.t" });
  assertEquals((last.json() as { message: { seq: number } }).message.seq, 2);
  await nc.flush();
  assertEquals([...refusals], []);
  const jsm = await jetstreamManager(await stack.connect("ops"));
  assertEquals((await jsm.consumers.info("ALERTS", "pager")).num_pending, 2);
});

// The requests that the nats CLI 0.4.0 sends for the commands of the README of live.
Deno.test("on-call has the rights that each command of the nats CLI needs", async () => {
  await using stack = await NatsStack.start();
  const live = jetstream(await stack.connect("live"));
  for (const body of ["1", "2"]) await live.publish("alerts.rebuffer.de._", body);
  await live.publish("alerts.start.de._", "3");
  const nc = await stack.connect("oncall");
  const refusals = collectRefusals(nc);
  const request = async (subject: string, body?: unknown) => {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const answer = await nc.request(`$JS.API.${subject}`, payload, { timeout: 2_000, noMux: true });
    const json: Record<string, unknown> = answer.json();
    assertEquals(json.error, undefined, `${subject} ${answer.string()}`);
    return json;
  };
  // sub --last-per-subject: a push consumer that ends with its subscription.
  await request("STREAM.NAMES", { offset: 0, subject: "alerts.>" });
  await request("STREAM.INFO.ALERTS");
  const inbox = createInbox("_INBOX_oncall");
  const received: string[] = [];
  nc.subscribe(inbox, {
    callback: (_error, message) => void received.push(message.string()),
  });
  await request("CONSUMER.CREATE.ALERTS.eIxzXiwP.alerts.>", {
    stream_name: "ALERTS",
    config: {
      deliver_policy: "last_per_subject",
      deliver_subject: inbox,
      ack_policy: "none",
      filter_subject: "alerts.>",
      replay_policy: "instant",
      num_replicas: 0,
    },
    action: "create",
  });
  await waitFor("the last of each subject", () => received.length === 2);
  assertEquals(received, ["2", "3"]);
  await live.publish("alerts.start.de._", "4");
  await waitFor("what comes then", () => received.includes("4"));
  // stream view: a durable of its own, deleted at the end.
  const name = "stream_pager_1";
  await request(`CONSUMER.CREATE.ALERTS.${name}.>`, {
    stream_name: "ALERTS",
    config: {
      name,
      durable_name: name,
      description: "JSM Stream Pager",
      ack_policy: "explicit",
      ack_wait: 30_000_000_000,
      deliver_policy: "all",
      filter_subject: ">",
      replay_policy: "instant",
    },
    action: "create",
  });
  const next = `$JS.API.CONSUMER.MSG.NEXT.ALERTS.${name}`;
  const page = await nc.request(next, '{"batch":1}', { timeout: 2_000, noMux: true });
  assertEquals(page.string(), "1");
  nc.publish(page.reply ?? "");
  await request(`CONSUMER.DELETE.ALERTS.${name}`);
  // stream get --last-for
  const last = await request("STREAM.MSG.GET.ALERTS", { last_by_subj: "alerts.rebuffer.de._" });
  assertEquals((last.message as { seq: number }).seq, 2);
  // stream subjects
  const { state } = await request("STREAM.INFO.ALERTS", { offset: 0, subjects_filter: ">" });
  assertEquals((state as { subjects: unknown }).subjects, {
    "alerts.rebuffer.de._": 2,
    "alerts.start.de._": 2,
  });
  await nc.flush();
  assertEquals([...refusals], []);
});

function collectRefusals(nc: NatsConnection): Set<string> {
  const refusals = new Set<string>();
  void (async () => {
    for await (const status of nc.status()) {
      if (status.type !== "error") continue;
      const { operation, subject } = status.error as { operation?: string; subject?: string };
      refusals.add(`${operation} ${subject}`);
    }
  })();
  return refusals;
}
