/**
 * Reads command-line arguments by their declarations.
 *
 * Pure.
 *
 * @module
 */
import { parseArgs } from "node:util";
import {
  capitals,
  kebab,
  type Options,
  type Parser,
  type Positionals,
  type ValueDeclaration,
  type ValueOption,
} from "./declaration.ts";
import { didYouMean, Misuse, nearest, quoted } from "./misuse.ts";

/**
 * The values of `args` by the name of their option or positional. Throws a {@link Misuse} about the
 * first error.
 */
export function readValues(
  options: Options,
  positionals: Positionals,
  args: readonly string[],
): Record<string, unknown> {
  const { given, operands } = readTokens(options, args);
  const values = new Map<string, unknown>();
  for (const [key, option] of Object.entries(options)) {
    const flag = `--${kebab(key)}`;
    const value = given.get(key);
    if (option.type === "boolean") values.set(key, value !== undefined);
    else values.set(key, valueOf(option, flag, `${flag} ${option.value}`, value));
  }
  for (const positional of positionals) {
    const { name, parser, required, variadic } = positional;
    const shown = capitals(name);
    if (variadic) {
      const rest = operands.splice(0);
      if (required && rest.length === 0) throw new Misuse(`${shown} is missing`);
      values.set(name, rest.map((each) => parsed(parser, shown, each)));
    } else values.set(name, valueOf(positional, shown, shown, operands.shift()));
  }
  const [extra] = operands;
  if (extra !== undefined) throw new Misuse(`unexpected argument ${quoted(extra)}`);
  return Object.fromEntries(values);
}

function valueOf(
  declaration: ValueDeclaration<unknown> & { readonly isSecret?: true },
  subject: string,
  missing: string,
  given: string | undefined,
): unknown {
  if (given === undefined && declaration.required) throw new Misuse(`${missing} is missing`);
  const value = given ?? declaration.default;
  if (value === undefined) return undefined;
  return parsed(declaration.parser, subject, value, declaration.isSecret);
}

/** Parses `value`; prepends `subject`, and `value` unless it is secret, to a {@link Misuse}. */
export function parsed(
  parser: Parser<unknown>,
  subject: string,
  value: string,
  isSecret?: true,
): unknown {
  try {
    return parser.parse(value);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    const shown = isSecret ? subject : `${subject} ${quoted(value)}`;
    throw new Misuse(`${shown} ${error.message}`, { cause: error });
  }
}

interface Tokens {
  /** Text of the options that are given, by key; that of a flag is empty. */
  readonly given: ReadonlyMap<string, string>;
  readonly operands: string[];
}

function readTokens(options: Options, args: readonly string[]): Tokens {
  const keys = new Map(Object.keys(options).map((key) => [kebab(key), key]));
  const types = Object.entries(options).map(([key, { type }]) => [kebab(key), { type }] as const);
  // Not strict, because the messages of node:util suggest no names.
  const { tokens } = parseArgs({
    args: [...args],
    allowPositionals: true,
    strict: false,
    tokens: true,
    options: Object.fromEntries(types),
  });
  const given = new Map<string, string>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const key = token.rawName.startsWith("--") ? keys.get(token.name) : undefined;
    const option = key === undefined ? undefined : options[key];
    if (key === undefined || option === undefined) throw unknownOption(token.rawName, keys.keys());
    if (given.has(key)) throw new Misuse(`${token.rawName} is given twice`);
    if (option.type === "boolean") {
      if (token.value !== undefined) throw new Misuse(`${token.rawName} takes no value`);
      given.set(key, "");
    } else given.set(key, optionText(token, option));
  }
  return { given, operands };
}

interface OptionToken {
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function optionText({ rawName, value, inlineValue }: OptionToken, option: ValueOption<unknown>) {
  if (!value) throw new Misuse(`${rawName} needs a value: ${rawName} ${option.value}`);
  // It is more likely the next option than a value.
  if (!inlineValue && value.length > 1 && value.startsWith("-")) {
    throw new Misuse(`${rawName} needs a value; one that begins with - is written ${rawName}=…`);
  }
  return value;
}

function unknownOption(rawName: string, names: Iterable<string>): Misuse {
  const near = nearest(rawName, [...names, "help"].map((name) => `--${name}`));
  return new Misuse(`unknown option ${quoted(rawName)}${didYouMean(near)}`);
}
