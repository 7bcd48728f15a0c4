import { assert, assertEquals, assertThrows } from "@std/assert";
import { propertyRandom } from "../../dev/testing/random.ts";
import { snakeCased, toJson } from "./json_output.ts";

Deno.test("camelCase keys become snake_case at every depth, other keys are unchanged", () => {
  const value = { manifestSha256: 1, perMinute: [{ firstSeen: { p99Ms: 2 } }], dbURLPath: 3 };
  assertEquals(
    JSON.stringify(snakeCased(value)),
    '{"manifest_sha256":1,"per_minute":[{"first_seen":{"p99_ms":2}}],"db_url_path":3}',
  );
  const others = { last_seq: 1, TWOFOLD_X: 2, "title-A": 3, "": 4, Cased: 5 };
  assertEquals(snakeCased(others), others);
});

Deno.test("the keys of a map are unchanged", () => {
  const map = new Map<string, unknown>([["titleA", { creditedMs: 1n }], ["__proto__", 2]]);
  assertEquals(
    toJson({ byTitle: map }).replaceAll(/\s/g, ""),
    '{"by_title":{"titleA":{"credited_ms":1},"__proto__":2}}',
  );
});

Deno.test("whole numbers are numbers while they are safe, else decimal strings", () => {
  const max = Number.MAX_SAFE_INTEGER;
  assertEquals(snakeCased([1n, -5n, BigInt(max), BigInt(-max)]), [1, -5, max, -max]);
  assertEquals(snakeCased([2n ** 53n, -(2n ** 64n)]), [
    "9007199254740992",
    "-18446744073709551616",
  ]);
  assertEquals(snakeCased([2 ** 53, max, 0.25, -0]), ["9007199254740992", max, 0.25, 0]);
});

Deno.test("the text is indented, ends in a line break and omits undefined", () => {
  assertEquals(toJson({ aB: undefined, b: null, c: [] }), '{\n  "b": null,\n  "c": []\n}\n');
  assertEquals(toJson("x"), '"x"\n');
});

Deno.test("values that JSON would drop or change are refused with their path", () => {
  const refusals: readonly (readonly [unknown, string])[] = [
    [undefined, "$ is undefined"],
    [{ list: [1, undefined] }, "$.list[1] is undefined"],
    [{ sampleBytes: new Uint8Array(2) }, "$.sample_bytes is bytes"],
    [new ArrayBuffer(1), "$ is bytes"],
    [{ at: new Date(0) }, "$.at is an instance of Date"],
    [[new Set()], "$[0] is an instance of Set"],
    [new Error("x"), "$ is an instance of Error"],
    [{ run: () => 1 }, "$.run is function"],
    [{ rate: NaN }, "$.rate is NaN"],
    [-Infinity, "$ is -Infinity"],
    [new Map([[1, 2]]), "$ has a key that is a number"],
    [{ aB: 1, a_b: 2 }, "$ has two keys that become a_b"],
  ];
  for (const [value, message] of refusals) {
    assertThrows(() => snakeCased(value), TypeError, message);
    assertThrows(() => toJson(value), TypeError, message);
  }
  const loop: Record<string, unknown> = {};
  loop.inner = [loop];
  assertThrows(() => snakeCased(loop), TypeError, "$.inner[0] contains itself");
  const shared = { a: 1 };
  assertEquals(snakeCased([shared, shared]), [shared, shared]);
});

Deno.test("an object without a prototype is plain; a key named __proto__ is a key", () => {
  const bare: Record<string, unknown> = Object.create(null);
  bare.aB = 1;
  assertEquals(snakeCased(bare), { a_b: 1 });
  const hostile: unknown = JSON.parse('{"__proto__":{"x":1}}');
  assertEquals(toJson(hostile).replaceAll(/\s/g, ""), '{"__proto__":{"x":1}}');
});

Deno.test("strings keep their value and are safe on a terminal", () => {
  const text = "a\u001b[2J\u007f\u009b\u202e\u2028\ufeff\u{e0001}\n\t🎬 映画 \ud800";
  const json = toJson({ text, [text]: 1 });
  assertEquals(JSON.parse(json), { text, [text]: 1 });
  assert(json.includes("\\u009b\\u202e\\u2028\\ufeff\\udb40\\udc01\\n\\t🎬 映画 \\ud800"), json);

  const random = propertyRandom("JSON strings");
  for (let i = 0; i < 500; i++) {
    const points = Array.from({ length: random.int(0, 20) }, () => {
      return random.int(0, random.pick([0xff, 0x206f, 0xffff, 0x10ffff]));
    });
    const any = String.fromCodePoint(...points);
    const shown = toJson([any]);
    assertEquals(JSON.parse(shown), [any]);
    assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(shown.replaceAll("\n", "")), JSON.stringify(shown));
  }
});
