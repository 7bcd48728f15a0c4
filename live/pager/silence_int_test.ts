import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import type { Pulse } from "../../shared/contract/pulse.ts";
import { PAGER_STATE, pulseSubject } from "../../shared/contract/topology.ts";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
import { limitFiles } from "../../shared/dev/testing/full_disk.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";

const ENV = { TWOFOLD_PAGER_SECRET: "a-secret-of-the-test" };
const MAX_PAGE_MS = 20_000;
const TIMEOUT = { timeoutMs: 60_000 };

function webhook(url: string) {
  return { name: "ops", kind: "webhook", url, secret_env: "TWOFOLD_PAGER_SECRET" };
}

/** Step and subject of each request, and when it came. */
function told(server: ReceiverServer): { readonly what: string; readonly atMs: number }[] {
  return server.accepted.map(({ headers, atMs }) => ({
    what: `${headers.get("twofold-step")} ${headers.get("twofold-subject")}`,
    atMs,
  }));
}

async function toldIs(server: ReceiverServer, what: string): Promise<number> {
  const found = await waitFor(what, () => {
    const one = told(server).find((each) => each.what === what);
    if (one) return one;
    throw new Error(told(server).map((each) => each.what).join(", "));
  }, TIMEOUT);
  return found.atMs;
}

Deno.test("a service that says that work waits and achieves nothing pages within 20 s", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook(hook.url)], [hook.host], {
    ...ENV,
    TWOFOLD_PAGER_SERVICES: "live",
  });
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
    const pagedMs = await toldIs(hook, "page alerts.pipeline.live-stalled");
    assert(pagedMs - stalledMs < MAX_PAGE_MS, `${pagedMs - stalledMs} ms`);
    isStalled = false;
    await toldIs(hook, "end alerts.pipeline.live-stalled");
    assertEquals(told(hook).length, 2);
  } finally {
    clearInterval(timer);
  }
});

Deno.test("a frozen service pages within 20 s, and so does a dead pager, by another service", async () => {
  await using hook = new ReceiverServer();
  const stack = await Stack.start();
  await using rig = await PagerRig.start([webhook(hook.url)], [hook.host], {
    ...ENV,
    TWOFOLD_PAGER_SERVICES: "triage",
  }, stack);
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
  const pagedMs = await toldIs(hook, "page alerts.pipeline.triage-silent");
  assert(pagedMs - frozenMs < MAX_PAGE_MS, `${pagedMs - frozenMs} ms`);
  Deno.kill(triage.pid, "SIGCONT");
  await toldIs(hook, "end alerts.pipeline.triage-silent");
  assertEquals(told(hook).length, 2);

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

Deno.test("a pager whose only receiver refuses, or hangs while news come, is stalled", async () => {
  await using hook = new ReceiverServer();
  const stack = await Stack.start();
  await using rig = await PagerRig.start([webhook(hook.url)], [hook.host], {
    ...ENV,
    TWOFOLD_PAGER_SERVICES: "triage",
  }, stack);
  const alerts = await stack.receiveAlerts("alerts.pipeline.pager-stalled");
  const triage = await stack.service("triage");
  const pager = await rig.pager();
  await waitFor("triage to hear the pager", async () => {
    return (await triage.metrics()).has('twofold_triage_pager_pulse_age_seconds{service="pager"}');
  });
  for (const [i, behaviour] of [{ status: 401 }, { delayMs: 60_000 }].entries()) {
    hook.behaviour = behaviour;
    const incident = anIncident(`title-${i}`, Date.now());
    await rig.publish(incident.open);
    await waitFor("the alert", () => alerts.length === 2 * i + 1, TIMEOUT);
    await rig.publish(incident.update);
    hook.behaviour = {};
    if (i === 0) {
      await pager.stop("SIGKILL");
      await pager.restart();
    }
    await waitFor("the end", () => alerts.length === 2 * i + 2, TIMEOUT);
  }
  assertEquals(alerts.map(({ alert }) => alert.status), ["open", "resolved", "open", "resolved"]);
});

Deno.test("when NATS cannot be reached, the pager pages that, and its end", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook(hook.url)], [hook.host], ENV);
  const pager = await rig.pager();
  await rig.leads(pager);
  await rig.stack.nats.stop("SIGKILL");
  const startMs = Date.now();
  const pagedMs = await toldIs(hook, "page alerts.pipeline.nats-silent");
  assert(pagedMs - startMs < MAX_PAGE_MS, `${pagedMs - startMs} ms`);
  await rig.stack.nats.start();
  await toldIs(hook, "end alerts.pipeline.nats-silent");
  assertEquals(told(hook).length, 2);
  assertEquals(
    new Set(hook.requests.map(({ headers }) => headers.get("twofold-incident"))).size,
    1,
  );
  assertEquals(await pager.stop(), 0);
});

Deno.test("an edge that refuses pages why; a NATS whose disk is full pages without storing it", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook(hook.url)], [hook.host], {
    ...ENV,
    TWOFOLD_PAGER_SERVICES: "ingest",
  });
  const pager = await rig.pager();
  await rig.leads(pager);
  const key = "a-key-of-a-fleet";
  const edge = await rig.stack.service("ingest", { TWOFOLD_FLEET_KEYS: `tv:${key}` });
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", { max_bytes: 100 });
  const url = `${edge.url}/v1/heartbeats?key=${key}`;
  const headers = { "content-type": "text/plain" };
  const refused = await fetch(url, { method: "POST", headers, body: "1\n2\n3" });
  assertEquals(refused.status, 503);
  const refusedMs = Date.now();
  const pagedMs = await toldIs(hook, "page alerts.pipeline.ingest-refusing");
  assert(pagedMs - refusedMs < MAX_PAGE_MS, `${pagedMs - refusedMs} ms`);
  assertStringIncludes(hook.accepted[0]?.body ?? "", "raise TWOFOLD_HEARTBEATS_MAX_BYTES");
  await jsm.streams.update("HEARTBEATS", { max_bytes: 2 ** 30 });
  await toldIs(hook, "end alerts.pipeline.ingest-refusing");

  await limitFiles(rig.stack.nats.pid, 100);
  const fullMs = Date.now();
  const saidMs = await toldIs(hook, "page alerts.pipeline.nats-stores-nothing");
  assert(saidMs - fullMs < MAX_PAGE_MS, `${saidMs - fullMs} ms`);
  assertStringIncludes(hook.accepted.at(-1)?.body ?? "", "restart nats-server");
  await rig.stack.nats.stop();
  await rig.stack.nats.start();
  await toldIs(hook, "end alerts.pipeline.nats-stores-nothing");
  assertEquals(told(hook).length, 4);
});
