import { assert, assertEquals } from "@std/assert";
import {
  circleIn,
  type Edge,
  filesBelow,
  reachedFrom,
  readModuleGraph,
  ROOT,
} from "./module_graph.ts";

/**
 * The floors of each house, the highest first; a name is a folder, or a file at the folder's root.
 * A file imports from its own room and from floors below it. Rooms on one floor are strangers.
 */
const FLOORS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  royalty: [
    ["main.ts", "cli.ts"],
    ["commands"],
    ["finance", "drift", "audit", "closing"],
    ["recount", "posting"],
    ["books"],
    ["settings.ts"],
    ["statement", "raw"],
  ],
  live: [["main.ts"], ["service.ts"], ["live_metrics.ts"], ["incidents"], ["detect"], ["watch"], [
    "settings.ts",
  ]],
  shared: [
    ["e2e"],
    ["dev/demo"],
    ["dev/recordings"],
    ["dev/fleet"],
    ["dev/servers"],
    ["dev/testing"],
    ["provision"],
    ["process/postgres"],
    ["contract", "process"],
  ],
};

const SERVICES = ["ingest", "live", "royalty", "dlq-triage"];
/** A newcomer sees a folder at a glance. Tests and benches stand beside what they are about. */
const MAX_FILES_PER_FOLDER = 13;

const files = await filesBelow("");
const edges = await readModuleGraph(files);
const product = edges.filter(({ from }) => !isTest(from));

function isTest(path: string): boolean {
  return /_(test|bench)\.ts$/.test(path);
}

function isDevelopment(path: string): boolean {
  return /^shared\/(dev|e2e)\//.test(path);
}

/** Fails with every complaint at once. */
function assertHolds(complaints: readonly string[]): void {
  assertEquals(complaints, [], `\n  ${complaints.join("\n  ")}\n`);
}

function importText({ from, to }: Edge): string {
  return `${from} imports ${to}`;
}

function serviceOf(path: string): string | undefined {
  return SERVICES.find((service) => path.startsWith(`${service}/`));
}

interface Place {
  readonly house: string;
  readonly room: string;
  /** 0 is the highest. */
  readonly floor: number;
}

/** Where `path` is in its house; undefined where no floor is declared for it. */
function placeOf(path: string): Place | undefined {
  const [house = ""] = path.split("/");
  for (const [floor, rooms] of (FLOORS[house] ?? []).entries()) {
    const room = rooms.find((each) =>
      path === `${house}/${each}` || path.startsWith(`${house}/${each}/`)
    );
    if (room !== undefined) return { house, room, floor };
  }
  return undefined;
}

function roomOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

Deno.test("imports run downwards: a room stands on the floors below it", () => {
  assertHolds(
    product.filter(({ from, to }) => {
      const [above, below] = [placeOf(from), placeOf(to)];
      if (!above || !below || above.house !== below.house) return false;
      return above.room !== below.room && above.floor >= below.floor;
    }).map(importText),
  );
});

Deno.test("every file of a house with floors is on one", () => {
  assertHolds(
    files.filter((path) => (path.split("/")[0] ?? "") in FLOORS && !isTest(path))
      .filter((path) => placeOf(path) === undefined),
  );
});

Deno.test("services import shared/ and themselves, never each other", () => {
  const own = edges.filter(({ from }) => serviceOf(from) !== undefined);
  assertHolds(
    own.filter(({ from, to }) => {
      const other = serviceOf(to);
      return other !== undefined && other !== serviceOf(from);
    }).map(importText),
  );
});

Deno.test("shared/ imports no service; tests of shared/dev and shared/e2e may", () => {
  assertHolds(
    edges.filter(({ from, to }) => from.startsWith("shared/") && serviceOf(to) !== undefined)
      .filter(({ from }) => !from.startsWith("shared/e2e/"))
      .filter(({ from }) => !(isDevelopment(from) && isTest(from)))
      .map(importText),
  );
});

Deno.test("only tests, benches, shared/dev and shared/e2e import shared/dev", () => {
  assertHolds(
    product.filter(({ from, to }) =>
      !isDevelopment(from) && (isDevelopment(to) || to === "@std/assert")
    ).map(importText),
  );
});

Deno.test("the recount shares nothing with posting but what its docstring admits", async () => {
  const recount = files.filter((path) => path.startsWith("royalty/recount/") && !isTest(path));
  const posting = files.filter((path) => path.startsWith("royalty/posting/") && !isTest(path));
  const reached = reachedFrom(recount, product.filter(({ isType }) => !isType));
  assertHolds(posting.filter((path) => reached.has(path)).map((path) => `recount reaches ${path}`));
  const postingReaches = reachedFrom(posting, product.filter(({ isType }) => !isType));
  // What every process stands on decides nothing about a heartbeat.
  const shared = [...reached].filter((path) => postingReaches.has(path) && path.endsWith(".ts"))
    .filter((path) => !path.startsWith("shared/process/"));
  const text = await Deno.readTextFile(new URL("royalty/recount/recount.ts", ROOT));
  const admitted = [
    ...text.slice(0, text.indexOf("*/")).matchAll(/`((?:shared|royalty)\/[\w/]+\.ts)`/g),
  ]
    .map(([, path]) => path ?? "");
  assertEquals(shared.sort(), admitted.sort(), "see the docstring of royalty/recount/recount.ts");
});

Deno.test("there is no circle of imports", () => {
  const circle = circleIn(product);
  assertEquals(circle, undefined, circle?.join(" → "));
});

