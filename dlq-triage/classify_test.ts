import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { encode } from "../shared/dev/testing/heartbeats.ts";
import { propertyRandom, type Random } from "../shared/dev/testing/random.ts";
import { QUARANTINE_HEADER as H } from "../shared/contract/topology.ts";
import {
  classify,
  groupOf,
  type QuarantineMessage,
  UNKNOWN_BUILD,
  UNREADABLE,
} from "./classify.ts";

const HEADERS: Readonly<Record<string, string>> = {
  [H.reason]: "malformed",
  [H.path]: "$.played_ms",
  [H.detail]: 'expected int; found string "4000"',
  [H.stream]: "HEARTBEATS",
  [H.sequence]: "42",
  [H.rejectedBy]: "royalty",
  [H.receivedAt]: "1700000000000",
  [H.build]: "9.2",
};

function aMessage(
  headers: Record<string, string> | undefined,
  body: unknown = {},
): QuarantineMessage {
  return {
    subject: "quarantine.malformed",
    bytes: body instanceof Uint8Array ? body : encode(body),
    sequence: 7,
    quarantinedAt: 1_700_000_009_000,
    headers: headers && new Map(Object.entries(headers)),
  };
}

Deno.test("an entry has the values of its headers and the original bytes", () => {
  const message = aMessage(HEADERS, { device_id: "d-1", device: { build: "other" } });
  assertEquals(classify(message), {
    group: groupOf("malformed", "$.played_ms", "9.2"),
    detail: 'expected int; found string "4000"',
    sourceStream: "HEARTBEATS",
    sourceSequence: 42,
    sourceIndex: 0,
    rejectedBy: "royalty",
    receivedAtMs: 1_700_000_000_000,
    quarantinedAt: 1_700_000_009_000,
    subject: "quarantine.malformed",
    deviceId: "d-1",
    bytes: message.bytes,
  });
});

Deno.test("the build is read from the body when there is no header", () => {
  const { [H.build]: _, ...headers } = HEADERS;
  const buildOf = (body: unknown) => classify(aMessage(headers, body)).group.build;
  assertEquals(buildOf({ device: { build: "9.1" } }), "9.1");
  assertEquals(buildOf(new TextEncoder().encode('{"device":{"build" : "9.3","mod')), "9.3");
  assertEquals(buildOf(new Uint8Array([0xff, ...encode({ build: "9.4" }), 0xfe])), "9.4");
  for (const body of [{}, null, 3, [], { device: null }, { device: { build: 3 } }, "x"]) {
    assertEquals(buildOf(body), UNKNOWN_BUILD);
  }
});

Deno.test("an entry with invalid headers is unreadable, and its source is QUARANTINE", () => {
  const wrong: [string, Record<string, string> | undefined][] = [
    ["unparsable headers", undefined],
    ["empty", {}],
    ["reason missing", { ...HEADERS, [H.reason]: "" }],
    ["reason not a word", { ...HEADERS, [H.reason]: "drop table; --" }],
    ["sequence not a number", { ...HEADERS, [H.sequence]: "-1" }],
    ["sequence beyond 64 bits", { ...HEADERS, [H.sequence]: "9".repeat(30) }],
    ["stream with a space", { ...HEADERS, [H.stream]: "A B" }],
    ["time not a number", { ...HEADERS, [H.receivedAt]: "yesterday" }],
  ];
  for (const [what, headers] of wrong) {
    const { group, sourceStream, sourceSequence, receivedAtMs } = classify(aMessage(headers));
    assertEquals(group.reason, UNREADABLE, what);
    assertEquals([sourceStream, sourceSequence], ["QUARANTINE", 7], what);
    assertEquals(receivedAtMs, 1_700_000_009_000, what);
  }
});

Deno.test("a group id is short, stable and unique to reason, path and build", () => {
  // A fixed value: an id that is in a ticket must stay valid.
  assertEquals(groupOf("malformed", "$.played_ms", "9.2").groupId, "4e66699d57ba");
  assertEquals(groupOf("a", "b", "c"), groupOf("a", "b", "c"));
  assertNotEquals(groupOf("a", "b,c", "").groupId, groupOf("a", "b", "c,").groupId);
  assertNotEquals(groupOf("a", "b", "c").groupId, groupOf("b", "a", "c").groupId);
});

Deno.test("any headers and body give an entry that Postgres can store", () => {
  const random = propertyRandom("classify any message");
  for (let i = 0; i < 2_000; i++) {
    const some = Object.entries(HEADERS).filter(() => random.chance(0.8));
    const headers = Object.fromEntries(
      some.map(([name, value]) => [name, random.chance(0.5) ? value : anyText(random)]),
    );
    const message = aMessage(random.chance(0.9) ? headers : undefined, anyBody(random));
    const entry = classify(message);
    assertEquals(entry.bytes, message.bytes);
    assert(Number.isSafeInteger(entry.sourceSequence) && Number.isSafeInteger(entry.receivedAtMs));
    const { group, detail, sourceStream, rejectedBy, subject, deviceId } = entry;
    const texts = [...Object.values(group), detail, sourceStream, rejectedBy, subject, deviceId];
    for (const text of texts) {
      assert(!/[\p{Cc}\p{Cs}]/u.test(text ?? ""), `not storable: ${JSON.stringify(text)}`);
      assert((text ?? "").length <= 200);
    }
  }
});

function anyText(random: Random): string {
  const parts = ["a", "9", "\0", "\n", "\u{1f600}", "\ud800", "\u202e", " ", "%", ".", "ü"];
  return Array.from({ length: random.int(0, 250) }, () => random.pick(parts)).join("");
}

function anyBody(random: Random): Uint8Array {
  if (random.chance(0.3)) {
    return Uint8Array.from({ length: random.int(0, 300) }, () => random.int(0, 255));
  }
  const bytes = encode({ device_id: anyText(random), device: { build: anyText(random) } });
  return random.chance(0.5) ? bytes : bytes.subarray(0, random.int(0, bytes.length));
}
