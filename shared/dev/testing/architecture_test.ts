import { assert, assertEquals } from "@std/assert";
import {
  circleIn,
  type Edge,
  filesBelow,
  isTest,
  reachedFrom,
  readModuleGraph,
  ROOT,
} from "./module_graph.ts";
import { linksOf } from "./source/code_findings.ts";
import { impurities } from "./source/purity.ts";
import { readSources, withoutComments } from "./source/syntax.ts";

/**
 * The floors of each house, the highest first; a name is a folder, or a file at the folder's root.
 * A file imports from its own room and from floors below it. Rooms on one floor are strangers.
 */
const FLOORS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  ingest: [
    ["main.ts"],
    ["app.ts"],
    ["accept.ts", "openapi.ts"],
    ["storing"],
    ["admit.ts", "body.ts", "refusals.ts"],
    ["problem.ts", "shares", "split.ts"],
    ["settings.ts"],
  ],
  royalty: [
    ["main.ts", "cli.ts"],
    ["commands"],
    ["finance", "drift", "audit", "closing"],
    ["recount", "posting", "rejects"],
    ["books"],
    ["settings.ts"],
    ["statement", "raw"],
  ],
  live: [
    ["main.ts", "cli.ts"],
    ["service.ts", "commands", "pager"],
    ["live_metrics.ts", "live_view.ts"],
    ["audience_metrics.ts", "leadership.ts", "input_watch.ts"],
    ["incidents"],
    ["detect", "sharing"],
    ["watch"],
    ["settings.ts"],
  ],
  shared: [
    ["e2e"],
    ["dev/demo", "dev/up"],
    ["dev/recordings"],
    ["dev/browser", "dev/fleet", "dev/receivers"],
    ["dev/servers"],
    ["dev/binaries"],
    ["dev/testing"],
    ["provision"],
    ["process/postgres", "process/raw"],
    ["contract", "process"],
  ],
};

/** A newcomer sees a folder at a glance. Tests and benches stand beside what they are about. */
const MAX_FILES_PER_FOLDER = 13;

/** Files of development that load a package whose name depends on the machine. */
const LOADS_BY_MACHINE = [
  "shared/dev/binaries/nats_binary.ts",
  "shared/dev/binaries/postgres_binary.ts",
];
/** Tests that import the tasks that start servers, to read what they declare, and start none. */
const READ_DECLARATIONS = [
  "shared/dev/demo/tasks_test.ts",
  "shared/dev/testing/documents_test.ts",
  "shared/e2e/chaos/tasks_test.ts",
  "shared/e2e/load/tasks_test.ts",
];

const files = await filesBelow("");
const sources = await readSources(files);
const services = files.filter((path) => /^[^/]+\/main\.ts$/.test(path)).map(houseOf);
const imports = await readModuleGraph(files);
const links = sources.map((source) => ({ path: source.path, ...linksOf(source) }));
/** Imports, and what a file starts or reads by a path relative to itself. */
const edges = [
  ...imports,
  ...links.flatMap(({ path, targets }) =>
    targets.map((to): Edge => ({ from: path, to, isType: false }))
  ),
];
const product = edges.filter(({ from }) => !isTest(from));

function houseOf(path: string): string {
  return path.split("/")[0] ?? "";
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
  return services.find((service) => path.startsWith(`${service}/`));
}

interface Place {
  readonly house: string;
  readonly room: string;
  /** 0 is the highest. */
  readonly floor: number;
}

/** Where `path` is in its house; undefined where no floor is declared for it. */
function placeOf(path: string): Place | undefined {
  const house = houseOf(path);
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

Deno.test("every file is in a service or in shared/; a house without floors has no folders", () => {
  assertHolds(
    files.flatMap((path) => {
      const house = houseOf(path);
      if (![...services, "shared"].includes(house)) return [`${path} is in no house`];
      if (!path.endsWith(".ts")) return [`${path} is not named .ts`];
      const isPlaced = house in FLOORS
        ? placeOf(path) !== undefined || isTest(path)
        : path.split("/").length === 2;
      return isPlaced ? [] : [`${path} is on no floor`];
    }),
  );
});

Deno.test("what a file imports or starts is written out, so that these rules see it", () => {
  assertHolds(
    links.filter(({ path }) => !isTest(path) && !LOADS_BY_MACHINE.includes(path))
      .flatMap(({ computed }) => computed),
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
      // Provisioning reads SQL that a role runs which no service has.
      .filter(({ from, to }) =>
        !(from.startsWith("shared/provision/") && /\/migrations\//.test(to))
      )
      .map(importText),
  );
});

Deno.test("only tests, benches, shared/dev and shared/e2e import shared/dev", () => {
  assertHolds(
    product.filter(({ from, to }) =>
      !isDevelopment(from) && (isDevelopment(to) || to === "@std/assert")
    ).map(importText),
  );
  assertHolds(product.filter(({ to }) => isTest(to)).map(importText));
});

Deno.test("only shared/process/postgres makes connections to Postgres", () => {
  assertHolds(
    product.filter(({ to, isType }) => to === "postgres" && !isType)
      .filter(({ from }) => !/^shared\/(dev|process\/postgres)\//.test(from)).map(importText),
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
  const circle = circleIn(imports.filter(({ from }) => !isTest(from)));
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

/** What deno.json's tasks start; threads and child processes are edges of what starts them. */
async function entryPoints(): Promise<string[]> {
  const config = await Deno.readTextFile(new URL("deno.json", ROOT));
  // `task bench` starts the benches that it lists.
  const benches = sources.filter(({ path }) => path === "shared/e2e/bench.ts").map(withoutComments);
  const started = [...`${config}\n${benches}`.matchAll(/[\w/-]+\.ts/g)].map(([path]) => path);
  return started.filter((path) => files.includes(path));
}

Deno.test("tests that need servers say so in their name", () => {
  const servers = /\/(chromium|nats_server|postgres_server)\.ts$/;
  const atRunTime = edges.filter(({ isType }) => !isType);
  assertHolds(
    files.filter((path) => path.endsWith("_test.ts") && !path.endsWith("_int_test.ts"))
      .filter((path) => !READ_DECLARATIONS.includes(path))
      .filter((path) => [...reachedFrom([path], atRunTime)].some((each) => servers.test(each)))
      .map((path) => `${path} reaches servers; name it _int_test.ts`),
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

Deno.test("a file is pure unless its folder's README names it as an adapter", async () => {
  const adapters = await adaptersOf([...services, "shared"]);
  const pure = files.filter((path) => !isTest(path) && !isDevelopment(path))
    .filter((path) => !adapters.has(path));
  const imported = product.filter(({ from, to, isType }) =>
    pure.includes(from) && (to === "postgres" || (!isType && !isPure(to, pure)))
  );
  const uses = sources.filter(({ path }) => pure.includes(path)).flatMap(impurities);
  const gone = [...adapters].filter((path) => !files.includes(path));
  assertHolds([
    ...uses,
    ...imported.map(importText),
    ...gone.map((path) => `${path} does not exist`),
  ]);
});

function isPure(target: string, pure: readonly string[]): boolean {
  return pure.includes(target) || PURE_PACKAGES.includes(target) || target.endsWith("/deno.json");
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
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const names = Object.keys(config.imports);
  const isMapped = (to: string) =>
    names.some((name) => to === name || (name.endsWith("/") && to.startsWith(name)));
  assertHolds(
    imports.filter(({ to }) => !files.includes(to) && !to.startsWith("node:") && !isMapped(to))
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
