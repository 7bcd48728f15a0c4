import { assertEquals } from "@std/assert";
import type { Pulse } from "./pulse.ts";
import { FIRST_PULSE_MS, PulseWatch } from "./pulse_watch.ts";

const MAX_PAGE_MS = 20_000;

function pulse(progress: number, waiting: number | null, instance = "a"): Pulse {
  return { v: 1, service: "royalty", instance, at: 0, progress, waiting };
}

/** The ailments at `nowMs`. */
function ill(watch: PulseWatch, nowMs: number): string[] {
  return watch.findings(nowMs).filter(({ isIll }) => isIll).map(({ ailment }) => ailment);
}

/** The first second from `fromMs` on at which there is `ailment`. */
function firstMs(watch: PulseWatch, fromMs: number, ailment: string, before = (_ms: number) => {}) {
  for (let ms = fromMs; ms < fromMs + 120_000; ms += 1_000) {
    before(ms);
    if (ill(watch, ms).includes(ailment)) return ms;
  }
}

Deno.test("a service whose pulse stops is silent within 20 s, and well once it is heard", () => {
  const watch = new PulseWatch(["royalty"], 0);
  for (let ms = 0; ms <= 60_000; ms += 2_000) {
    watch.hear(pulse(ms, 0), ms);
    assertEquals(ill(watch, ms + 1_999), []);
  }
  const silentMs = firstMs(watch, 60_000, "silent") ?? Infinity;
  assertEquals(silentMs - 60_000 < MAX_PAGE_MS - 2_000, true, `${silentMs}`);
  watch.hear(pulse(1, 0), silentMs);
  assertEquals(watch.findings(silentMs).filter(({ ailment }) => ailment === "silent"), []);
  const wellMs = silentMs + 5_000;
  watch.hear(pulse(2, 0), wellMs);
  assertEquals(watch.findings(wellMs).map(({ isIll }) => isIll), [false, false, false]);
});

Deno.test("clocks that differ are told until they have agreed for a while", () => {
  const watch = new PulseWatch(["royalty"], 0);
  const clocks = (ms: number) =>
    watch.findings(ms).filter(({ ailment }) => ailment === "clock")
      .map(({ what, isIll, summary }) => [what, isIll, summary.includes("26 h ahead")]);
  const differing = { ...pulse(1, 0), clock: "the clock of this process is 26 h ahead" };
  watch.hear(pulse(1, 0), 0);
  assertEquals(clocks(1), []);
  watch.hear(differing, 2_000);
  assertEquals(clocks(2_001), [["royalty-clock", true, true]]);
  watch.hear(pulse(2, 0), 4_000);
  assertEquals(clocks(4_001), []);
  for (let ms = 6_000; ms <= 14_000; ms += 2_000) watch.hear(pulse(2, 0), ms);
  assertEquals(clocks(14_002), [["royalty-clock", false, false]]);
});

Deno.test("a service that says that work waits, and achieves nothing, is stalled within 20 s", () => {
  const watch = new PulseWatch(["royalty"], 0);
  watch.hear(pulse(1, 0), 0);
  const stalledMs = firstMs(watch, 2_000, "stalled", (ms) => watch.hear(pulse(1, 7), ms));
  assertEquals((stalledMs ?? Infinity) - 2_000 < MAX_PAGE_MS - 2_000, true);
  // A step every 15 s is one incident, not one each time.
  let [ends, progress] = [0, 1];
  for (let ms = 20_000; ms < 200_000; ms += 1_000) {
    if (ms % 15_000 === 0) progress += 1;
    watch.hear(pulse(progress, 7), ms);
    ends += watch.findings(ms).filter(({ ailment, isIll }) =>
      ailment === "stalled" && !isIll
    ).length;
  }
  assertEquals(ends, 0);
});

