/**
 * Runs a task: parses its arguments, prints help, and maps errors to messages and exit codes.
 *
 * A task is what `deno task NAME` runs: a {@link Command} or a {@link CommandGroup}. `-h` and
 * `--help` are accepted anywhere and take precedence over errors. Exit codes:
 *
 * | outcome                             | prints                            | exit code |
 * | ----------------------------------- | --------------------------------- | --------- |
 * | `run` returns                       | its output                        | its value |
 * | {@link Misuse}                      | the message and the usage         | 2         |
 * | {@link Stop}                        | the message                       | its own   |
 * | {@link Refused}, {@link RetryAfter} | the message                       | 1         |
 * | the reader has closed the output    | nothing                           | 141       |
 * | any other error                     | its stack and those of its causes | 1         |
 *
 * @module
 */
import { isExpected, messageOf, Stop } from "../errors.ts";
import { safeText } from "./table.ts";
import { type CommandGroup, isGroup, type Task } from "./declaration.ts";
import { type HelpTarget, helpText, usageText } from "./help.ts";
import { type Io, OutputClosed, processIo } from "./io.ts";
import { didYouMean, Misuse, nearest, quoted } from "./misuse.ts";

/** The exit code that a shell reports for a program that wrote to a closed pipe (128 + SIGPIPE). */
const OUTPUT_CLOSED_EXIT_CODE = 141;

/** Runs `task` with the arguments of this process, and exits with its exit code. */
export async function main(task: Task, args: readonly string[] = Deno.args): Promise<never> {
  Deno.exit(await runCommandLine(task, args));
}

/**
 * Runs `task` with `args` and returns the exit code; see the table above. Messages begin with the
 * name of the task. Rejects only when standard error cannot be written.
 */
export async function runCommandLine(
  task: Task,
  args: readonly string[],
  io: Io = processIo(),
): Promise<number> {
  let target: HelpTarget = { path: task.name, task };
  try {
    let rest = args;
    const [name, ...others] = args;
    if (isGroup(task) && name !== undefined && !isHelp(name)) {
      // `help COMMAND` is `COMMAND --help`; `help` alone is the help of the group.
      const words = name === "help" ? [...others.filter((each) => !isHelp(each)), "--help"] : args;
      const [command = "", ...own] = words;
      if (!isHelp(command)) target = targetOf(task, command);
      rest = isHelp(command) ? words : own;
    }
    if (hasHelp(rest)) {
      io.out.write(helpText(target));
      return 0;
    }
    if (isGroup(target.task)) throw new Misuse("which command?");
    return await target.task.prepare(rest)(io);
  } catch (error) {
    return report(error, task.name, target, io);
  }
}

function targetOf(group: CommandGroup, name: string): HelpTarget {
  const found = group.commands.find((each) => each.name === name);
  if (found) return { path: `${group.name} ${found.name}`, task: found };
  if (name.startsWith("-")) {
    throw new Misuse(`${quoted(name)} is before the command; the command must be first`);
  }
  const near = nearest(name, group.commands.map((each) => each.name));
  throw new Misuse(`unknown command ${quoted(name)}${didYouMean(near)}`);
}

function isHelp(arg: string): boolean {
  return arg === "--help" || arg === "-h";
}

function hasHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some(isHelp);
}

function report(error: unknown, name: string, target: HelpTarget, io: Io): number {
  if (error instanceof OutputClosed) return OUTPUT_CLOSED_EXIT_CODE;
  try {
    if (error instanceof Misuse) {
      io.err.line(safeLines(`${name}: ${error.message}`));
      io.err.write(`\n${usageText(target)}`);
      return 2;
    }
    const message = isExpected(error) ? messageOf(error) : stackOf(error);
    io.err.line(safeLines(`${name}: ${message}`));
  } catch (unwritten) {
    if (!(unwritten instanceof OutputClosed)) throw unwritten;
  }
  return error instanceof Stop ? error.exitCode : 1;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const stack = error.stack ?? error.message;
  return error.cause === undefined ? stack : `${stack}\ncaused by ${stackOf(error.cause)}`;
}

/** `safeText` that keeps line breaks. */
function safeLines(text: string): string {
  return text.split("\n").map(safeText).join("\n");
}
