import { assertEquals } from "@std/assert";
import {
  anyLines,
  exportsOf,
  linksOf,
  queryProblems,
  skipLines,
  sleepLines,
} from "./code_findings.ts";
import { clockReads, impurities } from "./purity.ts";
import { type Source, withoutComments } from "./syntax.ts";

function source(text: string): Source {
  return { path: "live/rules.ts", text };
}

/** Fails unless `find` complains about each text of `bad`, and about none of `good`. */
function assertFinds(
  find: (source: Source) => readonly unknown[],
  bad: readonly string[],
  good: readonly string[],
): void {
  for (const text of bad) assertEquals(find(source(text)).length > 0, true, text);
  for (const text of good) assertEquals(find(source(text)), [], text);
}

Deno.test("a pure file has no clock, randomness, timer, I/O or SQL in any spelling", () => {
  assertFinds(impurities, [
    ...[
      "Deno.env;",
      "Date.now();",
      "new Date;",
      "Date();",
      "const { now } = Date;",
      'Date["now"]();',
    ],
    ...[
      'globalThis.Date["now"]();',
      "globalThis.x;",
      "self.x;",
      "performance.now();",
      "process.env;",
    ],
    ...[
      "const { randomUUID } = crypto;",
      "crypto.getRandomValues(x);",
      "Math.random();",
      "f(Math);",
    ],
    ...['import { randomUUID } from "node:crypto";', 'import * as c from "node:crypto";'],
    ...["new WebSocket(x);", "new Worker(x);", "new BroadcastChannel(x);", "localStorage.x;"],
    ...["navigator.x;", 'globalThis["fetch"]();', "f(fetch);", "f({ fetch });", "console.log();"],
    ...["setTimeout(f);", "AbortSignal.timeout(5);", "Temporal.Now.instant();", "f(Temporal);"],
    ...["sql`insert into a`;", "this.#sql`x`;", "tx.unsafe(x);", "let x = 1;", "export let x = 1;"],
    ...['import { type JsMsg } from "nats/jetstream";', 'f("a/*"); Deno.env; f("*/b");'],
  ], [
    ...["new Date(5);", "Date.UTC(1, 2);", "Date.parse(x);", "x instanceof Date;", "let_();"],
    ...["crypto.subtle.digest(x);", "Math.max(1);", "html`x`;", "String.raw`x`;", "const x = 1;"],
    ...['import { createHash, type Hash } from "node:crypto";', "f.fetch();", "f({ fetch: 1 });"],
    ...[
      'f("Deno.env");',
      "// Deno.env",
      "/* Date.now() */",
      "function f(a: Date): Temporal.Instant {}",
    ],
    ...["// Cache: the last one.\nlet x = 1;", "function f() { let x = 1; }"],
  ]);
});

Deno.test("a read of the clock is found in any spelling", () => {
  const bad = [
    "f(Date.now);",
    "new Date();",
    "Date();",
    "performance.timeOrigin;",
    "f(globalThis);",
  ];
  assertFinds(clockReads, bad, ["performance.now();", "new Date(x);", '"Date.now()";']);
});

Deno.test("links are found in code only, and must be written out", () => {
  const text = '// new URL("./a.ts", import.meta.url)\nnew URL("./b.ts", import.meta.url);';
  assertEquals(linksOf(source(text)), { targets: ["live/b.ts"], computed: [] });
  assertEquals(linksOf(source('import.meta.resolve("../a/");')).targets, ["a/"]);
  assertFinds(({ path, text }) => linksOf({ path, text }).computed, [
    ...["import(`../${x}.ts`);", "import(x);", "new URL(x, import.meta.url);", "new Worker(x);"],
    'import { createRequire } from "node:module";',
  ], [
    'import("./x.ts");',
    'new Worker(new URL("./x.ts", import.meta.url).href, {});',
    "new URL(x);",
  ]);
});

Deno.test("exports are found in any spelling, with their docstrings", () => {
  const named = (text: string) => exportsOf(source(text)).map(({ name }) => name);
  const text = "export const { a, b: [c] } = x; export { d as e }; export function f() {}";
  assertEquals(named(text), ["a", "c", "e", "f"]);
  assertFinds(
    (each) => exportsOf(each).filter(({ isDescribed, problem }) => !isDescribed || problem),
    [
      ...[
        "export const a = 1;",
        "/** A. */\nexport let a = 1;",
        "/** @module */\nexport class A {}",
      ],
      ...['export * from "x";', 'export { a } from "x";', "export default 1;", "export { a };"],
      ...["export enum A {}", "/* A. */\nexport type A = 1;", "export abstract class A {}"],
    ],
    [
      "/** A. */\nexport const a = 1;",
      "/** F. */\nexport function f(): 1;\nexport function f() {}",
    ],
  );
});

Deno.test("queries are templates named sql or tx, and their rows have named types", () => {
  assertFinds(queryProblems, [
    ...["sql`select 1`;", "tx<Record<string, string>[]>`select 1`;", "sql<{ a: 1 }[]>`x`;"],
    ...["sql`insert into a values (1) returning b`;", "sql<any>`x`;", "sql<unknown[]>`x`;"],
    ...["connection`x`;", "sql.unsafe(x);", "this.#sql`-- a\nselect 1`;", "sql`SELECT 1`;"],
  ], ["sql<AddedRow[]>`select 1`;", "tx`insert into a values (1)`;", "html`select 1`;"]);
});

Deno.test("any, sleeps and tests that are left out are found, in code only", () => {
  const bad = ["let a: Record<string, any>;", "f(x as any);", "let a: any[];"];
  assertFinds(anyLines, bad, ['"x: any"', "// x: any"]);
  assertFinds(sleepLines, [
    ...["setTimeout(f, 5);", "setInterval(f);", 'globalThis["setTimeout"](f);', "Atomics.wait(a);"],
    ...[
      'import { setTimeout as rest } from "node:timers/promises";',
      "f(setTimeout);",
      "pause(1);",
    ],
    "// No sleep:\nsetTimeout(f);",
  ], [
    "// No sleep: a deadline.\nsetTimeout(f);",
    '"setTimeout()"',
    "type T = typeof setTimeout;",
    "link.pause();",
  ]);
  assertFinds(skipLines, ["f({ ignore: true });", "f.only(x);", 'f["skip"](x);'], ["ignore(x);"]);
});

Deno.test("comments are blanked, and strings that look like comments stay", () => {
  const text = 'f("a/*"); // b\n/* c\n */ f("*/");';
  assertEquals(withoutComments(source(text)), 'f("a/*");     \n    \n    f("*/");');
});
