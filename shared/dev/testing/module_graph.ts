/**
 * The graph of imports, as Deno resolves it (`deno info --json`).
 *
 * @module
 */
import { z } from "zod";

/** The checkout. */
export const ROOT = new URL("../../../", import.meta.url);

/** How the file begins that is there while the graph is read. */
export const GRAPH_FILE = ".graph_";

/** Whether `path` is a test or a benchmark. */
export function isTest(path: string): boolean {
  return /_(test|bench)\.ts$/.test(path);
}

/** Every file of code at or below `folder` (`""` or a path that ends in `/`), from the root. */
export async function filesBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder || ".", ROOT))) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) found.push(...await filesBelow(`${folder}${name}/`));
    else if (/\.[cm]?[jt]sx?$/.test(name)) found.push(`${folder}${name}`);
  }
  return found.sort();
}

/** One import of one file. Paths are from the root; packages keep their specifier. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  /** Whether it imports types only, which do not exist at run time. */
  readonly isType: boolean;
}

const reference = z.object({ specifier: z.string() }).optional();
const infoSchema = z.object({
  modules: z.array(z.object({
    specifier: z.string(),
    dependencies: z.array(z.object({ specifier: z.string(), code: reference, type: reference }))
      .default([]),
  })),
});

/** The imports of every file of `paths`, which are from the root. */
export async function readModuleGraph(paths: readonly string[]): Promise<Edge[]> {
  const entry = await Deno.makeTempFile({ dir: ROOT.pathname, prefix: GRAPH_FILE, suffix: ".ts" });
  try {
    await Deno.writeTextFile(entry, paths.map((path) => `import "./${path}";\n`).join(""));
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--quiet", "--json", entry],
      cwd: ROOT.pathname,
      stderr: "inherit",
    }).output();
    const { modules } = infoSchema.parse(JSON.parse(new TextDecoder().decode(stdout)));
    return modules.filter(({ specifier }) => pathOf(specifier) && !specifier.endsWith(entry))
      .flatMap(({ specifier, dependencies }) =>
        dependencies.map((each) => ({
          from: pathOf(specifier) ?? specifier,
          to: pathOf(each.code?.specifier ?? each.type?.specifier ?? "") ?? each.specifier,
          isType: each.code === undefined,
        }))
      );
  } finally {
    await Deno.remove(entry);
  }
}

function pathOf(specifier: string): string | undefined {
  return specifier.startsWith(ROOT.href) ? specifier.slice(ROOT.href.length) : undefined;
}

/** All files that `roots` reach, including themselves. */
export function reachedFrom(roots: readonly string[], edges: readonly Edge[]): Set<string> {
  const targets = Map.groupBy(edges, ({ from }) => from);
  const reached = new Set<string>();
  const waiting = [...roots];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    waiting.push(...(targets.get(next) ?? []).map(({ to }) => to));
  }
  return reached;
}

/** A circle of imports, from a file back to itself; undefined without one. */
export function circleIn(edges: readonly Edge[]): string[] | undefined {
  const targets = Map.groupBy(edges, ({ from }) => from);
  const finished = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (finished.has(file)) return undefined;
    const start = path.indexOf(file);
    if (start >= 0) return [...path.slice(start), file];
    for (const { to } of targets.get(file) ?? []) {
      const circle = visit(to, [...path, file]);
      if (circle) return circle;
    }
    finished.add(file);
    return undefined;
  };
  for (const file of targets.keys()) {
    const circle = visit(file, []);
    if (circle) return circle;
  }
  return undefined;
}
