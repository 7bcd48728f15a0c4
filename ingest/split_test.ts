import { assert, assertEquals } from "@std/assert";
import { propertyRandom, type Random } from "../shared/dev/testing/random.ts";
import { type Framing, split } from "./split.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const LIMITS = { maxEvents: 1_000, maxEventBytes: 1_000 };
/** Limits that no random value reaches. */
const NO_LIMITS = { maxEvents: 1_000, maxEventBytes: 1_000_000 };

/** The events of `body` as text; the name of the broken limit otherwise. */
function events(body: string | Uint8Array, framing: Framing, limits = LIMITS): string[] | string {
  const bytes = typeof body === "string" ? encoder.encode(body) : body;
  const found = split(bytes, framing, limits);
  return found.kind === "events" ? found.events.map((event) => decoder.decode(event)) : found.kind;
}

const HOSTILE = ['"', "\\", "[", "]", "{", "}", ",", "\n", "\\u0022", "é", "😀", "\u2028", "\0"];

function hostileText(random: Random): string {
  return Array.from({ length: random.int(0, 6) }, () => random.pick([...HOSTILE, "ab"])).join("");
}

function hostileValue(random: Random, depth: number): unknown {
  const kind = random.int(0, depth > 3 ? 4 : 6);
  if (kind === 5) {
    return Array.from({ length: random.int(0, 4) }, () => hostileValue(random, depth + 1));
  }
  if (kind === 6) {
    const entry = () => [hostileText(random), hostileValue(random, depth + 1)];
    return Object.fromEntries(Array.from({ length: random.int(0, 4) }, entry));
  }
  return [null, true, random.int(-9, 9) / 7, hostileText(random), hostileText(random)][kind];
}

function blank(random: Random): string {
  return random.pick(["", "", " ", "\t", "\r\n", " \n "]);
}

Deno.test("an array is split into its elements, bytes unchanged", () => {
  const random = propertyRandom("split array");
  for (let round = 0; round < 2_000; round++) {
    const values = Array.from({ length: random.int(1, 8) }, () => hostileValue(random, 0));
    const sources = values.map((value) => JSON.stringify(value, null, random.int(0, 2)));
    const spaced = sources.map((source) => blank(random) + source + blank(random));
    const body = `${blank(random)}[${spaced.join(",")}]${blank(random)}`;
    const parsed = JSON.parse(body);
    assertEquals(parsed.length, values.length);
    // V8 may misread a key with escapes, see `shared/contract/json.ts`.
    if (!body.includes("\\")) assertEquals(parsed, values);
    assertEquals(events(body, "json", NO_LIMITS), sources, body);
    assertEquals(events(body, "sniff", NO_LIMITS), sources, body);
  }
});

Deno.test("NDJSON is split into its lines, bytes unchanged", () => {
  const random = propertyRandom("split ndjson");
  for (let round = 0; round < 1_000; round++) {
    const values = Array.from({ length: random.int(1, 8) }, () => hostileValue(random, 0));
    const sources = values.map((value) => JSON.stringify(value));
    const spaced = sources.map((source) =>
      random.pick(["", " ", "\n"]) + source + random.pick(["", "\r"])
    );
    const body = spaced.join("\n") + random.pick(["", "\n"]);
    assertEquals(events(body, "ndjson", NO_LIMITS), sources, body);
  }
});

Deno.test("every byte that is not framing is in exactly one event", () => {
  const random = propertyRandom("split garbage");
  const alphabet = encoder.encode('[]{},:"\\ \n\r\ta1\ufeff');
  for (let round = 0; round < 5_000; round++) {
    const length = random.int(0, 40);
    const body = Uint8Array.from({ length }, () => random.pick([...alphabet, random.int(0, 255)]));
    for (const framing of ["json", "ndjson", "sniff"] as const) {
      const found = split(body, framing, LIMITS);
      assert(found.kind === "events");
      let at = 0;
      for (const event of found.events) {
        const start = event.byteOffset - body.byteOffset;
        assert(event.length > 0 && start >= at, "events follow each other");
        assertIsFraming(body.subarray(at, start), at === 0);
        at = start + event.length;
      }
      assertIsFraming(body.subarray(at), at === 0);
    }
  }
});

