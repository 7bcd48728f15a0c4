import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../../", import.meta.url);
const SERVICES = ["ingest", "live", "royalty", "dlq-triage"];
const OUTSIDE = [".git", ".twofold", "node_modules"];
const MAX_FUNCTION_LINES = 70;

/** Files that touch no clock, socket, NATS, SQL or Deno; what they import by value is pure too. */
const PURE = [
  "ingest/admit.ts",
  "ingest/split.ts",
  "live/watch/window.ts",
  "live/detect/rules.ts",
  "royalty/posting/accrue.ts",
  "royalty/books/array_literal.ts",
  "royalty/statement/business_day.ts",
  "royalty/statement/csv.ts",
  "royalty/raw/stored_message.ts",
  "royalty/statement/catalogue.ts",
  "royalty/statement/chain.ts",
  "royalty/closing/conditions.ts",
  "royalty/posting/continuity.ts",
  "royalty/statement/day_line.ts",
  "royalty/statement/device_loss.ts",
  "royalty/posting/event_key.ts",
  "royalty/recount/appraise.ts",
  "royalty/recount/report.ts",
  "royalty/drift/drift.ts",
  "royalty/audit/trace.ts",
  "royalty/statement/manifest.ts",
  "royalty/audit/audit.ts",
  "royalty/finance/download.ts",
  "royalty/finance/keys.ts",
  "royalty/finance/page.ts",
  "royalty/finance/html.ts",
  "royalty/finance/provisional.ts",
  "dlq-triage/classify.ts",
  "dlq-triage/limits.ts",
  "dlq-triage/render.ts",
  "shared/contract/alert.ts",
  "shared/process/errors.ts",
  "shared/contract/event.ts",
  "shared/contract/hash.ts",
  "shared/contract/json.ts",
  "shared/contract/topology.ts",
  "shared/contract/totals.ts",
];
const PURE_PACKAGES = ["zod", "nats/jetstream", "node:buffer", "node:crypto"];
const IMPURE =
  /\bDeno\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bfetch\(|\bset(Timeout|Interval)\b|\bMath\.random\b|\bcrypto\.(random|getRandom)|\bconsole\b/;

interface Import {
  /** Path from the root, or a bare specifier. */
  readonly target: string;
  readonly isType: boolean;
}

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

function isDevelopment(path: string): boolean {
  return path.startsWith("shared/dev/") || path.startsWith("shared/e2e/");
}

function importsOf({ path, text }: Source): Import[] {
  const found = withoutComments(text).matchAll(
    /^(?:import|export)\s(?<type>type\s)?(?:[^"';]*?\sfrom\s)?"(?<from>[^"]+)";|\bimport\("(?<lazy>[^"]+)"\)/gm,
  );
  return [...found].map(({ groups }) => {
    const specifier = groups?.from ?? groups?.lazy ?? "";
    const isRelative = specifier.startsWith(".");
    const target = isRelative ? new URL(specifier, `file:///${path}`).pathname.slice(1) : specifier;
    return { target, isType: groups?.type !== undefined };
  });
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
}

/** Fails with every complaint at once. */
function assertTidy(complaints: readonly string[]): void {
  assertEquals(complaints, [], `\n  ${complaints.join("\n  ")}\n`);
}

Deno.test("services import shared/ and themselves, never each other", () => {
  assertTidy(
    code.flatMap((source) => {
      const own = SERVICES.find((service) => source.path.startsWith(`${service}/`));
      if (!own) return [];
      return importsOf(source).map(({ target }) => target)
        .filter((target) => SERVICES.some((each) => each !== own && target.startsWith(`${each}/`)))
        .map((target) => `${source.path} imports ${target}`);
    }),
  );
});

Deno.test("shared/ imports no service; tests of shared/dev and shared/e2e may", () => {
  assertTidy(
    code.filter(({ path }) => path.startsWith("shared/"))
      .filter(({ path }) => !isDevelopment(path) || !isTest(path))
      .filter(({ path }) => !path.startsWith("shared/e2e/"))
      .flatMap((source) =>
        importsOf(source)
          .filter(({ target }) => SERVICES.some((each) => target.startsWith(`${each}/`)))
          .map(({ target }) => `${source.path} imports ${target}`)
      ),
  );
});

Deno.test("only tests, benches, shared/dev and shared/e2e import shared/dev", () => {
  assertTidy(
    code.filter(({ path }) => !isTest(path) && !isDevelopment(path)).flatMap((source) =>
      importsOf(source).filter(({ target }) => isDevelopment(target) || target === "@std/assert")
        .map(({ target }) => `${source.path} imports ${target}`)
    ),
  );
});

Deno.test("packages come from the import map, embedded servers excepted", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const names = Object.keys(imports);
  assertTidy(
    code.flatMap((source) =>
      importsOf(source).map(({ target }) => target)
        .filter((target) => !target.endsWith(".ts") && !target.startsWith("node:"))
        .filter((target) => !names.some((name) => target === name || isBelow(target, name)))
        .map((target) => `${source.path} imports ${target}`)
    ),
  );
});

function isBelow(target: string, name: string): boolean {
  return name.endsWith("/") && target.startsWith(name);
}

Deno.test("pure files touch no clock, socket, NATS, SQL or Deno", () => {
  const pure = PURE.map((path) => {
    const source = code.find((each) => each.path === path);
    assert(source, `${path} does not exist`);
    return source;
  });
  assertTidy(pure.flatMap((source) => {
    const touched = withoutComments(source.text).match(IMPURE);
    const imported = importsOf(source).filter(({ isType }) => !isType)
      .filter(({ target }) => !PURE.includes(target) && !PURE_PACKAGES.includes(target));
    return [
      ...(touched ? [`${source.path} uses ${touched[0]}`] : []),
      ...imported.map(({ target }) => `${source.path} imports ${target}`),
    ];
  }));
});

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

Deno.test("tests that need servers say so in their name", () => {
  const servers = /\/(stack|nats_server|postgres_server)\.ts$/;
  assertTidy(
    code.filter(({ path }) => path.endsWith("_test.ts") && !path.endsWith("_int_test.ts"))
      .filter((source) =>
        importsOf(source).some(({ target, isType }) => !isType && servers.test(`/${target}`))
      )
      .map(({ path }) => `${path} starts servers; name it _int_test.ts`),
  );
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

function withoutStrings(text: string): string {
  return withoutComments(text).replace(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, '""');
}

Deno.test("tidy itself finds what it is there to find", () => {
  const source = (text: string) => ({ path: "live/rules.ts", text });
  assertEquals(
    importsOf(source(
      'import a from "../royalty/ledger.ts";\nimport type {\n  B,\n} from "./b.ts";\n' +
        'export * from "zod";\nimport "nats";\n// import c from "./c.ts";\nawait import("./d.ts");',
    )),
    [
      { target: "royalty/ledger.ts", isType: false },
      { target: "live/b.ts", isType: true },
      { target: "zod", isType: false },
      { target: "nats", isType: false },
      { target: "live/d.ts", isType: false },
    ],
  );
  assert(IMPURE.test("const now = Date.now();"));
  assert(IMPURE.test("new Date()") && !IMPURE.test("new Date(ms)"));
  const long = `function long() {\n${"  f();\n".repeat(MAX_FUNCTION_LINES)}}`;
  assertEquals(longFunctions(source(long)), [`long has ${MAX_FUNCTION_LINES + 2} lines`]);
  for (const text of ["x /" + "home/me", "see https://" + "registry.example.org/x", "TO" + "DO"]) {
    assert(UNWANTED.some(({ pattern }) => pattern.test(text)), text);
  }
});
