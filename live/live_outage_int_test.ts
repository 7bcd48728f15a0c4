/** An outage of what is between the viewers and live is nobody's silence, on a real server. */
import { assert, assertEquals } from "@std/assert";
import { LiveRig } from "../shared/dev/servers/live_rig.ts";

/** After it sessions are missed when they go: three heartbeats over 20 s. */
const STEADY_S = 35;
/** Longer than all of them take to be overdue. */
const OUTAGE_S = 14;
/** After it sessions that did not come back would have expired. */
const AFTER_S = 30;
/** A session is overdue after 18 s; and the page has the hard limit for its way. */
const MAX_TO_PAGE_MS = 30_000;

Deno.test("while nats-server is away nobody falls silent; a region that does afterwards is paged", async () => {
  await using rig = await LiveRig.start();
  const { viewers, stack: { nats } } = rig;
  viewers.addWorld();
  const device = { model: "m1", os: "tvos 19", build: "9.1.0" };
  const fr = viewers.add(80, { region: "fr", title_id: "premiere", cdn: "c1", device });
  await rig.heard();
  await rig.watch(STEADY_S);
  await nats.stop("SIGKILL");
  await rig.watch(OUTAGE_S);
  await nats.start();
  await rig.watch(AFTER_S);
  await rig.heard();
  const ofViewers = () => rig.statuses().filter((text) => !text.includes("pipeline"));
  assertEquals(ofViewers(), []);

  fr.isOn = false;
  const tookMs = await rig.paged("alerts.silent.fr._");
  assert(tookMs <= MAX_TO_PAGE_MS, `it took ${tookMs} ms`);
  assertEquals(ofViewers(), ["alerts.silent.fr._ open"]);
});
