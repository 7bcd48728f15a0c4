import { assert, assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import {
  decimal,
  natsSettings,
  postgresSettings,
  processSettings,
  readSettings,
  wholeNumber,
} from "./config.ts";
import { Stop } from "./errors.ts";

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
