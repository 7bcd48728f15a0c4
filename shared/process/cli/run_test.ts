import { assert, assertEquals, assertMatch } from "@std/assert";
import { Refused, RetryAfter, Stop } from "../errors.ts";
import { command } from "./command.ts";
import { type CommandGroup, JSON_OPTION, type Task } from "./declaration.ts";
import { captureIo, outputTo } from "./io.ts";
import { Misuse } from "./misuse.ts";
import { day, filePath, instant, integer, matching, numberWithin, oneOf, text } from "./parsers.ts";
import { runCommandLine } from "./run.ts";

/** `true` for two identical types, else `never`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : never;
const same = <A, B>(_: Same<A, B>) => {};

const close = command({
  name: "close",
  summary: "close a day and issue its statement",
  details:
    "A day closed before stays as it is.\n\nWhat comes later is an adjustment of the next day.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    asOf: {
      type: "string",
      value: "INSTANT",
      about: "taken for the present",
      parser: instant(),
      absent: "now",
    },
    by: { type: "string", value: "PERSON", about: "who vouches", parser: text(20) },
    json: JSON_OPTION,
  },
  examples: [
    { args: ["--day", "2026-11-22"], about: "close yesterday" },
    { args: ["--day", "2026-11-22", "--by", "Ada L'Ovelace"] },
  ],
  run: (values, io) => {
    same<typeof values.day, string>(true);
    same<typeof values.asOf, number | undefined>(true);
    same<typeof values.json, boolean>(true);
    // @ts-expect-error There is no such option.
    assertEquals(values.dya, undefined);
    io.out.line(JSON.stringify(values));
    return values.by === "nobody" ? 1 : 0;
  },
});

const load = command({
  name: "load",
  summary: "load files",
  positionals: [
    { name: "kind", about: "what they are", parser: oneOf("csv", "json"), required: true },
    { name: "batchSize", about: "rows at once", parser: integer(1, 100), default: "50" },
    { name: "files", about: "the files", parser: filePath(), variadic: true },
  ],
  options: {
    password: {
      type: "string",
      value: "SECRET",
      about: "of the database",
      parser: matching(/^p\d+$/, "a password"),
      isSecret: true,
    },
    rate: {
      type: "string",
      value: "N",
      about: "a second",
      parser: numberWithin(0, 2),
      default: "0.5",
    },
  },
  examples: [{ args: ["csv"] }],
  run: ({ kind, batchSize, files, password, rate }, io) => {
    same<typeof kind, "csv" | "json">(true);
    same<typeof batchSize, number>(true);
    same<typeof files, readonly string[]>(true);
    same<typeof password, string | undefined>(true);
    same<typeof rate, number>(true);
    io.out.write(JSON.stringify([kind, batchSize, files, password ?? null, rate]));
    return 0;
  },
});

const GROUP: CommandGroup = {
  name: "royalty",
  summary: "finance's commands",
  details: "Postgres is TWOFOLD_POSTGRES_URL.",
  commands: [close, load],
};

async function said(task: Task, ...args: readonly string[]) {
  const captured = captureIo();
  const code = await runCommandLine(task, args, captured.io);
  return { code, out: captured.out(), err: captured.err() };
}

/** The first line of the error; asserts exit code 2 and no standard output. */
async function mistake(task: Task, ...args: readonly string[]): Promise<string> {
  const { code, out, err } = await said(task, ...args);
  assertEquals([code, out], [2, ""], err);
  const [first = "", empty, usage = ""] = err.split("\n");
  assertEquals(empty, "");
  assertMatch(usage, /^usage: deno task /);
  return first;
}

Deno.test("run receives typed values by name, with defaults", async () => {
  const given = ["close", "--as-of=1970-01-01T01:00+01:00", "--json", "--day", "2024-02-29"];
  assertEquals(await said(GROUP, ...given), {
    code: 0,
    out: '{"day":"2024-02-29","asOf":0,"json":true}\n',
    err: "",
  });
  assertEquals((await said(load, "json")).out, '["json",50,[],null,0.5]');
  const all = ["--rate", "2", "csv", "7", "a b", "--password=p1", "--", "--c"];
  assertEquals((await said(load, ...all)).out, '["csv",7,["a b","--c"],"p1",2]');
});