Deno.test("every file is reached from an entry point; development files also from tests", async () => {
  const named = await entryPoints();
  const reachedByProduct = reachedFrom(named, edges);
  const reachedByTests = reachedFrom([...named, ...files.filter(isTest)], edges);
  assertHolds(
    files.filter((path) => !isTest(path))
      .filter((path) => !(isDevelopment(path) ? reachedByTests : reachedByProduct).has(path))
      .map((path) => `${path} is reached by nothing`),
  );
});

/** What deno.json's tasks start, and what is started by its URL: threads and child processes. */
async function entryPoints(): Promise<string[]> {
  const config = await Deno.readTextFile(new URL("deno.json", ROOT));
  // `task bench` starts the benches that it lists.
  const benches = await Deno.readTextFile(new URL("shared/e2e/bench.ts", ROOT));
  const started = [...`${config}\n${benches}`.matchAll(/[\w/-]+\.ts/g)].map(([path]) => path);
  for (const path of files.filter((each) => !isTest(each))) {
    const text = await Deno.readTextFile(new URL(path, ROOT));
    for (const [, file] of text.matchAll(/new URL\("([^"]+\.ts)", import\.meta\.url\)/g)) {
      started.push(new URL(file ?? "", new URL(path, ROOT)).href.slice(ROOT.href.length));
    }
  }
  return started.filter((path) => files.includes(path));
}

Deno.test("tests that need servers say so in their name", () => {
  const servers = /\/(stack|nats_server|postgres_server)\.ts$/;
  assertHolds(
    edges.filter(({ from, to, isType }) =>
      from.endsWith("_test.ts") && !from.endsWith("_int_test.ts") && !isType && servers.test(to)
    ).map(({ from }) => `${from} starts servers; name it _int_test.ts`),
  );
});

/** What a pure file may import by value, besides pure files. */
const PURE_PACKAGES = [
  "@hono/zod-openapi",
  "csv-parse/sync",
  "d3-dsv",
  "hono",
  "hono/html",
  "nats/jetstream",
  "node:buffer",
  "node:crypto",
  "zod",
];
const IMPURE =
  /\bDeno\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bfetch\(|\bset(Timeout|Interval)\b|\bMath\.random\b|\bcrypto\.(random|getRandom)|\bconsole\b|\b(NatsConnection|JetStreamClient|JetStreamManager|JsMsg|Consumer)\b/;

Deno.test("a file is pure unless its folder's README names it as an adapter", async () => {
  const adapters = await adaptersOf(["ingest", "live", "royalty", "dlq-triage", "shared"]);
  const pure = files.filter((path) => !isTest(path) && !isDevelopment(path))
    .filter((path) => !adapters.has(path));
  const complaints = await Promise.all(pure.map(async (path) => {
    const code = withoutComments(await Deno.readTextFile(new URL(path, ROOT)));
    const touched = code.match(IMPURE)?.[0];
    const imported = product.filter(({ from, to, isType }) =>
      from === path && (to === "postgres" || (!isType && !isPure(to, pure)))
    );
    return [...touched ? [`${path} uses ${touched}`] : [], ...imported.map(importText)];
  }));
  const gone = [...adapters].filter((path) => !files.includes(path));
  assertHolds([...complaints.flat(), ...gone.map((path) => `${path} does not exist`)]);
});

function isPure(target: string, pure: readonly string[]): boolean {
  return pure.includes(target) || PURE_PACKAGES.includes(target) || target.endsWith("/deno.json");
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
}

/** The adapters that the READMEs of `houses` name: `| room | what it holds | adapters |`. */
async function adaptersOf(houses: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const house of houses) {
    const readme = await Deno.readTextFile(new URL(`${house}/README.md`, ROOT));
    const start = readme.search(/^\| room +\|/m);
    assert(start >= 0, `${house}/README.md has a table of rooms`);
    const [table = ""] = readme.slice(start).split("\n\n");
    for (const row of table.split("\n").slice(2)) {
      const [, room = "", , names = ""] = row.split("|").map((cell) => cell.trim());
      const folder = room.replaceAll("`", "").replace(/\/$/, "");
      for (const [, name] of names.matchAll(/`([\w]+)`/g)) {
        found.add([house, folder, `${name}.ts`].filter((part) => part !== ".").join("/"));
      }
    }
  }
  return found;
}

Deno.test("a folder holds few files", () => {
  const sources = files.filter((path) => !isTest(path));
  assertHolds(
    [...Map.groupBy(sources, roomOf)].filter(([, each]) => each.length > MAX_FILES_PER_FOLDER)
      .map(([folder, each]) => `${folder} holds ${each.length} files`),
  );
});

Deno.test("packages come from the import map", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const names = Object.keys(imports);
  const isMapped = (to: string) =>
    names.some((name) => to === name || (name.endsWith("/") && to.startsWith(name)));
  assertHolds(
    edges.filter(({ to }) => !files.includes(to) && !to.startsWith("node:") && !isMapped(to))
      .filter(({ to }) => to !== "deno.json")
      .map(importText),
  );
});

Deno.test("the rules find what they are there to find", () => {
  const edge = (from: string, to: string) => ({ from, to, isType: false });
  assertEquals(circleIn([edge("a", "b"), edge("b", "c")]), undefined);
  assertEquals(circleIn([edge("a", "b"), edge("b", "c"), edge("c", "b")]), ["b", "c", "b"]);
  assertEquals([...reachedFrom(["a"], [edge("a", "b"), edge("c", "d")])], ["a", "b"]);
  assertEquals(placeOf("royalty/books/lines.ts"), { house: "royalty", room: "books", floor: 4 });
  assert(edges.some(({ isType }) => isType) && edges.some(({ isType }) => !isType));
  assert(edges.some(({ from, to }) => from === "royalty/main.ts" && to === "royalty/settings.ts"));
});
