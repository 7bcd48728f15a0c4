/**
 * Makes a command of its declaration.
 *
 * @module
 */
import type { Command, CommandDeclaration, Options, Positionals, Values } from "./declaration.ts";
import { readValues } from "./read.ts";

/** Declares a command; the types of the values that `run` gets follow from the declaration. */
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
      // The compiler cannot follow that reading gives each declaration the value of its own type.
      const values = readValues(options, positionals, args) as Values<O, P>;
      return (io) => run(values, io);
    },
  };
}
