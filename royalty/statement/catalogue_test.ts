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

Deno.test("two or three columns, either line end, with or without the last one", () => {
  assertEquals(entries("title_id,studio\na,Acme\nb,Beta"), [
    ["a", "Acme", undefined],
    ["b", "Beta", undefined],
  ]);
  assertEquals(entries("\uFEFFtitle_id,studio,title_name\r\na,Acme,\r\nb,Beta,The B\r\n"), [
    ["a", "Acme", undefined],
    ["b", "Beta", "The B"],
  ]);
});

Deno.test("quoted fields hold commas, quotes and nothing else's meaning", () => {
  assertEquals(entries('title_id,studio\n"a,1","Acme ""A"", Inc"\n'), [
    ["a,1", 'Acme "A", Inc', undefined],
  ]);
});

Deno.test("every bad row is named by its first line and a reason", () => {
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

Deno.test("what is no catalogue at all says so", () => {
  assertEquals(badRows(""), [{ line: 1, reason: "the file is empty" }]);
  assertEquals(badRows("title_id,studio\n"), [{ line: 2, reason: "there are no titles" }]);
  assertEquals(badRows("a;b\nc;d")[0]?.line, 1);
  assertEquals(badRows('"').length, 1);
});

Deno.test("a large quoted field is no trouble", () => {
  const name = "n".repeat(1_000_000);
  assertEquals(badRows(`title_id,studio,title_name\na,Acme,"${name}"\n`), [{
    line: 2,
    reason: "title_name must be at most 256 characters, none of them a control character",
  }]);
});
