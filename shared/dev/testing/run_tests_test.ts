import { assertEquals } from "@std/assert";
import { runCommandLine } from "../../process/cli/run.ts";
import { captureIo } from "../../process/cli/io.ts";
import { declarationProblems } from "./declaration_problems.ts";
import { filesBelow } from "./module_graph.ts";
import { casesOf, START_FIRST, TEST_TASKS } from "./run_tests.ts";

Deno.test("the tasks have help, and a wrong command line runs nothing", async () => {
  for (const task of Object.values(TEST_TASKS)) {
    // The rule of names is for commands; the name of a task may have a colon.
    assertEquals(declarationProblems({ ...task, name: task.name.replace(":", "-") }), []);
    const help = captureIo();
    assertEquals(await runCommandLine(task, ["royalty", "--help"], help.io), 0);
    assertEquals(help.out().split("\n")[0]?.startsWith(`usage: deno task ${task.name}`), true);
    const wrong = captureIo();
    assertEquals(await runCommandLine(task, ["--fast"], wrong.io), 2);
    assertEquals(wrong.err().includes(`usage: deno task ${task.name}`), true);
  }
  const { io } = captureIo();
  assertEquals(await runCommandLine(TEST_TASKS.unit, ["no_such_folder"], io), 2);
});

Deno.test("the tests of a report are read, and steps are part of their test", () => {
  const xml = `<testsuite name="./a_test.ts">
    <testcase name="a &lt;b&gt;" classname="./a_test.ts" time="1.5" line="1" col="6">
      <failure message="1 test step failed">1 test step failed.</failure>
    </testcase>
    <testcase name="b" classname="./a_test.ts" time="0.25" line="2" col="6">
    </testcase>
    <testcase name="a &lt;b&gt; &gt; step" classname="./a_test.ts" time="1.4" line="1" col="9">
      <failure message="Uncaught">Error</failure>
    </testcase>
    <testcase name="b" classname="./b_test.ts" time="0.000"/>
  </testsuite>`;
  assertEquals(casesOf(xml), [
    { file: "a_test.ts", name: "a <b>", seconds: 1.5, hasFailed: true },
    { file: "a_test.ts", name: "b", seconds: 0.25, hasFailed: false },
    { file: "b_test.ts", name: "b", seconds: 0, hasFailed: false },
  ]);
});

Deno.test("the files that start first exist", async () => {
  const files = await filesBelow("");
  assertEquals(START_FIRST.filter((path) => !files.includes(path)), []);
});
