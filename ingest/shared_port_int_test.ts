/** Several processes of the edge behind one port. */
import { assert, assertEquals } from "@std/assert";
import { freePort } from "../shared/dev/servers/free_port.ts";
import { ServiceProcess, sumOf } from "../shared/dev/servers/service_process.ts";
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { storedHeartbeats } from "../shared/dev/fleet/stored_events.ts";
import { aHeartbeat } from "../shared/dev/testing/heartbeats.ts";
import { propertyRandom } from "../shared/dev/testing/random.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";

const KEY = "0123456789abcdef";

Deno.test("two processes share a port: both accept, and one goes on when the other is killed", async () => {
  const random = propertyRandom("shared port");
  await using stack = await NatsStack.start();
  const port = freePort();
  const start = () =>
    ServiceProcess.start(stack.workspace, "ingest", {
      httpPort: port,
      reach: [stack.nats.url],
      settings: {
        ...stack.settings("ingest"),
        TWOFOLD_FLEET_KEYS: `tv:${KEY}`,
        TWOFOLD_HTTP_PORT_SHARED: "1",
      },
    });
  const edges = [await start(), await start()];
  const accepted = async (edge: ServiceProcess) =>
    sumOf(await edge.metrics(), "twofold_ingest_events_total", { outcome: "accepted" });
  const sent: string[] = [];
  // A connection of its own for each post, and again until it is accepted, as devices do.
  const post = async () => {
    const heartbeat = aHeartbeat(random, Date.now());
    sent.push(heartbeat.event_id);
    await waitFor("a 202", async () => {
      const response = await fetch(`http://127.0.0.1:${port}/v1/heartbeats`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${KEY}`,
          "content-type": "application/json",
          connection: "close",
        },
        body: JSON.stringify(heartbeat),
      });
      await response.body?.cancel();
      return response.status === 202;
    });
  };
  try {
    await waitFor("both to accept some", async () => {
      await Promise.all(Array.from({ length: 20 }, post));
      return (await Promise.all(edges.map(accepted))).every((events) => events > 0);
    });
    const [killed, other] = edges;
    assert(killed !== undefined && other !== undefined);
    await Promise.all([killed.stop("SIGKILL"), ...Array.from({ length: 50 }, post)]);
    await Promise.all(Array.from({ length: 50 }, post));
    const ids = (await storedHeartbeats(await stack.connect("ops"))).map((each) => each.event_id);
    assertEquals(new Set(ids), new Set(sent));
  } finally {
    await Promise.all(edges.map((edge) => edge.stop("SIGKILL")));
  }
});
