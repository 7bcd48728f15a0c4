import { assertEquals } from "@std/assert";
import { declarationProblems } from "../dev/testing/declaration_problems.ts";
import { provisionTask } from "./main.ts";

Deno.test("the declaration is valid, and its examples parse", () => {
  assertEquals(declarationProblems(provisionTask), []);
});
