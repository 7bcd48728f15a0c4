import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { request } from "node:http";
import { gzipSync } from "node:zlib";
import { NatsStack } from "../../shared/dev/servers/stack.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom } from "../../shared/dev/testing/random.ts";

const KEYS = { greedy: "0123456789abcdef", honest: "fedcba9876543210" };
const FLEET_BYTES = 2_000_000;
const SECONDS = 6;
/** Of a machine that other tests use, too. */
const MAX_P99_MS = 2_000;

Deno.test("a fleet that floods the edge with gzip stores its rate, and delays no other fleet", async () => {
  await using stack = await NatsStack.start();
  const edge = await stack.service("ingest", {
    TWOFOLD_FLEET_KEYS: Object.entries(KEYS).map((pair) => pair.join(":")).join(","),
    TWOFOLD_FLEET_BYTES_PER_SECOND: String(FLEET_BYTES),
  });
  const random = propertyRandom("fair shares");
  const post = async (key: string, body: BodyInit, gzip: boolean) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const response = await fetch(`${edge.url}/v1/heartbeats`, {
      method: "POST",
      headers: { ...headers, ...(gzip ? { "content-encoding": "gzip" } : {}) },
      body,
    });
    await response.body?.cancel();
    return response;
  };
  const untilMs = performance.now() + SECONDS * 1_000;
  const statuses = new Map<number, number>();
  const flood = async () => {
    while (performance.now() < untilMs) {
      // A megabyte in some kilobytes; every event under a name of its own.
      const events = Array.from({ length: 65 }, () => ({
        ...aHeartbeat(random, Date.now()),
        device_id: crypto.randomUUID(),
        more: "x".repeat(15_000),
      }));
      const { status, headers } = await post(
        KEYS.greedy,
        new Uint8Array(gzipSync(JSON.stringify(events))),
        true,
      );
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status === 429) assert(Number(headers.get("retry-after")) >= 1);
    }
  };
  const tookMs: number[] = [];
  const player = async () => {
    while (performance.now() < untilMs) {
      const startMs = performance.now();
      const body = JSON.stringify(aHeartbeat(random, Date.now()));
      assertEquals((await post(KEYS.honest, body, false)).status, 202);
      tookMs.push(performance.now() - startMs);
    }
  };
  await Promise.all([flood(), flood(), flood(), flood(), player(), player()]);

  assertEquals([...statuses.keys()].sort(), [202, 429]);
  tookMs.sort((a, b) => a - b);
  const p99Ms = tookMs[Math.floor(tookMs.length * 0.99)] ?? Infinity;
  assert(p99Ms < MAX_P99_MS, `${p99Ms} ms`);
  const jsm = await jetstreamManager(await stack.connect("ops"));
  const { state } = await jsm.streams.info("HEARTBEATS");
  // A second as the burst, and what the header of each message takes.
  const maxBytes = FLEET_BYTES * (SECONDS + 3) * 1.1 + tookMs.length * 1_000;
  assert(state.bytes < maxBytes, `${state.bytes} bytes are stored`);
  const metrics = await edge.metrics();
  assert((metrics.get('twofold_ingest_refused_events_total{reason="fleet_share"}') ?? 0) > 100);
  assertEquals(
    metrics.get('twofold_ingest_fleet_events_total{fleet="honest",outcome="refused"}'),
    0,
  );
});

/** Posts from `localAddress` of this machine, and returns the status. */
function postFrom(localAddress: string, url: string, events: readonly unknown[]): Promise<number> {
  const headers = { authorization: `Bearer ${KEYS.honest}`, "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const post = request(`${url}/v1/heartbeats`, { method: "POST", localAddress, headers });
    post.on("error", reject).on("response", (response) => {
      response.on("end", () => resolve(response.statusCode ?? 0)).resume();
    });
    post.end(JSON.stringify(events));
  });
}

Deno.test("one address that invents devices leaves the others of its fleet their rate", async () => {
  await using stack = await NatsStack.start();
  const edge = await stack.service("ingest", {
    TWOFOLD_FLEET_KEYS: `tv:${KEYS.honest}`,
    TWOFOLD_FLEET_EVENTS_PER_SECOND: "300",
    TWOFOLD_MAX_EVENTS_PER_BODY: "50",
    TWOFOLD_BATCH_LINGER_MS: "1",
  });
  const random = propertyRandom("invented devices");
  const untilMs = performance.now() + 4_000;
  const anEvent = () => [{ ...aHeartbeat(random, Date.now()), device_id: crypto.randomUUID() }];
  const floodStatuses = new Map<number, number>();
  let honest = 0;
  const flood = async () => {
    for (let sent = 1; performance.now() < untilMs; sent++) {
      const status = await postFrom("127.0.1.1", edge.url, anEvent());
      floodStatuses.set(status, (floodStatuses.get(status) ?? 0) + 1);
      // Fewer than the burst of an address.
      if (sent % 20 !== 0 || honest === 40) continue;
      honest++;
      assertEquals(await postFrom("127.0.0.1", edge.url, anEvent()), 202);
    }
  };
  await Promise.all(Array.from({ length: 32 }, flood));
  assertEquals([...floodStatuses.keys()].sort(), [202, 429]);
});
