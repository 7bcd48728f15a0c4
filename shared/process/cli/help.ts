/**
 * Renders help and usage from declarations.
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

/** Maximum width of help text. */
const MAX_LINE_COLUMNS = 100;

/** A task or one of its commands. */
export interface HelpTarget {
  /** Its name after `deno task`, for example `royalty close`. */
  readonly path: string;
  readonly task: Task;
}

/** The usage of a task or command: short, to be shown after an error message. */
export function usageText({ path, task }: HelpTarget): string {
  const more = `see deno task ${path} --help\n`;
  if (!isGroup(task)) return `${synopsis(path, task)}\n${more}`;
  return `${groupSynopsis(task)}\n\n${commandLines(task)}\n\n${more}`;
}

/** The help of a task or command, ending in a line break. */
export function helpText({ path, task }: HelpTarget): string {
  const paragraphs = task.details?.trim().split(/\n\s*\n/) ?? [];
  const details = paragraphs.map((each) => wrapped(each.split(/\s+/), "", ""));
  const head = [task.summary, ...details];
  const sections = isGroup(task)
    ? [groupSynopsis(task), ...head, commandLines(task), exampleLines(firstExamples(task))]
    : [
      synopsis(path, task),
      ...head,
      ...declarationLines(task),
      exampleLines(examplesOf(path, task)),
    ];
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
  return `commands (see deno task ${name} COMMAND --help):\n${
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
    `options:\n${entries([...flags, ["-h, --help", "print this help"]])}`,
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

/** `argument` quoted for a POSIX shell, if needed. */
export function shellWord(argument: string): string {
  if (/^[\w./:+@=,%-]+$/.test(argument)) return argument;
  return `'${argument.replaceAll("'", "'\\''")}'`;
}

/** Names and their descriptions, in two columns. */
function entries(rows: readonly (readonly [name: string, about: string])[]): string {
  const widest = Math.max(...rows.map(([name]) => name.length));
  const indent = " ".repeat(widest + 4);
  return rows.map(([name, about]) => {
    return wrapped(about.split(/\s+/), `  ${name.padEnd(widest)}  `, indent);
  }).join("\n");
}

/**
 * Wraps words into lines of at most {@link MAX_LINE_COLUMNS}; the first line begins with `first`,
 * the others with `indent`.
 */
function wrapped(words: readonly string[], first: string, indent: string): string {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of words) {
    if (!isEmpty && line.length + 1 + word.length > MAX_LINE_COLUMNS) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line.trimEnd()].join("\n");
}
