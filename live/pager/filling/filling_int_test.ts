import { assertEquals, assertStringIncludes } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { PagerRig } from "../../../shared/dev/receivers/pager_rig.ts";
import { waitFor } from "../../../shared/dev/testing/wait_for.ts";

const TIMEOUT = { timeoutMs: 120_000 };
const WHAT = "alerts.pipeline.stream-filling";

Deno.test("a stream that is full is paged with the remedy, and its end once there is room", async () => {
  await using rig = await PagerRig.start([], [], { TWOFOLD_PAGER_SERVICES: "live" });
  const alerts = await rig.stack.receiveAlerts(WHAT);
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", { max_bytes: 100_000 });
  const js = jetstream(await rig.stack.connect("ingest"));
  for (let i = 0; i < 99; i++) await js.publish("hb.0.none", new Uint8Array(950));
  const pager = await rig.pager();
  await waitFor("what it measures", async () => {
    const used = (await pager.metrics()).get(
      'twofold_pager_stream_used_ratio{stream="HEARTBEATS"}',
    );
    return used !== undefined && used > 0.9;
  }, TIMEOUT);
  // Nearly full and at rest does not page; what is full does.
  await waitFor(
    "it to be full",
    () => js.publish("hb.0.none", new Uint8Array(950)).then(() => false, () => true),
  );
  await jsm.streams.update("HEARTBEATS", {
    max_bytes: (await jsm.streams.info("HEARTBEATS")).state.bytes,
  });
  await waitFor("the alert", () => alerts.length === 1, TIMEOUT);
  assertStringIncludes(alerts[0]?.alert.summary ?? "", "HEARTBEATS is full and refuses");
  await jsm.streams.update("HEARTBEATS", { max_bytes: 2 ** 30 });
  await waitFor("its end", () => alerts.length === 2, TIMEOUT);
  assertEquals(alerts.map(({ alert }) => alert.status), ["open", "resolved"]);
});
