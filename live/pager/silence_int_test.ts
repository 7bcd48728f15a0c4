/** Services and a pager that say nothing, or that work waits and nothing is achieved. */
import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import type { Pulse } from "../../shared/contract/pulse.ts";
import { PAGER_STATE, pulseSubject } from "../../shared/contract/topology.ts";
import { PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";

const MAX_PAGE_MS = 20_000;
const TIMEOUT = { timeoutMs: 60_000 };

Deno.test("a service that says that work waits and achieves nothing pages within 20 s", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.telling(hook, { TWOFOLD_PAGER_SERVICES: "live" });
  await rig.pager();
  let progress = 1;
  let isStalled = false;
  // No sleep: the service that pulses here.
  const timer = setInterval(() => {
    if (!isStalled) progress += 1;
    const pulse: Pulse = {
      v: 1,
      service: "live",
      instance: "a",
      at: Date.now(),
      progress,
      waiting: 12,
    };
    rig.live.publish(pulseSubject("live", "a"), JSON.stringify(pulse));
  }, 500);
  try {
    isStalled = true;
    const stalledMs = Date.now();
    const pagedMs = await hook.toldIs("page alerts.pipeline.live-stalled");
    assert(pagedMs - stalledMs < MAX_PAGE_MS, `${pagedMs - stalledMs} ms`);
    isStalled = false;
    await hook.toldIs("end alerts.pipeline.live-stalled");
    assertEquals(hook.told.length, 2);
  } finally {
    clearInterval(timer);
  }
});

Deno.test("a frozen service pages within 20 s, and so does a dead pager, by another service", async () => {
  await using hook = new ReceiverServer();
  const stack = await Stack.start();
  await using rig = await PagerRig.telling(hook, { TWOFOLD_PAGER_SERVICES: "triage" }, stack);
  const alerts = await stack.receiveAlerts("alerts.pipeline.*");
  const pager = await rig.pager();
  const triage = await stack.service("triage");
  const age = 'twofold_pager_pulse_age_seconds{service="triage"}';
  await waitFor("its pulse", async () => (await pager.metrics()).has(age));

  // NATS away is no silence of the services.
  await stack.nats.stop("SIGKILL");
  await waitFor("the pager to notice", async () => (await pager.readiness()).status === 503);
  await stack.nats.start();
  await pager.ready();

  Deno.kill(triage.pid, "SIGSTOP");
  const frozenMs = Date.now();
  const pagedMs = await hook.toldIs("page alerts.pipeline.triage-silent");
  assert(pagedMs - frozenMs < MAX_PAGE_MS, `${pagedMs - frozenMs} ms`);
  Deno.kill(triage.pid, "SIGCONT");
  await hook.toldIs("end alerts.pipeline.triage-silent");
  assertEquals(hook.told.length, 2);

  await waitFor("triage to hear the pager", async () => {
    const metrics = await triage.metrics();
    return (metrics.get('twofold_triage_pager_pulse_age_seconds{service="pager"}') ?? 9) < 4;
  });
  await pager.stop("SIGKILL");
  const killedMs = Date.now();
  const silent = () => alerts.filter(({ subject }) => subject === "alerts.pipeline.pager-silent");
  await waitFor("the alert", () => silent().length === 1, TIMEOUT);
  assert(Date.now() - killedMs < MAX_PAGE_MS, `${Date.now() - killedMs} ms`);
  await pager.restart();
  await waitFor("the end", () => silent().length === 2, TIMEOUT);
  assertEquals(silent().map(({ alert }) => alert.status), ["open", "resolved"]);

  // A pager that lives and cannot deliver is stalled.
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await jsm.streams.delete(PAGER_STATE);
  const stalled = () => alerts.filter(({ subject }) => subject === "alerts.pipeline.pager-stalled");
  await waitFor("the alert", () => stalled().length === 1, TIMEOUT);
  await stack.provision();
  await waitFor("the end", () => stalled().length === 2, TIMEOUT);
});
