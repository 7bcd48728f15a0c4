import { assertEquals } from "@std/assert";
import { casesOf } from "./run_tests.ts";

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
