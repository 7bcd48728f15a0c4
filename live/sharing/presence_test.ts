import { assert, assertEquals } from "@std/assert";
import { shareOf } from "./presence.ts";

const STREAMS = ["A", "B", "C", "D"];

Deno.test("every stream is in the share of exactly one process, and shares differ by one at most", () => {
  for (let count = 1; count <= 6; count++) {
    const processes = Array.from({ length: count }, (_, i) => `p${i}`);
    const shares = processes.map((id) => shareOf(STREAMS, processes, id));
    assertEquals(shares.flat().sort(), STREAMS);
    const sizes = shares.map(({ length }) => length);
    assert(Math.max(...sizes) - Math.min(...sizes) <= 1, `${sizes}`);
  }
});

Deno.test("a process that nobody has heard of reads nothing", () => {
  assertEquals(shareOf(STREAMS, ["p0"], "p1"), []);
});
