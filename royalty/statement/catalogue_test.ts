import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { parseCatalogue, type RowNote } from "./catalogue.ts";

function entries(text: string) {
  const parsed = parseCatalogue(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.badRows));
  return parsed.rights.map(({ titleId, studio, titleName }) => [titleId, studio, titleName]);
}

function badRows(text: string): readonly RowNote[] {
  const parsed = parseCatalogue(text);
  if (parsed.ok) throw new Error("it was accepted");
  return parsed.badRows;
}

Deno.test("a catalogue has two or three columns and either line end; the last may be missing", () => {
  assertEquals(entries("title_id,studio\na,Acme\nb,Beta"), [
    ["a", "Acme", undefined],
    ["b", "Beta", undefined],
  ]);
  assertEquals(entries("\uFEFFtitle_id,studio,title_name\r\na,Acme,\r\nb,Beta,The B\r\n"), [
    ["a", "Acme", undefined],
    ["b", "Beta", "The B"],
  ]);
});

Deno.test("quoted fields may contain commas and quotes", () => {
  assertEquals(entries('title_id,studio\n"a,1","Acme ""A"", Inc"\n'), [
    ["a,1", 'Acme "A", Inc', undefined],
  ]);
});

Deno.test("every bad row is reported with its first line and a reason", () => {
  const text = [
    "title_id,studio",
    "good,Acme",
    "alone",
    '"two',
    'lines",Acme',
    "good,Beta",
    ",Acme",
    "x,UNMAPPED",
    "y, Acme",
    'z,"open',
  ].join("\n");
  assertEquals(badRows(text).map(({ line, reason }) => `${line}: ${reason}`), [
    "3: expected 2 fields, came 1",
    "4: title_id must be 1 to 64 characters, none of them a control character",
    "6: title_id good in every territory has a right of all days on line 2 already",
    "7: title_id must be 1 to 64 characters, none of them a control character",
    "8: studio UNMAPPED is what unknown titles get; name a studio",
    "9: studio must be 1 to 128 characters without control characters or outer spaces",
    "10: a quote is in the wrong place or not closed",
  ]);
});

Deno.test("an empty file, no titles and a wrong header are reported", () => {
  assertEquals(badRows(""), [{ line: 1, reason: "the file is empty" }]);
  assertEquals(badRows("title_id,studio\n"), [{ line: 2, reason: "there are no titles" }]);
  assertEquals(badRows("a;b\nc;d")[0]?.line, 1);
  assertEquals(badRows('"').length, 1);
});

Deno.test("a quoted field of a megabyte is parsed", () => {
  const name = "n".repeat(1_000_000);
  assertEquals(badRows(`title_id,studio,title_name\na,Acme,"${name}"\n`), [{
    line: 2,
    reason: "title_name must be at most 256 characters, none of them a control character",
  }]);
});

const HEADER = "title_id,territory,studio,from,to";

function rights(...rows: string[]) {
  const parsed = parseCatalogue([HEADER, ...rows].join("\n"));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.badRows));
  return parsed;
}

function notes(...rows: string[]): string[] {
  return badRows([HEADER, ...rows].join("\n")).map(({ line, reason }) => `${line}: ${reason}`);
}

Deno.test("a right has a territory and days, and both may be open", () => {
  const { rights: parsed, holes } = rights(
    "a,de,Acme,2026-01-01,2026-06-30",
    "a,de,Beta,2026-07-01,",
    "a,fr,Acme,,",
    "b,all,Acme,,2026-12-31",
    "b,*,Beta,2027-01-01,",
    "c,,Acme,,",
  );
  assertEquals(parsed.map(({ territory, from, to }) => [territory, from, to]), [
    ["de", "2026-01-01", "2026-06-30"],
    ["de", "2026-07-01", "infinity"],
    ["fr", "-infinity", "infinity"],
    ["*", "-infinity", "2026-12-31"],
    ["*", "2027-01-01", "infinity"],
    ["*", "-infinity", "infinity"],
  ]);
  assertEquals(holes, []);
});

