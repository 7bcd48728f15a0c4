import { assertEquals } from "@std/assert";
import type { CanaryEcho } from "../../../shared/contract/canary/canary.ts";
import { CanaryWatch, FIRST_ECHO_MS } from "./canary_watch.ts";

const S = ["HEARTBEATS_0", "HEARTBEATS_1"];

function echo(event_id: string, stream = S[0] ?? ""): CanaryEcho {
  return { v: 1, event_id, stream, sequence: 1, received_at: 0 };
}

/** What is ill at `ms`. */
function ill(watch: CanaryWatch, ms: number): string[] {
  return watch.findings(ms).filter(({ isIll }) => isIll).map(({ what }) => what);
}

/** One canary a partition, every 5 s: accepted, and echoed on the ways that `hears`. */
function run(
  watch: CanaryWatch,
  fromMs: number,
  toMs: number,
  hears: readonly ("live" | "books")[],
) {
  for (let ms = fromMs; ms < toMs; ms += 5_000) {
    for (const [partition, stream] of S.entries()) {
      const id = `${stream}.${ms}`;
      watch.sent(partition, id, ms);
      watch.accepted(partition, id, ms + 10);
      for (const path of hears) watch.heard(path, stream, echo(id, stream), ms + 50);
    }
  }
}

Deno.test("a way that stops is found within 20 s, and is well 5 s after it goes on", () => {
  const watch = new CanaryWatch(S);
  run(watch, 0, 60_000, ["live", "books"]);
  assertEquals(watch.findings(60_000).map(({ isIll }) => isIll), [false, false, false]);
  run(watch, 60_000, 90_000, ["books"]);
  assertEquals(ill(watch, 71_999), []);
  assertEquals(ill(watch, 72_000), ["canary-live"]);
  run(watch, 90_000, 95_000, ["live", "books"]);
  assertEquals(watch.findings(91_000).map(({ what }) => what), ["canary-edge", "canary-books"]);
  assertEquals(watch.findings(96_000).map(({ what }) => what).includes("canary-live"), true);
  assertEquals(ill(watch, 96_000), []);
});

Deno.test("only echoes of its own canaries from their stream count, once", () => {
  const watch = new CanaryWatch(S);
  run(watch, 0, 5_000, ["live", "books"]);
  watch.sent(0, "a", 5_000);
  watch.accepted(0, "a", 5_010);
  watch.heard("live", "HEARTBEATS_0", echo("forged"), 6_000);
  watch.heard("live", "HEARTBEATS_1", echo("a", "HEARTBEATS_1"), 6_000);
  watch.heard("live", "HEARTBEATS_0", echo("a", "HEARTBEATS_1"), 6_000);
  watch.heard("live", "HEARTBEATS_0", echo("HEARTBEATS_0.0"), 6_000);
  watch.heard("books", "HEARTBEATS_0", echo("a"), 6_000);
  assertEquals(ill(watch, 17_000), ["canary-live"]);
});

Deno.test("what the edge does not accept says nothing of live and the books", () => {
  const watch = new CanaryWatch(S);
  run(watch, 0, 10_000, ["live", "books"]);
  for (let ms = 10_000; ms < 40_000; ms += 5_000) {
    watch.sent(1, `r${ms}`, ms);
    watch.refused(1, `r${ms}`, "it answered 503");
  }
  assertEquals(ill(watch, 21_999), []);
  const [finding] = watch.findings(22_000);
  assertEquals(finding, {
    what: "canary-edge",
    isIll: true,
    summary: "the edge has accepted no canary of partition 1 for 12 s: it answered 503",
  });
});

Deno.test("a way that was never seen has its time, and nothing is concluded from deaf time", () => {
  const watch = new CanaryWatch(S);
  run(watch, 0, 5_000, []);
  assertEquals(watch.findings(0).map(({ what }) => what), ["canary-edge"]);
  assertEquals(ill(watch, FIRST_ECHO_MS - 1), []);
  assertEquals(ill(watch, FIRST_ECHO_MS), ["canary-live", "canary-books"]);
  watch.restart(FIRST_ECHO_MS);
  assertEquals(ill(watch, FIRST_ECHO_MS + 1), []);
  watch.standBy();
  assertEquals(watch.findings(FIRST_ECHO_MS * 9), []);
  assertEquals(watch.times(FIRST_ECHO_MS * 9), []);
});
