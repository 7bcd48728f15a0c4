import { assertEquals } from "@std/assert";
import { History } from "./sessions_history.ts";

Deno.test("a look back over the edge of a minute loses no played time", () => {
  const history = new History(1);
  history.addPlayed(0, 55_000, 10_000);
  history.addPlayed(0, 60_500, 10_000);
  const before = history.playedWithin60s(0, 60_600);
  history.playedWithin60s(0, 59_900);
  assertEquals(history.playedWithin60s(0, 60_600), before);
});
