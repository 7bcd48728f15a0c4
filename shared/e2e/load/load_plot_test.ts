import { assertEquals, assertStringIncludes } from "@std/assert";
import { loadPlotSvg, type PlotPanel } from "./load_plot.ts";

Deno.test("a gap interrupts a line, and a logarithmic panel has powers of ten", () => {
  const svg = drawn([{
    title: "latency, ms",
    isLogarithmic: true,
    series: [{ name: "p99 <due>", points: [[0, 1], [1, 10], [2, undefined], [3, 100], [4, 100]] }],
  }]);
  assertEquals(svg.match(/<polyline/g)?.length, 2);
  for (const text of [">1<", ">10<", ">100<", "p99 &lt;due>", "latency, ms"]) {
    assertStringIncludes(svg, text);
  }
});

Deno.test("dots are at their seconds, and every number is finite", () => {
  const svg = drawn([
    { title: "alerts, s", series: [{ name: "a", isDots: true, points: [[5, 2], [6, undefined]] }] },
    { title: "nothing", series: [{ name: "b", points: [] }] },
    { title: "all zero", isLogarithmic: true, series: [{ name: "c", points: [[0, 0], [1, 0]] }] },
  ]);
  assertEquals(svg.match(/<circle/g)?.length, 1);
  assertEquals(/NaN|Infinity/.test(svg), false);
});

function drawn(panels: readonly PlotPanel[]): string {
  return loadPlotSvg({ title: "a load", subtitle: "of a test", seconds: 10, panels });
}
