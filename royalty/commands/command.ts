/**
 * What the commands of `deno task royalty` share: their shape, their arguments, the way to the books.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { localEnvironment, natsSettings, readSettings } from "../../shared/process/config.ts";
import { messageOf, Refused, RetryAfter, Stop } from "../../shared/process/errors.ts";
import { Log } from "../../shared/process/log.ts";
import { connectNats } from "../../shared/process/nats.ts";
import { isDay } from "../statement/business_day.ts";
import { connectBooks } from "../books/connection.ts";
import { countedSettings, countedStreams, royaltyCliSettings } from "../settings.ts";

/** One command. */
export interface Command {
  readonly name: string;
  /** The first line is how it is called, from its name on; the others say what it does. */
  readonly usage: string;
  /** Does it and returns the exit code: 0 done, 1 not. Throws {@link Misuse} for wrong arguments. */
  readonly run: (args: readonly string[]) => Promise<number>;
}

/** A command line that cannot be understood; the process exits with 2. */
export class Misuse extends Error {
  override readonly name = "Misuse";
}

/** Flags without a value, flags with one, and the number of operands that a command takes. */
export interface ExpectedArguments {
  readonly switches?: readonly string[];
  readonly valued?: readonly string[];
  readonly operands?: number;
}

export interface Arguments {
  /** Name of the command that they were given to. */
  readonly command: string;
  /** By name, `--` included; the value of a switch is empty. */
  readonly flags: ReadonlyMap<string, string>;
  readonly operands: readonly string[];
}

/** Reads the `args` of `command`; throws {@link Misuse} for whatever is not `expected`. */
export function readArguments(
  command: string,
  args: readonly string[],
  expected: ExpectedArguments,
): Arguments {
  const flags = new Map<string, string>();
  const operands: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [name, inline] = splitFlag(args[i]);
    if (flags.has(name)) throw new Misuse(`${name} is given twice`);
    if (expected.switches?.includes(name) && inline === undefined) flags.set(name, "");
    else if (expected.valued?.includes(name)) {
      const value = inline ?? args[++i];
      if (!value) throw new Misuse(`${name} needs a value`);
      flags.set(name, value);
    } else if (name.startsWith("-")) throw new Misuse(`unknown flag ${args[i]}`);
    else if (operands.length < (expected.operands ?? 0)) operands.push(args[i]);
    else throw new Misuse(`unexpected argument ${args[i]}`);
  }
  return { command, flags, operands };
}

function splitFlag(arg: string): [string, string | undefined] {
  const equals = arg.indexOf("=");
  if (!arg.startsWith("--") || equals < 0) return [arg, undefined];
  return [arg.slice(0, equals), arg.slice(equals + 1)];
}

/** The value of `flag`, which has to be there. */
export function required({ command, flags }: Arguments, flag: string, what: string): string {
  const value = flags.get(flag);
  if (value === undefined) throw new Misuse(`${command} needs ${flag} ${what}`);
  return value;
}

/** The day given as `--day`. */
export function requiredDay(args: Arguments): string {
  const day = required(args, "--day", "YYYY-MM-DD");
  if (!isDay(day)) throw new Misuse(`--day ${day} is not a day; write it YYYY-MM-DD`);
  return day;
}

/** The whole number from `min` on that is given as `flag`, or undefined when there is none. */
export function wholeNumberFlag({ flags }: Arguments, flag: string, min = 1): number | undefined {
  const text = flags.get(flag);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
    throw new Misuse(`${flag} ${text} is not a whole number of at least ${min}`);
  }
  return value;
}

export type Books = ReturnType<typeof connectBooks>;

/**
 * Connects to the books for the time of `work`. Rejects with {@link Stop} when Postgres cannot be
 * used; {@link Refused}, {@link RetryAfter} and {@link Misuse} of `work` pass unchanged.
 */
export async function withBooks<T>(work: (sql: Books) => Promise<T>): Promise<T> {
  const settings = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  try {
    return await work(sql);
  } catch (error) {
    if ([Refused, RetryAfter, Stop, Misuse].some((kind) => error instanceof kind)) throw error;
    // Undefined table, column or schema.
    const isNew = /^(42P01|42703|3F000)$/.test(String((error as { code?: unknown }).code));
    throw new Stop(
      isNew
        ? "the books are not opened yet; start the royalty service once"
        : `Postgres: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** What `ask` is told by NATS about the streams that are counted here, or why it could not be asked. */
export async function askNats<T>(
  ask: (nc: NatsConnection, streams: readonly string[]) => Promise<T>,
): Promise<T | string> {
  const env = localEnvironment("royalty");
  if (!env.TWOFOLD_NATS_USER) return "TWOFOLD_NATS_USER is not set";
  try {
    const settings = readSettings({ ...natsSettings, ...countedSettings }, env);
    const nc = await connectNats(settings, new Log("royalty-cli", "error"));
    try {
      return await ask(nc, countedStreams(settings));
    } finally {
      await nc.close();
    }
  } catch (error) {
    return messageOf(error);
  }
}

/** Writes to standard output, however slowly it is read. */
export async function writeAll(content: string | Uint8Array<ArrayBuffer>): Promise<void> {
  await new Blob([content]).stream().pipeTo(Deno.stdout.writable, { preventClose: true });
}
