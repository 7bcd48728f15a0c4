import { assertEquals } from "@std/assert";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Log } from "../../shared/process/log.ts";
import { Copies } from "./copies.ts";

const LIMITS = { concurrency: 2, maxWaiting: 10, giveUpAfterMs: 10_000 };
// Giving up is an error that operators see; the tests provoke it.
const log = new Log("live-test", "error");

Deno.test("copies are made a few at a time and each is settled once", async () => {
  let underWay = 0;
  let most = 0;
  const settled: number[] = [];
  const copies = new Copies<number>(LIMITS, async () => {
    most = Math.max(most, ++underWay);
    await Promise.resolve();
    underWay -= 1;
  }, log);
  for (let i = 0; i < 8; i++) copies.submit(i, () => settled.push(i));
  await waitFor("all copies", () => copies.idle);
  assertEquals(settled, [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals([most, copies.made, copies.givenUp], [2, 8, 0]);
});

Deno.test("a copy that fails is tried again", async () => {
  let tries = 0;
  let settled = 0;
  const copies = new Copies<string>(LIMITS, () => {
    tries += 1;
    return tries < 3 ? Promise.reject(new Error("timeout")) : Promise.resolve();
  }, log);
  copies.submit("x", () => settled += 1);
  await waitFor("the copy", () => copies.idle);
  assertEquals([tries, settled, copies.made, copies.givenUp], [3, 1, 1, 0]);
});

Deno.test("a copy that cannot be made is given up in time, and says so", async () => {
  let settled = 0;
  const limits = { ...LIMITS, giveUpAfterMs: 300 };
  const copies = new Copies<string>(limits, () => Promise.reject(new Error("no answer")), log);
  copies.submit("x", () => settled += 1);
  await waitFor("the end", () => copies.idle);
  assertEquals([settled, copies.made, copies.givenUp], [1, 0, 1]);
});

Deno.test("rejects beyond the limit are given up at once instead of waiting", async () => {
  const gate = Promise.withResolvers<void>();
  let settled = 0;
  const copies = new Copies<number>(LIMITS, () => gate.promise, log);
  for (let i = 0; i < 20; i++) copies.submit(i, () => settled += 1);
  assertEquals([settled, copies.givenUp], [8, 8]);
  gate.resolve();
  await waitFor("the others", () => copies.idle);
  assertEquals([settled, copies.made], [20, 12]);
});
