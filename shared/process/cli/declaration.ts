/**
 * How a command line is declared: options, positionals and examples, a command, a group of them.
 *
 * Options are declared in camelCase and written in kebab-case: `asOf` is `--as-of`.
 *
 * @module
 */
import type { Io } from "./io.ts";

/**
 * Reads the text of a value. An object and not a function, because the compiler infers nothing from
 * a generic call that returns a function, such as one of {@link oneOf} would be.
 */
export interface Parser<T> {
  /**
   * Throws {@link Misuse} for a wrong text; option and text are put before its message, so that `is
   * not a day` is shown as `--day 2026-02-30 is not a day`.
   */
  readonly parse: (text: string) => T;
}

/** An option without a value: false unless it is given. */
export interface FlagOption {
  readonly type: "boolean";
  /** What it does, for the help. */
  readonly about: string;
}

/** What options with a value and positionals have in common. */
export interface ValueDeclaration<T> {
  /** What it is, for the help; a unit belongs here. */
  readonly about: string;
  readonly parser: Parser<T>;
  /** It has to be given. */
  readonly required?: true;
  /** Text that is parsed when it is not given, and shown in the help. */
  readonly default?: string;
  /** For the help: what happens when it is not given and has no default, such as `now`. */
  readonly absent?: string;
}

/** An option with a value. Without `required` and `default` it is undefined when not given. */
export interface ValueOption<T> extends ValueDeclaration<T> {
  readonly type: "string";
  /** Stands for the value in the help: `YYYY-MM-DD`, `N`, `FILE`. */
  readonly value: string;
  /** Messages do not show the text given, such as a URL with a password. */
  readonly isSecret?: true;
}

/** One option, of either kind. */
export type Option = FlagOption | ValueOption<unknown>;

/** Options by name in camelCase. */
export type Options = Readonly<Record<string, Option>>;

/** An argument without a name. Without `required` and `default` it is undefined when not given. */
export interface Positional<T = unknown> extends ValueDeclaration<T> {
  /** In camelCase; the help shows it in capitals. */
  readonly name: string;
  /** Takes all that are left, as an array; only the last positional can, without a default. */
  readonly variadic?: true;
}

/** Positionals in the order in which they are given. */
export type Positionals = readonly Positional[];

type Parsed<D> = D extends { readonly parser: Parser<infer T> }
  ? D extends { readonly required: true } | { readonly default: string } ? T : T | undefined
  : never;

type OptionValue<D> = D extends { readonly type: "boolean" } ? boolean : Parsed<D>;

type PositionalValue<D> = D extends { readonly variadic: true; readonly parser: Parser<infer T> }
  ? readonly T[]
  : Parsed<D>;

/** What `run` is given: a value per option and positional, by name. */
export type Values<O extends Options, P extends Positionals> =
  & { readonly [K in keyof O]: OptionValue<O[K]> }
  & { readonly [D in P[number] as D["name"]]: PositionalValue<D> };

/** A command line that works, for the help; {@link declarationProblems} checks that it does. */
export interface Example {
  /** From after the name of the command on, one element per argument. */
  readonly args: readonly string[];
  readonly about?: string;
}

/** What commands and groups of them have in common. */
export interface Described {
  /** As it is typed. */
  readonly name: string;
  /** One line: lower case, no full stop. */
  readonly summary: string;
  /** More for the help, in paragraphs with an empty line between; wrapped when shown. */
  readonly details?: string;
}

/** What {@link command} takes. */
export interface CommandDeclaration<O extends Options, P extends Positionals> extends Described {
  readonly positionals?: P;
  readonly options?: O;
  readonly examples: readonly [Example, ...Example[]];
  /**
   * Does it and returns the exit code: 0 done, 1 not. Throws {@link Misuse} for values that do not
   * go together, and otherwise as `run.ts` says.
   */
  readonly run: (values: Values<O, P>, io: Io) => number | Promise<number>;
}

/** A declared command; made by {@link command}. */
export interface Command extends Described {
  readonly positionals: Positionals;
  readonly options: Options;
  readonly examples: readonly Example[];
  /** Reads `args` and returns what there is to do. Throws {@link Misuse}. */
  readonly prepare: (args: readonly string[]) => (io: Io) => number | Promise<number>;
}

/** A task with several commands: `deno task NAME COMMAND`. Its help shows their first examples. */
export interface CommandGroup extends Described {
  readonly commands: readonly Command[];
}

/** What `deno task NAME` starts. */
export type Task = Command | CommandGroup;

/** `--json`, for a command that prints data; such a command prints with `toJson`. */
export const JSON_OPTION = {
  type: "boolean",
  about: "print JSON instead of text",
} as const satisfies FlagOption;

/** Whether `task` has several commands. */
export function isGroup(task: Task): task is CommandGroup {
  return "commands" in task;
}

/** The name of an option as it is typed, without its `--`. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The name of a positional as the help shows it. */
export function capitals(name: string): string {
  return kebab(name).replaceAll("-", "_").toUpperCase();
}
