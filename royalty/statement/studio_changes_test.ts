import { assertEquals } from "@std/assert";
import type { StatementLine } from "./statement_csv.ts";
import { movedLines, studioChanges } from "./studio_changes.ts";

function line(titleId: string, studio: string | undefined, msWatched: bigint): StatementLine {
  const day = "2026-11-22";
  const paid = { recognisedDay: day, eventDay: day, territory: "de", events: 1n };
  return { ...paid, titleId, studio, msWatched };
}

Deno.test("studios whose sums differ are named, with both sums", () => {
  const before = [line("a", "Acme", 5n), line("b", "Acme", 7n), line("c", undefined, 11n)];
  const after = [line("a", "Acme", 5n), line("b", "Beta", 7n), line("c", "Acme", 11n)];
  const sums = (studio: string, events: [bigint, bigint], ms: [bigint, bigint]) => ({
    ...{ studio, eventDay: "2026-11-22", eventsBefore: events[0], eventsAfter: events[1] },
    ...{ msBefore: ms[0], msAfter: ms[1] },
  });
  assertEquals(studioChanges(before, after), [
    sums("Acme", [2n, 2n], [12n, 16n]),
    sums("Beta", [0n, 1n], [0n, 7n]),
    sums("UNMAPPED", [1n, 0n], [11n, 0n]),
  ]);
  assertEquals(movedLines(before, after), 2);
  assertEquals(studioChanges(before, before), []);
});

Deno.test("two titles that change places are moved, though no sum changes", () => {
  const before = [line("a", "Acme", 5n), line("b", "Beta", 5n)];
  const after = [line("a", "Beta", 5n), line("b", "Acme", 5n)];
  assertEquals([studioChanges(before, after), movedLines(before, after)], [[], 2]);
});
