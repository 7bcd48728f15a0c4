/** `judge` has a fast path beside the schema; this holds the two together. */
import { assertEquals } from "@std/assert";
import { aHeartbeat, encode } from "./dev/heartbeats.ts";
import { propertyRandom, type Random } from "./dev/random.ts";
import { heartbeatSchema, judge } from "./event.ts";

const ROUNDS = 4_000;
const ODD_VALUES: readonly unknown[] = [
  undefined,
  null,
  true,
  0,
  -0,
  -1,
  1,
  1.5,
  600_000,
  600_001,
  2 ** 53 - 1,
  2 ** 53,
  1e300,
  "",
  " ",
  "1",
  "playing",
  "playingx",
  "ok",
  "de",
  "DE",
  "ü",
  "日本語",
  "\u0000",
  "\u007f",
  "\u0085",
  "\ud800",
  "😀",
  "a".repeat(64),
  "a".repeat(65),
  "😀".repeat(64),
  "😀".repeat(65),
  "00000000-0000-0000-0000-000000000000",
  "ffffffff-ffff-ffff-ffff-ffffffffffff",
  "0190A3B2-0000-7000-8000-00000000000F",
  "0190a3b2-0000-9000-8000-00000000000f",
  "0190a3b2-0000-7000-c000-00000000000f",
  "0190a3b2-0000-7000-8000-00000000000f\n",
  [],
  {},
  { model: "a", os: "b", build: "c", extra: 1 },
  { model: "a", os: "b" },
  ["a"],
];

const FIELDS = [...Object.keys(heartbeatSchema.shape), "extra", "__proto__", "constructor"];

Deno.test("a judgement is what the schema says, whatever the values", () => {
  const random = propertyRandom("judge equals the schema");
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const value = mutated(random);
    const bytes = encode(value);
    const parsed = heartbeatSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
    const judgement = judge(bytes);
    if (judgement.ok) {
      assertEquals(parsed.success, true, show(value));
      assertEquals(judgement.heartbeat, parsed.data, show(value));
      accepted += 1;
    } else if (judgement.rejection.reason === "implausible") {
      const { played_ms, rebuffer_ms, interval_ms } = parsed.data!;
      assertEquals(played_ms + rebuffer_ms > interval_ms * 1.5 + 1000, true, show(value));
    } else {
      assertEquals(parsed.success, false, show(value));
      const paths = parsed.error!.issues.map(({ path }) => ["$", ...path.map(String)].join("."));
      assertEquals(paths.includes(judgement.rejection.path), true, show(value));
    }
  }
  assertEquals(accepted > 500 && accepted < ROUNDS - 500, true, `${accepted} were accepted`);
});

Deno.test("every odd value in every field is judged as by the schema", () => {
  const random = propertyRandom("odd values");
  const nested = ["model", "os", "build"].map((name) => ["device", name]);
  for (const path of [...FIELDS.map((name) => [name]), ...nested]) {
    for (const odd of ODD_VALUES) {
      const value = withValue(aHeartbeat(random, 1_795_000_000_000), path, odd);
      const bytes = encode(value);
      const parsed = heartbeatSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
      const judgement = judge(bytes);
      const plausible = judgement.ok || judgement.rejection.reason !== "implausible";
      if (plausible) assertEquals(judgement.ok, parsed.success, show(value));
      if (judgement.ok) assertEquals(judgement.heartbeat, parsed.data);
    }
  }
});

Deno.test("damaged bytes are judged as a strict decoder and parser would", () => {
  const random = propertyRandom("damaged bytes");
  const reasons = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    const title_id = random.pick(["plain", "größe", "日本語"]);
    const bytes = encode(aHeartbeat(random, 1_795_000_000_000, { title_id }));
    for (let flips = random.int(0, 2); flips > 0; flips--) {
      bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    }
    // As they come from a socket: a part of a larger buffer.
    const buffer = new Uint8Array([...bytes.slice(0, 5), ...bytes, 0xff]);
    const judgement = judge(buffer.subarray(5, 5 + bytes.length));
    const reason = judgement.ok ? "ok" : judgement.rejection.reason;
    reasons.add(reason);
    const expected = plainReading(bytes);
    if (typeof expected === "string") assertEquals(reason, expected);
    else assertEquals(reason === "ok" || reason === "implausible", isValid(expected.value));
  }
  assertEquals(
    ["malformed", "not_json", "not_utf8", "ok"].every((each) => reasons.has(each)),
    true,
  );
});

function isValid(value: unknown): boolean {
  return heartbeatSchema.safeParse(value).success;
}

function plainReading(bytes: Uint8Array): "not_utf8" | "not_json" | { readonly value: unknown } {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return "not_utf8";
  }
  try {
    return { value: JSON.parse(text) };
  } catch {
    return "not_json";
  }
}

function mutated(random: Random): unknown {
  let value: Record<string, unknown> = aHeartbeat(random, 1_795_000_000_000);
  if (random.chance(0.5)) Object.assign(value, extras(random));
  for (let changes = random.int(0, 2); changes > 0; changes--) {
    const field = random.chance(0.2)
      ? ["device", random.pick(["model", "os", "build"])]
      : [random.pick(FIELDS)];
    value = withValue(value, field, random.pick(ODD_VALUES));
  }
  return value;
}

function extras(random: Random): Record<string, unknown> {
  const all = { media_ms: 10_000, bitrate_kbps: 4_500.5, cdn: "edge-ü", isp: "isp", new_key: [1] };
  return Object.fromEntries(Object.entries(all).filter(() => random.chance(0.5)));
}

// Through entries, so that `__proto__` becomes a key like any other.
function withValue(value: object, path: readonly string[], odd: unknown): Record<string, unknown> {
  const [name, ...rest] = path;
  const inner = (value as Record<string, unknown>)[name];
  const into = rest.length === 0 || typeof inner !== "object" || inner === null;
  const changed = into ? odd : withValue(inner, rest, odd);
  const others = Object.entries(value).filter(([key]) => key !== name);
  return Object.fromEntries([...others, [name, changed]]);
}

function show(value: unknown): string {
  return JSON.stringify(value);
}
