import { assert, assertEquals } from "@std/assert";
import { NatsStack } from "../dev/servers/stack.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import type { Pulse } from "./pulse.ts";
import { sendPulses, watchPulses } from "./pulses.ts";
import { pulseSubject } from "./topology.ts";

/** Longer than a service may be silent. */
const HUNG_MS = 14_000;
/** Longer than it takes to notice that NATS does not answer, and the last question to fail. */
const NOTICED_MS = 6_000;

Deno.test("a NATS that hangs makes nobody silent; a service that is silent afterwards is found", async () => {
  await using stack = await NatsStack.start();
  const alerts = await stack.receiveAlerts("alerts.pipeline.*");
  const pager = await stack.connect("pager");
  const stop = new AbortController();
  const retriesMs: number[] = [];
  const watch = watchPulses({
    // A connection that does not notice the hang.
    nc: await stack.connect("triage"),
    services: ["pager"],
    mayAlert: () => true,
    nowMs: Date.now,
    onAlert: () => {},
    onRetry: () => retriesMs.push(performance.now()),
  }, stop.signal);
  let progress = 0;
  // No sleep: the service that pulses here.
  const timer = setInterval(() => {
    progress += 1;
    const pulse: Pulse = {
      v: 1,
      service: "pager",
      instance: "a",
      at: Date.now(),
      progress,
      waiting: 0,
    };
    pager.publish(pulseSubject("pager", "a"), JSON.stringify(pulse));
  }, 500);
  const ageMs = () => watch.ages(performance.now())[0]?.[1] ?? Infinity;
  const isHeard = () =>
    waitFor("a pulse", () => watch.pulses().some((each) => each.progress === progress));
  try {
    await isHeard();
    Deno.kill(stack.nats.pid, "SIGSTOP");
    const hungMs = performance.now();
    // No sleep: nats-server hangs for so long.
    await new Promise((resolve) => setTimeout(resolve, HUNG_MS));
    Deno.kill(stack.nats.pid, "SIGCONT");
    await isHeard();
    await Promise.all([pager.flush(), (await stack.connect("triage")).flush()]);
    assertEquals(alerts, []);
    const late = retriesMs.map((ms) => ms - hungMs).filter((ms) => ms > NOTICED_MS);
    assertEquals(late, [], "nothing is asked or said while NATS hangs");
    assert(ageMs() < 3_000);
  } finally {
    clearInterval(timer);
  }
  await waitFor("the alert", () => alerts.length > 0, { timeoutMs: 30_000 });
  assertEquals(alerts.map(({ subject }) => subject), ["alerts.pipeline.pager-silent"]);
  stop.abort();
});

Deno.test("a wrong clock that a service tells pages, and its end is told", async () => {
  await using stack = await NatsStack.start();
  const alerts = await stack.receiveAlerts("alerts.pipeline.pager-clock");
  const stop = new AbortController();
  const stops: (() => void)[] = [];
  watchPulses({
    nc: await stack.connect("triage"),
    services: ["pager"],
    mayAlert: () => true,
    nowMs: Date.now,
    onAlert: () => {},
    onRetry: () => {},
  }, stop.signal);
  const clock = { nowMs: Date.now, difference: "this process is 26 h ahead" as string | undefined };
  const pulsing = {
    log: { service: "pager" },
    health: { notReady: undefined },
    onStop: (_: string, step: () => void) => void stops.push(step),
  };
  sendPulses(pulsing, await stack.connect("pager"), () => ({ progress: 1, waiting: 0 }), clock);
  try {
    const statuses = () => alerts.map(({ alert }) => alert.status);
    await waitFor("the page", () => statuses().length === 1);
    assert(alerts[0]?.alert.summary.includes("this process is 26 h ahead"));
    clock.difference = undefined;
    await waitFor("its end", () => statuses().length === 2, { timeoutMs: 60_000 });
    assertEquals(statuses(), ["open", "resolved"]);
  } finally {
    stop.abort();
    for (const step of stops) step();
  }
});
