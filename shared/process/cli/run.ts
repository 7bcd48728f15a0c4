/**
 * Runs a task: reads its arguments as they are declared, helps, and ends as errors say.
 *
 * A task is what `deno task NAME` starts: one {@link Command}, or a {@link CommandGroup} of them.
 * Options are declared in camelCase and written in kebab-case: `asOf` is `--as-of`. `-h` and
 * `--help` go everywhere and win over mistakes. How a task ends:
 *
 * | end                                 | prints                            | exit code |
 * | ----------------------------------- | --------------------------------- | --------- |
 * | `run` returns                       | what it wrote                     | its value |
 * | {@link Misuse}                      | the message and the usage         | 2         |
 * | {@link Stop}                        | the message                       | its own   |
 * | {@link Refused}, {@link RetryAfter} | the message                       | 1         |
 * | the reader of the output has gone   | nothing                           | 141       |
 * | any other error                     | its stack and those of its causes | 1         |
 *
 * @module
 */
import { isExpected, messageOf, Stop } from "../errors.ts";
import { safeText } from "./table.ts";
import { type CommandGroup, isGroup, type Task } from "./declaration.ts";
import { helpText, type Place, usageText } from "./help.ts";
import { type Io, processIo, ReaderGone } from "./io.ts";
import { didYouMean, Misuse, nearest, quoted } from "./misuse.ts";

/** What a shell reports for a program that wrote to a closed pipe. */
const READER_GONE = 141;

/** Runs `task` with the arguments of this process, and ends the process. */
export async function main(task: Task): Promise<never> {
  Deno.exit(await runCommandLine(task, Deno.args));
}

/**
 * Runs `task` with `args` and returns the exit code. What each end prints and returns is the table
 * above; messages begin with the task's name. Rejects only when standard error cannot be written.
 */
export async function runCommandLine(
  task: Task,
  args: readonly string[],
  io: Io = processIo(),
): Promise<number> {
  let place: Place = { path: task.name, of: task };
  try {
    let rest = args;
    const [name, ...others] = args;
    if (isGroup(task) && name !== undefined && !isHelp(name)) {
      // `help COMMAND` is `COMMAND --help`, and `help` alone that of the group.
      const words = name === "help" ? [...others.filter((each) => !isHelp(each)), "--help"] : args;
      const [command = "", ...own] = words;
      if (!isHelp(command)) place = placeOf(task, command);
      rest = isHelp(command) ? words : own;
    }
    if (wantsHelp(rest)) {
      io.out.write(helpText(place));
      return 0;
    }
    if (isGroup(place.of)) throw new Misuse("which command?");
    return await place.of.prepare(rest)(io);
  } catch (error) {
    return report(error, task.name, place, io);
  }
}

function placeOf(group: CommandGroup, name: string): Place {
  const found = group.commands.find((each) => each.name === name);
  if (found) return { path: `${group.name} ${found.name}`, of: found };
  if (name.startsWith("-")) {
    throw new Misuse(`${quoted(name)} comes before a command; the command is first`);
  }
  const near = nearest(name, group.commands.map((each) => each.name));
  throw new Misuse(`unknown command ${quoted(name)}${didYouMean(near)}`);
}

function isHelp(arg: string): boolean {
  return arg === "--help" || arg === "-h";
}

function wantsHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some(isHelp);
}

function report(error: unknown, name: string, place: Place, io: Io): number {
  if (error instanceof ReaderGone) return READER_GONE;
  try {
    if (error instanceof Misuse) {
      io.err.line(safeLines(`${name}: ${error.message}`));
      io.err.write(`\n${usageText(place)}`);
      return 2;
    }
    const message = isExpected(error) ? messageOf(error) : stackOf(error);
    io.err.line(safeLines(`${name}: ${message}`));
  } catch (unwritten) {
    if (!(unwritten instanceof ReaderGone)) throw unwritten;
  }
  return error instanceof Stop ? error.exitCode : 1;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const stack = error.stack ?? error.message;
  return error.cause === undefined ? stack : `${stack}\ncaused by ${stackOf(error.cause)}`;
}

/** Safe text that keeps its line breaks. */
function safeLines(text: string): string {
  return text.split("\n").map(safeText).join("\n");
}
