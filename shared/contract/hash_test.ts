import { assertEquals } from "@std/assert";
import { propertyRandom } from "../dev/testing/random.ts";
import { fnv1a, fnv1aText } from "./hash.ts";

Deno.test("the published FNV-1a test vectors match", () => {
  // draft-eastlake-fnv, 32 bits.
  const vectors: [text: string, hash: number][] = [
    ["", 0x811c9dc5],
    ["a", 0xe40c292c],
    ["b", 0xe70c2de5],
    ["fo", 0x6222e842],
    ["foobar", 0xbf9cf968],
  ];
  for (const [text, hash] of vectors) {
    assertEquals(fnv1aText(text), hash, text);
    assertEquals(fnv1a(new TextEncoder().encode(text)), hash, text);
  }
});

Deno.test("the hashes of text and of its UTF-8 bytes equal a naive computation", () => {
  const random = propertyRandom("fnv1a");
  const letters = ["a", "7", "\u007f", "\u0080", "ü", "映", "\u{1f3ac}", "\ud800"];
  for (let i = 0; i < 1_000; i++) {
    const text = Array.from({ length: random.int(0, 40) }, () => random.pick(letters)).join("");
    const bytes = new TextEncoder().encode(text);
    const naive = bytes.reduce(
      (hash, byte) => ((hash ^ BigInt(byte)) * 16777619n) % 2n ** 32n,
      2166136261n,
    );
    assertEquals(fnv1a(bytes), Number(naive));
    assertEquals(fnv1aText(text), Number(naive), JSON.stringify(text));
  }
});
