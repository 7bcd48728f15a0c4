import { assert, assertEquals } from "@std/assert";
import type { z } from "zod";
import { triageSettings } from "../../../dlq-triage/settings.ts";
import { ingestSettings } from "../../../ingest/settings.ts";
import { liveSettings } from "../../../live/settings.ts";
import { royaltySettings } from "../../../royalty/settings.ts";
import { provisionSettings } from "../../provision/main.ts";

const ROOT = new URL("../../../", import.meta.url);
const readme = await Deno.readTextFile(new URL("README.md", ROOT));
const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));

const PROCESSES: Readonly<Record<string, Readonly<Record<string, z.ZodType>>>> = {
  ingest: ingestSettings,
  live: liveSettings,
  royalty: royaltySettings,
  triage: triageSettings,
  provision: provisionSettings,
};

Deno.test("the README's table of settings is what the processes read", () => {
  const expected = settingsTable();
  const start = readme.search(/^\| setting +\| read by/m);
  const found = readme.slice(start, readme.indexOf("\n\n", start));
  assertEquals(normal(found), normal(expected), `the table should be:\n${expected}`);
});

Deno.test("every task the README names exists", () => {
  const named = [...readme.matchAll(/deno@2\.9\.6 task ([\w:]+)/g)].map(([, task]) => task);
  assert(named.length > 5, "the README names tasks");
  assertEquals(named.filter((task) => !(task in config.tasks)), []);
});

Deno.test("every file the README links to exists", async () => {
  const links = [...readme.matchAll(/\]\(([\w./-]+)\)/g)].map(([, path]) => path);
  const missing: string[] = [];
  for (const path of links) {
    await Deno.stat(new URL(path, ROOT)).catch(() => missing.push(path));
  }
  assertEquals(missing, []);
});

// A setting that several processes read has one row, with each one's default where they differ.
function settingsTable(): string {
  const rows = new Map<string, { about: string; defaults: Map<string, string> }>();
  for (const [process, settings] of Object.entries(PROCESSES)) {
    for (const [name, schema] of Object.entries(settings)) {
      const row = rows.get(name) ?? { about: "", defaults: new Map() };
      const about = schema.description ?? "";
      row.about = row.about.includes(about)
        ? row.about
        : [row.about, about].filter(Boolean).join("; ");
      row.defaults.set(process, defaultOf(schema));
      rows.set(name, row);
    }
  }
  return [
    "| setting | read by | default | what it is |",
    "| --- | --- | --- | --- |",
    ...[...rows].map(([name, { about, defaults }]) =>
      `| \`${name}\` | ${[...defaults.keys()].join(", ")} | ${
        [...new Set(defaults.values())].join(", ")
      } | ${about.replaceAll("|", "\\|")} |`
    ),
  ].join("\n");
}

function defaultOf(schema: z.ZodType): string {
  const without = schema.safeParse(undefined);
  if (!without.success) return "required";
  if (without.data === undefined) return "unset";
  return `\`${Array.isArray(without.data) ? without.data.join(",") : without.data}\``;
}

// The formatter pads the columns.
function normal(table: string): string[] {
  return table.split("\n").map((row) =>
    row.split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/^-+$/, "-")).join("|")
  );
}
