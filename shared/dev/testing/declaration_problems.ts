/**
 * Finds mistakes in the declaration of a command line, for the test of a task.
 *
 * Pure.
 *
 * @module
 */
import {
  capitals,
  type Command,
  type Described,
  isGroup,
  kebab,
  type Positionals,
  type Task,
} from "../../process/cli/declaration.ts";
import { shellWord } from "../../process/cli/help.ts";
import { Misuse } from "../../process/cli/misuse.ts";
import { parsed } from "../../process/cli/read.ts";

/**
 * The mistakes in the declaration of `task`, one line each, for its test, which expects none:
 * invalid names, defaults and examples that do not parse, positionals in an impossible order.
 */
export function declarationProblems(task: Task): string[] {
  const commands = isGroup(task) ? task.commands : [task];
  const names = commands.map(({ name }) => name);
  return [
    ...(isGroup(task) ? describedProblems(task.name, task) : []),
    ...(isGroup(task) && names.includes("help") ? [`${task.name}: help is taken`] : []),
    ...repeated(names).map((name) => `${task.name}: two commands are named ${name}`),
    ...commands.flatMap((each) =>
      commandProblems(isGroup(task) ? `${task.name} ${each.name}` : each.name, each)
    ),
  ];
}

function commandProblems(path: string, declared: Command): string[] {
  const { positionals, options, examples, prepare } = declared;
  const names = [...Object.keys(options), ...positionals.map(({ name }) => name)];
  const problems = [
    ...names.filter((name) => !/^[a-z][a-z0-9]*([A-Z][a-z0-9]*)*$/.test(name))
      .map((name) => `${name} is not camelCase`),
    ...repeated(names).map((name) => `${name} is declared twice`),
    ...("help" in options ? ["help is taken"] : []),
    ...valueProblems(declared),
    ...orderProblems(positionals),
    ...examples.flatMap(({ args }) =>
      problemOf(() => prepare(args)).map((what) =>
        `example ${args.map(shellWord).join(" ")}: ${what}`
      )
    ),
  ];
  return [...describedProblems(path, declared), ...problems.map((what) => `${path}: ${what}`)];
}

/** Defaults that do not parse, and values with more than one rule for their absence. */
function valueProblems({ positionals, options }: Command): string[] {
  const values = [
    ...positionals.map((each) => [capitals(each.name), each] as const),
    ...Object.entries(options).flatMap(([key, option]) =>
      option.type === "string" ? [[`--${kebab(key)}`, option] as const] : []
    ),
  ];
  return values.flatMap(([shown, { required, absent, default: otherwise, parser }]) => {
    const answers = [required, otherwise, absent].filter((each) => each !== undefined);
    const read = () => otherwise === undefined || parsed(parser, shown, otherwise);
    return [
      ...(answers.length > 1 ? [`${shown} has more than one of required, default and absent`] : []),
      ...problemOf(read).map((what) => `default of ${what}`),
    ];
  });
}

function orderProblems(positionals: Positionals): string[] {
  return positionals.flatMap(({ name, required, variadic, default: otherwise }, index) => {
    const shown = capitals(name);
    const isLast = index === positionals.length - 1;
    const follows = required && index > 0 && !positionals[index - 1]?.required;
    return [
      ...(variadic && !isLast ? [`${shown} is variadic and not the last`] : []),
      ...(variadic && otherwise !== undefined ? [`${shown} is variadic with a default`] : []),
      ...(follows ? [`${shown} is required after one that is not`] : []),
    ];
  });
}

function describedProblems(path: string, { name, summary }: Described): string[] {
  return [
    ...(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) ? [] : [`${path}: the name is not kebab-case`]),
    ...(/^\S.*[^\s.]$/.test(summary)
      ? []
      : [`${path}: the summary is not one line without a stop`]),
  ];
}

function repeated(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, index) => names.indexOf(name) !== index))];
}

/** The mistake that `read` reports, if there is one. */
function problemOf(read: () => unknown): string[] {
  try {
    read();
    return [];
  } catch (error) {
    if (error instanceof Misuse) return [error.message];
    throw error;
  }
}