Deno.test("idle, working, unknown work and a standby are no stall", () => {
  const watch = new PulseWatch(["royalty"], 0);
  for (let ms = 0; ms < 60_000; ms += 1_000) {
    watch.hear(pulse(ms < 30_000 ? 0 : ms, ms < 30_000 ? null : 9), ms);
    watch.hear(pulse(0, 9, "standby"), ms < 30_000 ? -1 : ms);
    if (ms < 30_000) watch.hear(pulse(5, 0, "standby"), ms);
    assertEquals(ill(watch, ms), [], `${ms}`);
  }
});

Deno.test("a service that was never heard has time to start", () => {
  const watch = new PulseWatch(["royalty", "live"], 1_000);
  assertEquals(ill(watch, FIRST_PULSE_MS), []);
  assertEquals(ill(watch, 1_000 + FIRST_PULSE_MS), ["silent", "silent"]);
  assertEquals(watch.ages(FIRST_PULSE_MS), []);
  assertEquals(watch.ages(1_000 + FIRST_PULSE_MS), [["royalty", 12_000], ["live", 12_000]]);
});

Deno.test("nothing is concluded from the time in which the watch was away", () => {
  const watch = new PulseWatch(["royalty"], 0);
  watch.hear(pulse(1, 5), 0);
  watch.restart(60_000);
  assertEquals(ill(watch, 71_000), []);
  assertEquals(ill(watch, 72_000), ["silent"]);
});

Deno.test("a watch that begins says of nothing that it is well before it has heard so", () => {
  for (const isRestarted of [false, true]) {
    const watch = new PulseWatch(["royalty"], 0);
    if (isRestarted) {
      watch.hear(pulse(1, 5), 0);
      watch.restart(0);
    }
    let ms = 0;
    while (ill(watch, ms).length === 0) {
      assertEquals(watch.findings(ms), [], `${ms}`);
      ms += 1_000;
    }
    // It is heard, and does nothing: whether it was stalled is known after a while.
    for (const begunMs = ms; ms < begunMs + 11_000; ms += 1_000) {
      watch.hear(pulse(1, 5), ms);
      assertEquals(watch.findings(ms).filter(({ ailment }) => ailment === "stalled"), [], `${ms}`);
    }
  }
});

Deno.test("with several instances, the work of one is the work of the service", () => {
  const watch = new PulseWatch(["royalty"], 0);
  for (let ms = 0; ms < 60_000; ms += 1_000) {
    watch.hear(pulse(ms, 100, "leads"), ms);
    watch.hear(pulse(0, 100, "waits"), ms);
    assertEquals(ill(watch, ms), []);
  }
  // One leaves in order, the other does nothing.
  watch.hear({ ...pulse(60_000, 100, "leads"), leaving: true }, 60_000);
  assertEquals(
    firstMs(watch, 60_000, "stalled", (ms) => watch.hear(pulse(0, 100, "waits"), ms)),
    72_000,
  );
});

Deno.test("one of several instances that refuses is found in 8 s, and is well 10 s after its end", () => {
  const watch = new PulseWatch(["ingest"], 0);
  const hear = (ms: number, refusing: string | null, instance = "a") =>
    watch.hear({ ...pulse(ms, 0, instance), service: "ingest", refusing }, ms);
  let foundMs: number | undefined;
  for (let ms = 0; ms < 20_000; ms += 2_000) {
    hear(ms, "HEARTBEATS: stream_full");
    hear(ms, null, "b");
    if (ill(watch, ms).includes("refusing")) foundMs ??= ms;
  }
  assertEquals(foundMs, 6_000);
  const [finding] = watch.findings(19_000).filter(({ ailment }) => ailment === "refusing");
  assertEquals([finding?.what, finding?.summary], [
    "ingest-refusing",
    "ingest refuses events (1 of 2 processes): HEARTBEATS: stream_full",
  ]);
  // A refusal that is over within seconds is none.
  for (let ms = 20_000; ms < 60_000; ms += 2_000) hear(ms, ms % 4_000 === 0 ? "x" : null);
  assertEquals(watch.findings(60_000).filter(({ isIll }) => isIll), []);
});
