import { assert, assertEquals } from "@std/assert";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { misreadable } from "../../shared/dev/testing/misreadable.ts";
import { ODD_TS, oddHeartbeat, oddHeartbeats } from "../../shared/dev/testing/odd_heartbeats.ts";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { heartbeatSchema } from "../../shared/contract/event.ts";
import { appraise } from "./appraise.ts";

const ROUNDS = 4_000;
const RULES = { latenessHorizonMs: 7 * 86_400_000, futureToleranceMs: 300_000 };

Deno.test("a heartbeat is valid exactly if the schema accepts it", () => {
  const random = propertyRandom("appraisal equals the schema");
  let valid = 0;
  const odd = Array.from({ length: ROUNDS }, () => oddHeartbeat(random));
  for (const value of [...odd, ...oddHeartbeats(random)]) {
    const bytes = encode(value);
    const { success } = heartbeatSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
    assertEquals(appraise(bytes, ODD_TS, RULES) !== "invalid", success, JSON.stringify(value));
    valid += Number(success);
  }
  assert(valid > 500 && valid < odd.length, `${valid} were valid`);
});

Deno.test("a heartbeat with escaped JSON keys is judged like the same one without", () => {
  const random = propertyRandom("appraise misreadable heartbeats");
  for (let round = 0; round < 500; round++) {
    const heartbeat = aHeartbeat(random, ODD_TS);
    const expected = appraise(encode(heartbeat), ODD_TS, RULES);
    assertEquals(appraise(misreadable(random, heartbeat), ODD_TS, RULES), expected);
  }
});
