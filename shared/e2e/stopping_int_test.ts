import { assert, assertEquals } from "@std/assert";
import { jetstream } from "nats/jetstream";
import { heartbeatSubject } from "../contract/topology.ts";
import { ServiceProcess, SERVICES } from "../dev/servers/service_process.ts";
import { Stack } from "../dev/servers/stack.ts";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

/** Shorter than the deadline of a stop, after which the exit code would be 1. */
const BOUND_MS = 9_500;

/** Four services with work in hand, and a server that hangs, like a network that drops packets. */
async function withHungNats(
  work: (services: readonly ServiceProcess[], stack: Stack) => Promise<void>,
): Promise<void> {
  await using stack = await Stack.start();
  const keys = { TWOFOLD_FLEET_KEYS: "players:stopping-test-key-of-32-chars" };
  const services = await Promise.all(
    SERVICES.map((name) => stack.service(name, name === "ingest" ? keys : {})),
  );
  const random = new Random(3);
  const js = jetstream(await stack.connect("ingest"));
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const heartbeat = aHeartbeat(random, Date.now());
    // Rejected ones are copied to the quarantine, which takes answers of the server.
    const bytes = encode(i % 2 === 0 ? heartbeat : { ...heartbeat, played_ms: "4000" });
    await js.publish(heartbeatSubject(0, "de"), bytes);
  }));
  Deno.kill(stack.nats.pid, "SIGSTOP");
  try {
    await work(services, stack);
  } finally {
    Deno.kill(stack.nats.pid, "SIGCONT");
  }
}

async function assertAllStop(services: readonly ServiceProcess[]): Promise<void> {
  await Promise.all(services.map(async (service) => {
    const startMs = performance.now();
    assertEquals([service.name, await service.stop()], [service.name, 0]);
    const tookMs = performance.now() - startMs;
    assert(tookMs < BOUND_MS, `${service.name} took ${Math.round(tookMs)} ms`);
  }));
}

Deno.test("every service exits with 0 within its bound as soon as nats-server hangs", async () => {
  await withHungNats(assertAllStop);
});

Deno.test("every service exits with 0 within its bound, and logs no stack, when nats-server has hung for long", async () => {
  await withHungNats(async (services, { workspace }) => {
    for (const service of services) {
      await waitFor(
        `${service.name} to be not ready`,
        async () => (await service.readiness()).status === 503,
        { timeoutMs: 30_000 },
      );
    }
    await assertAllStop(services);
    for (const { name } of services) {
      const log = await Deno.readTextFile(`${workspace.folder}/${name}.log`);
      // An answer that does not come is no bug.
      const withStack = log.split("\n").filter((line) => line.includes('"stack":'));
      assertEquals(withStack, [], name);
      if (name === "royalty") assert(log.includes("royalty.posting.lag_unknown"), log);
    }
  });
});
