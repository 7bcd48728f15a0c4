import { assertEquals } from "@std/assert";
import { FairQueue } from "./fair_queue.ts";

Deno.test("parties are served in turn, each in its order", () => {
  const queue = new FairQueue<string>();
  for (const item of ["a1", "a2", "a3", "b1", "c1", "c2"]) queue.push(item.slice(0, 1), item);
  const served: (string | undefined)[] = [];
  while (queue.first !== undefined) {
    served.push(queue.first);
    queue.next(true);
  }
  assertEquals(served, ["a1", "b1", "c1", "a2", "c2", "a3"]);
  queue.next(true);
  assertEquals(queue.first, undefined);
});

Deno.test("an item that is not done stays the first of its party", () => {
  const queue = new FairQueue<string>();
  queue.push("a", "a1");
  queue.next(false);
  assertEquals(queue.first, "a1");
  queue.push("b", "b1");
  queue.next(false);
  assertEquals(queue.first, "b1");
  queue.next(true);
  assertEquals(queue.first, "a1");
});
