import { assertEquals } from "@std/assert";
import { declarationProblems } from "../../dev/testing/declaration_problems.ts";
import { loadTask } from "./load.ts";

Deno.test("the declaration of the task is valid, and its examples and defaults parse", () => {
  assertEquals(declarationProblems(loadTask), []);
});
