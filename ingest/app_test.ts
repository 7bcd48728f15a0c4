import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { gzipSync } from "node:zlib";
import { encode } from "../shared/dev/testing/heartbeats.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { RetryAfter } from "../shared/process/errors.ts";
import { Keyring } from "../shared/process/keyring.ts";
import { Log } from "../shared/process/log.ts";
import { Metrics } from "../shared/process/metrics.ts";
import type { RoutedEvent } from "./admit.ts";
import { ingestApp, type IngestOptions } from "./app.ts";
import { ingestProblems } from "./problem.ts";
import { RefusalCounts } from "./refusals.ts";

const KEY = "0123456789abcdef";
const URL = "http://edge/v1/heartbeats";

const NO_LIMIT = { perSecond: 0, burst: 0 };
const NO_LIMITS = {
  fleetEvents: NO_LIMIT,
  fleetBytes: NO_LIMIT,
  deviceEvents: NO_LIMIT,
  deviceBytes: NO_LIMIT,
  addressEvents: NO_LIMIT,
  addressBytes: NO_LIMIT,
};

/** An app that records the events it publishes. */
class Edge {
  readonly landed: string[] = [];
  readonly metrics = new Metrics();
  nowMs = 0;
  /** Outcome of the next publish. */
  publish = (): Promise<void> => Promise.resolve();
  notReady: string | undefined;
  readonly app;

  constructor(options: Partial<IngestOptions> = {}) {
    const all: IngestOptions = {
      fleetKeys: new Keyring([["tv", KEY]]),
      rateLimits: NO_LIMITS,
      corsOrigins: ["*"],
      partitions: 1,
      maxEventsPerBody: 10,
      bodyDeadlineMs: 200,
      maxInFlightBytes: 8 * 1024 * 1024,
      maxWaitingBodies: 100,
      ...options,
    };
    this.app = ingestApp(all, {
      publish: async (events: readonly RoutedEvent[]) => {
        await this.publish();
        this.landed.push(...events.map(({ bytes }) => new TextDecoder().decode(bytes)));
      },
      eventsInFlight: () => 0,
      eventsInFlightOf: () => [],
      notReady: () => this.notReady,
      refusals: new RefusalCounts(new Log("test", "error")),
      metrics: this.metrics,
      log: new Log("test", "error"),
      nowMs: () => this.nowMs,
    });
  }

  async fetch(path: string, init?: RequestInit): Promise<Response> {
    return await this.app.fetch(new Request(new globalThis.URL(path, URL), init));
  }

  async scrape(): Promise<string> {
    return await this.metrics.render();
  }

