import { assert, assertEquals } from "@std/assert";
import { connect, type Socket } from "node:net";
import { Pipeline } from "../dev/servers/pipeline.ts";
import { type ServiceName, SERVICES } from "../dev/servers/service_process.ts";
import { Workspace } from "../dev/servers/workspace.ts";
import { runCommand } from "../dev/testing/child_process.ts";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

const FILES = 1_000;
const TOO_MANY = 1_030;
/** Time after which what the server has ended is opened again, in ms. */
const AGAIN_MS = 500;
const POSTS = 20;
const PATIENCE = { timeoutMs: 60_000 };

/** Connections that send nothing, and are opened again when the server ends them. */
class Silent implements Disposable {
  readonly #sockets = new Set<Socket>();
  #isOver = false;

  constructor(readonly port: number, count: number) {
    for (let i = 0; i < count; i++) this.#open();
  }
  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(): void {
    const socket = connect({ host: "127.0.0.1", port: this.port });
    this.#sockets.add(socket);
    // Without a reader the end is not noticed.
    socket.on("data", () => {}).on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      // No sleep: it is what an attacker does.
      if (!this.#isOver) setTimeout(() => this.#isOver || this.#open(), AGAIN_MS);
    });
  }
}

/** A pipeline whose services have at most {@link FILES} descriptors each, and what it was sent. */
class Scarce {
  readonly #random = new Random(4);
  posted = 0;

  constructor(readonly pipeline: Pipeline) {}

  /** Posts as devices do, each on a connection of its own, and waits until royalty has counted all. */
  async postAndCount(): Promise<void> {
    const { edgeUrl, fleetKey } = this.pipeline;
    for (let i = 0; i < POSTS; i++) {
      const body = encode(aHeartbeat(this.#random, Date.now()));
      const headers = {
        authorization: `Bearer ${fleetKey}`,
        "content-type": "application/json",
        connection: "close",
      };
      await waitFor("the edge to accept", async () => {
        const response = await fetch(`${edgeUrl}/v1/heartbeats`, { method: "POST", headers, body });
        await response.body?.cancel();
        return response.status === 202;
      }, PATIENCE);
    }
    this.posted += POSTS;
    await waitFor("royalty to have counted them", async () => {
      const status = JSON.parse(await this.pipeline.cli("royalty", ["status", "--json"]));
      return status.streams[0].counted === this.posted;
    }, PATIENCE);
  }
  async log(name: ServiceName): Promise<string> {
    return await Deno.readTextFile(`${this.pipeline.workspace.folder}/${name}.log`);
  }
}

Deno.test("silent connections take every descriptor of a service: it says so, and the pipeline goes on", async () => {
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace);
  const { services, ports } = pipeline;
  for (const name of SERVICES) {
    const args = ["--pid", String(services[name].pid), `--nofile=${FILES}:${FILES}`];
    assertEquals((await runCommand("prlimit", args)).code, 0);
  }
  const scarce = new Scarce(pipeline);
  {
    using _finance = new Silent(ports.finance, 754);
    await scarce.postAndCount();
    using _status = new Silent(ports.http.royalty, TOO_MANY - 754);
    await waitFor("royalty to tell", async () => {
      return (await scarce.log("royalty")).includes('"service.descriptors_exhausted"');
    }, PATIENCE);
    await scarce.postAndCount();
  }
  for (const name of ["ingest", "pager", "live", "triage"] as const) {
    using _silent = new Silent(ports.http[name], TOO_MANY);
    await waitFor(`${name} to tell`, async () => {
      return (await scarce.log(name)).includes('"service.descriptors_exhausted"');
    }, PATIENCE);
    await scarce.postAndCount();
  }
  for (const name of SERVICES) {
    assert(services[name].exitCode === null, `${name} has ended`);
    await services[name].ready();
  }
});
