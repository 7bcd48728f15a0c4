/**
 * Heartbeats with unusual values, for tests that compare the fast judgement with the schema.
 *
 * @module
 */
import { heartbeatSchema } from "../../contract/event.ts";
import { aHeartbeat } from "./heartbeats.ts";
import type { Random } from "./random.ts";

/** Event time of every odd heartbeat, ms since the epoch. */
export const ODD_TS = 1_795_000_000_000;
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
const NESTED = ["model", "os", "build"].map((name): Path => ["device", name]);

/** A field, or one inside a field. */
type Path = readonly [field: string, nested?: string];

/** Every odd value in every field, one at a time. */
export function* oddHeartbeats(random: Random): Generator<unknown> {
  for (const path of [...FIELDS.map((name): Path => [name]), ...NESTED]) {
    for (const odd of ODD_VALUES) yield withValue(aHeartbeat(random, ODD_TS), path, odd);
  }
}

/** A heartbeat with up to two odd values, and sometimes with optional and unknown fields. */
export function oddHeartbeat(random: Random): unknown {
  let value: Record<string, unknown> = aHeartbeat(random, ODD_TS);
  if (random.chance(0.5)) Object.assign(value, extras(random));
  for (let changes = random.int(0, 2); changes > 0; changes--) {
    const field: Path = random.chance(0.2) ? random.pick(NESTED) : [random.pick(FIELDS)];
    value = withValue(value, field, random.pick(ODD_VALUES));
  }
  return value;
}

function extras(random: Random): Record<string, unknown> {
  const all = { media_ms: 10_000, bitrate_kbps: 4_500.5, cdn: "edge-ü", isp: "isp", new_key: [1] };
  return Object.fromEntries(Object.entries(all).filter(() => random.chance(0.5)));
}

// Through entries, so that `__proto__` becomes a key like any other.
function withValue(value: object, path: Path, odd: unknown): Record<string, unknown> {
  const [field, nested] = path;
  const entries: [string, unknown][] = Object.entries(value);
  const inner = new Map(entries).get(field);
  const isWhole = nested === undefined || typeof inner !== "object" || inner === null;
  const changed = isWhole ? odd : withValue(inner, [nested], odd);
  const others = entries.filter(([key]) => key !== field);
  return Object.fromEntries([...others, [field, changed]]);
}
