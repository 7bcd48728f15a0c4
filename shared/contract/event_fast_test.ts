/** Tests that the fast path of `judge` and the schema agree. */
import { assert, assertEquals } from "@std/assert";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { ODD_TS, oddHeartbeat, oddHeartbeats } from "../dev/testing/odd_heartbeats.ts";
import { propertyRandom } from "../dev/testing/random.ts";
import { heartbeatSchema, judge } from "./event.ts";

const ROUNDS = 4_000;

Deno.test("a judgement equals the result of the schema, for any values", () => {
  const random = propertyRandom("judge equals the schema");
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const value = oddHeartbeat(random);
    const bytes = encode(value);
    const parsed = heartbeatSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
    const judgement = judge(bytes);
    if (judgement.ok) {
      assertEquals(parsed.success, true, show(value));
      assertEquals(judgement.heartbeat, parsed.data, show(value));
      accepted += 1;
    } else if (judgement.rejection.reason === "implausible") {
      assert(parsed.success, show(value));
      const { played_ms, rebuffer_ms, interval_ms } = parsed.data;
      assertEquals(played_ms + rebuffer_ms > interval_ms * 1.5 + 1000, true, show(value));
    } else {
      assert(!parsed.success, show(value));
      const paths = parsed.error.issues.map(({ path }) => ["$", ...path.map(String)].join("."));
      // The first issue, but for the version, which explains every other one.
      const expected = paths.find((path) => path === "$.v") ?? paths[0];
      assertEquals(judgement.rejection.path, expected, show(value));
    }
  }
  assertEquals(accepted > 500 && accepted < ROUNDS - 500, true, `${accepted} were accepted`);
});

Deno.test("every odd value in every field is judged like by the schema", () => {
  const random = propertyRandom("odd values");
  for (const value of oddHeartbeats(random)) {
    const bytes = encode(value);
    const parsed = heartbeatSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
    const judgement = judge(bytes);
    const plausible = judgement.ok || judgement.rejection.reason !== "implausible";
    if (plausible) assertEquals(judgement.ok, parsed.success, show(value));
    if (judgement.ok) assertEquals(judgement.heartbeat, parsed.data);
  }
});

Deno.test("damaged bytes are judged like by a strict decoder and parser", () => {
  const random = propertyRandom("damaged bytes");
  const reasons = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    const title_id = random.pick(["plain", "größe", "日本語"]);
    const bytes = encode(aHeartbeat(random, ODD_TS, { title_id }));
    for (let flips = random.int(0, 2); flips > 0; flips--) {
      bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    }
    // As read from a socket: a part of a larger buffer.
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

function show(value: unknown): string {
  return JSON.stringify(value);
}
