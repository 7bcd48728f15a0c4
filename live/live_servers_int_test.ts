/** Nodes, leaders, streams and buckets under live that are lost: nothing is lost or told twice. */
import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { LIVE_STATE, OBSERVATIONS } from "../shared/contract/topology.ts";
import { ProcessesRig } from "../shared/dev/servers/live/processes_rig.ts";

Deno.test("in a cluster, new leaders of consumers and streams and a lost node lose and double nothing", async () => {
  await using rig = await ProcessesRig.start(1, 3);
  await rig.join();
  await rig.shared();
  const { stack } = rig.rig;
  const ops = await stack.connect("ops");
  const stepDown = async (what: string) => {
    const { error } = (await ops.request(`$JS.API.${what}`, "", { timeout: 5_000 })).json<
      { error?: unknown }
    >();
    assertEquals(error, undefined, what);
  };
  await stepDown("CONSUMER.LEADER.STEPDOWN.HEARTBEATS.live");
  await rig.page();
  for (const stream of ["HEARTBEATS", "OBSERVATIONS", "ALERTS", "KV_LIVE"]) {
    await stepDown(`STREAM.LEADER.STEPDOWN.${stream}`);
  }
  await rig.page();

  const jsm = await jetstreamManager(ops);
  const { cluster } = await jsm.streams.info("HEARTBEATS");
  const lost = stack.nats.nodes.find(({ launched }) => launched.node?.name === cluster?.leader);
  assert(lost !== undefined, `${cluster?.leader} is no node`);
  await lost.stop("SIGKILL");
  await rig.page();
  await lost.start();
  await rig.page();
  await rig.leader();
  // A publish while ALERTS has no leader reaches on-call, is not acknowledged and comes again.
  await rig.assertOnce({ copies: true });
});

Deno.test("a bucket or a stream of live's own that is lost loses and doubles no page", async () => {
  await using rig = await ProcessesRig.start(2);
  await rig.join();
  await rig.shared();
  const { stack } = rig.rig;
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await jsm.streams.delete(LIVE_STATE);
  await rig.page();
  await stack.provision({ partitions: 2 });
  await rig.page();
  await jsm.streams.delete(OBSERVATIONS);
  await stack.provision({ partitions: 2 });
  await rig.page();
  await rig.leader();
  await rig.assertOnce();
});
