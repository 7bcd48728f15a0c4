import { assert, assertEquals } from "@std/assert";
import { outputTo } from "./io.ts";

Deno.test("an output writes everything to a slow reader", () => {
  const written: number[] = [];
  let calls = 0;
  const output = outputTo({
    writeSync: (bytes) => {
      if (++calls % 2 === 1) throw new Deno.errors.WouldBlock("full");
      written.push(...bytes.subarray(0, 3));
      return Math.min(3, bytes.length);
    },
    isTerminal: () => true,
  });
  output.write(Uint8Array.of(0xff, 0x00));
  output.line("Überlauf");
  assertEquals(written, [0xff, 0x00, ...new TextEncoder().encode("Überlauf\n")]);
  assert(output.isTerminal);
});
