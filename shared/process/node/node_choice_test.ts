import { assertEquals } from "@std/assert";
import type { Server } from "nats";
import { NodeChoice } from "./node_choice.ts";

function pool(...listens: string[]): Server[] {
  return listens.map((listen) => ({
    listen,
    hostname: "127.0.0.1",
    port: 4222,
    src: listen,
    tlsName: "",
    reconnects: 0,
    lastConnect: 0,
    gossiped: false,
    didConnect: true,
  }));
}

function chosen(choice: NodeChoice, ...listens: string[]): string | undefined {
  const next = choice.next(pool(...listens), null);
  if (next === null) return listens[0];
  return "server" in next ? next.server.listen : next.listen;
}

Deno.test("the server that was left is not dialled next, for ten seconds, if there is another", () => {
  let nowMs = 0;
  const choice = new NodeChoice(() => nowMs);
  assertEquals(chosen(choice, "a", "b", "c"), "a");
  choice.leave("a");
  assertEquals(chosen(choice, "a", "b", "c"), "b");
  assertEquals(chosen(choice, "b", "c", "a"), "b");
  assertEquals(chosen(choice, "c", "a", "b"), "c");
  assertEquals(chosen(choice, "a"), "a");
  nowMs = 10_000;
  assertEquals(chosen(choice, "a", "b"), "a");
});

Deno.test("the server that was left is dialled again once all others were in vain", () => {
  const choice = new NodeChoice(() => 0);
  choice.leave("a");
  assertEquals(chosen(choice, "a", "b", "c"), "b");
  assertEquals(chosen(choice, "a", "c", "b"), "c");
  assertEquals(chosen(choice, "a", "b", "c"), "a");
});
