import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { AckFloor } from "./ack_floor.ts";

Deno.test("the newest message is acknowledged, once", () => {
  const floor = new AckFloor<string>();
  assertEquals(floor.take(), undefined);
  for (const sequence of [7, 8, 9]) floor.handled(sequence, `m${sequence}`);
  assertEquals(floor.take(), "m9");
  assertEquals(floor.take(), undefined);
});

Deno.test("a held message keeps the floor below it until it is released", () => {
  const floor = new AckFloor<string>();
  floor.hold(7);
  floor.handled(7, "m7");
  floor.handled(8, "m8");
  assertEquals(floor.take(), undefined);
  floor.release(7);
  assertEquals(floor.take(), "m8");
});

Deno.test("a message that is held twice is free when both are released", () => {
  const floor = new AckFloor<string>();
  floor.hold(7);
  floor.hold(7);
  floor.handled(7, "m7");
  floor.release(7);
  assertEquals(floor.take(), undefined);
  floor.release(7);
  assertEquals(floor.take(), "m7");
});

Deno.test("the floor advances under a steady flow of held messages", () => {
  const floor = new AckFloor<string>();
  floor.hold(1);
  floor.handled(1, "m1");
  assertEquals(floor.take(), undefined);
  floor.hold(2);
  floor.handled(2, "m2");
  floor.release(1);
  assertEquals(floor.take(), "m1");
});

Deno.test("a redelivery repeats the acknowledgement", () => {
  const floor = new AckFloor<string>();
  floor.handled(5, "m5");
  assertEquals(floor.take(), "m5");
  floor.redelivered();
  assertEquals(floor.take(), "m5");
});

Deno.test("unacknowledged messages are counted, and all holds can be released", () => {
  const floor = new AckFloor<string>();
  floor.hold(11);
  for (const sequence of [11, 12, 13]) floor.handled(sequence, `m${sequence}`);
  assertEquals(floor.unacknowledged, 3);
  assertEquals(floor.releaseAll(() => true), 1);
  assertEquals(floor.take(), "m13");
  assertEquals(floor.unacknowledged, 0);
});

Deno.test("the floor never passes a held sequence and reaches the last one", () => {
  const random = propertyRandom("ack floor");
  for (let run = 0; run < 200; run++) {
    const floor = new AckFloor<number>();
    const held = new Set<number>();
    let sequence = random.int(1, 1_000);
    let acked = 0;
    const take = () => {
      const taken = floor.take();
      if (taken === undefined) return;
      assert([...held].every((each) => each > taken), `${taken} passed ${[...held]}`);
      assert(taken >= acked);
      acked = taken;
    };
    for (let step = 0; step < 200; step++) {
      sequence += random.int(1, 3);
      if (random.chance(0.3)) {
        held.add(sequence);
        floor.hold(sequence);
      }
      floor.handled(sequence, sequence);
      if (held.size > 0 && random.chance(0.4)) {
        const released = random.pick([...held]);
        held.delete(released);
        floor.release(released);
      }
      if (random.chance(0.3)) take();
    }
    for (const each of held) floor.release(each);
    held.clear();
    // The first call may return the earlier candidate.
    take();
    take();
    assertEquals(acked, sequence);
  }
});
