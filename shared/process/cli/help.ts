/**
 * Help and usage, written from the declaration.
 *
 * Pure.
 *
 * @module
 */
import {
  capitals,
  type Command,
  type CommandGroup,
  isGroup,
  kebab,
  type Option,
  type Task,
  type ValueDeclaration,
} from "./declaration.ts";

/** Columns that help is wrapped to. */
const LINE_COLUMNS = 100;

/** A task or one of its commands, and how it is called after `deno task`. */
export interface Place {
  readonly path: string;
  readonly of: Task;
}

/** How to call it, for a mistake: short, so that the mistake stays in sight. */
export function usageText(place: Place): string {
  const more = `deno task ${place.path} --help says more\n`;
  if (!isGroup(place.of)) return `${synopsis(place.path, place.of)}\n${more}`;
  return `${groupSynopsis(place.of)}\n\n${commandLines(place.of)}\n\n${more}`;
}

/** All about a task or a command, ending in a line break. */
export function helpText({ path, of }: Place): string {
  const details =
    of.details?.trim().split(/\n\s*\n/).map((each) => wrapped(each.split(/\s+/), "", "")) ??
      [];
  const head = [of.summary, ...details];
  const sections = isGroup(of)
    ? [groupSynopsis(of), ...head, commandLines(of), exampleLines(firstExamples(of))]
    : [synopsis(path, of), ...head, ...declarationLines(of), exampleLines(examplesOf(path, of))];
  return sections.join("\n\n") + "\n";
}

function groupSynopsis({ name }: CommandGroup): string {
  return `usage: deno task ${name} COMMAND [arguments]`;
}

function synopsis(path: string, { positionals, options }: Command): string {
  const operands = positionals.map(({ name, required, variadic }) => {
    const shown = `${capitals(name)}${variadic ? "..." : ""}`;
    return required ? shown : `[${shown}]`;
  });
  const flags = Object.entries(options).map(([key, option]) => {
    const isRequired = option.type === "string" && option.required;
    return isRequired ? optionForm(key, option) : `[${optionForm(key, option)}]`;
  });
  return wrapped([...operands, ...flags], `usage: deno task ${path} `, " ".repeat(8));
}

function optionForm(key: string, option: Option): string {
  return option.type === "string" ? `--${kebab(key)} ${option.value}` : `--${kebab(key)}`;
}

function commandLines({ name, commands }: CommandGroup): string {
  return `commands (deno task ${name} COMMAND --help says more):\n${
    entries(commands.map((each) => [each.name, each.summary]))
  }`;
}

function declarationLines({ positionals, options }: Command): string[] {
  const operands = positionals.map((each) =>
    [capitals(each.name), aboutValue(each, !each.variadic)] as const
  );
  const flags = Object.entries(options).map(([key, option]) =>
    [
      optionForm(key, option),
      option.type === "string" ? aboutValue(option, true) : option.about,
    ] as const
  );
  return [
    ...(operands.length > 0 ? [`arguments:\n${entries(operands)}`] : []),
    `options:\n${entries([...flags, ["-h, --help", "print this"]])}`,
  ];
}

function aboutValue(declaration: ValueDeclaration<unknown>, isSingle: boolean): string {
  const { about, required } = declaration;
  const absent = declaration.default ?? declaration.absent;
  if (required) return `${about} (required)`;
  return absent !== undefined && isSingle ? `${about} (default: ${absent})` : about;
}

interface FullExample {
  readonly line: string;
  readonly about?: string;
}

function examplesOf(path: string, { examples }: Command): FullExample[] {
  return examples.map(({ args, ...rest }) => ({
    line: ["deno task", path, ...args.map(shellWord)].join(" "),
    ...rest,
  }));
}

function firstExamples(group: CommandGroup): FullExample[] {
  return group.commands.flatMap((each) =>
    examplesOf(`${group.name} ${each.name}`, each).slice(0, 1).map(({ line }) => ({ line }))
  );
}

function exampleLines(examples: readonly FullExample[]): string {
  const lines = examples.map(({ line, about }) =>
    about === undefined
      ? `  ${line}`
      : `  ${line}\n${wrapped(about.split(/\s+/), "      ", "      ")}`
  );
  return `examples:\n${lines.join("\n")}`;
}

/** `argument` as a shell takes it for one word. */
export function shellWord(argument: string): string {
  if (/^[\w./:+@=,%-]+$/.test(argument)) return argument;
  return `'${argument.replaceAll("'", "'\\''")}'`;
}

/** Names and what they are, in two columns. */
function entries(rows: readonly (readonly [name: string, about: string])[]): string {
  const widest = Math.max(...rows.map(([name]) => name.length));
  const indent = " ".repeat(widest + 4);
  return rows.map(([name, about]) => {
    return wrapped(about.split(/\s+/), `  ${name.padEnd(widest)}  `, indent);
  }).join("\n");
}

/** Words as lines of at most {@link LINE_COLUMNS}; `first` and `indent` begin them. */
function wrapped(words: readonly string[], first: string, indent: string): string {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of words) {
    if (!isEmpty && line.length + 1 + word.length > LINE_COLUMNS) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line.trimEnd()].join("\n");
}
