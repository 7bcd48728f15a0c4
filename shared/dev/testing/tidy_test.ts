import { assert, assertEquals } from "@std/assert";
import { LOG_EVENTS } from "../../process/log_events.ts";
import { GRAPH_FILE, isTest, ROOT } from "./module_graph.ts";
import {
  anyLines,
  exportsOf,
  queryProblems,
  skipLines,
  sleepLines,
} from "./source/code_findings.ts";
import { clockReads } from "./source/purity.ts";
import { type Source, visitSyntax } from "./source/syntax.ts";

const OUTSIDE = [".git", ".twofold", "node_modules"];
const MAX_FUNCTION_LINES = 70;

async function* walk(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(new URL(folder, ROOT))) {
    if (OUTSIDE.includes(name) || name.startsWith(GRAPH_FILE)) continue;
    if (isDirectory) yield* walk(`${folder}${name}/`);
    if (isFile) yield `${folder}${name}`.replace(/^\.\//, "");
  }
}

async function readAll(): Promise<Source[]> {
  const sources: Source[] = [];
  for await (const path of walk("./")) {
    const bytes = await Deno.readFile(new URL(path, ROOT));
    if (bytes.includes(0)) continue;
    sources.push({ path, text: new TextDecoder().decode(bytes) });
  }
  return sources;
}

const files = await readAll();
const code = files.filter(({ path }) => path.endsWith(".ts"));

/** Fails with every complaint at once. */
function assertTidy(complaints: readonly string[]): void {
  assertEquals(complaints, [], `\n  ${complaints.join("\n  ")}\n`);
}

