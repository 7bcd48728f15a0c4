/**
 * `deno task royalty <command>`: finance's commands.
 *
 * @module
 */
import { localEnvironment, natsSettings, readSettings } from "../shared/config.ts";
import { messageOf, Refused, Stop } from "../shared/errors.ts";
import { Log } from "../shared/log.ts";
import { connectNats } from "../shared/nats/connection.ts";
import { isDay } from "./business_day.ts";
import { parseCatalogue } from "./catalogue.ts";
import { connectBooks, putCatalogue, readAccounts, readStatement } from "./ledger.ts";
import { lagOf } from "./reader.ts";
import { royaltyCliSettings } from "./settings.ts";
import { statementCsv } from "./statement.ts";
import { statusJson, statusText } from "./status_report.ts";

const USAGE = `usage: deno task royalty <command>

  status [--json]                 the account of each stream; exits 1 when the books do not balance
  export --day YYYY-MM-DD [--out FILE]
                                  the lines recognised on a day, as CSV
  catalogue FILE                  load title_id,studio[,title_name] from CSV, all or nothing

Postgres is TWOFOLD_POSTGRES_URL, or the one that deno task up runs here.`;

/** A command line that cannot be understood. */
class Misuse extends Error {}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(`royalty: ${messageOf(error)}`);
    if (error instanceof Misuse) console.error(`\n${USAGE}`);
    Deno.exit(error instanceof Misuse ? 2 : error instanceof Stop ? error.exitCode : 1);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case "status":
      return await status(rest);
    case "export":
      return await exportDay(rest);
    case "catalogue":
      return await catalogue(rest);
    case "help":
    case "--help":
    case "-h":
      console.log(USAGE);
      return 0;
    case undefined:
      throw new Misuse("which command?");
    default:
      throw new Misuse(`unknown command ${command}`);
  }
}

async function status(args: readonly string[]): Promise<number> {
  const { flags } = readArguments(args, { switches: ["--json"] });
  const [accounts, lag] = await Promise.all([withBooks(readAccounts), readLag()]);
  console.log(flags.has("--json") ? statusJson(accounts, lag) : statusText(accounts, lag));
  return accounts.disagreements.length === 0 ? 0 : 1;
}

async function exportDay(args: readonly string[]): Promise<number> {
  const { flags } = readArguments(args, { valued: ["--day", "--out"] });
  const day = flags.get("--day");
  if (day === undefined) throw new Misuse("export needs --day YYYY-MM-DD");
  if (!isDay(day)) throw new Misuse(`--day ${day} is not a day; write it YYYY-MM-DD`);
  const csv = statementCsv(await withBooks((sql) => readStatement(sql, day)));
  const out = flags.get("--out");
  if (out === undefined) await writeAll(csv);
  else await writeFileWhole(out, csv);
  return 0;
}

async function catalogue(args: readonly string[]): Promise<number> {
  const { operands } = readArguments(args, { operands: 1 });
  const [file] = operands;
  if (file === undefined) throw new Misuse("catalogue needs a FILE");
  const parsed = parseCatalogue(await readText(file));
  if (!parsed.ok) {
    for (const { line, reason } of parsed.badRows) console.error(`${file}:${line}: ${reason}`);
    console.error(`royalty: nothing was loaded; bad rows: ${parsed.badRows.length}`);
    return 1;
  }
  const { added, changed, unchanged } = await withBooks((sql) => putCatalogue(sql, parsed.entries));
  console.log(`titles added: ${added}, changed: ${changed}, unchanged: ${unchanged}`);
  return 0;
}

interface Expected {
  readonly switches?: readonly string[];
  readonly valued?: readonly string[];
  readonly operands?: number;
}

function readArguments(args: readonly string[], expected: Expected) {
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
  return { flags, operands };
}

function splitFlag(arg: string): [string, string | undefined] {
  const equals = arg.indexOf("=");
  if (!arg.startsWith("--") || equals < 0) return [arg, undefined];
  return [arg.slice(0, equals), arg.slice(equals + 1)];
}

type Books = ReturnType<typeof connectBooks>;

async function withBooks<T>(work: (sql: Books) => Promise<T>): Promise<T> {
  const settings = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  try {
    return await work(sql);
  } catch (error) {
    // Undefined table or schema.
    const isNew = /^(42P01|3F000)$/.test(String((error as { code?: unknown }).code));
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

/** Lag by stream, or why it cannot be told; the accounts do not depend on it. */
async function readLag(): Promise<ReadonlyMap<string, number> | string> {
  const env = localEnvironment("royalty");
  if (!env.TWOFOLD_NATS_USER) return "TWOFOLD_NATS_USER is not set";
  try {
    const settings = readSettings(natsSettings, env);
    const nc = await connectNats(settings, new Log("royalty-cli", "error"));
    try {
      return await lagOf(nc, settings.TWOFOLD_PARTITIONS);
    } finally {
      await nc.close();
    }
  } catch (error) {
    return messageOf(error);
  }
}

async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(file));
  } catch (error) {
    const why = error instanceof TypeError ? "it is not UTF-8" : messageOf(error);
    throw new Refused(`${file} cannot be read: ${why}`);
  }
}

async function writeAll(text: string): Promise<void> {
  await new Blob([text]).stream().pipeTo(Deno.stdout.writable, { preventClose: true });
}

// A reader never sees half a file.
async function writeFileWhole(file: string, text: string): Promise<void> {
  const part = `${file}.part`;
  try {
    await Deno.writeTextFile(part, text);
    await Deno.rename(part, file);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw new Refused(`${file} cannot be written: ${messageOf(error)}`);
  }
}
