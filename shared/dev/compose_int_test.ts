import { assertEquals } from "@std/assert";
import { connect } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { inboxPrefix, ROLES } from "../nats/connection.ts";
import { drift, provision } from "../provision.ts";
import { DEFAULT_TOPOLOGY, desiredTopology } from "../topology.ts";
import { Child } from "./child.ts";
import { type Compose, environmentOf, readCompose, ROOT } from "./compose.ts";
import { freePort } from "./free_port.ts";
import { NatsServer } from "./nats_server.ts";
import { waitFor } from "./wait_for.ts";
import { Workspace } from "./workspace.ts";

Deno.test("nats starts with compose's own command, settings and files", async () => {
  await using workspace = await Workspace.temporary();
  const embedded = await NatsServer.start(workspace);
  await embedded.stop();
  const compose = await readCompose();
  const port = freePort();
  const monitorPort = freePort();
  const [, ...args] = compose.services.nats.command;
  const child = await Child.start(workspace, {
    name: "nats-of-compose",
    command: embedded.binary,
    args: args.map((arg) => onThisMachine(compose, arg, port, monitorPort, workspace.folder)),
    env: environmentOf(compose, "nats"),
  });
  const health = compose.services.nats.healthcheck?.test.at(-1) ?? "";
  await waitFor("the health check of compose", async () => {
    const response = await fetch(health.replace("8222", String(monitorPort)));
    await response.body?.cancel();
    return response.ok;
  });
  for (const role of ROLES) {
    const pass = compose.example[`TWOFOLD_NATS_${role.toUpperCase()}_PASSWORD`];
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

/** A path or address inside the container as this machine has it. */
function onThisMachine(
  compose: Compose,
  arg: string,
  port: number,
  monitorPort: number,
  folder: string,
): string {
  const mounts = (compose.services.nats.volumes ?? []).map((volume) => volume.split(":"));
  const local = mounts.reduce((path, [from, to]) => {
    const target = from.startsWith("./") ? new URL(from, ROOT).pathname : `${folder}/compose-data`;
    return path.replace(`=${to}`, `=${target}`);
  }, arg);
  return local.replace("=0.0.0.0", "=127.0.0.1")
    .replace("=4222", `=${port}`).replace("=8222", `=${monitorPort}`);
}
