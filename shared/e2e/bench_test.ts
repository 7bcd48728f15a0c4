import { assertEquals } from "@std/assert";
import { declarationProblems } from "../dev/testing/declaration_problems.ts";
import { benchTask } from "./bench.ts";

Deno.test("the task is declared well, its examples are read", () => {
  assertEquals(declarationProblems(benchTask), []);
});
