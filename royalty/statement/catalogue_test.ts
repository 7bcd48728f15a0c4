import { assertEquals } from "@std/assert";
import { type BadRow, parseCatalogue } from "./catalogue.ts";

function entries(text: string) {
  const parsed = parseCatalogue(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.badRows));
  return parsed.entries.map(({ titleId, studio, titleName }) => [titleId, studio, titleName]);
}

function badRows(text: string): readonly BadRow[] {
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
    "6: title_id good is already on line 2",
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
