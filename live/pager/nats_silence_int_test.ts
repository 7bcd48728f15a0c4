/** A NATS that is away, refuses or stores nothing is paged by the pager itself. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import type { NatsServer } from "../../shared/dev/servers/nats_server.ts";
import { limitFiles } from "../../shared/dev/testing/full_disk.ts";

const MAX_PAGE_MS = 20_000;

async function pagesNats(
  stop: (nats: NatsServer) => unknown,
  start: (nats: NatsServer) => unknown,
): Promise<void> {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.telling(hook);
  const pager = await rig.pager();
  await rig.leads(pager);
  const { nats } = rig.stack;
  await stop(nats);
  const startMs = Date.now();
  const pagedMs = await hook.toldIs("page alerts.pipeline.nats-silent");
  assert(pagedMs - startMs < MAX_PAGE_MS, `${pagedMs - startMs} ms`);
  await start(nats);
  await hook.toldIs("end alerts.pipeline.nats-silent");
  assertEquals(hook.told.length, 2);
  assertEquals(
    new Set(hook.requests.map(({ headers }) => headers.get("twofold-incident"))).size,
    1,
  );
  assertEquals(await pager.stop(), 0);
}

Deno.test("when NATS cannot be reached, the pager pages that, and its end", async () => {
  await pagesNats((nats) => nats.stop("SIGKILL"), (nats) => nats.start());
});

Deno.test("when NATS hangs, the pager pages that as soon, and its end", async () => {
  await pagesNats(({ pid }) => Deno.kill(pid, "SIGSTOP"), ({ pid }) => Deno.kill(pid, "SIGCONT"));
});

Deno.test("an edge that refuses pages why; a NATS whose disk is full pages without storing it", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.telling(hook, { TWOFOLD_PAGER_SERVICES: "ingest" });
  const pager = await rig.pager();
  await rig.leads(pager);
  const key = "a-key-of-a-fleet";
  const edge = await rig.stack.service("ingest", { TWOFOLD_FLEET_KEYS: `tv:${key}` });
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", { max_bytes: 100 });
  const url = `${edge.url}/v1/heartbeats?key=${key}`;
  const headers = { "content-type": "text/plain" };
  const refused = await fetch(url, { method: "POST", headers, body: "1\n2\n3" });
  assertEquals(refused.status, 503);
  const refusedMs = Date.now();
  const pagedMs = await hook.toldIs("page alerts.pipeline.ingest-refusing");
  assert(pagedMs - refusedMs < MAX_PAGE_MS, `${pagedMs - refusedMs} ms`);
  assertStringIncludes(hook.accepted[0]?.body ?? "", "raise TWOFOLD_HEARTBEATS_MAX_BYTES");
  await jsm.streams.update("HEARTBEATS", { max_bytes: 2 ** 30 });
  await hook.toldIs("end alerts.pipeline.ingest-refusing");

  await limitFiles(rig.stack.nats.pid, 100);
  const fullMs = Date.now();
  const saidMs = await hook.toldIs("page alerts.pipeline.nats-stores-nothing");
  assert(saidMs - fullMs < MAX_PAGE_MS, `${saidMs - fullMs} ms`);
  assertStringIncludes(hook.accepted.at(-1)?.body ?? "", "restart nats-server");
  await rig.stack.nats.stop();
  await rig.stack.nats.start();
  await hook.toldIs("end alerts.pipeline.nats-stores-nothing");
  assertEquals(hook.told.length, 4);
});
