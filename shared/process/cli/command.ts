/**
 * Creates a command from its declaration.
 *
 * @module
 */
import type { Command, CommandDeclaration, Options, Positionals, Values } from "./declaration.ts";
import { readValues } from "./read.ts";

/** Declares a command; the compiler infers the types of the values that `run` receives. */
export function command<
  const O extends Options = Record<never, never>,
  const P extends Positionals = readonly [],
>(declaration: CommandDeclaration<O, P>): Command {
  const { positionals = [], options = {}, run, ...described } = declaration;
  return {
    ...described,
    positionals,
    options,
    prepare: (args) => {
      // The compiler cannot infer that each value has the type of its declaration.
      const values = readValues(options, positionals, args) as Values<O, P>;
      return (io) => run(values, io);
    },
  };
}
