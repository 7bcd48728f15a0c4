import { assert, assertEquals, assertThrows } from "@std/assert";
import { readSettings } from "./config.ts";
import { Stop } from "./errors.ts";
import { type KeyCarrier, Keyring, keyringSetting } from "./keyring.ts";

const FINANCE = "0123456789abcdef";
const AUDITOR = "fedcba9876543210:x";
const KEYS = new Keyring([["finance", FINANCE], ["auditor", AUDITOR]]);
const SHAPE = { TWOFOLD_TEST_KEYS: keyringSetting("reader").describe("keys") };

function read(text: string): Keyring {
  return readSettings(SHAPE, { TWOFOLD_TEST_KEYS: text }).TWOFOLD_TEST_KEYS;
}

function nameOf(
  carriers: readonly KeyCarrier[],
  authorization: string | undefined,
  query = "",
  keys = KEYS,
): string | undefined {
  const headers = new Headers(authorization === undefined ? {} : { authorization });
  return keys.nameOfRequest({ headers, url: `http://host/path${query}` }, carriers);
}

function basic(text: string): string {
  return `Basic ${btoa(text)}`;
}

Deno.test("a key belongs to its name only", () => {
  const keys = new Keyring([["tv", "k".repeat(16)], ["web", "w".repeat(20)]]);
  assertEquals(keys.nameOf("k".repeat(16)), "tv");
  assertEquals(keys.nameOf("w".repeat(20)), "web");
  for (const wrong of ["", "k", "k".repeat(15), "k".repeat(17), "w".repeat(16), "é".repeat(8)]) {
    assertEquals(keys.nameOf(wrong), undefined, wrong);
  }
  assertEquals(new Keyring([]).nameOf(""), undefined);
});

Deno.test("a name may have several keys, all of which are valid", () => {
  const keys = read(`tv:${"a".repeat(16)},web:${"b".repeat(16)},tv:${"c".repeat(16)}`);
  assertEquals(
    ["a", "b", "c", "d"].map((char) => keys.nameOf(char.repeat(16))),
    ["tv", "web", "tv", undefined],
  );
  for (const key of ["a".repeat(16), "c".repeat(16)]) {
    assertEquals(nameOf(["basic"], basic(`tv:${key}`), "", keys), "tv");
    assertEquals(nameOf(["basic"], basic(`web:${key}`), "", keys), undefined);
  }
});

Deno.test("during rotation both keys are valid, then only the new one", () => {
  const [old, fresh] = ["o".repeat(16), "n".repeat(16)];
  const steps = [`tv:${old}`, `tv:${old},tv:${fresh}`, `tv:${fresh}`].map(read);
  assertEquals(steps.map((keys) => keys.nameOf(old)), ["tv", "tv", undefined]);
  assertEquals(steps.map((keys) => keys.nameOf(fresh)), [undefined, "tv", "tv"]);
});

Deno.test("a key is accepted as a bearer token, or as a password with its name as the user", () => {
  const carriers = ["bearer", "basic"] as const;
  assertEquals(nameOf(carriers, `Bearer ${FINANCE}`), "finance");
  assertEquals(nameOf(carriers, `bearer  ${AUDITOR} `), "auditor");
  assertEquals(nameOf(carriers, basic(`finance:${FINANCE}`)), "finance");
  assertEquals(nameOf(carriers, basic(`auditor:${AUDITOR}`)), "auditor");
});

Deno.test("other authorization headers are refused", () => {
  const wrong = [
    undefined,
    "",
    "Bearer",
    "Bearer 0123456789abcdeX",
    "Bearer 0123456789abcdef0",
    "0123456789abcdef",
    "Digest 0123456789abcdef",
    "Basic !!!",
    basic("finance"),
    basic(":0123456789abcdef"),
    basic("0123456789abcdef"),
    basic("auditor:0123456789abcdef"),
    basic("finance:"),
    basic("Finance:0123456789abcdef"),
  ];
  for (const each of wrong) {
    assertEquals(nameOf(["bearer", "basic"], each, `?key=${FINANCE}`), undefined, each);
  }
  assertEquals(nameOf(["bearer", "basic"], "Bearer ", "", new Keyring([])), undefined);
});

Deno.test("a key in the query is accepted if allowed, unless the header has one", () => {
  const carriers = ["bearer", "query"] as const;
  const query = `?key=${encodeURIComponent(AUDITOR)}`;
  assertEquals(nameOf(carriers, undefined, query), "auditor");
  assertEquals(nameOf(carriers, basic(`finance:${FINANCE}`), query), "auditor");
  assertEquals(nameOf(carriers, `Bearer ${FINANCE}`, query), "finance");
  assertEquals(nameOf(carriers, "Bearer 0123456789abcdeX", query), undefined);
  for (const wrong of ["", "?key=", "?key", "?Key=0123456789abcdef", "?key=wrong"]) {
    assertEquals(nameOf(carriers, undefined, wrong), undefined, wrong);
  }
});

Deno.test("a header with another scheme is ignored", () => {
  assertEquals(nameOf(["bearer"], basic(`finance:${FINANCE}`)), undefined);
  assertEquals(nameOf(["basic"], `Bearer ${FINANCE}`), undefined);
  assertEquals(nameOf(["query"], `Query ${FINANCE}`), undefined);
});

Deno.test("keys are read from a setting", () => {
  const keys = read(`finance:${FINANCE}, a-1:${AUDITOR}`);
  assertEquals([keys.nameOf(FINANCE), keys.nameOf(AUDITOR)], ["finance", "a-1"]);
});

Deno.test("every invalid pair is named, and no key is shown", () => {
  const secrets = ["tooshort-1", "with space-22222222", FINANCE, "anotherlongkey444"];
  const [short, spaced, twice, good] = secrets;
  const text = `a:${short},b:${spaced},c:${twice},d:${good},c:${twice},e:${twice}`;
  const { message } = assertThrows(() => read(text), Stop);
  assertEquals(message.match(/pair \d: /g), ["pair 1: ", "pair 2: ", "pair 5: ", "pair 6: "]);
  for (const why of ["the key of a is shorter than 16", "the key of e is the same as in pair 3"]) {
    assert(message.includes(why), message);
  }
  for (const secret of secrets) assert(!message.includes(secret), message);
  assertThrows(() => new Keyring([["a", FINANCE], ["b", FINANCE]]), TypeError, "twice");
});

Deno.test("printing a keyring shows no key", () => {
  const printed = Deno.inspect(KEYS, { depth: 9, showHidden: true }) + JSON.stringify(KEYS);
  for (const key of [FINANCE, AUDITOR]) assert(!printed.includes(key), printed);
});
