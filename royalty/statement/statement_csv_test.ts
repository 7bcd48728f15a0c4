import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { csvText, minutesOf, statementCsv, type StatementLine } from "./statement_csv.ts";

const LINE: StatementLine = {
  recognisedDay: "2026-11-22",
  eventDay: "2026-11-22",
  studio: "Acme",
  titleId: "title-1",
  territory: "de",
  events: 3n,
  msWatched: 90_000n,
};

const HEADER =
  "line_type,recognised_day,event_day,studio,title_id,territory,events,ms_watched,minutes\r\n";

function csv(lines: readonly StatementLine[]): string {
  return new TextDecoder().decode(statementCsv(lines));
}

Deno.test("the statement of an empty day is the header alone", () => {
  assertEquals(csv([]), HEADER);
});

Deno.test("lines have both days, and a late one is an ADJUSTMENT", () => {
  const late = { ...LINE, eventDay: "2026-11-20", studio: undefined };
  assertEquals(
    csv([LINE, late]),
    HEADER +
      "USAGE,2026-11-22,2026-11-22,Acme,title-1,de,3,90000,1.500\r\n" +
      "ADJUSTMENT,2026-11-22,2026-11-20,UNMAPPED,title-1,de,3,90000,1.500\r\n",
  );
});

Deno.test("a statement of thousands of lines keeps all of them in order", () => {
  const lines = Array.from({ length: 12_345 }, (_, i) => ({ ...LINE, titleId: `影-${i}` }));
  assertEquals(csv(lines), HEADER + lines.map((line) => csv([line]).slice(HEADER.length)).join(""));
});

Deno.test("minutes are rounded half up, exactly beyond the safe integers too", () => {
  assertEquals(minutesOf(0n), "0.000");
  assertEquals(minutesOf(29n), "0.000");
  assertEquals(minutesOf(30n), "0.001");
  assertEquals(minutesOf(60_000n), "1.000");
  assertEquals(minutesOf(59_970n), "1.000");
  assertEquals(minutesOf(59_969n), "0.999");
  assertEquals(minutesOf(9_007_199_254_740_993n * 60_000n), "9007199254740993.000");
});

Deno.test("minutes differ from the milliseconds by at most half a thousandth", () => {
  const random = propertyRandom("minutes against exact fractions");
  for (let i = 0; i < 5_000; i++) {
    const ms = BigInt(random.int(0, 2 ** 40)) * BigInt(random.int(1, 2 ** 20));
    const [whole = "", decimals = ""] = minutesOf(ms).split(".");
    const thousandths = BigInt(whole) * 1000n + BigInt(decimals);
    const difference = thousandths * 60n - ms;
    assertEquals(decimals.length, 3);
    assert(difference > -30n && difference <= 30n, `${ms}`);
  }
});

Deno.test("text is quoted for CSV readers, and formulas are escaped for spreadsheets", () => {
  assertEquals(csvText("plain"), "plain");
  assertEquals(csvText("Acme, Inc"), '"Acme, Inc"');
  assertEquals(csvText('the "best"'), '"the ""best"""');
  assertEquals(csvText("two\nlines"), '"two\nlines"');
  for (const start of ["=", "+", "-", "@", "'"]) {
    assertEquals(csvText(`${start}1`), `'${start}1`);
  }
  assertEquals(csvText('=cmd|"x"'), `"'=cmd|""x"""`);
  assertEquals(csvText("a-b"), "a-b");
});
