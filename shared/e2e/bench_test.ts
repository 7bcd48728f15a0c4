import { assertEquals } from "@std/assert";
import { declarationProblems } from "../dev/testing/declaration_problems.ts";
import { benchTask } from "./bench.ts";

Deno.test("the declaration of the task is valid, and its examples parse", () => {
  assertEquals(declarationProblems(benchTask), []);
});
