import { assert, assertEquals, assertExists, assertLessOrEqual, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";
import { judge } from "../../contract/event.ts";
import { pause } from "../../process/retry.ts";
import { DeviceClient, drive } from "./device_client.ts";
import {
  loadAtRate,
  LoadBodies,
  LoadBody,
  loadRandom,
  type RequestOutcome,
  sendPlanned,
} from "./device_client_load.ts";
import type { Send } from "./player.ts";
import { DEFAULT_SIMULATION, Simulator } from "./simulator.ts";
import { Truth } from "./truth.ts";

const KEY = "fleet-key-of-this-test";
const START_MS = Date.UTC(2026, 0, 5);

Deno.test("every form of body has exactly the events to be sent", async () => {
  await using edge = new EdgeDouble(() => accepted());
  const truth = new Truth(5_000);
  const record = truth.record.bind(truth);
  const client = new DeviceClient({ url: edge.url, key: KEY, seed: 1, record });
  const sends = someSends();
  await drive(client, [{ atMs: 0, sends }], { startAtMs: performance.now() });

  assertEquals(edge.events().sort(), sends.map(({ bytes }) => latin1(bytes)).sort());
  assertEquals(truth.report().sent, sends.length);
  assertEquals(client.report.acknowledged, sends.length);
  const forms = new Set(edge.requests.map(({ form }) => form));
  for (
    const form of [
      "application/json",
      "application/json gzip",
      "application/x-ndjson",
      "application/x-ndjson gzip",
      "text/plain",
    ]
  ) assert(forms.has(form), `no body was sent as ${form}`);
});

Deno.test("a temporary refusal is retried with the same bytes after its Retry-After", async () => {
  const answers = [
    () => new Response("busy", { status: 503, headers: { "retry-after": "1" } }),
    () => new Response("slow down", { status: 429, headers: { "retry-after": "0" } }),
    () => new Response("oops", { status: 500 }),
  ];
  await using edge = new EdgeDouble(() => (answers.shift() ?? accepted)());
  const truth = new Truth(5_000);
  const record = truth.record.bind(truth);
  const client = new DeviceClient({ url: edge.url, key: KEY, seed: 1, record });
  await client.post([aSend()]);
  await client.drain();

  assertEquals(edge.requests.length, 4);
  assertEquals(new Set(edge.requests.map(({ body }) => latin1(body))).size, 1);
  const [first, second] = edge.requests;
  assertExists(first);
  assertExists(second);
  assert(second.atMs - first.atMs >= 950, "Retry-After was not honoured");
  const { sent, unknownCopies, refused } = truth.report();
  assertEquals({ sent, unknownCopies, refused }, { sent: 1, unknownCopies: 2, refused: 0 });
  assertEquals(client.report.statuses, { 202: 1, 429: 1, 500: 1, 503: 1 });
});

Deno.test("no answer is an unknown outcome; a permanent refusal is given up and reported", async () => {
  const outcomes: string[] = [];
  const record = (_: Send, outcome: string) => outcomes.push(outcome);
  const send = aSend();
  const url = "http://127.0.0.1:1";
  const nobody = new DeviceClient({ url, key: KEY, seed: 1, attempts: 2, record });
  await nobody.post([send]);
  await nobody.drain();
  assertEquals(outcomes, ["unknown", "unknown", "refused"]);

  outcomes.length = 0;
  await using edge = new EdgeDouble(() => new Response("who are you", { status: 401 }));
  const stranger = new DeviceClient({ url: edge.url, key: KEY, seed: 1, record });
  await stranger.post([send]);
  await stranger.drain();
  assertEquals(outcomes, ["refused"]);
  assertEquals(stranger.report.refusals, ["401 who are you"]);
});

Deno.test("requests in flight stay within the limit, and an abort stops the client", async () => {
  let most = 0;
  let now = 0;
  await using edge = new EdgeDouble(async () => {
    most = Math.max(most, ++now);
    // No sleep: the edge takes its time, so that requests overlap.
    await new Promise((resolve) => setTimeout(resolve, 5));
    now--;
    return accepted();
  });
  const client = new DeviceClient({
    url: edge.url,
    key: KEY,
    seed: 1,
    concurrency: 3,
    record: () => {},
  });
  await client.post(someSends());
  await client.drain();
  assertLessOrEqual(most, 3);

  const before = edge.requests.length;
  const stopped = { startAtMs: performance.now(), signal: AbortSignal.abort() };
  await drive(client, [{ atMs: 60_000, sends: someSends() }], stopped);
  assertEquals(edge.requests.length, before);
});

Deno.test("the load is distinct, valid and current, and its credit equals the report", async () => {
  let failures = 2;
  await using edge = new EdgeDouble(() => {
    if (failures-- > 0) return new Response("full", { status: 503 });
    return accepted();
  });
  const report = await loadAtRate({
    url: edge.url,
    key: KEY,
    eventsPerSecond: 10_000,
    seconds: 0.5,
    concurrency: 3,
  });
  const bodies = edge.requests.slice(2).flatMap(({ events }) => events);
  assertEquals(bodies.length, 5_000);
  assertEquals([report.sent, report.repeated], [5_000, 2]);
  const ids = new Set<string>();
  const titles = new Map<string, { ms: number; events: number }>();
  for (const bytes of bodies) {
    const judgement = judge(bytes);
    assert(judgement.ok, JSON.stringify(judgement));
    const { event_id, title_id, played_ms, ts } = judgement.heartbeat;
    ids.add(event_id);
    assert(Math.abs(Date.now() - ts) < 60_000 && ts <= Date.now(), `ts ${ts} is not current`);
    assertEquals(parseInt(event_id.slice(0, 8) + event_id.slice(9, 13), 16), ts);
    const sum = titles.get(title_id) ?? { ms: 0, events: 0 };
    titles.set(title_id, { ms: sum.ms + played_ms, events: sum.events + 1 });
  }
  assertEquals(ids.size, 5_000);
  // Distinct even when the clock stands still: the end of the id counts requests.
  assertEquals(new Set([...ids].map((id) => id.slice(-8))).size, 50);
  assertEquals(new Map(report.titles), titles);
});

Deno.test("a load that is refused permanently stops with the reason", async () => {
  await using edge = new EdgeDouble(() => new Response("no such key", { status: 401 }));
  const load = () =>
    loadAtRate({ url: edge.url, key: KEY, eventsPerSecond: 1_000, seconds: 0.1, concurrency: 1 });
  await assertRejects(load, Error, "401 no such key");
});

Deno.test("a slow answer delays no due time: what waited for it has its whole wait as latency", async () => {
  const STALL_MS = 400;
  let isFirst = true;
  await using edge = new EdgeDouble(async () => {
    // No sleep: it is how long the first answer takes.
    if (isFirst) await pause(STALL_MS);
    isFirst = false;
    return accepted();
  });
  const { outcomes, report } = await planned(edge, { requests: 21 });
  assertEquals([report.accepted, report.lost, report.unsent], [21, 0, 0]);
  const startMs = outcomes[0]?.dueMs ?? NaN;
  for (const [i, { dueMs, freeMs, sentMs, answeredMs }] of outcomes.entries()) {
    assertLessOrEqual(Math.abs(dueMs - startMs - i * DUE_EVERY_MS), 1e-3);
    // One connection: what was due during the stall waited for its end, the less the later.
    const least = Math.max(0, STALL_MS - 1 - i * DUE_EVERY_MS);
    assert(answeredMs - dueMs >= least, `${i} took ${answeredMs - dueMs} ms, not ${least}`);
    if (i > 0 && least > 0) assert(freeMs > dueMs, `${i} found no connection free`);
    assertLessOrEqual(freeMs, sentMs);
  }
});

Deno.test("what is too late is never sent, and is in no credit", async () => {
  let isFirst = true;
  await using edge = new EdgeDouble(async () => {
    // No sleep: it is how long the first answer takes.
    if (isFirst) await pause(300);
    isFirst = false;
    return accepted();
  });
  const { report, bodies } = await planned(edge, { requests: 5, untilMs: 200 });
  assertEquals([report.accepted, report.lost, report.unsent], [1, 0, 4]);
  assertEquals(edge.requests.length, 1);
  const [cell] = bodies.credit();
  assertEquals([cell?.titleId, cell?.region, cell?.events], ["t", "r0", 1]);
});

Deno.test("a refused request is given up with its reason, and the others go on", async () => {
  let count = 0;
  await using edge = new EdgeDouble(() =>
    ++count === 2 ? new Response("no such key", { status: 401 }) : accepted()
  );
  const { outcomes, report, bodies } = await planned(edge, { requests: 4 });
  assertEquals([report.accepted, report.lost], [3, 1]);
  assertEquals(outcomes.filter(({ refusal }) => refusal === "401 no such key").length, 1);
  assertEquals(bodies.credit().map(({ events }) => events), [3]);
});

const DUE_EVERY_MS = 20;

/** Single heartbeats of one viewer, due every 20 ms, over one connection. */
async function planned(edge: EdgeDouble, plan: { requests: number; untilMs?: number }) {
  const bodies = new LoadBodies([
    new LoadBody(loadRandom(1), 1, () => ({ titleId: "t", region: "r0" })),
  ]);
  const outcomes: RequestOutcome[] = [];
  const report = await sendPlanned({
    ...plan,
    url: edge.url,
    key: KEY,
    concurrency: 1,
    largestBytes: bodies.largestBytes,
    dueMs: (request) => request * DUE_EVERY_MS,
    bodyOf: () => bodies.at(0),
    observe: (outcome) => void outcomes.push(outcome),
  });
  return { outcomes, report, bodies };
}

function accepted(): Response {
  return Response.json({ accepted: 1 }, { status: 202 });
}

function someSends(): Send[] {
  const simulator = new Simulator({
    ...DEFAULT_SIMULATION,
    seed: 1,
    startEpochMs: START_MS,
    durationMs: 10_000,
    sessions: 3_000,
    brokenShare: 0.1,
  });
  return [...simulator.ticks()].flatMap(({ sends }) => sends);
}

function aSend(): Send {
  const [send] = someSends();
  assertExists(send);
  return send;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

interface Received {
  readonly form: string;
  readonly body: Uint8Array;
  readonly events: readonly Uint8Array[];
  readonly atMs: number;
}

/** An edge that checks the key, splits bodies in the simplest way, and gives scripted answers. */
class EdgeDouble implements AsyncDisposable {
  readonly requests: Received[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(answer: () => Response | Promise<Response>) {
    const quiet = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    this.#server = Deno.serve(quiet, async (request) => {
      this.requests.push(await receive(request));
      return await answer();
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  events(): string[] {
    return this.requests.flatMap(({ events }) => events.map(latin1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

async function receive(request: Request): Promise<Received> {
  const url = new URL(request.url);
  const type = request.headers.get("content-type") ?? "";
  const key = type === "text/plain"
    ? url.searchParams.get("key")
    : request.headers.get("authorization")?.replace("Bearer ", "");
  assertEquals([request.method, url.pathname, key], ["POST", "/v1/heartbeats", KEY]);
  const body = new Uint8Array(await request.arrayBuffer());
  const gzip = request.headers.get("content-encoding") === "gzip";
  const events = takeApart(gzip ? new Uint8Array(gunzipSync(body)) : body, type);
  return { form: gzip ? `${type} gzip` : type, body, events, atMs: performance.now() };
}

function takeApart(body: Uint8Array, type: string): Uint8Array[] {
  const text = latin1(body);
  const bytes = (part: string) => Buffer.from(part, "latin1");
  if (type !== "application/x-ndjson" && text.startsWith("[")) {
    // What the fleet sends between brackets is JSON that JSON.stringify writes back unchanged.
    return JSON.parse(text).map((each: unknown) => bytes(JSON.stringify(each)));
  }
  return text.split("\n").filter((line) => line !== "").map(bytes);
}
