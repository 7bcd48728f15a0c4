import { assert, assertEquals, assertExists, assertMatch, assertNotEquals } from "@std/assert";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { misreadable } from "../shared/dev/testing/misreadable.ts";
import { propertyRandom, Random } from "../shared/dev/testing/random.ts";
import { partitionOf } from "../shared/contract/topology.ts";
import { admit, type RoutedEvent } from "./admit.ts";

const ID = "01890a5d-ac96-774b-bcce-b302099a8057";
const OPTIONS = { partitions: 8, maxEvents: 100 };

function admitted(body: Uint8Array | string, options = OPTIONS): readonly RoutedEvent[] {
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const admission = admit(bytes, "json", options);
  assert(admission.kind === "admitted", admission.kind);
  return admission.events;
}

function admittedOne(body: Uint8Array): RoutedEvent {
  const [event, ...more] = admitted(body);
  assertExists(event);
  assertEquals(more, []);
  return event;
}

Deno.test("a heartbeat is routed by session and region, with its event_id in the message id", () => {
  const random = propertyRandom("route heartbeats");
  for (let round = 0; round < 200; round++) {
    const heartbeat = aHeartbeat(random, 1_780_000_000_000);
    const event = admittedOne(encode(heartbeat));
    const partition = partitionOf(heartbeat.session_id, 8);
    assertEquals(event.partition, partition);
    assertEquals(event.subject, `hb.${partition}.${heartbeat.region}`);
    assertMatch(event.msgId, new RegExp(`^${heartbeat.event_id}\\.[0-9a-f]{8}$`));
  }
});

Deno.test("a key with escapes gives the same route and message id, whatever was parsed before", () => {
  const random = propertyRandom("route misreadable heartbeats");
  for (let round = 0; round < 500; round++) {
    const heartbeat = aHeartbeat(random, 1_780_000_000_000);
    const event = admittedOne(misreadable(random, heartbeat));
    assertEquals(event.partition, partitionOf(heartbeat.session_id, 8));
    assertEquals(event.subject, `hb.${event.partition}.${heartbeat.region}`);
    assertEquals(event.msgId.slice(0, 36), heartbeat.event_id);
  }
});

Deno.test("the same bytes have the same message id, different bytes a different one", () => {
  const heartbeat = aHeartbeat(new Random(1), 1_780_000_000_000);
  const once = admittedOne(encode(heartbeat));
  const again = admittedOne(encode(heartbeat));
  const other = admittedOne(encode({ ...heartbeat, played_ms: 1 }));
  assertEquals(once.msgId, again.msgId);
  assertNotEquals(once.msgId, other.msgId);
  assertEquals(once.msgId.slice(0, 36), other.msgId.slice(0, 36));
});

Deno.test("an array element has the same message id as the heartbeat sent alone", () => {
  const heartbeats = [1, 2, 3].map((seed) => aHeartbeat(new Random(seed), 1_780_000_000_000));
  const alone = heartbeats.map((heartbeat) => admittedOne(encode(heartbeat)).msgId);
  assertEquals(admitted(encode(heartbeats)).map(({ msgId }) => msgId), alone);
  const withAccent = admitted(encode([...heartbeats, "é"])).slice(0, 3);
  assertEquals(withAccent.map(({ msgId }) => msgId), alone);
});

const ROUTES: readonly [name: string, event: string, subject: string, id: RegExp][] = [
  ["an upper-case id", `{"event_id":"${ID.toUpperCase()}"}`, "hb.0.none", RegExp(`^${ID}\\.`)],
  ["an id that is not a UUID", '{"event_id":"x"}', "hb.0.none", /^raw\.[0-9a-f]{16}$/],
  ["an id that is a number", '{"event_id":1}', "hb.0.none", /^raw\./],
  ["a repeated key", '{"region":"de","region":"br"}', "hb.0.br", /^raw\./],
  ["an escaped key", String.raw`{"r\u0065gion":"de"}`, "hb.0.de", /^raw\./],
  ["a region with dots", '{"region":"a.b"}', "hb.0.none", /^raw\./],
  ["a region with a wildcard", '{"region":">"}', "hb.0.none", /^raw\./],
  ["a region with a line end", String.raw`{"region":"de\r\n"}`, "hb.0.none", /^raw\./],
  ["nested fields", `{"a":{"region":"de","event_id":"${ID}"}}`, "hb.0.none", /^raw\./],
  ["null", "null", "hb.0.none", /^raw\./],
  ["a string", '"de"', "hb.0.none", /^raw\./],
  ["an array in an array", '[{"region":"de"}]', "hb.0.none", /^raw\./],
  ["broken JSON", `{"region":"de","event_id":"${ID}"`, "hb.0.none", /^raw\./],
  ["the key __proto__", '{"__proto__":{"region":"de"}}', "hb.0.none", /^raw\./],
  ["deep nesting", "[".repeat(16_000), "hb.0.none", /^raw\./],
];

for (const [name, event, subject, id] of ROUTES) {
  Deno.test(`routing of ${name}`, () => {
    const admission = admit(new TextEncoder().encode(event), "ndjson", OPTIONS);
    assert(admission.kind === "admitted");
    const [routed] = admission.events;
    assertExists(routed);
    assertEquals(routed.subject, subject);
    assertMatch(routed.msgId, id);
    assertEquals(new TextDecoder().decode(routed.bytes), event);
  });
}

Deno.test("invalid UTF-8 is stored unchanged without a region; other events of the body are routed", () => {
  const open = new TextEncoder().encode('[{"region":"de"},{"region":"de","x":"');
  const body = new Uint8Array([...open, 0xff, ...new TextEncoder().encode('"}]')]);
  const events = admitted(body);
  assertEquals(events.map(({ subject }) => subject), ["hb.0.de", "hb.0.none"]);
  assertEquals(events[1]?.bytes, body.slice(17, -1));
});

Deno.test("a body that exceeds a limit is refused whole", () => {
  const tooLarge = new TextEncoder().encode(`[1,"${"x".repeat(16 * 1024)}"]`);
  assertEquals(admit(tooLarge, "json", OPTIONS), {
    kind: "event_too_large",
    index: 1,
    bytes: 16 * 1024 + 2,
  });
  assertEquals(admit(encode(Array(101).fill(1)), "json", OPTIONS), { kind: "too_many_events" });
  assertEquals(admit(new Uint8Array(0), "json", OPTIONS), { kind: "no_events" });
});
