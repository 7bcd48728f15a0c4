import { assertEquals } from "@std/assert";
import { closingChecks, type ClosingInput, statementText } from "./closing_verdict.ts";

const HEADER = "line_type,recognised_day,event_day,title_id,ms_watched";
const COMPLETE = "2026-11-23 …\nthe account is complete";
const GOOD: ClosingInput = {
  before: new Map([["a", { ms: 700, events: 2 }]]),
  after: new Map([["a", { ms: 900, events: 3 }], ["b", { ms: 50, events: 1 }]]),
  closed: [`${HEADER}\r\nUSAGE,2026-11-23,2026-11-23,a,700\r\n`],
  next: `${HEADER}\r\nADJUSTMENT,2026-11-24,2026-11-23,a,200\r\n` +
    "ADJUSTMENT,2026-11-24,2026-11-23,b,50\r\n",
  chain: "the chain holds: 2 statements",
  audits: [COMPLETE, "2026-11-24 …\nthe account is complete"],
};

function failing(changes: Partial<ClosingInput>): string[] {
  return closingChecks({ ...GOOD, ...changes }).filter(({ ok }) => !ok).map(({ name }) => name);
}

Deno.test("correct closed books pass", () => {
  assertEquals(failing({}), []);
  assertEquals(failing({ next: undefined, after: GOOD.before }), []);
});

Deno.test("each mistake in the closed books fails its own check", () => {
  const late = "late, in the next statement, ms";
  const adjusts = "lines that do not name the closed day they adjust";
  assertEquals(failing({ chain: "the chain is BROKEN" }), ["chain of statements"]);
  const audits = [COMPLETE, "2026-11-24 …\nthe account is NOT complete"];
  assertEquals(failing({ audits }), ["days whose audit is complete"]);
  assertEquals(failing({ closed: [`${HEADER}\r\nUSAGE,2026-11-23,2026-11-23,a,701\r\n`] }), [
    "watched before the close, in its statements, ms",
  ]);
  // A late event that is not there, is there twice, or passes for usage of its own day.
  assertEquals(failing({ next: `${HEADER}\r\nADJUSTMENT,2026-11-24,2026-11-23,a,200\r\n` }), [
    late,
  ]);
  assertEquals(failing({ next: GOOD.next + "ADJUSTMENT,2026-11-24,2026-11-23,a,200\r\n" }), [late]);
  assertEquals(failing({ next: `${HEADER}\r\nUSAGE,2026-11-24,2026-11-24,a,250\r\n` }), [adjusts]);
});

Deno.test("a statement is shown as its first lines and the number of the others", () => {
  const csv = `${HEADER}\r\na\r\nb\r\nc\r\n`;
  assertEquals(statementText("x", csv, 2), `x\n  ${HEADER}\n  a\n  b\n  … and 1 more lines`);
  assertEquals(statementText("x", `${HEADER}\r\n`), `x\n  ${HEADER}`);
});
