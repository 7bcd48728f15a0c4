import { assertEquals, assertThrows } from "@std/assert";
import { readSettings } from "../../shared/process/config.ts";
import { Stop } from "../../shared/process/errors.ts";
import { FinanceKeys } from "./keys.ts";
import { financeSettings } from "../settings.ts";

const KEYS = new FinanceKeys(
  new Map([["finance", "0123456789abcdef"], ["auditor", "fedcba9876543210:x"]]),
);

function basic(text: string): string {
  return `Basic ${btoa(text)}`;
}

Deno.test("a key is known as a bearer token, or with its reader's name as a password", () => {
  assertEquals(KEYS.readerOf("Bearer 0123456789abcdef"), "finance");
  assertEquals(KEYS.readerOf("bearer  fedcba9876543210:x "), "auditor");
  assertEquals(KEYS.readerOf(basic("finance:0123456789abcdef")), "finance");
  assertEquals(KEYS.readerOf(basic("auditor:fedcba9876543210:x")), "auditor");
});

Deno.test("nothing else is", () => {
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
  for (const each of wrong) assertEquals(KEYS.readerOf(each), undefined, each);
  assertEquals(new FinanceKeys(new Map()).readerOf("Bearer "), undefined);
});

Deno.test("keys are read from the settings, and a wrong pair is named without its key", () => {
  const read = (text: string) => readSettings(financeSettings, { TWOFOLD_FINANCE_KEYS: text });
  assertEquals(
    [...read("finance:0123456789abcdef, a-1:fedcba9876543210:x").TWOFOLD_FINANCE_KEYS!],
    [
      ["finance", "0123456789abcdef"],
      ["a-1", "fedcba9876543210:x"],
    ],
  );
  const secrets = ["tooshort-1", "with space-22222222", "0123456789abcdef", "anotherlongkey444"];
  const text = `a:${secrets[0]},b:${secrets[1]},c:${secrets[2]},c:${secrets[3]}`;
  const { message } = assertThrows(() => read(text), Stop);
  assertEquals(message.match(/pair \d/g), ["pair 1", "pair 2", "pair 4"]);
  for (const secret of secrets) assertEquals(message.includes(secret), false);
});
