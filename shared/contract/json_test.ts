import { assertEquals, assertThrows } from "@std/assert";
import { aHeartbeat } from "../dev/testing/heartbeats.ts";
import { escaped, misreadable, poison } from "../dev/testing/misreadable.ts";
import { ODD_TS } from "../dev/testing/odd_heartbeats.ts";
import { propertyRandom, type Random } from "../dev/testing/random.ts";
import { judge } from "./event.ts";
import { parseJson } from "./json.ts";

Deno.test("a key with escapes is read correctly, whatever was parsed before", () => {
  for (const key of ["event_id", "session_id", "title_id", "seq", "ts", "region", "device"]) {
    const spelling = escaped(key.charAt(0)) + key.slice(1);
    const text = `{"before ${key}":1, "${spelling}" \r\n\t: {"${spelling}":["x"]}}`;
    poison(text, spelling, key.length);
    assertEquals(parseJson(text), { [`before ${key}`]: 1, [key]: { [key]: ["x"] } });
  }
});

Deno.test("a heartbeat with escapes in its keys is judged like any other", () => {
  const random = propertyRandom("escaped heartbeats");
  for (let round = 0; round < 500; round++) {
    const heartbeat = aHeartbeat(random, ODD_TS);
    assertEquals(judge(misreadable(random, heartbeat)), { ok: true, heartbeat });
  }
});

const PIECES = ['"', "\\", "\\\\", '\\"', "\\u0041", "\\n", ":", "{", "}", "[", "]", ",", " ", "a"];

Deno.test("parseJson accepts and refuses the same text as JSON.parse", () => {
  const random = propertyRandom("json pieces");
  let valid = 0;
  for (let round = 0; round < 20_000; round++) {
    const text = randomText(random);
    const expected = isJson(() => JSON.parse(text));
    assertEquals(isJson(() => parseJson(text)), expected, text);
    valid += Number(expected);
  }
  assertEquals(valid > 2_000, true, `${valid} were JSON`);
});

function randomText(random: Random): string {
  const some = () => Array.from({ length: random.int(0, 6) }, () => random.pick(PIECES)).join("");
  return random.chance(0.5) ? some() : `{"${some()}":"${some()}","${some()}":[{}]}`;
}

function isJson(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

Deno.test("an unterminated string is refused in linear time", () => {
  assertThrows(() => parseJson('{"' + '\\"'.repeat(200_000)), SyntaxError);
});
