import { assertEquals } from "@std/assert";
import { declarationProblems } from "../shared/dev/testing/declaration_problems.ts";
import { triageTask } from "./cli.ts";

Deno.test("the commands are declared well, their examples and defaults are read", () => {
  assertEquals(declarationProblems(triageTask), []);
});
