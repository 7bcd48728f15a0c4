import { assert, assertEquals } from "@std/assert";
import { declarationProblems } from "../../dev/testing/declaration_problems.ts";
import { captureIo } from "../../process/cli/io.ts";
import { detectionBench } from "./detection_bench.ts";

Deno.test("the bench is declared well, its examples are read", () => {
  assertEquals(declarationProblems(detectionBench), []);
});

Deno.test("a scenario is run and reported, as tables and as JSON", async () => {
  const args = ["--scenario", "mad-clocks", "--seeds", "1"];
  const { io, out } = captureIo();
  assertEquals(await detectionBench.prepare(args)(io), 0);
  const row = out().split("\n").find((line) => line.startsWith("mad-clocks"));
  assert(row !== undefined && /\d/.test(row), out());
  const json = captureIo();
  assertEquals(await detectionBench.prepare([...args, "--json"])(json.io), 0);
  const { scenarios, totals } = JSON.parse(json.out());
  assertEquals(scenarios[0].results.live.incidents, 1);
  assertEquals([totals.live.recall, totals["fixed 5 %"].recall], [1, 0]);
});
