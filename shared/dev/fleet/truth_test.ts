import { assertEquals } from "@std/assert";
import type { ExpectedCredit, Send } from "./player.ts";
import { forgottenAfterMs } from "./uplink.ts";
import { Truth } from "./truth.ts";

const WINDOW_MS = 5_000;

Deno.test("the first acknowledged copy is credited, the others are duplicates", () => {
  const truth = new Truth(WINDOW_MS);
  const send = aSend();
  truth.record(send, "acknowledged", 0);
  truth.record({ ...send, kind: "retry" }, "acknowledged", 100);
  truth.record({ ...send, kind: "retry" }, "acknowledged", forgottenAfterMs(WINDOW_MS));
  const { sent, events, ms, duplicates, duplicatesBeyondWindow, titles } = truth.report();
  assertEquals({ sent, events, ms, duplicates, duplicatesBeyondWindow }, {
    sent: 3,
    events: 1,
    ms: 7_000,
    duplicates: 2,
    duplicatesBeyondWindow: 1,
  });
  assertEquals(titles.get("t"), { ms: 7_000, events: 1 });
});

Deno.test("a copy is beyond the window of when the first was answered, not of when it was sent", () => {
  const truth = new Truth(WINDOW_MS);
  const send = aSend();
  const forgottenMs = forgottenAfterMs(WINDOW_MS);
  truth.record(send, "acknowledged", 0, 4_000);
  truth.record({ ...send, kind: "retry" }, "acknowledged", forgottenMs);
  assertEquals(truth.report().duplicatesBeyondWindow, 0);
  truth.record({ ...send, kind: "retry" }, "acknowledged", 4_000 + forgottenMs);
  assertEquals(truth.report().duplicatesBeyondWindow, 1);
});

Deno.test("a retry is credited when its event was refused", () => {
  const truth = new Truth(WINDOW_MS);
  const send = aSend();
  truth.record(send, "refused", 0);
  truth.record({ ...send, kind: "retry" }, "acknowledged", 100);
  const { events, refused, duplicates, doubtful } = truth.report();
  assertEquals({ events, refused, duplicates, doubtful }, {
    events: 1,
    refused: 1,
    duplicates: 0,
    doubtful: 0,
  });
});

Deno.test("of two contents with one id, the first that is acknowledged is counted", () => {
  for (const order of ["honest first", "rival first"]) {
    const truth = new Truth(WINDOW_MS);
    const claim: ExpectedCredit = {};
    const honest = aSend({ claim });
    const rival = aSend({ claim, kind: "conflict", playedMs: 7_400 });
    const [first, second] = order === "honest first" ? [honest, rival] : [rival, honest];
    truth.record(first, "acknowledged", 0);
    truth.record(second, "acknowledged", 1);
    const { events, ms, conflicts, sent } = truth.report();
    assertEquals({ events, conflicts, sent }, { events: 1, conflicts: 1, sent: 2 }, order);
    assertEquals(ms, first.playedMs, order);
  }
});

Deno.test("an event given up after an unknown outcome is doubtful until acknowledged", () => {
  const truth = new Truth(WINDOW_MS);
  const send = aSend();
  truth.record(send, "unknown", 0);
  truth.record(send, "refused", 10);
  truth.record({ ...send, kind: "retry" }, "refused", 20);
  assertEquals([truth.report().doubtful, truth.report().unknownCopies], [1, 1]);
  truth.record({ ...send, kind: "retry" }, "acknowledged", 30);
  assertEquals([truth.report().doubtful, truth.report().events], [0, 1]);
});

Deno.test("malformed copies are not credited, and each is expected in quarantine", () => {
  const truth = new Truth(WINDOW_MS);
  truth.record(aSend({ kind: "malformed", playedMs: 0 }), "unknown", 0);
  truth.record(aSend({ kind: "malformed", playedMs: 0 }), "acknowledged", 0);
  const { malformed, events, unknownRejects, titles } = truth.report();
  assertEquals({ malformed, events, unknownRejects }, {
    malformed: 1,
    events: 0,
    unknownRejects: 1,
  });
  assertEquals(titles.size, 0);
});

function aSend(changes: Partial<Send> = {}): Send {
  return {
    sendAtMs: 0,
    kind: "fresh",
    bytes: new Uint8Array(4),
    framing: "value",
    titleId: "t",
    region: "de",
    playedMs: 7_000,
    claim: {},
    ...changes,
  };
}
