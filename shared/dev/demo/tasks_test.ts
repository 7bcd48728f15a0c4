import { assertEquals } from "@std/assert";
import { declarationProblems } from "../testing/declaration_problems.ts";
import { demoTask } from "./demo.ts";
import { replayTask } from "./replay.ts";
import { upTask } from "./up.ts";

Deno.test("the tasks are declared well, their examples and defaults are read", () => {
  assertEquals([demoTask, replayTask, upTask].flatMap(declarationProblems), []);
});
