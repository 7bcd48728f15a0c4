/**
 * Declarations of command lines: options, positionals, examples, commands and command groups.
 *
 * Options are declared in camelCase and written in kebab-case: `asOf` is `--as-of`.
 *
 * @module
 */
import type { Io } from "./io.ts";

/**
 * Parses the text of a value. An object and not a function, because the compiler does not infer the
 * type of a generic call that returns a function, such as `oneOf`.
 */
export interface Parser<T> {
  /**
   * Returns the value of `text`; throws {@link Misuse} for invalid text. Option and text are
   * prepended to its message: `is not a day` is shown as `--day 2026-02-30 is not a day`.
   */
  readonly parse: (text: string) => T;
}

/** An option without a value: true if given, else false. */
export interface FlagOption {
  readonly type: "boolean";
  /** Help text. */
  readonly about: string;
}

/** Common part of options with a value and positionals. */
export interface ValueDeclaration<T> {
  /** Help text, with the unit if the value has one. */
  readonly about: string;
  readonly parser: Parser<T>;
  /** Whether it must be given. */
  readonly required?: true;
  /** Text to parse when it is not given; shown in the help. */
  readonly default?: string;
  /** Help text for when it is not given and has no default, such as `now`. */
  readonly absent?: string;
}

/** An option with a value: undefined if not given, without `required` or `default`. */
export interface ValueOption<T> extends ValueDeclaration<T> {
  readonly type: "string";
  /** Placeholder of the value in the help: `YYYY-MM-DD`, `N`, `FILE`. */
  readonly value: string;
  /** Messages do not show the given text, for example a URL with a password. */
  readonly isSecret?: true;
}

/** An option of either kind. */
export type Option = FlagOption | ValueOption<unknown>;

/** Options by name in camelCase. */
export type Options = Readonly<Record<string, Option>>;

/** An argument without a name: undefined if not given, without `required` or `default`. */
export interface Positional<T = unknown> extends ValueDeclaration<T> {
  /** In camelCase; the help shows it in capitals. */
  readonly name: string;
  /** Takes all remaining arguments as an array; only for the last positional, without default. */
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

/** The values that `run` receives: one per option and positional, by name. */
export type Values<O extends Options, P extends Positionals> =
  & { readonly [K in keyof O]: OptionValue<O[K]> }
  & { readonly [D in P[number] as D["name"]]: PositionalValue<D> };

/** An example for the help; `declarationProblems` checks in tests that it parses. */
export interface Example {
  /** The arguments after the name of the command. */
  readonly args: readonly string[];
  /** Explanation, shown below the example. */
  readonly about?: string;
}

/** Common part of commands and command groups. */
export interface Described {
  /** The name on the command line. */
  readonly name: string;
  /** One line for the help: lower case, no full stop. */
  readonly summary: string;
  /** More help text: paragraphs separated by empty lines; wrapped when shown. */
  readonly details?: string;
}

/** The argument of {@link command}. */
export interface CommandDeclaration<O extends Options, P extends Positionals> extends Described {
  readonly positionals?: P;
  readonly options?: O;
  readonly examples: readonly [Example, ...Example[]];
  /**
   * Runs the command and returns the exit code: 0 for success, 1 for failure. Throws {@link Misuse}
   * for values that cannot be combined; `run.ts` describes the other errors.
   */
  readonly run: (values: Values<O, P>, io: Io) => number | Promise<number>;
}

/** A declared command; created by {@link command}. */
export interface Command extends Described {
  readonly positionals: Positionals;
  readonly options: Options;
  readonly examples: readonly Example[];
  /** Parses `args` and returns the function to run. Throws {@link Misuse}. */
  readonly prepare: (args: readonly string[]) => (io: Io) => number | Promise<number>;
}

/**
 * A task with several commands: `deno task NAME COMMAND`. Its help shows the first example of each.
 */
export interface CommandGroup extends Described {
  readonly commands: readonly Command[];
}

/** What `deno task NAME` runs. */
export type Task = Command | CommandGroup;

/** The option `--json` of a command that prints data; the command then prints with `toJson`. */
export const JSON_OPTION = {
  type: "boolean",
  about: "print JSON instead of text",
} as const satisfies FlagOption;

/** Whether `task` is a command group. */
export function isGroup(task: Task): task is CommandGroup {
  return "commands" in task;
}

/** `key` in kebab-case: the name of an option on the command line, without `--`. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `name` in UPPER_SNAKE_CASE: a positional as the help shows it. */
export function capitals(name: string): string {
  return kebab(name).replaceAll("-", "_").toUpperCase();
}
