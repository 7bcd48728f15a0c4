import { assert, assertEquals, assertMatch } from "@std/assert";
import { freePort } from "../dev/servers/free_port.ts";
import { type ServiceName, ServiceProcess, SERVICES } from "../dev/servers/service_process.ts";
import { Stack } from "../dev/servers/stack.ts";
import { aHeartbeat } from "../dev/testing/heartbeats.ts";
import { propertyRandom } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

const KEY = "starting-test-key-of-32-characters";

interface Readiness {
  readonly status: number;
  readonly reason: string;
}

async function readiness(service: ServiceProcess): Promise<Readiness> {
  const response = await fetch(`${service.url}/readyz`);
  const { reason = "" } = await response.json();
  return { status: response.status, reason };
}

async function isAlive(service: ServiceProcess): Promise<boolean> {
  const response = await fetch(`${service.url}/healthz`);
  await response.body?.cancel();
  return response.ok;
}

async function post(edge: ServiceProcess): Promise<Response> {
  return await fetch(`${edge.url}/v1/heartbeats`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify(aHeartbeat(propertyRandom("starting"), Date.now())),
  });
}

function settingsOf(stack: Stack, name: ServiceName): Record<string, string> {
  const settings = stack.nats.settings(name);
  if (name === "ingest") return { ...settings, TWOFOLD_FLEET_KEYS: `players:${KEY}` };
  if (name === "live" || name === "pager") return settings;
  const issuer = { TWOFOLD_ISSUER_POSTGRES_URL: stack.databaseUrl("issuer") };
  const url = { TWOFOLD_POSTGRES_URL: stack.databaseUrl(name) };
  return { ...settings, ...url, ...(name === "royalty" ? issuer : {}) };
}

Deno.test("services answer with NATS and Postgres away, say what is missing, and come up", async () => {
  await using stack = await Stack.start();
  await stack.nats.stop();
  await stack.postgres.stop("SIGQUIT");
  const reach = [stack.nats.url, `127.0.0.1:${stack.postgres.port}`];
  const services = new Map(
    await Promise.all(SERVICES.map(async (name) => {
      const options = { httpPort: freePort(), reach, settings: settingsOf(stack, name) };
      return [name, await ServiceProcess.launch(stack.workspace, name, options)] as const;
    })),
  );
  for (const [name, service] of services) {
    await waitFor(`${name} to answer`, () => isAlive(service));
    const { status, reason } = await readiness(service);
    assertEquals(status, 503);
    assertMatch(reason, /NATS/, name);
    if (name === "royalty" || name === "triage") assertMatch(reason, /Postgres/, name);
  }
  const edge = services.get("ingest");
  assert(edge !== undefined);
  const refused = await post(edge);
  assertEquals(refused.status, 503);
  assertEquals(refused.headers.get("content-type"), "application/problem+json");
  assertMatch(refused.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  await refused.body?.cancel();

  await stack.nats.start();
  await stack.postgres.start();
  for (const service of services.values()) await service.ready();
  const accepted = await post(edge);
  assertEquals(accepted.status, 202);
  await accepted.body?.cancel();
  for (const [name, service] of services) assertEquals([name, await service.stop()], [name, 0]);
});
