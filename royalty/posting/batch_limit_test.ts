import { assertEquals } from "@std/assert";
import { BatchLimit } from "./batch_limit.ts";

Deno.test("a batch that failed makes the next ones smaller; full ones make them larger again", () => {
  const limit = new BatchLimit(10_000);
  limit.posted(10_000, 5_000);
  assertEquals([limit.events, limit.isReduced], [10_000, false]);
  limit.failed(8_000);
  assertEquals([limit.events, limit.isReduced], [2_000, true]);
  limit.posted(1_999, 10);
  assertEquals(limit.events, 2_000, "it was not full");
  limit.posted(2_000, 499);
  assertEquals(limit.events, 4_000);
  for (let i = 0; i < 15; i++) limit.posted(4_000, 3_000);
  assertEquals(limit.events, 4_000, "a thin link stays so for a while");
  limit.posted(4_000, 3_000);
  assertEquals(limit.events, 8_000, "a long link is tried again");
  limit.posted(8_000, 10);
  assertEquals([limit.events, limit.isReduced], [10_000, false]);
});

Deno.test("it never gets too small, nor larger than the setting", () => {
  const limit = new BatchLimit(1_000);
  for (let i = 0; i < 10; i++) limit.failed(10_000);
  assertEquals(limit.events, 20);
  const small = new BatchLimit(5);
  small.failed(5);
  assertEquals([small.events, small.isReduced], [5, false]);
});