function assertIsFraming(bytes: Uint8Array, isStart: boolean): void {
  const text = decoder.decode(bytes);
  assert(/^[\s,[\]]*$/.test(isStart ? text.replace(/^\ufeff/, "") : text), JSON.stringify(text));
}

const SHAPES: readonly [name: string, body: string, framing: Framing, expected: string[]][] = [
  ["one object", '{"a":1}', "json", ['{"a":1}']],
  ["a byte order mark", '\ufeff {"a":1}', "json", ['{"a":1}']],
  ["scalars", "[null, 1, true]", "json", ["null", "1", "true"]],
  ["null", "null", "json", ["null"]],
  ["a comma in a string", '["a,b","]"]', "json", ['"a,b"', '"]"']],
  ["an escaped quote", String.raw`["\"],","\\"]`, "json", [String.raw`"\"],"`, String.raw`"\\"`]],
  ["an empty array", "[ ]", "json", []],
  ["commas alone", "[,,]", "json", []],
  ["superfluous commas", "[1,,2,]", "json", ["1", "2"]],
  ["a truncated array", '[{"a":1},{"b":[', "json", ['{"a":1}', '{"b":[']],
  ["an array cut in a string", '[{"a":1},"b,c', "json", ['{"a":1}', '"b,c']],
  ["an array cut after a backslash", '["a\\', "json", ['"a\\']],
  ["an array never closed", "[1,2", "json", ["1", "2"]],
  ["more after the array", "[1] 2, 3", "json", ["1", "2, 3"]],
  ["a mismatched bracket", '[{"a":1],{"b":2}]', "json", ['{"a":1]', '{"b":2}']],
  ["a stray closing brace", "[}, 1]", "json", ["}", "1"]],
  ["two objects as JSON", "{}\n{}", "json", ["{}\n{}"]],
  ["a beacon with one object over lines", '{\n"a":\n1}\n', "sniff", ['{\n"a":\n1}']],
  ["a beacon with lines", '{"a":1}\n\n{"b":2}', "sniff", ['{"a":1}', '{"b":2}']],
  ["a beacon whose first line is cut", '{"a":\n{"b":2}', "sniff", ['{"a":', '{"b":2}']],
  ["a beacon that is text", "hello\nyou", "sniff", ["hello", "you"]],
  ["blank lines", " \r\n\n\t\n", "ndjson", []],
  ["an array on a line", "[1,2]\n3", "ndjson", ["[1,2]", "3"]],
];

for (const [name, body, framing, expected] of SHAPES) {
  Deno.test(`split: ${name}`, () => assertEquals(events(body, framing), expected));
}

Deno.test("splitting stops at the first limit exceeded and names it", () => {
  const limits = { maxEvents: 2, maxEventBytes: 5 };
  assertEquals(events("[1,2]", "json", limits), ["1", "2"]);
  assertEquals(events("[1,2,3]", "json", limits), "too_many_events");
  assertEquals(events("1\n2\n3", "ndjson", limits), "too_many_events");
  const found = split(encoder.encode("[1, 123456 ,3]"), "json", limits);
  assertEquals(found, { kind: "event_too_large", index: 1, bytes: 6 });
  assertEquals(events("[ 12345 ]", "json", limits), ["12345"]);
});

Deno.test("100,000 nested brackets are one element, found without recursion", () => {
  const body = encoder.encode("[".repeat(100_000));
  const found = split(body, "json", { maxEvents: 10, maxEventBytes: 1_000_000 });
  assert(found.kind === "events");
  assertEquals(found.events.map(({ length }) => length), [99_999]);
});
