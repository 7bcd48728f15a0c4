import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { propertyRandom, Random } from "../dev/testing/random.ts";
import { type Heartbeat, judge, type Judgement, REJECTION_REASONS } from "./event.ts";

const VALID = aHeartbeat(new Random(1), 1_700_000_000_000);

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function rejectionOf(judgement: Judgement) {
  assert(!judgement.ok, "the heartbeat was accepted");
  return judgement.rejection;
}

/** `VALID` with a value at a path such as `device.build`; undefined removes the key. */
function withValue(path: string, value: unknown): Uint8Array {
  const copy = structuredClone(VALID) as unknown as Record<string, unknown>;
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const parent = keys.reduce((inner, key) => inner[key] as Record<string, unknown>, copy);
  parent[last] = value;
  return encode(copy);
}

Deno.test("a valid heartbeat is accepted unchanged, unknown keys are ignored", () => {
  const judgement = judge(
    encode({ ...VALID, newer: { key: 1 }, device: { ...VALID.device, x: 1 } }),
  );
  assertEquals(judgement, { ok: true, heartbeat: VALID });
  const full: Heartbeat = { ...VALID, media_ms: 0, bitrate_kbps: 2500.5, cdn: "a", isp: "" };
  assertEquals(judge(encode(full)), { ok: true, heartbeat: full });
});

Deno.test("every state is accepted, starting included: it waits for its first frame", () => {
  const states = [
    "starting",
    "playing",
    "rebuffering",
    "paused",
    "seeking",
    "ad",
    "ended",
  ] as const;
  for (const state of states) {
    const heartbeat = { ...VALID, state, played_ms: 0 };
    assertEquals(judge(encode(heartbeat)), { ok: true, heartbeat }, state);
    const slow = judge(encode({ ...heartbeat, title_id: "größe" }));
    assert(slow.ok && slow.heartbeat.state === state, `${state}, judged by the schema`);
  }
});

const LABELS = ["session_id", "device_id", "title_id", "device.model", "device.os", "device.build"];
const COUNTS = ["seq", "ts", "rebuffer_ms", "rebuffer_count", "media_ms"];
const INTERVALS = ["interval_ms", "played_ms"];
const REQUIRED = [
  ...LABELS,
  ...COUNTS.filter((name) => name !== "media_ms"),
  ...INTERVALS,
  "v",
  "event_id",
  "region",
  "state",
  "device",
];

Deno.test("a missing required field is named", () => {
  for (const path of REQUIRED) {
    const { reason, path: named, detail } = rejectionOf(judge(withValue(path, undefined)));
    assertEquals([reason, named], ["malformed", `$.${path}`]);
    assertStringIncludes(detail, "found nothing");
  }
});

Deno.test("a field of the wrong type or out of range is named", () => {
  const wrong: Record<string, readonly unknown[]> = {
    v: ["1", null, [1]],
    event_id: ["", "x", 1, `${VALID.event_id}0`, VALID.event_id.replace("-7", "-0")],
    region: ["", "d", "DE", "de_1", "x".repeat(33), 49],
    state: ["Playing", "", null, 0],
    device: [null, "tv", []],
    bitrate_kbps: ["1", -1, null],
    cdn: [1, null],
    isp: [{}],
  };
  for (const path of LABELS) wrong[path] = ["", "x".repeat(65), "a\u0000b", "a\nb", 1, null, {}];
  for (const path of COUNTS) wrong[path] = ["1", -1, 1.5, 2 ** 53, null, true];
  for (const path of INTERVALS) wrong[path] = ["1", -1, 0.5, 600_001, null];
  for (const [path, values] of Object.entries(wrong)) {
    for (const value of values) {
      const what = `${path} = ${JSON.stringify(value)}`;
      const rejection = rejectionOf(judge(withValue(path, value)));
      assertEquals(rejection.reason, "malformed", what);
      assert(rejection.path.startsWith(`$.${path}`), `${what}: ${rejection.path}`);
      if (!path.startsWith("device")) assertEquals(rejection.build, VALID.device.build, what);
    }
  }
});

Deno.test("a label may have any 64 characters except control characters", () => {
  for (const label of ["x", "映".repeat(64), "\u{1f3ac}".repeat(64), " ", '"\\', "\u202e"]) {
    assert(judge(withValue("title_id", label)).ok, label);
  }
  assert(!judge(withValue("title_id", "\u{1f3ac}".repeat(65))).ok);
});

Deno.test("a heartbeat is implausible above interval_ms * 1.5 + 1000", () => {
  const table: [interval_ms: number, played_ms: number, rebuffer_ms: number, ok: boolean][] = [
    [0, 0, 0, true],
    [0, 1_000, 0, true],
    [0, 1_000, 1, false],
    [10_000, 16_000, 0, true],
    [10_000, 15_999, 1, true],
    [10_000, 16_000, 1, false],
    [10_001, 16_001, 0, true],
    [10_001, 16_002, 0, false],
    [600_000, 600_000, 301_000, true],
    [600_000, 600_000, 301_001, false],
    [600_000, 0, Number.MAX_SAFE_INTEGER, false],
  ];
  for (const [interval_ms, played_ms, rebuffer_ms, ok] of table) {
    const judgement = judge(encode({ ...VALID, interval_ms, played_ms, rebuffer_ms }));
    assertEquals(judgement.ok, ok, `${interval_ms} ${played_ms} ${rebuffer_ms}`);
    if (!judgement.ok) assertEquals(judgement.rejection.reason, "implausible");
  }
});