Deno.test("the exit code is that of the command", async () => {
  assertEquals((await said(close, "--day", "2024-02-29", "--by", "nobody")).code, 1);
});

Deno.test("an invalid command line exits with 2 and prints the error, then the usage", async () => {
  const { code, out, err } = await said(GROUP, "close", "--dya", "2024-02-29");
  assertEquals([code, out], [2, ""]);
  assertEquals(err.split("\n"), [
    "royalty: unknown option --dya; did you mean --day?",
    "",
    "usage: deno task royalty close --day YYYY-MM-DD [--as-of INSTANT] [--by PERSON] [--json]",
    "see deno task royalty close --help",
    "",
  ]);
  const mistakes: readonly (readonly [args: readonly string[], problem: string])[] = [
    [["close"], "--day YYYY-MM-DD is missing"],
    [["close", "--day"], "--day needs a value: --day YYYY-MM-DD"],
    [["close", "--day="], "--day needs a value: --day YYYY-MM-DD"],
    [["close", "--by", "--day"], "--by needs a value; one that begins with - is written --by=…"],
    [["close", "--day", "2023-02-29"], "--day 2023-02-29 is not a day; write it YYYY-MM-DD"],
    [["close", "--day", "2024-01-01", "--day", "2024-01-01"], "--day is given twice"],
    [["close", "--json=yes"], "--json takes no value"],
    [["close", "--no-json"], "unknown option --no-json"],
    [["close", "-d"], "unknown option -d"],
    [["close", "--constructor"], "unknown option --constructor"],
    [["close", "--__proto__=1"], "unknown option --__proto__"],
    [["close", "--day=2024-01-01", "x\u001b[2J"], 'unexpected argument "x\\u{1b}[2J"'],
    [["load"], "KIND is missing"],
    [["load", "cvs"], "KIND cvs is not one of csv, json; did you mean csv?"],
    [["load", "csv", "0"], "BATCH_SIZE 0 is not a whole number from 1 to 100"],
    [["load", "csv", "1", "a\0"], 'FILES "a\\u{0}" is not a path'],
    [["load", "csv", "--password", "hunter2"], "--password is not a password"],
    [["load", "csv", "--rate", "x".repeat(99)], `--rate "${"x".repeat(60)}…" is not a number`],
  ];
  for (const [args, problem] of mistakes) {
    const line = await mistake(GROUP, ...args);
    assert(line.startsWith(`royalty: ${problem}`), `${line} is not ${problem}`);
  }
});

Deno.test("a group lists its commands and suggests one for a misspelled name", async () => {
  assertEquals(await mistake(GROUP), "royalty: which command?");
  assertEquals(
    await mistake(GROUP, "clsoe"),
    "royalty: unknown command clsoe; did you mean close?",
  );
  assertEquals(await mistake(GROUP, "clo"), "royalty: unknown command clo; did you mean close?");
  assertEquals(await mistake(GROUP, "audit"), "royalty: unknown command audit");
  assertEquals(await mistake(GROUP, ""), 'royalty: unknown command ""');
  assertEquals(
    await mistake(GROUP, "--json", "close"),
    "royalty: --json is before the command; the command must be first",
  );
  assertEquals((await said(GROUP)).err.split("\n").slice(2), [
    "usage: deno task royalty COMMAND [arguments]",
    "",
    "commands (see deno task royalty COMMAND --help):",
    "  close  close a day and issue its statement",
    "  load   load files",
    "",
    "see deno task royalty --help",
    "",
  ]);
});

Deno.test("help of a command has its options, defaults and examples", async () => {
  const help = await said(GROUP, "close", "--help");
  assertEquals([help.code, help.err], [0, ""]);
  assertEquals(help.out.split("\n"), [
    "usage: deno task royalty close --day YYYY-MM-DD [--as-of INSTANT] [--by PERSON] [--json]",
    "",
    "close a day and issue its statement",
    "",
    "A day closed before stays as it is.",
    "",
    "What comes later is an adjustment of the next day.",
    "",
    "options:",
    "  --day YYYY-MM-DD  the day (required)",
    "  --as-of INSTANT   taken for the present (default: now)",
    "  --by PERSON       who vouches",
    "  --json            print JSON instead of text",
    "  -h, --help        print this help",
    "",
    "examples:",
    "  deno task royalty close --day 2026-11-22",
    "      close yesterday",
    "  deno task royalty close --day 2026-11-22 --by 'Ada L'\\''Ovelace'",
    "",
  ]);
  assertEquals((await said(load, "-h")).out.split("\n").slice(0, 7), [
    "usage: deno task load KIND [BATCH_SIZE] [FILES...] [--password SECRET] [--rate N]",
    "",
    "load files",
    "",
    "arguments:",
    "  KIND        what they are (required)",
    "  BATCH_SIZE  rows at once (default: 50)",
  ]);
});

