import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { attachment, etagOf, negotiate, type Transfer } from "./download.ts";

const FILE = { tag: "c0ffee", bytes: 1000 };
const WHOLE: Transfer = { kind: "whole", encoding: "identity" };
const GZIP: Transfer = { kind: "whole", encoding: "gzip" };
const UNSATISFIABLE: Transfer = { kind: "unsatisfiable" };
const part = (first: number, last: number): Transfer => ({ kind: "part", first, last });

function ask(headers: Record<string, string>, method = "GET"): Transfer {
  return negotiate(method, (name) => headers[name], FILE);
}

Deno.test("ranges follow RFC 9110 section 14", () => {
  const cases: readonly [string, Transfer][] = [
    ["bytes=0-0", part(0, 0)],
    ["bytes=0-499", part(0, 499)],
    ["bytes=500-", part(500, 999)],
    ["bytes=-500", part(500, 999)],
    ["bytes=-5000", part(0, 999)],
    ["bytes=990-5000", part(990, 999)],
    ["BYTES=1-2", part(1, 2)],
    ["bytes=1000-", UNSATISFIABLE],
    ["bytes=5000-6000", UNSATISFIABLE],
    ["bytes=-0", UNSATISFIABLE],
    // Malformed, another unit or several ranges: ignored, as the standard allows.
    ["bytes=5-4", WHOLE],
    ["bytes=-", WHOLE],
    ["bytes=a-b", WHOLE],
    ["lines=1-2", WHOLE],
    ["bytes=0-1,5-9", WHOLE],
    ["0-5", WHOLE],
  ];
  for (const [range, expected] of cases) assertEquals(ask({ range }), expected, range);
});

Deno.test("a range needs a GET and, with If-Range, the current ETag", () => {
  const range = "bytes=10-";
  assertEquals(ask({ range }, "HEAD"), WHOLE);
  assertEquals(ask({ range, "if-range": '"c0ffee"' }), part(10, 999));
  assertEquals(ask({ range, "if-range": '"decaf"' }), WHOLE);
  // A weak ETag may be of gzip, and there is no Last-Modified, so neither resumes.
  assertEquals(ask({ range, "if-range": 'W/"c0ffee"' }), WHOLE);
  assertEquals(ask({ range, "if-range": "Sun, 22 Nov 2026 10:00:00 GMT" }), WHOLE);
});

Deno.test("ranges are of the stored bytes, also when gzip is accepted", () => {
  const headers = { "accept-encoding": "gzip", range: "bytes=10-19" };
  assertEquals(ask(headers), part(10, 19));
  assertEquals(ask({ ...headers, "if-range": '"decaf"' }), GZIP);
});

Deno.test("If-None-Match with the current ETag gives unchanged, before any range", () => {
  for (
    const known of ['"c0ffee"', 'W/"c0ffee"', '"a", "c0ffee" , W/"b"', "*", '"a,b","c0ffee"']
  ) {
    assertEquals(ask({ "if-none-match": known }), { kind: "unchanged" }, known);
    assertEquals(ask({ "if-none-match": known, range: "bytes=0-1" }), { kind: "unchanged" });
    assertEquals(ask({ "if-none-match": known }, "HEAD"), { kind: "unchanged" });
  }
  for (const other of ['"decaf"', "c0ffee", '"c0ffee', ""]) {
    assertEquals(ask({ "if-none-match": other }), WHOLE, other);
  }
});

Deno.test("gzip is used when the client accepts and prefers it", () => {
  for (const accept of ["gzip", "br, GZIP;q=0.5", "*", "deflate, gzip;q=1.0, *;q=0.5", "x-gzip"]) {
    assertEquals(ask({ "accept-encoding": accept }), GZIP, accept);
  }
  for (
    const accept of [
      "",
      "identity",
      "br",
      "gzip;q=0",
      "*;q=0",
      "gzip;q=0.5, identity;q=1",
      "gzip;q=x",
    ]
  ) {
    assertEquals(ask({ "accept-encoding": accept }), WHOLE, accept);
  }
  assertEquals(etagOf(FILE), '"c0ffee"');
  assertEquals(etagOf(FILE, "gzip"), 'W/"c0ffee"');
});

Deno.test("every well-formed range equals Array.slice, or is unsatisfiable", () => {
  const random = propertyRandom("ranges against Array.slice");
  for (let i = 0; i < 5_000; i++) {
    const bytes = random.int(1, 40);
    const content = Array.from({ length: bytes }, (_, at) => at);
    const [from, to] = [random.int(0, 60), random.int(0, 60)];
    const form = random.pick(["both", "open", "suffix"]);
    const range = `bytes=${form === "suffix" ? "" : from}-${form === "open" ? "" : to}`;
    const naive = form === "suffix"
      ? (to === 0 ? [] : content.slice(-to))
      : content.slice(from, form === "open" ? undefined : to + 1);
    const [first, last] = [naive.at(0), naive.at(-1)];
    const got = negotiate("GET", (name) => name === "range" ? range : undefined, {
      tag: "t",
      bytes,
    });
    if (form === "both" && to < from) assertEquals(got, WHOLE, range);
    else if (first === undefined || last === undefined) assertEquals(got, UNSATISFIABLE, range);
    else assertEquals(got, part(first, last), `${range} of ${bytes}`);
  }
});

Deno.test("a file name with any characters is encoded in Content-Disposition", () => {
  assertEquals(attachment("a-1.csv"), 'attachment; filename="a-1.csv"');
  assertEquals(
    attachment('Ünit "A"/*.csv'),
    `attachment; filename="_nit__A___.csv"; filename*=UTF-8''%C3%9Cnit%20%22A%22%2F%2A.csv`,
  );
  assert(!/[\r\n]/.test(attachment("a\r\nset-cookie: b")));
});
