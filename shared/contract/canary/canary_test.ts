import { assert, assertEquals } from "@std/assert";
import { encode } from "../../dev/testing/heartbeats.ts";
import { judge } from "../event.ts";
import { partitionOf } from "../topology.ts";
import { type CanaryEcho, canaryOf, canarySession, isCanary, readCanaryEcho } from "./canary.ts";

Deno.test("a canary is a valid heartbeat that the edge routes to its partition", () => {
  for (const partitions of [1, 2, 4, 13, 64]) {
    for (let partition = 0; partition < partitions; partition++) {
      const session = canarySession(partition, partitions);
      assertEquals(partitionOf(session, partitions), partition);
      const canary = canaryOf({ eventId: crypto.randomUUID(), session, seq: 1, ts: 12.5 });
      const judgement = judge(encode(canary));
      assert(judgement.ok && isCanary(judgement.heartbeat));
      assertEquals(judgement.heartbeat, canary);
    }
  }
});

Deno.test("what is no echo is none", () => {
  const echo: CanaryEcho = {
    v: 1,
    event_id: crypto.randomUUID(),
    stream: "S",
    sequence: 1,
    received_at: 0,
  };
  assertEquals(readCanaryEcho(encode(echo)), echo);
  for (
    const bad of ["", null, { ...echo, v: 2 }, { ...echo, event_id: "x" }, { ...echo, sequence: 0 }]
  ) {
    assertEquals(readCanaryEcho(encode(bad)), undefined);
  }
  assertEquals(readCanaryEcho(new Uint8Array([0xff])), undefined);
});