Deno.test("help is accepted anywhere and takes precedence over errors", async () => {
  const help = (await said(GROUP, "close", "--help")).out;
  const others = [
    ["close", "--day", "-h"],
    ["close", "--unknown", "x", "--help"],
    ["help", "close"],
    ["help", "close", "--help"],
  ];
  for (const args of others) {
    assertEquals(await said(GROUP, ...args), { code: 0, out: help, err: "" });
  }
  const all = await said(GROUP, "--help");
  assertEquals([all.code, all.err], [0, ""]);
  assert(all.out.includes("  close  close a day"), all.out);
  assert(all.out.includes("\n  deno task royalty load csv\n"), all.out);
  for (const args of [["help"], ["-h"], ["help", "--help"]]) {
    assertEquals(await said(GROUP, ...args), all);
  }
  assertEquals(
    await mistake(load, "csv", "1", "--", "--help", "\0"),
    'load: FILES "\\u{0}" is not a path',
  );
});

Deno.test("long help is wrapped", async () => {
  const wordy = command({
    name: "wordy",
    summary: "say much",
    details: "word ".repeat(60),
    options: { day: { type: "string", value: "D", about: "text ".repeat(60), parser: text(9) } },
    positionals: Array.from({ length: 12 }, (_, i) => ({
      name: `argument${i}`,
      about: "",
      parser: text(9),
    })),
    examples: [{ args: [], about: "about ".repeat(40) }],
    run: () => 0,
  });
  const { out } = await said(wordy, "--help");
  for (const line of out.split("\n")) assert(line.length <= 100 && line === line.trimEnd(), line);
});

Deno.test("exit code and message depend on the type of the error", async () => {
  const failing = (error: unknown) =>
    command({
      name: "fail",
      summary: "fail",
      examples: [{ args: [] }],
      run: () => Promise.reject(error),
    });
  const ends: readonly (readonly [error: unknown, code: number, err: string])[] = [
    [new Stop("no server\nstart one\u001b", { exitCode: 3 }), 3, "no server\nstart one\\u{1b}"],
    [new Stop("no server"), 1, "no server"],
    [new Refused("closed"), 1, "closed"],
    [new RetryAfter("busy", 5), 1, "busy"],
    ["text", 1, "text"],
  ];
  for (const [error, code, err] of ends) {
    assertEquals(await said(failing(error)), { code, out: "", err: `fail: ${err}\n` });
  }
  assertEquals(
    await mistake(failing(new Misuse("--a and --b go together"))),
    "fail: --a and --b go together",
  );
  const cause = new RangeError("inner");
  const unexpected = await said(failing(new TypeError("outer", { cause })));
  assertEquals(unexpected.code, 1);
  assertMatch(unexpected.err, /^fail: TypeError: outer\n +at .*run_test/);
  assertMatch(unexpected.err, /\ncaused by RangeError: inner\n +at /);
});

Deno.test("a closed output ends a command silently, a broken socket does not", async () => {
  const broken = outputTo({
    writeSync: () => {
      throw new Deno.errors.BrokenPipe("gone");
    },
    isTerminal: () => false,
  });
  const { io, err } = captureIo();
  assertEquals(await runCommandLine(load, ["csv"], { ...io, out: broken }), 141);
  assertEquals(err(), "");
  assertEquals(await runCommandLine(load, ["--help"], { ...io, out: broken }), 141);
  assertEquals(await runCommandLine(load, [], { ...io, err: broken }), 1);

  const socket = command({
    name: "socket",
    summary: "write to a socket",
    examples: [{ args: [] }],
    run: () => Promise.reject(new Deno.errors.BrokenPipe("socket")),
  });
  const { code, err: shown } = await said(socket);
  assertEquals(code, 1);
  assertMatch(shown, /^socket: BrokenPipe: socket\n/);
});
