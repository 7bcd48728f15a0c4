import { assert, assertEquals } from "@std/assert";
import { LOG_EVENTS } from "../../process/log_events.ts";
import { ROOT } from "./module_graph.ts";

const SERVICES = ["ingest", "live", "royalty", "dlq-triage"];
const OUTSIDE = [".git", ".twofold", "node_modules"];
const MAX_FUNCTION_LINES = 70;

interface Source {
  /** Path from the root. */
  readonly path: string;
  readonly text: string;
}

async function* walk(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(new URL(folder, ROOT))) {
    if (OUTSIDE.includes(name)) continue;
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

function isTest(path: string): boolean {
  return /_(test|bench)\.ts$/.test(path);
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
}

/** Fails with every complaint at once. */
function assertTidy(complaints: readonly string[]): void {
  assertEquals(complaints, [], `\n  ${complaints.join("\n  ")}\n`);
}

Deno.test("the time of day is read where a process begins, and passed on", () => {
  const clock = /\bDate\.now\b|\bnew Date\(\)|\bTemporal\.Now\b/;
  assertTidy(
    code.filter(({ path }) => SERVICES.some((service) => path.startsWith(`${service}/`)))
      .filter(({ path }) =>
        !isTest(path) && !/\/((thread_)?main|cli|commands\/\w+)\.ts$/.test(path)
      )
      .filter(({ text }) => clock.test(withoutComments(text)))
      .map(({ path }) => `${path} reads the clock`),
  );
});

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
  Deno.lint.runPlugin(
    {
      name: "tidy",
      rules: {
        "function-length": {
          create: () => ({
            FunctionDeclaration: (node) => measure(node.id?.name ?? "a function", node.range),
            FunctionExpression: (node) => measure("a function or method", node.range),
            ArrowFunctionExpression: (node) => measure("an arrow function", node.range),
          }),
        },
      },
    },
    path,
    text,
  );
  return found;
}

Deno.test("no test is skipped or left alone", () => {
  const skipping = /\bignore:\s|\bonly:\s|\.(only|skip|ignore)\(/;
  assertTidy(
    code.filter(({ path, text }) => isTest(path) && skipping.test(withoutStrings(text)))
      .map(({ path }) => path),
  );
});

Deno.test("tests do not sleep: a timer in a test says above it why it is none", () => {
  assertTidy(
    code.filter(({ path }) => isTest(path)).flatMap(({ path, text }) =>
      sleeps(text).map((line) => `${path}:${line} sleeps; poll with waitFor`)
    ),
  );
});

/** The numbers of the lines that set a timer without a comment `No sleep: <reason>` above them. */
function sleeps(text: string): number[] {
  const lines = text.split("\n");
  return lines.flatMap((line, at) => {
    const isExplained = /\/\/ No sleep: \w/.test(lines[at - 1] ?? "");
    return /\bsetTimeout\(/.test(line) && !isExplained ? [at + 1] : [];
  });
}

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

function withoutStrings(text: string): string {
  return withoutComments(text).replace(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, '""');
}

Deno.test("no two exported things share a name", () => {
  const homes = new Map<string, string[]>();
  for (const { path, text } of code.filter(({ path }) => !isTest(path))) {
    for (const name of exportedNames(text)) {
      homes.set(name, [...homes.get(name) ?? [], path]);
    }
  }
  assertTidy(
    [...homes].filter(([, paths]) => paths.length > 1)
      .map(([name, paths]) => `${name} is exported by ${paths.join(" and ")}`),
  );
});

function exportedNames(text: string): string[] {
  const declared = withoutComments(text).matchAll(
    /^export (?:async |abstract |declare )*(?:const|let|function\*?|class|interface|type|enum) (\w+)/gm,
  );
  return [...declared].map(([, name = ""]) => name);
}

Deno.test("every exported thing says what it is", () => {
  assertTidy(
    code.filter(({ path }) => !isTest(path)).flatMap(({ path, text }) => {
      const bare = text.matchAll(
        /(?<!\*\/)\n+export (?:async |abstract )*(?:const|function\*?|class|interface|type) (\w+)/g,
      );
      return [...bare].map(([, name]) => `${path}: ${name} has no docstring`);
    }),
  );
});

Deno.test("every query has a named row type, and only one module makes connections", () => {
  const product = code.filter(({ path }) => !isTest(path) && !path.startsWith("shared/dev/"));
  assertTidy([
    ...product.flatMap(({ path, text }) =>
      anonymousRows(text).map((query) => `${path}: rows of ${query} need a named type`)
    ),
    ...product.filter(({ path }) => !path.startsWith("shared/process/postgres/"))
      .filter(({ text }) => /^import (?!type )[^;]*from "postgres";/m.test(valueImports(text)))
      .map(({ path }) => `${path} makes a connection of its own; see shared/process/postgres/`),
  ]);
});

/** Queries whose rows are `any`, a `Record`, or a type that has no name, by their first words. */
function anonymousRows(text: string): string[] {
  const queries = withoutComments(text).matchAll(
    /\b(?:sql|tx)(?<type><[^`]*?>)?`\s*(?<words>[^`]{0,40})/g,
  );
  return [...queries].filter(({ groups }) => {
    const type = groups?.type ?? "";
    if (type !== "") return /^<\s*(?:Record\b|any\b|unknown\b|\{|\()/.test(type);
    return /^(?:with|select)\b/.test(groups?.words ?? "") &&
      !/pg_advisory_xact_lock/.test(groups?.words ?? "");
  }).map(({ groups }) => `\`${(groups?.words ?? "").replaceAll(/\s+/g, " ")}\``);
}

/** `text` without the imports that name types only. */
function valueImports(text: string): string {
  return text.replace(/import \{\s*((?:type \w+,?\s*)+)\} from/g, "import type {$1} from");
}

Deno.test("nothing is typed any", () => {
  assertTidy(
    code.filter(({ text }) => /(?::|<|\bas) any\b|\bany\[\]/.test(withoutStrings(text)))
      .map(({ path }) => path),
  );
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
  const timer = "setTimeout" + "(resolve, 5)";
  assertEquals(sleeps(`a\n${timer}\n// No sleep: a deadline.\n${timer}\n// No sleep:\n${timer}`), [
    2,
    6,
  ]);
  for (const text of ["x /" + "home/me", "see https://" + "registry.example.org/x", "TO" + "DO"]) {
    assert(UNWANTED.some(({ pattern }) => pattern.test(text)), text);
  }
  assertEquals(exportedNames("export const a = 1;\nexport async function b() {}\nconst c = 2;"), [
    "a",
    "b",
  ]);
  const queries = ["sql`select 1`", "tx<Record<string, string>[]>`select 1`", "sql<{ a: 1 }[]>`x`"];
  for (const query of queries) assertEquals(anonymousRows(query).length, 1, query);
  assertEquals(anonymousRows("sql<AddedRow[]>`select 1` + tx`insert into a values (1)`"), []);
});
