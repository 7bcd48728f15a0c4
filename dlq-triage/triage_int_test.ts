import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamClient, jetstreamManager } from "nats/jetstream";
import { quarantine } from "../shared/contract/quarantine.ts";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { Random } from "../shared/dev/testing/random.ts";
import { ServiceProcess } from "../shared/dev/servers/service_process.ts";
import { Stack } from "../shared/dev/servers/stack.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { judge } from "../shared/contract/event.ts";
import {
  alertSubject,
  DURABLE,
  QUARANTINE,
  quarantineSubject,
} from "../shared/contract/topology.ts";
import { type ChildResult, runTask } from "../shared/dev/testing/child_process.ts";

const RECEIVED = 1_700_000_000_000;

/** A group as `list --json` prints it. */
interface ListedGroup {
  readonly group_id: string;
  readonly reason: string;
  readonly path: string;
  readonly build: string;
  readonly first_seen_ms: number;
  readonly last_seen_ms: number;
  readonly entries: number;
  readonly devices: number;
}

/** Triage on real servers: the streams, the service and the CLI. */
class TriageRig implements AsyncDisposable {
  #published = 0;
  readonly #random = new Random(1);

  private constructor(
    readonly stack: Stack,
    readonly service: ServiceProcess,
    /** Publishes rejections as royalty does. */
    readonly royalty: JetStreamClient,
    readonly ops: NatsConnection,
  ) {}

  static async start(settings: Record<string, string> = {}): Promise<TriageRig> {
    const stack = await Stack.start();
    const service = await stack.service("triage", {
      TWOFOLD_TRIAGE_EVALUATE_MS: "200",
      ...settings,
    });
    const royalty = jetstream(await stack.connect("royalty"), { timeout: 500 });
    return new TriageRig(stack, service, royalty, await stack.connect("ops"));
  }

  /** Rejects `count` heartbeats of build 9.2, as live and royalty do. */
  async reject(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const device = { model: "TV", os: "tvos 19", build: "9.2" };
      const heartbeat = aHeartbeat(this.#random, RECEIVED, { device, device_id: `d-${i % 3}` });
      await this.rejectBytes(encode({ ...heartbeat, played_ms: "4000" }));
    }
  }

  async rejectBytes(bytes: Uint8Array): Promise<void> {
    const judged = judge(bytes);
    assert(!judged.ok, "the heartbeat is fine");
    const sequence = ++this.#published;
    const delivery = { bytes, sequence, index: 0, receivedAtMs: RECEIVED + sequence };
    const { rejection } = judged;
    // A publish while the server is down is lost; the message id makes a retry safe.
    await waitFor("the rejection to be acknowledged", async () => {
      await quarantine(this.royalty, "royalty", { stream: "HEARTBEATS", delivery, rejection });
      return true;
    });
  }

  /** Runs `deno task triage`. */
  async cli(...args: string[]): Promise<ChildResult> {
    return await runTask("triage", args, {
      TWOFOLD_POSTGRES_URL: this.stack.databaseUrl("triage"),
    });
  }

  async groups(): Promise<ListedGroup[]> {
    return JSON.parse((await this.cli("list", "--json")).out);
  }

  /** Reduces the redelivery of unacknowledged entries from a minute to a second. */
  async redeliverSoon(): Promise<void> {
    const jsm = await jetstreamManager(this.ops);
    await jsm.consumers.update(QUARANTINE, DURABLE.triage, { ack_wait: 1_000_000_000 });
  }

