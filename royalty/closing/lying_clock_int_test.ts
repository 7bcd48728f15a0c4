/**
 * Closing while a clock lies, on real servers: of this process, or of the stream beside Postgres.
 *
 * @module
 */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { RoyaltyRig } from "../../shared/dev/servers/royalty_rig.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { Refused } from "../../shared/process/errors.ts";
import { booksClocks } from "../books/clocks.ts";
import { connectBooks } from "../books/connection.ts";
import { streamEnds } from "../raw/stream_ends.ts";
import { Closer } from "./closer.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const STREAMS = ["HEARTBEATS"];

Deno.test("a process 26 h ahead, 12 days ahead or 1 h behind seals nothing", async () => {
  await using rig = await RoyaltyRig.start();
  const royalty = await rig.process();
  const now = Date.now();
  await rig.publish([aHeartbeat(new Random(1), now)]);
  await rig.accountedFor();
  assertEquals(await royalty.stop(), 0);
  const url = rig.stack.databaseUrl("issuer");
  const sql = connectBooks(url);
  const nc = await rig.stack.connect("royalty");
  const close = async (day: string, aheadMs: number) => {
    const own = () => Date.now() + aheadMs;
    const clocks = await booksClocks(sql, nc, STREAMS, own);
    const closer = new Closer({
      databaseUrl: url,
      graceMs: HOUR_MS,
      now: own,
      agreedMs: () => clocks.agreedMs(),
      streamEnds: () => streamEnds(nc, STREAMS),
    });
    return await closer.close(day, { by: "Ada" });
  };
  const today = new Date(now).toISOString().slice(0, 10);
  try {
    for (
      const [aheadMs, text] of [
        [26 * HOUR_MS, "the clock of this process is 26 h ahead of that of Postgres"],
        [12 * DAY_MS, "the clock of this process is 12 days ahead of that of Postgres"],
        [-HOUR_MS, "the clock of this process is 60 min behind that of Postgres"],
      ] as const
    ) {
      const { message } = await assertRejects(() => close(today, aheadMs), Refused);
      assertStringIncludes(message, text);
    }
    // With the right clock it is refused for the only reason that is left.
    const { message } = await assertRejects(() => close(today, 0), Refused);
    assertStringIncludes(message, "it is not over");
    const seals = await rig.sql<{ seals: number }[]>`
      select count(*)::int as seals from royalty.seal`;
    assertEquals([...seals], [{ seals: 0 }]);
  } finally {
    await sql.end({ timeout: 1 });
  }
});
