import { assertEquals } from "@std/assert";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Log } from "../../shared/process/log.ts";
import { Copies } from "./copies.ts";

const LIMITS = { concurrency: 2, maxWaiting: 10, giveUpAfterMs: 10_000 };
// The tests provoke errors about copies that are given up.
const log = new Log("live-test", "error");

Deno.test("copies are made with bounded concurrency, and each is settled once", async () => {
  let active = 0;
  let maxActive = 0;
  const settled: number[] = [];
  const copies = new Copies<number>(LIMITS, async () => {
    maxActive = Math.max(maxActive, ++active);
    await Promise.resolve();
    active -= 1;
  }, log);
  for (let i = 0; i < 8; i++) copies.submit(i, () => settled.push(i));
  await waitFor("all copies", () => copies.idle);
  assertEquals(settled, [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals([maxActive, copies.made, copies.givenUp], [2, 8, 0]);
});

Deno.test("a copy that fails is retried", async () => {
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

Deno.test("a copy that cannot be made is given up after its time limit", async () => {
  let settled = 0;
  const limits = { ...LIMITS, giveUpAfterMs: 300 };
  const copies = new Copies<string>(limits, () => Promise.reject(new Error("no answer")), log);
  copies.submit("x", () => settled += 1);
  await waitFor("the end", () => copies.idle);
  assertEquals([settled, copies.made, copies.givenUp], [1, 0, 1]);
});

Deno.test("rejects beyond the limit of waiting ones are given up at once", async () => {
  const gate = Promise.withResolvers<void>();
  let settled = 0;
  const copies = new Copies<number>(LIMITS, () => gate.promise, log);
  for (let i = 0; i < 20; i++) copies.submit(i, () => settled += 1);
  assertEquals([settled, copies.givenUp], [8, 8]);
  gate.resolve();
  await waitFor("the others", () => copies.idle);
  assertEquals([settled, copies.made], [20, 12]);
});
