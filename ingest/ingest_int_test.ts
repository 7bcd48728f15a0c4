import { assert, assertEquals, assertExists, assertMatch, assertStringIncludes } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstreamManager, type StoredMsg } from "nats/jetstream";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { propertyRandom, Random } from "../shared/dev/testing/random.ts";
import { ServiceProcess, sumOf } from "../shared/dev/servers/service_process.ts";
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { storedEvents, storedHeartbeats } from "../shared/dev/fleet/stored_events.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { CANARY_TITLE, type Heartbeat } from "../shared/contract/event.ts";
import { Keyring } from "../shared/process/keyring.ts";
import { Log } from "../shared/process/log.ts";
import { Metrics } from "../shared/process/metrics.ts";
import { connectNats, inboxPrefix } from "../shared/process/nats.ts";
import { heartbeatStreams, partitionOf } from "../shared/contract/topology.ts";
import { ingestApp } from "./app.ts";
import { JetStreamLanding } from "./storing/landing.ts";
import { Publisher } from "./storing/publisher.ts";
import { RefusalCounts } from "./refusals.ts";

const KEY = "0123456789abcdef";
const NO_LIMIT = { perSecond: 0, burst: 0 };
const NOW = 1_780_000_000_000;

/** The edge inside the test process on a real server: everything but the HTTP socket. */
class EdgeRig implements AsyncDisposable {
  private constructor(
    readonly stack: NatsStack,
    readonly nc: NatsConnection,
    readonly landing: JetStreamLanding,
    readonly app: ReturnType<typeof ingestApp>,
  ) {}

  static async start(stack: NatsStack, partitions = 1, deadlineMs = 3_000): Promise<EdgeRig> {
    const log = new Log("test", "error");
    const { nats } = stack;
    const nc = await connectNats({
      TWOFOLD_NATS_URL: nats.url,
      TWOFOLD_NATS_USER: "ingest",
      TWOFOLD_NATS_PASSWORD: nats.passwords.ingest,
      TWOFOLD_NATS_CA: undefined,
      TWOFOLD_PARTITIONS: partitions,
    }, log);
    const streams = heartbeatStreams(partitions);
    const landing = await JetStreamLanding.open(nc, {
      inboxPrefix: inboxPrefix("ingest"),
      streams,
      log,
      nowMs: () => NOW,
    });
    const publisher = new Publisher(landing, {
      partitions,
      maxInFlightEvents: 50_000,
      maxBatchEvents: 500,
      maxBatchBytes: 1024 * 1024,
      maxBatchesInFlight: 4,
      lingerMs: 1,
      deadlineMs,
    });
    const app = ingestApp({
      fleetKeys: new Keyring([["tv", KEY]]),
      rateLimits: {
        fleetEvents: NO_LIMIT,
        fleetBytes: NO_LIMIT,
        deviceEvents: NO_LIMIT,
        deviceBytes: NO_LIMIT,
        addressEvents: NO_LIMIT,
        addressBytes: NO_LIMIT,
      },
      corsOrigins: ["*"],
      partitions,
      maxEventsPerBody: 5_000,
      bodyDeadlineMs: 5_000,
      maxWaitingBodies: 100,
      maxInFlightBytes: 64 * 1024 * 1024,
    }, {
      publish: (events, fleet) => publisher.publish(events, fleet),
      eventsInFlight: () => publisher.eventsInFlight,
      eventsInFlightOf: () => publisher.eventsInFlightOf,
      notReady: () => landing.notReady(),
      refusals: new RefusalCounts(log),
      metrics: new Metrics(),
      log,
      nowMs: () => performance.now(),
    });
    return new EdgeRig(stack, nc, landing, app);
  }

