import { assertEquals } from "@std/assert";
import { declarationProblems } from "../shared/dev/testing/declaration_problems.ts";
import { triageTask } from "./cli.ts";

Deno.test("the declarations are valid, and their examples and defaults parse", () => {
  assertEquals(declarationProblems(triageTask), []);
});