  /** Waits until every entry is acknowledged; returns the metrics of the service. */
  async drained(): Promise<ReadonlyMap<string, number>> {
    const jsm = await jetstreamManager(this.ops);
    await waitFor("triage to have read everything", async () => {
      const { num_pending, num_ack_pending } = await jsm.consumers.info(QUARANTINE, DURABLE.triage);
      return num_pending + num_ack_pending === 0;
    });
    return await this.service.metrics();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("rejects become groups that the CLI lists and shows", async () => {
  await using triage = await TriageRig.start();
  const binary = Uint8Array.from({ length: 256 }, (_, i) => i);
  await triage.reject(5);
  await triage.rejectBytes(binary);
  await triage.rejectBytes(new TextEncoder().encode('{"device":{"build":"6.6"}, \u001b[2J'));
  const counted = await triage.drained();
  assertEquals(counted.get("twofold_triage_entries_total"), 7);

  const groups = await triage.groups();
  assertEquals(
    groups.map(({ reason, path, build, entries, devices }) =>
      [reason, path, build, entries, devices].join(" ")
    ).sort(),
    ["malformed $.played_ms 9.2 5 3", "not_json $ 6.6 1 0", "not_utf8 $ unknown 1 0"],
  );
  const malformed = groups.find(({ reason }) => reason === "malformed");
  assert(malformed);
  assertEquals(
    [malformed.first_seen_ms, malformed.last_seen_ms],
    [RECEIVED + 1, RECEIVED + 5],
    "seen at the time of receipt",
  );

  const shown = await triage.cli("show", malformed.group_id.slice(0, 8), "--limit", "2");
  assertEquals(shown.code, 0, shown.err);
  assertEquals(shown.out.match(/HEARTBEATS:\d/g), ["HEARTBEATS:5", "HEARTBEATS:4"]);
  assertStringIncludes(shown.out, '"played_ms":"4000"');

  const notUtf8 = groups.find(({ reason }) => reason === "not_utf8");
  const { samples } = JSON.parse((await triage.cli("show", `${notUtf8?.group_id}`, "--json")).out);
  assertEquals(Uint8Array.fromBase64(samples[0].base64), binary);
  assertEquals(samples[0].text, null);

  const table = await triage.cli("list");
  assertEquals(table.out.trimEnd().split("\n").length, 4);
  assert(!table.out.includes("\u001b"), "an escape reached the terminal");
});

Deno.test("the CLI exits with 1 for what it cannot find, with 2 for a wrong command", async () => {
  await using triage = await TriageRig.start();
  for (const args of [["show", "0123456789ab"], ["show", "nonsense"]]) {
    const { code, out, err } = await triage.cli(...args);
    assertEquals([code, out], [1, ""]);
    assertEquals(err, `triage: no group "${args[1]}"; see deno task triage list\n`);
  }
  for (const args of [[], ["show"], ["list", "x"], ["drop"], ["list", "--limit", "0"], ["--x"]]) {
    assertEquals((await triage.cli(...args)).code, 2, args.join(" "));
  }
  assertEquals((await triage.cli("list")).out, "the quarantine is empty\n");
  await triage.stack.postgres.stop();
  const { code, err } = await triage.cli("list");
  assertEquals(code, 1);
  assertStringIncludes(err, "Postgres");
});

Deno.test("entries with invalid headers are stored and do not block others", async () => {
  await using triage = await TriageRig.start();
  const subject = quarantineSubject("malformed");
  const blocks = [
    "NATS/1.0\r\nbad name\u0001: x\r\n\r\n",
    "NATS/1.0\r\nTwofold-Reason: malformed\r\nTwofold-Sequence: many\r\n\r\n",
    "NATS/1.0 999 what\r\n\u00ff\u0000:::\r\n\r\n",
    "NATS/1.0\r\n\r\n",
  ];
  const body = '{"device":{"build":"6.6"}}';
  for (const block of blocks) await publishRaw(triage.stack, subject, block, body);
  await jetstream(triage.ops).publish("quarantine.a.b.c", new Uint8Array([0, 255]));
  await triage.reject(1);
  const counted = await triage.drained();
  assertEquals(counted.get("twofold_triage_entries_total"), 6);

  const groups = await triage.groups();
  assertEquals(
    groups.map(({ reason, build, entries }) => `${reason} ${build} ${entries}`).sort(),
    ["malformed 9.2 1", "unreadable 6.6 4", "unreadable unknown 1"],
  );
  const own = groups.find(({ build }) => build === "6.6");
  const { samples } = JSON.parse((await triage.cli("show", `${own?.group_id}`, "--json")).out);
  assertEquals(samples.map(({ text }: { text: string }) => text), blocks.map(() => body));
});

Deno.test("each entry is stored once after SIGKILL and redelivery of all entries", async () => {
  await using triage = await TriageRig.start();
  await triage.reject(200);
  await waitFor("the first entries", async () => {
    return ((await triage.service.metrics()).get("twofold_triage_entries_total") ?? 0) > 0;
  });
  await triage.service.stop("SIGKILL");
  // A new durable starts from the first entry, as if none had been acknowledged.
  const jsm = await jetstreamManager(triage.ops);
  await jsm.consumers.delete(QUARANTINE, DURABLE.triage);
  await triage.stack.provision();
  await triage.reject(10);
  await triage.service.restart();
  await triage.service.ready();
  const counted = await triage.drained();
  const added = counted.get("twofold_triage_entries_total") ?? 0;
  assertEquals(added + (counted.get("twofold_triage_known_total") ?? 0), 210);
  assertEquals((await triage.groups()).map(({ entries }) => entries), [210]);
});

Deno.test("an entry delivered but not stored before SIGKILL is delivered again", async () => {
  await using triage = await TriageRig.start();
  const jsm = await jetstreamManager(triage.ops);
  await triage.stack.postgres.stop("SIGQUIT");
  await triage.reject(3);
  await waitFor(
    "delivery",
    async () => (await jsm.consumers.info(QUARANTINE, DURABLE.triage)).num_ack_pending === 3,
  );
  await triage.service.stop("SIGKILL");
  await triage.stack.postgres.start();
  // Newer entries are acknowledged before the lost ones are redelivered; that must not acknowledge
  // those.
  await triage.reject(2);
  await triage.service.restart();
  await waitFor(
    "the newer entries",
    async () => (await triage.service.metrics()).get("twofold_triage_entries_total") === 2,
  );
  await triage.redeliverSoon();
  await triage.drained();
  assertEquals((await triage.groups()).map(({ entries }) => entries), [5]);
});

Deno.test("the service recovers from an outage of Postgres and of NATS", async () => {
  await using triage = await TriageRig.start();
  const { stack, service } = triage;
  await stack.postgres.stop("SIGQUIT");
  await triage.reject(3);
  await waitFor(
    "not ready without Postgres",
    async () => (await service.readiness()).status === 503,
  );
  assertStringIncludes((await service.readiness()).reason, "Postgres");
  await stack.postgres.start();
  await service.ready();
  await triage.drained();

  await stack.nats.stop("SIGKILL");
  await waitFor("not ready without NATS", async () => (await service.readiness()).status === 503);
  await stack.nats.start();
  await triage.reject(2);
  await service.ready();
  // A killed server may have lost the newest acknowledgements.
  await triage.redeliverSoon();
  await triage.drained();
  assertEquals((await triage.groups()).map(({ entries }) => entries), [5]);
  assertEquals(service.exitCode, null, "the process ended");
});

Deno.test("growth above the limit pages on-call once, across a restart", async () => {
  await using triage = await TriageRig.start({ TWOFOLD_TRIAGE_GROWTH_LIMIT: "5" });
  const received = await triage.stack.receiveAlerts(alertSubject.quarantine("all"));
  await triage.reject(6);
  const isOpen = async () =>
    (await triage.service.metrics()).get("twofold_triage_open_alerts") === 1;
  await waitFor("the page", () => received.length > 0);
  await waitFor("the alert to be published", isOpen);
  await triage.service.stop("SIGKILL");
  await triage.service.restart();
  await waitFor("the open alert after the restart", isOpen);
  assertEquals(await triage.service.stop(), 0, "exit code");
  assertEquals(received.length, 1);
  const [{ alert } = {}] = received;
  assert(alert?.kind === "quarantine");
  assertEquals([alert.status, alert.severity, alert.measure], [
    "open",
    "page",
    "growth_per_minute",
  ]);
  assertStringIncludes(alert.summary, "mostly malformed at $.played_ms from build 9.2");
});

/** Publishes with a raw header block, which a client library would not send. */
async function publishRaw(
  stack: Stack,
  subject: string,
  headers: string,
  body: string,
): Promise<void> {
  const [hostname, port] = stack.nats.url.split(":");
  assertExists(hostname);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const encoder = new TextEncoder();
  const options = { user: "ops", pass: stack.nats.passwords.ops, headers: true, verbose: false };
  const sizes = [encoder.encode(headers).length, encoder.encode(headers + body).length];
  await connection.write(encoder.encode(
    `CONNECT ${JSON.stringify(options)}\r\n` +
      `HPUB ${subject} ${sizes.join(" ")}\r\n${headers}${body}\r\nPING\r\n`,
  ));
  let answer = "";
  const buffer = new Uint8Array(65_536);
  while (!answer.includes("PONG")) {
    const read = await connection.read(buffer);
    assert(read !== null && !answer.includes("-ERR"), `the server said ${answer}`);
    answer += new TextDecoder().decode(buffer.subarray(0, read));
  }
}
