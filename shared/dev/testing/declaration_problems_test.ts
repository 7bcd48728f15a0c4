import { assertEquals } from "@std/assert";
import { declarationProblems } from "./declaration_problems.ts";
import { command } from "../../process/cli/command.ts";
import type { Command, CommandGroup } from "../../process/cli/declaration.ts";
import { integer, oneOf, text } from "../../process/cli/parsers.ts";

const right = command({
  name: "load",
  summary: "load files",
  positionals: [
    { name: "kind", about: "what they are", parser: oneOf("csv", "json"), required: true },
    { name: "batchSize", about: "rows at once", parser: integer(1, 100), default: "50" },
    { name: "files", about: "the files", parser: text(99), variadic: true },
  ],
  examples: [{ args: ["csv"] }],
  run: () => 0,
});

function group(...commands: readonly Command[]): CommandGroup {
  return { name: "royalty", summary: "finance's commands", commands };
}

Deno.test("every mistake in a declaration is reported", () => {
  assertEquals(declarationProblems(right), []);
  assertEquals(declarationProblems(group(right)), []);
  const about = "x";
  const wrong = command({
    name: "Wrong",
    summary: "ends in a stop.",
    positionals: [
      { name: "many", about, parser: text(9), variadic: true, default: "x" },
      { name: "as-of", about, parser: text(9), required: true },
    ],
    options: {
      many: { type: "boolean", about },
      help: { type: "boolean", about },
      n: {
        type: "string",
        value: "N",
        about,
        parser: integer(1, 2),
        default: "3",
        absent: "1",
      },
    },
    examples: [{ args: ["--n", "0"] }],
    run: () => 0,
  });
  assertEquals(declarationProblems(group(wrong, wrong)).slice(0, 11), [
    "royalty: two commands are named Wrong",
    "royalty Wrong: the name is not kebab-case",
    "royalty Wrong: the summary is not one line without a stop",
    "royalty Wrong: as-of is not camelCase",
    "royalty Wrong: many is declared twice",
    "royalty Wrong: help is taken",
    "royalty Wrong: --n has more than one of required, default and absent",
    "royalty Wrong: default of --n 3 is not a whole number from 1 to 2",
    "royalty Wrong: MANY is variadic and not the last",
    "royalty Wrong: MANY is variadic with a default",
    "royalty Wrong: AS_OF is required after one that is not",
  ]);
  assertEquals(
    declarationProblems(wrong).at(-1),
    "Wrong: example --n 0: --n 0 is not a whole number from 1 to 2",
  );
});
