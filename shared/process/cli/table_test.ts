import { assert, assertEquals, assertThrows } from "@std/assert";
import { propertyRandom } from "../../dev/testing/random.ts";
import { left, renderPairs, renderTable, right, safeText, truncated, widthOf } from "./table.ts";

const lines = (...text: readonly string[]) => text.join("\n");

Deno.test("columns are aligned left or right, without trailing spaces", () => {
  const columns = [left("stream"), right("counted"), left("note")];
  assertEquals(
    renderTable(columns, [["HEARTBEATS", "7", ""], ["H2", "12345678", "behind"]]),
    lines(
      "stream       counted  note",
      "HEARTBEATS         7",
      "H2          12345678  behind",
    ),
  );
});

Deno.test("a table without rows is its headings, or the text for empty tables", () => {
  assertEquals(renderTable([left("a"), right("b")], []), "a  b");
  assertEquals(renderTable([left("a")], [], "the quarantine is empty"), "the quarantine is empty");
  assertEquals(renderTable([left("a")], [["x"]], "not shown"), "a\nx");
  assertEquals(renderTable([], []), "");
});

Deno.test("pairs are aligned without headings, and escaped", () => {
  assertEquals(
    renderPairs([["edge", "http://a"], ["postgres", "b\x1b[2J"], ["none", ""]]),
    lines("edge      http://a", "postgres  b\\u{1b}[2J", "none"),
  );
  assertEquals(renderPairs([]), "");
});

Deno.test("a row with another number of cells is refused", () => {
  assertThrows(() => renderTable([left("a")], [["x"], []]), RangeError, "row 1 has 0 cells for 1");
  assertThrows(() => renderTable([left("a")], [["x", "y"]]), RangeError, "row 0 has 2 cells");
});

Deno.test("wide characters are two columns", () => {
  assertEquals(["", "aé", "映画", "ｱ", "Ａ", "🎬a", "한"].map(widthOf), [0, 2, 4, 1, 2, 3, 2]);
  assertEquals(
    renderTable([left("t"), right("n")], [["映画", "1"], ["🎬", "2"], ["abcd", "3"]]),
    lines("t     n", "映画  1", "🎬    2", "abcd  3"),
  );
});

Deno.test("long cells and headings are truncated with an ellipsis", () => {
  assertEquals(truncated("abcdef", 6), "abcdef");
  assertEquals(truncated("abcdef", 4), "abc…");
  assertEquals(truncated("abcdef", 1), "…");
  // The second wide character does not fit beside the ellipsis.
  assertEquals(truncated("映画館", 4), "映…");
  assertEquals(
    renderTable([left("description", 5), right("n")], [["aaaaaaaaa", "1"], ["b", "22"]]),
    lines("desc…   n", "aaaa…   1", "b      22"),
  );
});

Deno.test("control characters are escaped, other characters are unchanged", () => {
  assertEquals(safeText("\u001b[31mred\u0000\r\n"), "\\u{1b}[31mred\\u{0}\\u{d}\\u{a}");
  assertEquals(
    safeText("a\u202eb\u2028c\ufeffd\u009be"),
    "a\\u{202e}b\\u{2028}c\\u{feff}d\\u{9b}e",
  );
  assertEquals(safeText("Übertragung 映画 🎬"), "Übertragung 映画 🎬");
  assertEquals(safeText("\ud800"), "\\u{d800}");
});

Deno.test("a table of hostile text has one line per row and no control characters", () => {
  const random = propertyRandom("hostile cells");
  const cell = () =>
    String.fromCodePoint(...Array.from({ length: random.int(0, 12) }, () => {
      return random.pick([random.int(0, 0x2f), random.int(0, 0xffff), random.int(0, 0x10ffff)]);
    }));
  for (let i = 0; i < 500; i++) {
    const rows = Array.from({ length: random.int(0, 5) }, () => [cell(), cell()]);
    const text = renderTable([left(cell(), random.int(1, 9)), right(cell())], rows);
    const shown = text.split("\n");
    assertEquals(shown.length, rows.length + 1);
    for (const line of shown) {
      assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(line), JSON.stringify(line));
      assertEquals(safeText(line), line);
    }
  }
});