Deno.test("the time of day is read where a process begins, and passed on", () => {
  // Where a process begins, the time on a line of the log, and the start of the process.
  const begins = /\/((thread_)?main|cli|commands\/\w+|process\/(log|metrics))\.ts$/;
  assertTidy(
    code.filter(({ path }) => !isTest(path) && !/^shared\/(dev|e2e)\//.test(path))
      .filter(({ path }) => !begins.test(path))
      .flatMap((source) => at(source, clockReads, "reads the clock")),
  );
});

function at({ path, text }: Source, find: (source: Source) => number[], what: string): string[] {
  return find({ path, text }).map((line) => `${path}:${line} ${what}`);
}

Deno.test("files are named in snake_case and after what they hold", () => {
  const vague = /^(utils?|helpers?|types|common|misc|lib)$/;
  assertTidy(
    files.map(({ path }) => path).filter((path) => /\.(ts|sql)$/.test(path)).filter((path) => {
      const stem = path.slice(path.lastIndexOf("/") + 1).replace(/\.\w+$/, "");
      return !/^[a-z0-9]+(_[a-z0-9]+)*$/.test(stem) ||
        stem.split("_").some((word) => vague.test(word));
    }),
  );
});

Deno.test("every file that others import begins by saying what it is", () => {
  assertTidy(
    code.filter(({ path, text }) => !isTest(path) && !text.startsWith("/**")).map(({ path }) =>
      path
    ),
  );
});

Deno.test("functions fit a screen", () => {
  // A test's body is a story told once, so tests are left out.
  assertTidy(
    code.filter(({ path }) => !isTest(path)).flatMap((source) =>
      longFunctions(source).map((name) => `${source.path}: ${name}`)
    ),
  );
});

function longFunctions({ path, text }: Source): string[] {
  const found: string[] = [];
  const measure = (name: string, [start, end]: readonly [number, number]) => {
    const lines = text.slice(start, end).split("\n").length;
    if (lines > MAX_FUNCTION_LINES) found.push(`${name} has ${lines} lines`);
  };
  visitSyntax({ path, text }, () => ({
    FunctionDeclaration: (node) => measure(node.id?.name ?? "a function", node.range),
    FunctionExpression: (node) => measure("a function or method", node.range),
    ArrowFunctionExpression: (node) => measure("an arrow function", node.range),
  }));
  return found;
}

Deno.test("no test is skipped or left alone", () => {
  const tests = code.filter(({ path }) => isTest(path));
  assertTidy(tests.flatMap((source) => at(source, skipLines, "is not run")));
});

Deno.test("tests do not sleep: a timer in a test says above it why it is none", () => {
  const tests = code.filter(({ path }) => isTest(path));
  assertTidy(tests.flatMap((source) => at(source, sleepLines, "sleeps; poll with waitFor")));
});

// Patterns hold `[.]` and alternations where the plain word would make this file find itself.
const UNWANTED: readonly { readonly what: string; readonly pattern: RegExp }[] = [
  { what: "unfinished work", pattern: /\b(TO[D]O|FIX[M]E|X[X]X)\b/ },
  { what: "a path of one machine", pattern: /(?<![\w.])\/(home|root|Users|work)\/\w/ },
  {
    what: "a package host",
    pattern: /https?:\/\/[\w.-]*(registry|npmjs|jsr|artifactory|nexus|mirror)[\w.-]*/,
  },
  { what: "a private host", pattern: /[\w-]+[.](internal|corp|lan|intranet)\b(?![.(])/ },
  { what: "a private key", pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----/ },
];

Deno.test("committed text has no unfinished work, machine paths, package hosts or secrets", () => {
  assertTidy(
    files.flatMap(({ path, text }) =>
      UNWANTED.flatMap(({ what, pattern }) => {
        const found = text.match(pattern);
        return found ? [`${path} has ${what}: ${found[0]}`] : [];
      })
    ),
  );
});

const exported = code.filter(({ path }) => !isTest(path)).flatMap((source) =>
  exportsOf(source).map((each) => ({ ...each, path: source.path }))
);

Deno.test("no two exported things share a name", () => {
  assertTidy(
    [...Map.groupBy(exported, ({ name }) => name)]
      .map(([name, each]) => ({ name, paths: new Set(each.map(({ path }) => path)) }))
      .filter(({ paths }) => paths.size > 1)
      .map(({ name, paths }) => `${name} is exported by ${[...paths].join(" and ")}`),
  );
});

Deno.test("every exported thing says what it is, is a constant, and is of its own file", () => {
  assertTidy(
    exported.flatMap(({ path, name, isDescribed, problem }) => [
      ...isDescribed ? [] : [`${path}: ${name} has no docstring`],
      ...problem === undefined ? [] : [`${path}: ${name} ${problem}`],
    ]),
  );
});

Deno.test("every query is a template with a named row type", () => {
  assertTidy(
    code.filter(({ path }) => !isTest(path) && !path.startsWith("shared/dev/"))
      .flatMap(queryProblems),
  );
});

Deno.test("nothing is typed any", () => {
  assertTidy(code.flatMap((source) => at(source, anyLines, "has the type any")));
});

Deno.test("every event that is logged is listed, used, and named after its service", () => {
  const prefixes: Readonly<Record<string, readonly string[]>> = {
    ingest: ["ingest"],
    live: ["live"],
    royalty: ["royalty"],
    "dlq-triage": ["triage"],
    shared: ["service", "nats", "postgres"],
  };
  const product = code.filter(({ path }) => !isTest(path) && !path.endsWith("/log_events.ts"));
  const names = Object.keys(LOG_EVENTS);
  // Some names are put together of two parts.
  const isUsed = (name: string) =>
    product.some(({ text }) =>
      text.includes(`"${name}"`) || text.includes(`\`${name.slice(0, name.lastIndexOf("."))}.$`)
    );
  assertTidy([
    ...names.filter((name) => !isUsed(name)).map((name) => `${name} is never logged`),
    ...product.flatMap(({ path, text }) => {
      const allowed = prefixes[path.split("/")[0] ?? ""] ?? [];
      const logged = text.matchAll(/\blog\.(?:debug|info|warn|error)\(\s*["`]([\w.]+)/g);
      return [...logged].filter(([, name = ""]) => !allowed.includes(name.split(".")[0] ?? ""))
        .map(([, name]) => `${path} logs ${name}`);
    }),
  ]);
});

Deno.test("tidy itself finds what it is there to find", () => {
  const long = `function long() {\n${"  f();\n".repeat(MAX_FUNCTION_LINES)}}`;
  const source = { path: "live/rules.ts", text: long };
  assertEquals(longFunctions(source), [`long has ${MAX_FUNCTION_LINES + 2} lines`]);
  for (const text of ["x /" + "home/me", "see https://" + "registry.example.org/x", "TO" + "DO"]) {
    assert(UNWANTED.some(({ pattern }) => pattern.test(text)), text);
  }
});
