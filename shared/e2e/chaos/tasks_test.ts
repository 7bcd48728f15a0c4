import { assertEquals } from "@std/assert";
import { declarationProblems } from "../../dev/testing/declaration_problems.ts";
import { chaosTask } from "./chaos.ts";
import { soakTask } from "./soak.ts";

Deno.test("the declarations of the tasks are valid, and their examples and defaults parse", () => {
  assertEquals([chaosTask, soakTask].flatMap(declarationProblems), []);
});