Deno.test("rows without a day, a territory or an order are reported", () => {
  assertEquals(
    notes(
      "a,DE,Acme,,",
      "b,de,Acme,2026-02-30,",
      "c,de,Acme,,tomorrow",
      "d,de,Acme,2026-02-02,2026-02-01",
      "e,de,Acme,2026-02-02,2026-02-02",
      "f,de,Acme",
    ),
    [
      '2: territory "DE" is none that a heartbeat can name: 2 to 32 of a-z, 0-9 and -, or * for all',
      '3: from "2026-02-30" is not a day, YYYY-MM-DD, nor empty',
      '4: to "tomorrow" is not a day, YYYY-MM-DD, nor empty',
      "5: from 2026-02-02 is after to 2026-02-01",
      "7: expected 5 fields, came 3",
    ],
  );
  const known = parseCatalogue(`${HEADER}\na,de,Acme,,\na,xx,Acme,,`, new Set(["de"]));
  assertEquals(known, {
    ok: false,
    badRows: [{ line: 3, reason: "territory xx is not in TWOFOLD_TERRITORIES" }],
  });
});

Deno.test("two rights to one title, territory and day are reported, everywhere included", () => {
  assertEquals(
    notes(
      "a,de,Acme,2026-01-01,2026-06-30",
      "a,de,Beta,2026-06-30,",
      "b,*,Acme,,2026-06-30",
      "b,de,Beta,2026-06-01,2026-06-02",
      "b,fr,Beta,2026-07-01,",
      "c,de,Acme,2026-03-01,2026-03-31",
      "c,de,Acme,,2026-12-31",
      "c,de,Acme,2026-12-31,2027-01-01",
      // In one territory the last row leaves a hole, in the other it overlaps.
      "d,de,Acme,2026-01-01,2026-01-01",
      "d,fr,Acme,2026-01-05,2026-01-07",
      "d,*,Acme,2026-01-04,2026-01-06",
    ),
    [
      "3: title_id a in de has a right of 2026-06-30 on line 2 already",
      "5: title_id b in de has a right of 2026-06-01 on line 4 already",
      "8: title_id c in de has a right of 2026-03-01 on line 7 already",
      "9: title_id c in de has a right of 2026-12-31 on line 8 already",
      "12: title_id d in fr has a right of 2026-01-05 on line 11 already",
    ],
  );
});

Deno.test("days without a right between two rights are named", () => {
  const { holes } = rights(
    "a,de,Acme,2026-01-01,2026-06-29",
    "a,de,Beta,2026-07-01,",
    "b,*,Acme,,2026-06-30",
    "b,de,Beta,2026-07-03,2026-07-31",
    "c,de,Acme,,2026-06-30",
    "c,fr,Beta,2027-01-01,",
  );
  assertEquals(holes, [
    {
      line: 3,
      reason: "title_id a in de has no right from 2026-06-30 to the day before 2026-07-01",
    },
    {
      line: 5,
      reason: "title_id b in de has no right from 2026-07-01 to the day before 2026-07-03",
    },
  ]);
});

Deno.test("no day of a catalogue that is accepted belongs to two studios", () => {
  const random = propertyRandom("catalogue");
  for (let run = 0; run < 300; run++) {
    const rows = Array.from({ length: random.int(1, 6) }, () => {
      const [from, to] = [0, 1].map(() => `2026-01-${String(random.int(1, 9)).padStart(2, "0")}`);
      const days = random.chance(0.2) ? "," : `${from},${to}`;
      return `${random.pick(["a", "b"])},${random.pick(["*", "de", "fr"])},S,${days}`;
    });
    const parsed = parseCatalogue([HEADER, ...rows].join("\n"));
    const twice = everyDayTwice(rows);
    if (parsed.ok) assertEquals(twice, false, rows.join("; "));
    else if (!rows.some(isBackwards)) assert(twice, rows.join("; "));
  }
});

function isBackwards(row: string): boolean {
  const [, , , from = "", to = ""] = row.split(",");
  return from !== "" && from > to;
}

/** Whether two rows are about the same title, territory and day, by looking at every day. */
function everyDayTwice(rows: readonly string[]): boolean {
  for (const title of ["a", "b"]) {
    for (const territory of ["de", "fr", "*"]) {
      for (let day = 1; day <= 9; day++) {
        const date = `2026-01-0${day}`;
        const paid = rows.map((row) => row.split(",")).filter(([t, where, , from = "", to = ""]) =>
          t === title && (where === "*" || where === territory) && from <= date &&
          (to === "" || to >= date)
        );
        if (paid.length > 1) return true;
      }
    }
  }
  return false;
}
