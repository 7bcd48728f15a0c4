import { assertEquals, assertStringIncludes } from "@std/assert";
import { BEHIND, CopyWatch, INCOMPLETE } from "./copy_watch.ts";

/** Whether something is said at `nowMs`, and what. */
function said(watch: CopyWatch, nowMs: number): string | undefined {
  const finding = watch.findings(nowMs).find(({ what }) => what === BEHIND);
  return finding && `${finding.isIll ? "ill" : "well"}: ${finding.summary}`;
}

Deno.test("copies that fail for eight seconds are ill, and well only once all are made", () => {
  const watch = new CopyWatch();
  assertEquals(said(watch, 0), undefined, "nothing is known yet");
  watch.copied();
  assertStringIncludes(said(watch, 1_000) ?? "", "well");
  watch.failed("maximum bytes exceeded", 3, 2_000);
  watch.failed("maximum bytes exceeded", 5, 6_000);
  assertEquals(said(watch, 9_999), undefined);
  assertStringIncludes(said(watch, 10_000) ?? "", "maximum bytes exceeded): 5 rejects wait");
  watch.copied();
  assertEquals(said(watch, 11_000), undefined, "it gets well");
  watch.failed("maximum bytes exceeded", 1, 12_000);
  assertEquals(said(watch, 13_000), undefined);
  watch.copied();
  assertEquals(said(watch, 14_000), undefined);
  assertStringIncludes(said(watch, 20_000) ?? "", "well");
});

Deno.test("a process that does not copy, or was cut off, concludes nothing", () => {
  const watch = new CopyWatch();
  watch.failed("no answer", 1, 0);
  watch.restart(7_000);
  assertEquals(said(watch, 14_000), undefined);
  assertStringIncludes(said(watch, 15_000) ?? "", "ill");
  watch.standBy();
  assertEquals(said(watch, 60_000), undefined);
});

Deno.test("a reject without a copy is ill for ten minutes after the last", () => {
  const watch = new CopyWatch();
  const found = (nowMs: number) => watch.findings(nowMs).find(({ what }) => what === INCOMPLETE);
  assertEquals(found(0), undefined, "nothing is known yet");
  watch.copied();
  assertEquals(found(0)?.isIll, false);
  watch.lost({ stream: "S", why: "too_large", rejects: 2, firstSeq: 5, lastSeq: 9 }, 1_000);
  watch.copied();
  assertStringIncludes(found(600_999)?.summary ?? "", "2 rejects of S, between sequences 5 and 9");
  assertEquals(found(601_000)?.isIll, false);
});
