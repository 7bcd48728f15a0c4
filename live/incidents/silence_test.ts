import { assert, assertEquals } from "@std/assert";
import {
  isAlertPattern,
  MAX_SILENCE_MS,
  type Silence,
  silenceSchema,
  silenceState,
  suppressionOf,
} from "./silence.ts";

const SILENCE: Silence = {
  v: 1,
  id: "a1",
  subject: "alerts.*.de.>",
  from: 1_000,
  until: 2_000,
  by: "ada",
  reason: "upgrade",
  created_at: 500,
};

Deno.test("a silence begins at from and is over at until", () => {
  const states = [999, 1_000, 1_999, 2_000].map((nowMs) => silenceState(SILENCE, nowMs));
  assertEquals(states, ["planned", "active", "active", "over"]);
});

Deno.test("a silence suppresses the subjects of its pattern, the one that ends last first", () => {
  const longer = { ...SILENCE, id: "a2", until: 3_000 };
  const suppressed = (subject: string, nowMs: number) =>
    suppressionOf([SILENCE, longer, SILENCE], subject, nowMs)?.silence_id;
  assertEquals(suppressed("alerts.rebuffer.de.t", 1_000), "a2");
  assertEquals(suppressed("alerts.cohort.de.cdn.c", 2_500), "a2");
  assertEquals(suppressed("alerts.rebuffer.br.t", 1_000), undefined);
  assertEquals(suppressed("alerts.rebuffer._.t", 1_000), undefined);
  assertEquals(suppressed("alerts.rebuffer.de.t", 3_000), undefined);
});

Deno.test("only patterns of alerts are silences, for at most 30 days", () => {
  for (const good of ["alerts.>", "alerts.rebuffer.*.t%20x", "alerts.pipeline.no-data"]) {
    assert(isAlertPattern(good), good);
  }
  const bad = ["", ">", "*.rebuffer.>", "alerts", "alerts.", "alerts..x", "alerts.>.x"];
  for (const each of [...bad, "alerts.a*", "alerts.a b", "alerts.*x", "hb.>", "alerts.ü"]) {
    assert(!isAlertPattern(each), each);
  }
  assert(silenceSchema.safeParse(SILENCE).success);
  const until = SILENCE.from + MAX_SILENCE_MS + 1;
  assert(!silenceSchema.safeParse({ ...SILENCE, until }).success);
  assert(!silenceSchema.safeParse({ ...SILENCE, subject: "hb.>" }).success);
});
