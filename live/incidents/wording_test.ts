import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { boundedName, cellPhrase, nextCommands, quotedWord } from "./wording.ts";
import { safeJson } from "../../shared/process/cli/json_output.ts";

/** What titles may be made of: shells, terminals and pages could act on each of these. */
const HOSTILE = [
  ..."a ü'\"\\$`!;&|<>()*#~\n\t-{}",
  "\x1b[2J",
  "\x9b",
  "\u202e",
  "\u2066",
  "\u200b",
  "\u2028",
  "\u{e0041}",
  "\u{1f3ac}",
  "\ud800",
];

async function shellSays(word: string): Promise<string> {
  const command = new Deno.Command("bash", {
    args: ["-c", `printf %s ${word}`],
    env: { LC_ALL: "C.UTF-8" },
    stdout: "piped",
  });
  return new TextDecoder().decode((await command.output()).stdout);
}

Deno.test("property: any text is one word of a shell, harmless in a sentence and in JSON", async () => {
  const random = propertyRandom("wording");
  for (let i = 0; i < 60; i++) {
    const text = Array.from({ length: random.int(1, 12) }, () => random.pick(HOSTILE)).join("");
    assertEquals(await shellSays(quotedWord(text)), text.toWellFormed(), JSON.stringify(text));
    const phrase = cellPhrase({ kind: "title", title: text });
    assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(phrase), JSON.stringify(text));
    const json = safeJson({ text });
    assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(json), json);
    assertEquals(JSON.parse(json), { text });
  }
});

Deno.test("a name is bounded, whatever it is made of", () => {
  assertEquals(boundedName("x".repeat(1_000_000)).length, 64);
  assertEquals([...boundedName("\u{1f3ac}".repeat(100))].length, 64);
  assertEquals(boundedName("\ud800"), "\ufffd");
});

Deno.test("a cell is a phrase and a command", () => {
  const atMs = Date.parse("2026-11-25T12:00:00Z");
  assertEquals(cellPhrase({ kind: "all" }), "every title in every region");
  assertEquals(cellPhrase({ kind: "region", region: "de" }), "every title in de");
  assertEquals(cellPhrase({ kind: "title", title: "x\x1by" }), "x\\u{1b}y in every region");
  const isp = { kind: "region_isp", region: "de", isp: "A B" } as const;
  assertEquals(cellPhrase(isp), "ISP A B in de");
  assertEquals(nextCommands("rebuffer", isp, atMs), [
    "npx -y deno@2.9.6 task live explain --region de --isp 'A B' --at 2026-11-25T12:00:00.000Z",
  ]);
  assertEquals(nextCommands("rebuffer", { kind: "build", build: "-x" }, atMs), [
    "npx -y deno@2.9.6 task live explain --build='-x' --at 2026-11-25T12:00:00.000Z",
    "npx -y deno@2.9.6 task triage list",
  ]);
});