  async post(body: BodyInit): Promise<Response> {
    return await this.app.fetch(new Request("http://edge/v1/heartbeats", request(body)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nc.close();
  }
}

function request(body: BodyInit): RequestInit {
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
  return { method: "POST", headers, body };
}

function heartbeats(random: Random, count: number): Heartbeat[] {
  return Array.from({ length: count }, () => aHeartbeat(random, NOW));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The messages of a stream, in order. */
async function storedMessages(stack: NatsStack, stream = "HEARTBEATS"): Promise<StoredMsg[]> {
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const { state } = await jsm.streams.info(stream);
  const sequences = Array.from({ length: state.messages }, (_, i) => state.first_seq + i);
  return await Promise.all(sequences.map(async (seq) => {
    const message = await jsm.direct.getMessage(stream, { seq });
    assertExists(message);
    return message;
  }));
}

/** How often the stream holds each event id. */
async function storedIds(stack: NatsStack): Promise<Map<string, number>> {
  const ids = new Map<string, number>();
  for (const { event_id, title_id } of await storedHeartbeats(await stack.connect("ops"))) {
    // With canaries the edge asks whether a stream stores again.
    if (title_id !== CANARY_TITLE) ids.set(event_id, (ids.get(event_id) ?? 0) + 1);
  }
  return ids;
}

async function updateStream(stack: NatsStack, change: Record<string, unknown>): Promise<void> {
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", change);
}

for (const way of ["fast ingest", "single publishes"] as const) {
  Deno.test(`events are stored as the bytes received, by ${way}`, async () => {
    await using stack = await NatsStack.start();
    if (way === "single publishes") await updateStream(stack, { allow_batched: false });
    await using edge = await EdgeRig.start(stack);
    const random = propertyRandom("landed bytes");
    const events = Array.from(
      { length: 700 },
      () =>
        random.chance(0.9)
          ? encode(aHeartbeat(random, NOW))
          : Uint8Array.from({ length: random.int(8, 50) }, () => random.int(0x80, 0xff)),
    );
    const body = new Blob(
      events.flatMap((event, i) => [i === 0 ? "[" : " ,\n", event])
        .concat(["]"]),
    );
    const response = await edge.post(body);
    assertEquals([response.status, await response.json()], [202, { accepted: 700 }]);
    const kept = await storedEvents(await stack.connect("ops"));
    assertEquals(kept.map(({ bytes }) => hex(bytes)).sort(), events.map(hex).sort());
    const messages = await storedMessages(stack);
    assert(messages.length < events.length / 10, `${messages.length} messages`);
    for (const { header, subject } of messages) {
      const id = /^([0-9a-f-]{36}\.[0-9a-f]{8}|raw\.[0-9a-f]{16}|frame\.[0-9a-f]{32})$/;
      assertMatch(header.get("Nats-Msg-Id"), id);
      assertMatch(subject, /^hb\.0\.[a-z0-9-]+$/);
    }
  });

  Deno.test(`a retry of the same bytes is deduplicated, by ${way}`, async () => {
    await using stack = await NatsStack.start();
    if (way === "single publishes") await updateStream(stack, { allow_batched: false });
    await using edge = await EdgeRig.start(stack);
    const events = heartbeats(propertyRandom("duplicates"), 40);
    const [first, again] = [events.at(0), events.at(10)];
    assertExists(first);
    assertExists(again);
    const [all, alone] = [JSON.stringify(events), JSON.stringify(again)];
    const changed = JSON.stringify({ ...first, played_ms: 1 });
    for (const body of [all, all, alone, alone, changed]) {
      assertEquals((await edge.post(body)).status, 202);
    }
    const ids = await storedIds(stack);
    assertEquals(ids.size, 40);
    assertEquals(ids.get(again.event_id), 2, "in other company its readers find the copy");
    assertEquals(ids.get(first.event_id), 2, "different content with the same event_id is stored");
    const others = [...ids].filter(([id]) => ![first.event_id, again.event_id].includes(id));
    assertEquals(others.filter(([, count]) => count !== 1), []);
  });
}

Deno.test("events are stored in the stream of their session", async () => {
  await using stack = await NatsStack.start({ partitions: 3 });
  await using edge = await EdgeRig.start(stack, 3);
  const events = heartbeats(propertyRandom("partitions"), 300);
  assertEquals((await edge.post(JSON.stringify(events))).status, 202);
  for (const [partition, stream] of heartbeatStreams(3).entries()) {
    const kept = await storedHeartbeats(await stack.connect("ops"), stream);
    const sessions = kept.map(({ session_id }) => session_id);
    const expected = events.map(({ session_id }) => session_id)
      .filter((session) => partitionOf(session, 3) === partition);
    assertEquals(sessions.sort(), expected.sort());
  }
});

Deno.test("the edge falls back to single publishes while the stream does not allow batches", async () => {
  await using stack = await NatsStack.start();
  await using edge = await EdgeRig.start(stack);
  const random = propertyRandom("fallback");
  const total = { sent: 0 };
  const post = async () => {
    total.sent += 20;
    const response = await edge.post(JSON.stringify(heartbeats(random, 20)));
    assertEquals(response.status, 202);
  };
  await post();
  await updateStream(stack, { allow_batched: false });
  await post();
  await updateStream(stack, { allow_batched: true });
  await edge.landing.probe();
  await post();
  assertEquals((await storedIds(stack)).size, total.sent);
});

Deno.test("a full stream is a 503, and the retry stores the missing events once", async () => {
  await using stack = await NatsStack.start();
  await updateStream(stack, { max_msgs: 2 });
  await using edge = await EdgeRig.start(stack);
  const body = JSON.stringify(heartbeats(propertyRandom("full"), 100));
  const refused = await edge.post(body);
  assertEquals(refused.status, 503);
  assertEquals(refused.headers.get("retry-after"), "10");
  assertStringIncludes((await refused.json()).detail, "maximum messages exceeded");
  assertEquals((await edge.post(JSON.stringify(1))).status, 503);
  await updateStream(stack, { max_msgs: -1 });
  assertEquals((await edge.post(body)).status, 202);
  const ids = await storedIds(stack);
  assertEquals(ids.size, 100);
  assert([...ids.values()].every((count) => count === 1), "each event is stored once");
});

Deno.test("while disconnected every request is a 503 at once; after a restart requests are accepted", async () => {
  await using stack = await NatsStack.start();
  await using edge = await EdgeRig.start(stack);
  const random = propertyRandom("disconnect");
  const ready = async () => (await edge.app.fetch(new Request("http://edge/readyz"))).status;
  assertEquals(await ready(), 200);
  await stack.nats.stop();
  await waitFor("the edge to notice", async () => await ready() === 503);
  const body = JSON.stringify(heartbeats(random, 10));
  const startMs = performance.now();
  const refused = await edge.post(body);
  assertEquals([refused.status, refused.headers.get("retry-after")], [503, "2"]);
  assert(performance.now() - startMs < 1_000, "it waited for a timeout");
  await stack.nats.start();
  await waitFor("the edge to be ready", async () => await ready() === 200);
  assertEquals((await edge.post(body)).status, 202);
  assertEquals((await storedIds(stack)).size, 10);
});

Deno.test("a batch in flight is refused as soon as the connection is lost", async () => {
  await using stack = await NatsStack.start();
  await using edge = await EdgeRig.start(stack, 1, 30_000);
  // A stopped server answers nothing, like a network that drops packets.
  Deno.kill(stack.nats.pid, "SIGSTOP");
  const answer = edge.post(JSON.stringify(heartbeats(new Random(1), 10)));
  const startMs = performance.now();
  await stack.nats.stop("SIGKILL");
  assertEquals((await answer).status, 503);
  assert(performance.now() - startMs < 5_000, "it waited for the acknowledgement's timeout");
  await stack.nats.start();
});

Deno.test("a server that does not answer is a 503 within the deadline, never a 202", async () => {
  await using stack = await NatsStack.start();
  await using edge = await EdgeRig.start(stack);
  const body = JSON.stringify(heartbeats(new Random(1), 10));
  Deno.kill(stack.nats.pid, "SIGSTOP");
  const refused = await edge.post(body);
  assertEquals(refused.status, 503);
  Deno.kill(stack.nats.pid, "SIGCONT");
  await waitFor("a retry to be accepted", async () => (await edge.post(body)).status === 202);
  const ids = await storedIds(stack);
  assertEquals([ids.size, Math.max(...ids.values())], [10, 1]);
});

Deno.test("without its stream the edge is not ready, and answers 503", async () => {
  await using stack = await NatsStack.start();
  await using edge = await EdgeRig.start(stack, 2);
  assertStringIncludes(edge.landing.notReady() ?? "", "HEARTBEATS_0");
  const refused = await edge.post(JSON.stringify(heartbeats(new Random(1), 1)));
  assertEquals(refused.status, 202, "the single stream takes every hb. subject");
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await jsm.streams.delete("HEARTBEATS");
  for (const count of [1, 10]) {
    const response = await edge.post(JSON.stringify(heartbeats(new Random(2), count)));
    assertEquals(response.status, 503);
  }
});

Deno.test("every event answered 202 is in the stream after nats-server is killed under load", async () => {
  await using stack = await NatsStack.start();
  await using edge = await EdgeRig.start(stack);
  const random = propertyRandom("killed server");
  const acknowledged = new Set<string>();
  let sending = true;
  const device = async () => {
    while (sending) {
      const events = heartbeats(random, random.int(1, 60));
      const body = JSON.stringify(events);
      // As the problem document says: send the same bytes until they are accepted.
      await waitFor(
        "the edge to accept them",
        async () => (await edge.post(body)).status === 202 || !sending,
      );
      if (sending) events.forEach(({ event_id }) => acknowledged.add(event_id));
    }
  };
  const devices = Array.from({ length: 16 }, device);
  for (const round of [1, 2]) {
    const before = acknowledged.size;
    await waitFor("traffic", () => acknowledged.size > before + 1_000);
    await stack.nats.stop("SIGKILL");
    await stack.nats.start();
    await waitFor(`traffic after kill ${round}`, () => acknowledged.size > before + 2_000);
  }
  sending = false;
  await Promise.all(devices);
  const ids = await storedIds(stack);
  assertEquals([...acknowledged].filter((id) => !ids.has(id)), []);
  // A batch that the edge sent again was absorbed; what a device sent again may be there twice.
  const messages = await storedMessages(stack);
  const messageIds = messages.map(({ header }) => header.get("Nats-Msg-Id"));
  assertEquals(new Set(messageIds).size, messages.length);
});

/** The edge as a process with the permissions of its task. */
async function serve(
  stack: NatsStack,
  settings: Record<string, string> = {},
): Promise<ServiceProcess> {
  return await stack.service("ingest", { TWOFOLD_FLEET_KEYS: `tv:${KEY}`, ...settings });
}

/** Writes `text` to the edge's socket and returns its response. */
async function raw(service: ServiceProcess, text: string): Promise<string> {
  const port = service.options.httpPort;
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text));
  const chunks: string[] = [];
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(4096);
  for (;;) {
    const read = await connection.read(buffer).catch(() => null);
    if (read === null) return chunks.join("");
    chunks.push(decoder.decode(buffer.subarray(0, read), { stream: true }));
    if (/\r\n\r\n.*}$/s.test(chunks.join(""))) return chunks.join("");
  }
}

