import { assert, assertEquals } from "@std/assert";
import { parseCsv } from "../../shared/dev/testing/csv.ts";
import { provisionalCsv } from "./provisional.ts";
import { statementCsv, type StatementLine } from "../statement/statement_csv.ts";

const AS_OF = Date.UTC(2026, 10, 23, 10);
const LINE: StatementLine = {
  recognisedDay: "2026-11-23",
  eventDay: "2026-11-22",
  studio: 'Acme, "Inc"',
  titleId: "=title",
  territory: "de",
  events: 3n,
  msWatched: 90_000n,
};

function csv(lines: readonly StatementLine[]): string {
  return new TextDecoder().decode(provisionalCsv(lines, AS_OF));
}

Deno.test("a provisional line is a statement line with a mark and an instant in front", () => {
  assertEquals(
    csv([LINE]),
    "provisional,as_of,line_type,recognised_day,event_day,studio,title_id,territory,events," +
      "ms_watched,minutes\r\n" +
      "PROVISIONAL,2026-11-23T10:00:00.000Z,ADJUSTMENT,2026-11-23,2026-11-22," +
      `"Acme, ""Inc""",'=title,de,3,90000,1.500\r\n`,
  );
});

Deno.test("an empty provisional file has another header than a statement", () => {
  assertEquals(csv([]), `provisional,as_of,${new TextDecoder().decode(statementCsv([]))}`);
});

Deno.test("every line is marked PROVISIONAL", () => {
  const lines = Array.from({ length: 50 }, (_, i) => ({ ...LINE, titleId: `title-${i}` }));
  const records = parseCsv(csv(lines));
  assertEquals(records.length, 50);
  assert(records.every(({ values }) => values.provisional === "PROVISIONAL"));
});
