import { ROOT } from "../testing/module_graph.ts";
import { assertEquals, assertExists } from "@std/assert";
import { connect } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { inboxPrefix, ROLES } from "../../process/nats.ts";
import { runFormatted } from "../../process/postgres/formatted.ts";
import { drift, provision } from "../../provision/streams.ts";
import { DEFAULT_TOPOLOGY, desiredTopology } from "../../contract/topology.ts";
import { Child } from "./child.ts";
import { type Compose, environmentOf, exampleOf, readCompose, serviceOf } from "./compose.ts";
import { freePort } from "./free_port.ts";
import { NatsServer, passwordsFor } from "./nats_server.ts";
import { PostgresServer } from "./postgres_server.ts";
import { waitFor } from "../testing/wait_for.ts";
import { Workspace } from "./workspace.ts";

Deno.test("nats starts with compose's own command, settings and files", async () => {
  await using workspace = await Workspace.temporary();
  const embedded = await NatsServer.start(workspace);
  await embedded.stop();
  const compose = await readCompose();
  const port = freePort();
  const monitorPort = freePort();
  const [, ...args] = serviceOf(compose, "nats").command;
  const child = await Child.start(workspace, {
    name: "nats-of-compose",
    command: embedded.launched.binary,
    args: args.map((arg) => onThisMachine(compose, arg, port, monitorPort, workspace.folder)),
    env: environmentOf(compose, "nats"),
  });
  const health = serviceOf(compose, "nats").healthcheck?.test.at(-1) ?? "";
  await waitFor("the health check of compose", async () => {
    const response = await fetch(health.replace("8222", String(monitorPort)));
    await response.body?.cancel();
    return response.ok;
  });
  for (const role of ROLES) {
    const pass = exampleOf(compose, `TWOFOLD_NATS_${role.toUpperCase()}_PASSWORD`);
    const servers = `127.0.0.1:${port}`;
    const nc = await connect({ servers, user: role, pass, inboxPrefix: inboxPrefix(role) });
    // The default sizes must fit what compose lets the server store.
    if (role === "ops") {
      const jsm = await jetstreamManager(nc);
      const desired = desiredTopology(DEFAULT_TOPOLOGY);
      await provision(jsm, desired);
      assertEquals(await drift(jsm, desired), []);
    }
    await nc.close();
  }
  await child.stop();
});

Deno.test("provisioning and every service start with compose's own commands and settings", async () => {
  const compose = await readCompose();
  await using workspace = await Workspace.temporary();
  const passwords = passwordsFor((user) =>
    exampleOf(compose, `TWOFOLD_NATS_${user.toUpperCase()}_PASSWORD`)
  );
  const [nats, postgres] = await Promise.all([
    NatsServer.start(workspace, { passwords }),
    PostgresServer.start(workspace),
  ]);
  const { TWOFOLD_POSTGRES_ADMIN_URL = "" } = environmentOf(compose, "provision");
  const admin = postgres.connect();
  await runFormatted(
    admin,
    "alter role postgres password %L",
    new URL(TWOFOLD_POSTGRES_ADMIN_URL).password,
  );
  await admin.end();
  const start = (name: string, settings: Record<string, string> = {}) =>
    Child.start(workspace, {
      name,
      command: Deno.execPath(),
      args: serviceOf(compose, name).command.slice(1),
      env: { ...settingsHere(compose, name, nats, postgres), ...settings },
      cwd: ROOT.pathname,
    });
  const provisioning = await start("provision");
  assertEquals(await provisioning.ended, 0, await provisioning.tail());
  const names = ["ingest", "live", "live-2", "royalty", "triage", "pager"];
  const services = await Promise.all(names.map(async (name) => {
    const port = freePort();
    const settings = {
      TWOFOLD_HTTP_PORT: String(port),
      ...(name === "ingest" ? { TWOFOLD_STATUS_PORT: String(freePort()) } : {}),
      ...(name === "royalty" ? { TWOFOLD_FINANCE_PORT: String(freePort()) } : {}),
    };
    const child = await start(name, settings);
    return { name, child, url: `http://127.0.0.1:${port}` };
  }));
  for (const { name, child, url } of services) {
    await waitFor(`${name} to be ready`, async () => {
      if (child.exitCode !== null) return true;
      const response = await fetch(`${url}/readyz`);
      await response.body?.cancel();
      return response.ok;
    }, { timeoutMs: 60_000 });
    assertEquals(child.exitCode, null, await child.tail());
  }
  // Its thread tells that as soon as it runs.
  await waitFor("royalty's closing thread", async () => {
    const royalty = services.find(({ name }) => name === "royalty");
    assertExists(royalty);
    return (await (await fetch(`${royalty.url}/metrics`)).text())
      .includes("twofold_royalty_close_overdue_seconds 0");
  });
  const codes = await Promise.all(services.map(({ child }) => child.stop()));
  for (const [i, { name, child }] of services.entries()) {
    assertEquals([name, codes[i]], [name, 0], await child.tail());
  }
  await Promise.all([nats.stop(), postgres.stop()]);
});

/** A service's settings in compose, with the servers of this machine. */
function settingsHere(
  compose: Compose,
  name: string,
  nats: NatsServer,
  postgres: PostgresServer,
): Record<string, string> {
  const settings = Object.entries(environmentOf(compose, name))
    // Nothing is written into the checkout.
    .filter(([setting]) => !setting.endsWith("_DIR"))
    .map(([setting, value]) => [
      setting,
      value.replace("nats:4222", nats.url)
        .replace("@postgres:5432", `@127.0.0.1:${postgres.port}`)
        .replace("0.0.0.0", "127.0.0.1"),
    ]);
  return Object.fromEntries(settings);
}

/** A path or address inside the container as this machine has it. */
function onThisMachine(
  compose: Compose,
  arg: string,
  port: number,
  monitorPort: number,
  folder: string,
): string {
  const mounts = (serviceOf(compose, "nats").volumes ?? []).map((volume) => volume.split(":"));
  const local = mounts.reduce((path, [from = "", to = ""]) => {
    const target = from.startsWith("./") ? new URL(from, ROOT).pathname : `${folder}/compose-data`;
    return path.replace(`=${to}`, `=${target}`);
  }, arg);
  return local.replace("=0.0.0.0", "=127.0.0.1")
    .replace("=4222", `=${port}`).replace("=8222", `=${monitorPort}`);
}
