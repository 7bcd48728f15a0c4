/** Processes of live that end or freeze while others go on: nothing is lost or told twice. */
import { assertEquals } from "@std/assert";
import { ProcessesRig } from "../shared/dev/servers/live/processes_rig.ts";

for (const partitions of [1, 4]) {
  Deno.test(`with ${partitions} partitions, processes that end or freeze lose and double nothing`, async () => {
    await using rig = await ProcessesRig.start(partitions);
    await rig.join();
    await rig.join();
    await rig.shared();

    const killed = await rig.leader();
    await killed.stop("SIGKILL");
    await rig.page();
    await killed.restart();

    const left = await rig.leader();
    assertEquals(await left.stop("SIGTERM"), 0);
    await rig.page();
    await left.restart();

    const frozen = await rig.leader();
    Deno.kill(frozen.pid, "SIGSTOP");
    await rig.page();
    Deno.kill(frozen.pid, "SIGCONT");
    await rig.page();
    await rig.leader();
    await rig.assertOnce();
  });
}
