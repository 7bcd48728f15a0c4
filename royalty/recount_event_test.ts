import { assert, assertEquals } from "@std/assert";
import { encode } from "../shared/dev/heartbeats.ts";
import { ODD_TS, oddHeartbeat, oddHeartbeats } from "../shared/dev/odd_heartbeats.ts";
import { propertyRandom } from "../shared/dev/random.ts";
import { heartbeatSchema } from "../shared/event.ts";
import { appraise } from "./recount_event.ts";

const ROUNDS = 4_000;
const RULES = { latenessHorizonMs: 7 * 86_400_000, futureToleranceMs: 300_000 };

Deno.test("a heartbeat is valid if the schema says so, whatever its values", () => {
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
