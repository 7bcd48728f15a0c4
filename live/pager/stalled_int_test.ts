/** A pager that cannot deliver is told by another service. */
import { assertEquals } from "@std/assert";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";

const TIMEOUT = { timeoutMs: 60_000 };

Deno.test("a pager whose only receiver refuses, or hangs while news come, is stalled", async () => {
  await using hook = new ReceiverServer();
  const stack = await Stack.start();
  await using rig = await PagerRig.telling(hook, { TWOFOLD_PAGER_SERVICES: "triage" }, stack);
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
