import { assertEquals, assertThrows } from "@std/assert";
import { readSettings } from "../shared/process/config.ts";
import { Stop } from "../shared/process/errors.ts";
import { liveRule, liveSettings } from "./settings.ts";

const GIVEN = { TWOFOLD_NATS_USER: "live", TWOFOLD_NATS_PASSWORD: "p" };

Deno.test("an incident must resolve below the ratio at which it opens", () => {
  const read = (open?: string, resolve?: string) =>
    readSettings(liveSettings, {
      ...GIVEN,
      TWOFOLD_LIVE_OPEN_RATIO: open,
      TWOFOLD_LIVE_RESOLVE_RATIO: resolve,
    }, liveRule);
  assertEquals(read("0.03").TWOFOLD_LIVE_RESOLVE_RATIO, 0.02);
  for (const [open, resolve] of [["0.02"], ["0.1", "0.2"], ["0.1", "0.1"]]) {
    const { message } = assertThrows(() => read(open, resolve), Stop);
    const [, line, ...more] = message.split("\n");
    assertEquals(more, []);
    assertEquals(
      line?.trim().split(" (")[0],
      `TWOFOLD_LIVE_RESOLVE_RATIO: is ${
        resolve ?? "0.02"
      }, not below TWOFOLD_LIVE_OPEN_RATIO, ${open}`,
    );
  }
});