Deno.test("another version is unsupported_version, whatever the other fields", () => {
  for (const v of [0, 2, 1.5, -1]) {
    const { reason, path, build } = rejectionOf(judge(encode({ v, device: { build: "10.0" } })));
    assertEquals([reason, path, build], ["unsupported_version", "$.v", "10.0"]);
  }
});

Deno.test("bytes that are not UTF-8 are not_utf8, text that is not one JSON value is not_json", () => {
  const table: [reason: string, bytes: Uint8Array][] = [
    ["not_utf8", new Uint8Array([0xff])],
    ["not_utf8", new Uint8Array([...bytesOf('{"v":"'), 0xed, 0xa0, 0x80, ...bytesOf('"}')])],
    ["not_utf8", new Uint8Array([0xc0, 0x80])],
    ["not_utf8", encode(VALID).subarray(0, -1).with(20, 0x80)],
    ["not_json", new Uint8Array(0)],
    ["not_json", bytesOf("\ufeff" + JSON.stringify(VALID))],
    ["not_json", bytesOf("{")],
    ["not_json", bytesOf(JSON.stringify(VALID) + "\n" + JSON.stringify(VALID))],
    ["not_json", bytesOf("[".repeat(100_000))],
    ["not_json", bytesOf('{"v":1,}')],
    ["not_json", bytesOf('{"v":NaN}')],
    ["not_json", bytesOf("\0")],
    ["malformed", bytesOf("null")],
    ["malformed", bytesOf("[]")],
    ["malformed", bytesOf('"text"')],
    ["malformed", bytesOf("[".repeat(100_000) + "]".repeat(100_000))],
    ["malformed", bytesOf('{"v":1,"a":'.repeat(10_000) + "1" + "}".repeat(10_000))],
  ];
  for (const [reason, bytes] of table) {
    const rejection = rejectionOf(judge(bytes));
    assertEquals(rejection.reason, reason, new TextDecoder().decode(bytes.subarray(0, 40)));
  }
});

Deno.test("JSON edge cases: duplicate keys, escapes, huge numbers, __proto__", () => {
  const json = JSON.stringify(VALID);
  const insert = (text: string) => bytesOf(json.replace(/\}$/, `,${text}}`));
  const last = judge(insert('"played_ms":1'));
  assert(last.ok && last.heartbeat.played_ms === 1, "the last value of a duplicate key counts");
  assert(judge(insert('"__proto__":{"v":2}')).ok);
  assert(judge(insert('"unknown":1e999')).ok);
  assert(judge(insert('"unknown":"\\ud800"')).ok);
  assert(judge(bytesOf(json.replace('"playing"', '"\\u0070laying"'))).ok, "an escaped letter");
  assert(judge(bytesOf(json.replace('"v":1', '"v":1.0'))).ok, "1.0 is the integer 1");
  const refused: [path: string, text: string][] = [
    ["seq", "1e999"],
    ["seq", "-0.5"],
    ["seq", "9007199254740993"],
    ["ts", "9".repeat(400)],
    ["bitrate_kbps", "1e999"],
    ["title_id", '"\\ud800"'],
    ["title_id", '"\\u0000"'],
  ];
  for (const [path, text] of refused) {
    const changed = `${json.slice(0, -1)},"${path}":${text}}`;
    assertEquals(rejectionOf(judge(bytesOf(changed))).path, `$.${path}`, text);
  }
});

Deno.test("for any bytes judge does not throw, and its text fits a header and Postgres", () => {
  const random = propertyRandom("judge any bytes");
  const valid = encode(VALID);
  const reasons = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const judgement = judge(random.chance(0.2) ? anyBytes(random) : damaged(random, valid));
    if (judgement.ok) continue;
    const { reason, path, detail, build = "" } = judgement.rejection;
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    assert(REJECTION_REASONS.includes(reason));
    assert(path === "$" || path.startsWith("$."), path);
    assert(detail !== "" && detail.length <= 200 && build.length <= 64);
    assert(!/[\p{Cc}\p{Cs}]/u.test(path + detail + build), JSON.stringify(judgement));
  }
  for (const reason of ["not_utf8", "not_json", "malformed"]) {
    assert(reasons.has(reason), `no ${reason} in ${[...reasons]}`);
  }
});

function anyBytes(random: Random): Uint8Array {
  return Uint8Array.from({ length: random.int(0, 100) }, () => random.int(0, 255));
}

// Cuts, repeats and overwrites, so that most of the heartbeat is still there.
function damaged(random: Random, valid: Uint8Array): Uint8Array {
  const at = random.int(0, valid.length - 1);
  const pieces = [
    '"',
    "{",
    "}",
    "[",
    ":",
    ",",
    "\\u0000",
    "\\ud83d",
    "\u{1f600}",
    "null",
    "1e9",
    "-",
  ];
  const replacement = random.chance(0.3) ? anyBytes(random) : bytesOf(random.pick(pieces));
  const rest = random.chance(0.2) ? [] : valid.subarray(at + random.int(0, 30));
  return Uint8Array.from([...valid.subarray(0, at), ...replacement, ...rest]);
}
