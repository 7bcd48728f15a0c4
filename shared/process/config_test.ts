import { assert, assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import { decimal, natsSettings, processSettings, readSettings, wholeNumber } from "./config.ts";
import { Stop } from "./errors.ts";
import { postgresSettings } from "./postgres/server_url.ts";

const SHAPE = {
  ...natsSettings,
  ...processSettings,
  ...postgresSettings,
  TWOFOLD_TEST_SHARE: decimal(0, 1).default(0.5).describe("a share"),
};
const ENOUGH = {
  TWOFOLD_NATS_USER: "live",
  TWOFOLD_NATS_PASSWORD: "secret-1",
  TWOFOLD_POSTGRES_URL: "postgres://a:secret-2@db/twofold",
};

Deno.test("a missing or empty setting has its default", () => {
  const settings = readSettings(SHAPE, { ...ENOUGH, TWOFOLD_PARTITIONS: "", TWOFOLD_OTHER: "x" });
  assertEquals(settings.TWOFOLD_PARTITIONS, 1);
  assertEquals(settings.TWOFOLD_TEST_SHARE, 0.5);
  assertEquals(settings.TWOFOLD_LOG_LEVEL, "info");
  assertEquals(settings.TWOFOLD_NATS_CA, undefined);
  assert(!("TWOFOLD_OTHER" in settings));
});

Deno.test("every invalid setting is named with its description and without secrets", () => {
  const error = assertThrows(
    () =>
      readSettings(SHAPE, {
        TWOFOLD_NATS_USER: "live",
        TWOFOLD_POSTGRES_URL: "mysql://root:secret-2@db",
        TWOFOLD_PARTITIONS: "65",
        TWOFOLD_LOG_LEVEL: "loud",
        TWOFOLD_TEST_SHARE: "1.5",
      }),
    Stop,
    "nothing was started",
  );
  assertEquals(error.exitCode, 2);
  const [, ...lines] = error.message.split("\n");
  assertEquals(lines.map((line) => line.trim().split(":")[0]).sort(), [
    "TWOFOLD_LOG_LEVEL",
    "TWOFOLD_NATS_PASSWORD",
    "TWOFOLD_PARTITIONS",
    "TWOFOLD_POSTGRES_URL",
    "TWOFOLD_TEST_SHARE",
  ]);
  assert(error.message.includes("TWOFOLD_NATS_PASSWORD: is not set (password of that user)"));
  assert(!error.message.includes("secret"), error.message);
});

Deno.test("what is wrong in a setting that is JSON is named by its place", () => {
  const list = z.string().transform((text): unknown => JSON.parse(text)).pipe(
    z.array(z.strictObject({ name: z.string(), url: z.url("expected a URL") })),
  ).describe("a list");
  const problemOf = (value: unknown) =>
    assertThrows(
      () => readSettings({ TWOFOLD_TEST_LIST: list }, { TWOFOLD_TEST_LIST: JSON.stringify(value) }),
      Stop,
    ).message.split("\n").slice(1).join("\n").trim();
  assertEquals(
    problemOf([{ name: "a", url: "http://a" }, { name: "b", url: "b" }]),
    "TWOFOLD_TEST_LIST: [1].url: expected a URL (a list)",
  );
  const two = problemOf([{ url: "http://a" }, { name: "b", url: "b" }]);
  assert(
    /^TWOFOLD_TEST_LIST: \[0\]\.name: .*; \[1\]\.url: expected a URL \(a list\)$/.test(two),
    two,
  );
  assert(!/: \[|: \./.test(problemOf({}).replace("TWOFOLD_TEST_LIST: ", "")), problemOf({}));
});

Deno.test("a setting that is gone stops the start of its process and says what replaces it", () => {
  const live = {
    ...SHAPE,
    TWOFOLD_LIVE_FALSE_PAGES_PER_DAY: decimal(0, 10).default(1),
    TWOFOLD_LIVE_MAX_CELLS: wholeNumber(1, 10).default(1),
    TWOFOLD_LIVE_SILENCE_MS: wholeNumber(1, 10).default(1),
  };
  const gone = [
    "TWOFOLD_LIVE_OPEN_RATIO",
    "TWOFOLD_LIVE_RESOLVE_RATIO",
    "TWOFOLD_LIVE_MIN_HEARTBEATS",
    "TWOFOLD_LIVE_MIN_STALLED_SESSIONS",
    "TWOFOLD_LIVE_RESOLVE_AFTER_MS",
    "TWOFOLD_LIVE_RESOLVE_AFTER_SECONDS",
    "TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_MS",
    "TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_SECONDS",
    "TWOFOLD_LIVE_WINDOW_MS",
    "TWOFOLD_LIVE_WINDOW_SECONDS",
    "TWOFOLD_LIVE_MAX_KEYS",
    "TWOFOLD_LIVE_SILENCE_SECONDS",
  ];
  const env = { ...ENOUGH, ...Object.fromEntries(gone.map((name) => [name, "1"])) };
  const { message } = assertThrows(() => readSettings(live, env), Stop, "nothing was started");
  const [, ...lines] = message.split("\n");
  for (const name of gone) {
    const line = lines.find((each) => each.trim().startsWith(`${name}: `)) ?? "";
    assert(/: (renamed to|removed; .{20,})/.test(line), `${name}: ${line}`);
  }
  assertEquals(lines.length, gone.length);
  // Another process in the same environment is not concerned.
  assertEquals(readSettings(SHAPE, env).TWOFOLD_PARTITIONS, 1);
});

Deno.test("numbers are in decimal and within their limits", () => {
  const whole = { TWOFOLD_N: wholeNumber(1, 2 ** 50) };
  const share = { TWOFOLD_N: decimal(0, 1) };
  const accepts = (shape: { TWOFOLD_N: z.ZodType }, TWOFOLD_N: string) => {
    try {
      return readSettings(shape, { TWOFOLD_N }).TWOFOLD_N;
    } catch {
      return "refused";
    }
  };
  assertEquals(["1", "007", String(2 ** 50)].map((text) => accepts(whole, text)), [1, 7, 2 ** 50]);
  for (const text of ["0", "-1", "1.5", "1e3", "0x10", " 1", "1_000", "NaN", "9".repeat(30)]) {
    assertEquals(accepts(whole, text), "refused", text);
  }
  assertEquals(["0", "0.25", "1"].map((text) => accepts(share, text)), [0, 0.25, 1]);
  for (const text of ["1.01", "-0.1", ".5", "5e-1", "Infinity"]) {
    assertEquals(accepts(share, text), "refused", text);
  }
});

Deno.test("NATS servers that can never work are refused, and no password is shown", () => {
  const wrong = [
    ...["http://[::bad", "localhost:99999999", "a:0", "a:4222,", "a b", "http://a:4222", ":4222"],
    ...["[::1]4222", "999.1.1.1:4222", "a:4222/x", "a:x", "nats://me:secret-2@a:4222", "tls://a"],
  ];
  for (const TWOFOLD_NATS_URL of wrong) {
    const { message } = assertThrows(
      () => readSettings(SHAPE, { ...ENOUGH, TWOFOLD_NATS_URL }),
      Stop,
      "TWOFOLD_NATS_URL: expected host:port pairs",
    );
    assert(!message.includes("secret"), message);
  }
  const right = ["a", "a:4222", "[::1]:4222", "[::1]", "nats://a:1", "a:1,b-2.c_3:2", "a:1, b:2"];
  for (const TWOFOLD_NATS_URL of right) readSettings(SHAPE, { ...ENOUGH, TWOFOLD_NATS_URL });
});

Deno.test("rules about several settings are refused with the others, and name each once", () => {
  const shape = {
    TWOFOLD_LOW: wholeNumber(0, 9).describe("low"),
    TWOFOLD_HIGH: wholeNumber(0, 9).describe("high"),
    TWOFOLD_MODE: z.enum(["a", "b"]).describe("mode"),
  };
  const linesOf = (env: Record<string, string>) => {
    const error = assertThrows(
      () =>
        readSettings(shape, env, ({ TWOFOLD_LOW: low, TWOFOLD_HIGH: high = 9 }) => ({
          TWOFOLD_LOW: low === undefined || low >= high ? "must be below TWOFOLD_HIGH" : undefined,
        })),
      Stop,
    );
    return error.message.split("\n").slice(1).map((line) => line.trim());
  };
  assertEquals(linesOf({ TWOFOLD_LOW: "5", TWOFOLD_HIGH: "5", TWOFOLD_MODE: "a" }), [
    "TWOFOLD_LOW: must be below TWOFOLD_HIGH (low)",
  ]);
  const [mode, low, ...more] = linesOf({ TWOFOLD_LOW: "5", TWOFOLD_HIGH: "5", TWOFOLD_MODE: "c" });
  assert(mode?.startsWith("TWOFOLD_MODE: "), mode);
  assertEquals([low, more], ["TWOFOLD_LOW: must be below TWOFOLD_HIGH (low)", []]);
  assertEquals(linesOf({ TWOFOLD_LOW: "x", TWOFOLD_HIGH: "5", TWOFOLD_MODE: "a" }), [
    "TWOFOLD_LOW: expected a whole number (low)",
  ]);
});

Deno.test("a setting that was renamed stops the start and names the new one", () => {
  const shape = { TWOFOLD_DRIFT_LIMIT_RATIO: decimal(0, 1).default(0.5) };
  const error = assertThrows(() => readSettings(shape, { TWOFOLD_DRIFT_LIMIT: "0.1" }), Stop);
  assertEquals(error.exitCode, 2);
  assertEquals(
    error.message.split("\n").at(-1),
    "  TWOFOLD_DRIFT_LIMIT: renamed to TWOFOLD_DRIFT_LIMIT_RATIO",
  );
});
