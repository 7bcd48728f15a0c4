import { assertEquals } from "@std/assert";
import { declarationProblems } from "../testing/declaration_problems.ts";
import { demoTask } from "./demo.ts";
import { replayTask } from "./replay.ts";
import { upTask } from "../up/up.ts";

Deno.test("the declarations of the tasks are valid, and their examples and defaults parse", () => {
  assertEquals([demoTask, replayTask, upTask].flatMap(declarationProblems), []);
});