const HEAD = `POST /v1/heartbeats HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer ${KEY}\r\n` +
  "Content-Type: application/json\r\n";

Deno.test("slow, broken and hostile clients affect no other request; SIGTERM drains", async () => {
  await using stack = await NatsStack.start();
  const service = await serve(stack, {
    TWOFOLD_BODY_DEADLINE_MS: "300",
    TWOFOLD_BATCH_LINGER_MS: "500",
  });
  const slow = raw(service, `${HEAD}Content-Length: 1000\r\n\r\n[1,`);
  const chunked = raw(service, `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n`);
  for (const head of [`${HEAD}Content-Length: 9\r\n\r\n[1`, `${HEAD}Content-Len`]) {
    using client = await Deno.connect({ hostname: "127.0.0.1", port: service.options.httpPort });
    await client.write(new TextEncoder().encode(head));
  }
  assertMatch(await slow, /^HTTP\/1.1 408 /);
  assertMatch(await chunked, /^HTTP\/1.1 202 /);
  const large = await fetch(`${service.url}/v1/heartbeats`, request("x".repeat(3 * 1024 * 1024)));
  assertEquals([large.status, (await large.json()).action], [413, "fix"]);

  const inFlight = fetch(`${service.url}/v1/heartbeats`, request("[1,2,3]"));
  await waitFor("the request to be in flight", async () => {
    return (await service.metrics()).get("twofold_ingest_in_flight_events") === 3;
  });
  const [exitCode, drained] = await Promise.all([service.stop(), inFlight]);
  assertEquals([exitCode, drained.status, await drained.json()], [0, 202, { accepted: 3 }]);
});