  post(
    body: BodyInit | Uint8Array | null,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return this.fetch(URL, {
      method: "POST",
      body: body as BodyInit | null,
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${KEY}`,
        ...headers,
      },
    });
  }
}

/** The problem of a response, checked against the published schema and RFC 9457. */
async function problemOf(response: Response) {
  assertEquals(response.headers.get("content-type"), "application/problem+json");
  const problem = ingestProblems.schema.strict().parse(await response.json());
  assertEquals(problem.status, response.status);
  const retryAfter = response.headers.get("retry-after");
  assertEquals(retryAfter, problem.retry_after_s === undefined ? null : `${problem.retry_after_s}`);
  const [, name] = problem.type.match(/^urn:twofold:problem:(.*)$/) ?? [];
  return { ...problem, name };
}

Deno.test("202 is sent after all events are durable, with their number", async () => {
  const edge = new Edge();
  const { promise: acknowledged, resolve: acknowledge } = Promise.withResolvers<void>();
  edge.publish = () => acknowledged;
  let answered = false;
  const answer = edge.post('[{"a":1}, {"b":2}]').finally(() => answered = true);
  // No sleep: one turn of the event loop, in which a wrong answer would be sent.
  await new Promise((resolve) => setTimeout(resolve));
  assert(!answered);
  acknowledge();
  const response = await answer;
  assertEquals(response.status, 202);
  assertEquals(await response.json(), { accepted: 2 });
  assertEquals(edge.landed, ['{"a":1}', '{"b":2}']);
  assertStringIncludes(
    await edge.scrape(),
    'twofold_ingest_events_total{outcome="accepted"} 2\n',
  );
});

const LANDED: readonly [name: string, type: string, body: string | Uint8Array, count: number][] = [
  ["an object", "application/json", '{"a":1}', 1],
  ["an array", "application/json; charset=utf-8", "[1,2,3]", 3],
  ["NDJSON", "application/x-ndjson", "1\n2\r\n\n3", 3],
  ["a beacon", "text/plain;charset=UTF-8", '{"a":1}\n{"a":2}', 2],
  ["a beacon with an array", "Text/Plain", "[1,2]", 2],
  ["null", "application/json", "null", 1],
  ["invalid UTF-8", "application/json", new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), 1],
  ["UTF-16", "application/json", new Uint8Array([0xff, 0xfe, 0x7b, 0, 0x7d, 0]), 1],
  ["a byte order mark", "application/json", "\ufeff[1]", 1],
  ["a huge number", "application/json", `{"seq":${"9".repeat(400)}e999}`, 1],
  ["duplicate keys", "application/json", '{"a":1,"a":2}', 1],
  ["nesting within an event's bound", "application/json", "[".repeat(16_000), 1],
  ["a truncated array", "application/json", '[{"a":1},{"b', 2],
  ["control characters", "application/json", '["\u0000\u0007"]', 1],
];

for (const [name, type, body, count] of LANDED) {
  Deno.test(`accepted for the consumers to judge: ${name}`, async () => {
    const edge = new Edge();
    const response = await edge.post(body, { "content-type": type });
    assertEquals([response.status, await response.json()], [202, { accepted: count }]);
    assertEquals(edge.landed.length, count);
  });
}

const GZIP = { "content-encoding": "gzip" };
const MIB = 1024 * 1024;

const REFUSED: readonly [
  name: string,
  headers: Record<string, string>,
  body: string | Uint8Array | null,
  problem: string,
  status: number,
][] = [
  ["no body", {}, null, "no-events", 400],
  ["an empty body", {}, "", "no-events", 400],
  ["blanks", {}, "\ufeff \n", "no-events", 400],
  ["an empty array", {}, "[]", "no-events", 400],
  ["a wrong key", { authorization: "Bearer 0123456789abcdeX" }, "1", "unknown-key", 401],
  ["a key of another scheme", { authorization: `Basic ${KEY}` }, "1", "unknown-key", 401],
  ["an event too large", {}, `[1,"${"x".repeat(16 * 1024)}"]`, "event-too-large", 413],
  ["100,000 nested brackets", {}, "[".repeat(100_000), "event-too-large", 413],
  ["too many events", {}, `[${"1,".repeat(10)}1]`, "too-many-events", 413],
  ["a body too large", {}, " ".repeat(MIB + 1), "body-too-large", 413],
  ["a gzip bomb", GZIP, gzipSync(new Uint8Array(100 * MIB)), "body-too-large", 413],
  ["truncated gzip", GZIP, gzipSync(encode("x".repeat(999))).subarray(0, -9), "bad-gzip", 400],
  ["no gzip", GZIP, '{"a":1}', "bad-gzip", 400],
  ["empty gzip", GZIP, "", "bad-gzip", 400],
  ["an unknown type", { "content-type": "text/html" }, "1", "unsupported-content-type", 415],
  [
    "a prototype's key as type",
    { "content-type": "constructor" },
    "1",
    "unsupported-content-type",
    415,
  ],
  ["an unknown encoding", { "content-encoding": "br" }, "1", "unsupported-encoding", 415],
];

for (const [name, headers, body, problem, status] of REFUSED) {
  Deno.test(`refused, nothing published: ${name}`, async () => {
    const edge = new Edge();
    const response = await edge.post(body, headers);
    const { name: named, action } = await problemOf(response);
    assertEquals([named, response.status], [problem, status]);
    assert(action !== "retry", "the same bytes would fail again");
    assertEquals(edge.landed, []);
    assertStringIncludes(await edge.scrape(), "twofold_ingest_held_bytes 0\n");
  });
}

Deno.test("event-too-large has the index of the event", async () => {
  const response = await new Edge().post(`[1,"${"x".repeat(16 * 1024)}",2]`);
  assertEquals((await problemOf(response)).event_index, 1);
});

Deno.test("gzip is inflated and split", async () => {
  const edge = new Edge();
  for (const encoding of ["gzip", "X-GZIP"]) {
    const response = await edge.post(gzipSync("[1,2]"), { "content-encoding": encoding });
    assertEquals(await response.json(), { accepted: 2 });
  }
  assertEquals(edge.landed, ["1", "2", "1", "2"]);
});

Deno.test("the key may be in the query, because a beacon cannot set headers", async () => {
  const edge = new Edge();
  const beacon = { method: "POST", body: "1", headers: { "content-type": "text/plain" } };
  assertEquals((await edge.fetch(`${URL}?key=${KEY}`, beacon)).status, 202);
  assertEquals((await edge.fetch(`${URL}?key=wrong`, beacon)).status, 401);
  assertEquals((await edge.fetch(URL, beacon)).status, 401);
});

Deno.test("a fleet over its rate limit receives 429 with Retry-After", async () => {
  const edge = new Edge({
    rateLimits: { ...NO_LIMITS, fleetEvents: { perSecond: 5, burst: 10 } },
  });
  assertEquals((await edge.post("[1,2,3,4,5,6,7,8,9,10]")).status, 202);
  const problem = await problemOf(await edge.post("[1,2,3,4,5,6,7,8,9,10]"));
  assertEquals([problem.status, problem.action, problem.retry_after_s], [429, "retry", 2]);
  edge.nowMs = 2_000;
  assertEquals((await edge.post("[1,2,3,4,5,6,7,8,9,10]")).status, 202);
});

Deno.test("a device over its rate limit receives 429 and spends nothing of its fleet; metrics say so", async () => {
  const edge = new Edge({
    rateLimits: { ...NO_LIMITS, deviceEvents: { perSecond: 1, burst: 2 } },
  });
  const of = (device_id: string) => JSON.stringify({ device_id });
  assertEquals((await edge.post(`[${of("a")},${of("a")}]`)).status, 202);
  const problem = await problemOf(await edge.post(`[${of("b")},${of("a")}]`));
  assertEquals([problem.status, problem.name, problem.event_index], [429, "device-limit", 1]);
  assertEquals(problem.retry_after_s, 1);
  assertEquals((await edge.post(`[${of("b")},${of("b")}]`)).status, 202);
  // Devices that cannot be read are not one device.
  assertEquals((await edge.post("[1,2,3,4,5,6,7]")).status, 202);
  const metrics = await edge.scrape();
  for (
    const line of [
      'twofold_ingest_refused_events_total{reason="device_share"} 2',
      'twofold_ingest_fleet_events_total{fleet="tv",outcome="accepted"} 11',
      'twofold_ingest_fleet_events_total{fleet="tv",outcome="refused"} 2',
      'twofold_ingest_fleet_bytes_total{fleet="tv"} 75',
    ]
  ) assertStringIncludes(metrics, `${line}\n`);
});

Deno.test("a fleet whose requests hold its share of the memory receives 429, another one 202", async () => {
  const web = "fedcba9876543210";
  const edge = new Edge({
    fleetKeys: new Keyring([["tv", KEY], ["web", web]]),
    maxInFlightBytes: 1_000,
  });
  const { promise: acknowledged, resolve: acknowledge } = Promise.withResolvers<void>();
  let publishing = 0;
  edge.publish = () => {
    publishing += 1;
    return acknowledged;
  };
  const held = [edge.post(`"${"x".repeat(798)}"`)];
  await waitFor("it to be publishing", () => publishing === 1);
  const refused = await problemOf(await edge.post(`"${"y".repeat(98)}"`));
  assertEquals([refused.status, refused.name, refused.retry_after_s], [429, "fleet-share", 1]);
  held.push(edge.post(`"${"z".repeat(98)}"`, { authorization: `Bearer ${web}` }));
  await waitFor("the other to be publishing", () => publishing === 2);
  acknowledge();
  for (const answer of held) assertEquals((await answer).status, 202);
});

Deno.test("events that cannot be stored are answered 503: retry the same bytes", async () => {
  const edge = new Edge();
  edge.publish = () => Promise.reject(new RetryAfter("the stream is full", 2_500));
  const problem = await problemOf(await edge.post("[1,2]"));
  assertEquals([problem.status, problem.action, problem.retry_after_s], [503, "retry", 3]);
  assertStringIncludes(problem.detail, "the same bytes");
  const metrics = await edge.scrape();
  assertStringIncludes(metrics, 'twofold_ingest_events_total{outcome="refused"} 2\n');
  assertStringIncludes(metrics, 'twofold_ingest_requests_total{status="503"} 1\n');
});

Deno.test("an unexpected error is a 500 without internal details", async () => {
  const edge = new Edge();
  edge.publish = () => Promise.reject(new TypeError("secret detail"));
  const problem = await problemOf(await edge.post("1"));
  assertEquals([problem.status, problem.action], [500, "retry"]);
  assert(!JSON.stringify(problem).includes("secret"));
});

/** A body that brings `chunks`, and then nothing until it is cancelled. */
function stalledBody(...chunks: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start: (controller) => chunks.forEach((chunk) => controller.enqueue(encoder.encode(chunk))),
  });
}

Deno.test("a body that does not arrive by its deadline is refused", async () => {
  const edge = new Edge({ bodyDeadlineMs: 20 });
  const problem = await problemOf(await edge.post(stalledBody("[1,")));
  assertEquals([problem.status, problem.action], [408, "retry"]);
  assertEquals(edge.landed, []);
  assertStringIncludes(await edge.scrape(), "twofold_ingest_held_bytes 0\n");
});

Deno.test("of too many bodies that arrive the oldest is given up, and a retry is stored", async () => {
  const edge = new Edge({ maxWaitingBodies: 2, bodyDeadlineMs: 500 });
  const oldest = edge.post(stalledBody("[1,"));
  const small = edge.post(stalledBody("[2,"), { "content-length": "100" });
  assertEquals((await edge.post("[3]")).status, 202);
  const problem = await problemOf(await oldest);
  assertEquals([problem.status, problem.name, problem.action], [408, "slow-body", "retry"]);
  const another = edge.post(stalledBody("[4,"));
  assertEquals((await edge.post("[5]")).status, 202);
  assertEquals((await problemOf(await small)).status, 408);
  assertEquals((await edge.post("[1,2]")).status, 202);
  assertEquals((await problemOf(await another)).status, 408);
  assertEquals(edge.landed.join(), "3,5,1,2");
  assertStringIncludes(await edge.scrape(), "twofold_ingest_held_bytes 0\n");
});

Deno.test("a body without a declared length is refused at the size limit", async () => {
  const edge = new Edge();
  const chunk = "x".repeat(64 * 1024);
  const problem = await problemOf(await edge.post(stalledBody(...Array(17).fill(chunk))));
  assertEquals([problem.status, problem.name], [413, "body-too-large"]);
});

Deno.test("a connection that fails during the body publishes nothing", async () => {
  const edge = new Edge();
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode("[1,"));
      controller.error(new Error("connection reset"));
    },
  });
  assertEquals((await problemOf(await edge.post(body))).name, "body-broken-off");
  assertEquals(edge.landed, []);
});

Deno.test("bytes held by all requests are bounded, and released once answered", async () => {
  const edge = new Edge({ maxInFlightBytes: 1_000, bodyDeadlineMs: 5_000 });
  const { promise: acknowledged, resolve: acknowledge } = Promise.withResolvers<void>();
  let publishing = false;
  edge.publish = () => {
    publishing = true;
    return acknowledged;
  };
  const holder = edge.post(JSON.stringify("x".repeat(700)));
  await waitFor("the first request to be publishing", () => publishing);
  const refused = await problemOf(await edge.post(JSON.stringify("y".repeat(700))));
  assertEquals([refused.status, refused.name], [503, "too-much-in-flight"]);
  acknowledge();
  assertEquals((await holder).status, 202);
  assertEquals((await edge.post(JSON.stringify("y".repeat(700)))).status, 202);
});

Deno.test("CORS allows the headers that the edge reads, and reading its responses", async () => {
  const edge = new Edge({ corsOrigins: ["https://player.example"] });
  const preflight = await edge.fetch(URL, {
    method: "OPTIONS",
    headers: {
      origin: "https://player.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, content-encoding, content-type",
    },
  });
  assertEquals(preflight.status, 204);
  assertEquals(preflight.headers.get("access-control-allow-origin"), "https://player.example");
  const allowed = preflight.headers.get("access-control-allow-headers")?.toLowerCase();
  assertExists(allowed);
  for (const name of ["authorization", "content-encoding", "content-type"]) {
    assertStringIncludes(allowed, name);
  }
  const from = (origin: string, headers = {}) => edge.post("1", { origin, ...headers });
  const allow = "access-control-allow-origin";
  assertEquals((await from("https://player.example")).headers.get(allow), "https://player.example");
  const refused = await from("https://player.example", { authorization: "" });
  assertEquals([refused.status, refused.headers.get(allow)], [401, "https://player.example"]);
  assertEquals((await from("https://other.example")).headers.get(allow), null);
});

Deno.test("health, readiness, unknown paths and wrong methods", async () => {
  const edge = new Edge();
  assertEquals((await edge.fetch("/healthz")).status, 200);
  assertEquals((await edge.fetch("/readyz")).status, 200);
  edge.notReady = "NATS is disconnected";
  const notReady = await edge.fetch("/readyz");
  assertEquals([notReady.status, (await notReady.json()).reason], [503, "NATS is disconnected"]);
  for (const path of ["/nowhere", "/metrics"]) {
    assertEquals((await problemOf(await edge.fetch(path))).status, 404);
  }
  const wrongMethod = await edge.fetch(URL);
  assertEquals(wrongMethod.headers.get("allow"), "POST");
  assertEquals((await problemOf(wrongMethod)).status, 405);
});

Deno.test("the OpenAPI document names every status and the heartbeat's schema", async () => {
  const document = await (await new Edge().fetch("/openapi.json")).json();
  const { post } = document.paths["/v1/heartbeats"];
  assertEquals(
    Object.keys(post.responses),
    ["202", "400", "401", "408", "413", "415", "429", "500", "503"],
  );
  assertEquals(
    Object.keys(post.requestBody.content),
    ["application/json", "application/x-ndjson", "text/plain"],
  );
  const { Heartbeat } = document.components.schemas;
  assert(Heartbeat.required.includes("event_id"));
  assert(new RegExp(Heartbeat.properties.session_id.pattern, "u").test("s-1"));
});