Deno.test("half headers and half bodies keep nobody out, and no key is in the log", async () => {
  await using stack = await NatsStack.start();
  const service = await serve(stack, {
    TWOFOLD_MAX_WAITING_BODIES: "50",
    TWOFOLD_HTTP_MAX_CONNECTIONS: "300",
    TWOFOLD_LOG_LEVEL: "debug",
  });
  const texts = [
    "",
    HEAD,
    `${HEAD}Content-Length: 8192\r\n\r\n[`,
    `${HEAD}Content-Length: 99999\r\n\r\n[`,
  ];
  const sockets: Deno.TcpConn[] = [];
  for (let i = 0; i < 600; i++) {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: service.options.httpPort });
    sockets.push(socket);
    await socket.write(new TextEncoder().encode(texts[i % texts.length] ?? ""));
  }
  const lone = `${HEAD}Connection: close\r\nContent-Length: 3\r\n\r\n[1]`;
  for (let i = 0; i < 20; i++) assertMatch(await raw(service, lone), /^HTTP\/1.1 202 /);
  const beacon = await fetch(`${service.url}/v1/heartbeats?key=${KEY}`, {
    method: "POST",
    body: "[2]",
  });
  assertEquals([beacon.status, await beacon.json()], [202, { accepted: 1 }]);
  assertEquals((await fetch(`${service.url}/metrics`)).status, 404);
  const ended = sumOf(await service.metrics(), "twofold_http_connections_ended_total");
  assert(ended >= 200, `${ended} connections were ended`);
  for (const socket of sockets) socket.close();
  assertEquals(await service.stop(), 0);
  const log = await Deno.readTextFile(`${stack.workspace.folder}/ingest.log`);
  assert(log.includes("service.connections_refused") && !log.includes(KEY));
});
