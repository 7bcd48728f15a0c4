/** `deno task live explain` on a real server, against the live service itself. */
import { assert, assertEquals } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { DURABLE, heartbeatSubject } from "../../shared/contract/topology.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { NatsStack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { captureIo } from "../../shared/process/cli/io.ts";
import { runCommandLine } from "../../shared/process/cli/run.ts";
import { Log } from "../../shared/process/log.ts";
import { liveTask } from "../cli.ts";
import { CHANNEL_COUNT } from "../detect/channels.ts";
import { BaselinesStore } from "../incidents/baselines_store.ts";

const AUDIENCES = [["premiere", "de"], ["premiere", "br"], ["other", "de"], ["other", "br"]];
const VIEWERS = 60;

/** Publishes a heartbeat of every viewer; of the premiere in de `stalled` are rebuffering. */
async function publish(nc: NatsConnection, seq: number, stalled: number): Promise<void> {
  const js = jetstream(nc);
  const random = new Random(seq);
  const all = AUDIENCES.flatMap(([title_id = "", region = ""], audience) =>
    Array.from({ length: VIEWERS }, (_, i) =>
      aHeartbeat(random, Date.now(), {
        session_id: `s-${audience}-${i}`,
        title_id,
        region,
        seq,
        interval_ms: 3_000,
        played_ms: 3_000,
        ...(audience === 0 && i < stalled
          ? { state: "rebuffering", played_ms: 500, rebuffer_ms: 2_500 }
          : {}),
      }))
  );
  await Promise.all(
    all.map((each) => js.publish(heartbeatSubject(0, each.region), encode(each))),
  );
}

/** Saves baselines as live does after it has run for long. */
async function saveBaselines(nc: NatsConnection): Promise<void> {
  const sums = Array.from({ length: CHANNEL_COUNT }, () => [20, 100_000]).flat();
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const store = new BaselinesStore(jetstream(nc), jsm, new Log("test", "error"));
  await store.save({
    v: 1,
    learnedMs: 120_000,
    cells: [{ cell: { kind: "all" }, sums }, { cell: { kind: "region", region: "de" }, sums }],
  });
}

async function withEnvironment<T>(env: Record<string, string>, work: () => Promise<T>): Promise<T> {
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    return await work();
  } finally {
    for (const name of Object.keys(env)) Deno.env.delete(name);
  }
}

async function run(...args: string[]) {
  const { io, out, err } = captureIo();
  return { code: await runCommandLine(liveTask, args, io), out: out(), err: err() };
}

Deno.test("explain opens in the second in which live opened, and moves nothing", async (t) => {
  await using stack = await NatsStack.start();
  const nc = await stack.connect("ops");
  await saveBaselines(nc);
  await stack.service("live");
  const alerts = await stack.receiveAlerts("alerts.rebuffer.>");
  for (const seq of [100, 101]) {
    await publish(nc, seq, 0);
    // No sleep: a second of the stream's receipt time has to pass between two heartbeats.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
  }
  await publish(nc, 102, 30);
  await waitFor("the alert", () => alerts.length > 0);
  const alert = alerts[0]?.alert;
  assert(alert?.kind === "incident");
  assertEquals(alert.cell, { kind: "title_region", title: "premiere", region: "de" });
  const at = new Date(alert.opened_at).toISOString();
  const premiere = ["explain", "--title", "premiere", "--region", "de", "--at", at];
  const jsm = await jetstreamManager(nc);
  const before = await jsm.consumers.info("HEARTBEATS", DURABLE.live);

  await t.step("as ops, with the baselines that live saved", async () => {
    await withEnvironment(stack.settings("ops"), async () => {
      const svg = await Deno.makeTempFile({ suffix: ".svg" });
      const { code, out, err } = await run(...premiere, "--svg", svg);
      assertEquals(code, 0, err);
      const sentence = `it opened at ${at.slice(11, 19)}: ${alert.impaired} of ${alert.watching} `;
      assert(out.includes(sentence), `${sentence}\n${out}`);
      assert(out.includes("2 baselines that live saved at"), out);
      assert(out.includes("read 720 heartbeats"), out);
      assert((await Deno.readTextFile(svg)).includes(`opened ${at.slice(11, 19)}`));
      await Deno.remove(svg);
      const json = JSON.parse((await run(...premiere, "--json")).out);
      assertEquals(json.findings.map(({ at_ms }: { at_ms: number }) => at_ms)[0], alert.opened_at);
      const early = await run("explain", "--at", "2020-01-01T00:00:00Z");
      assertEquals([early.code, early.out], [1, ""]);
      assert(early.err.includes("are kept since"), early.err);
    });
  });

  await t.step("as auditor, who may not read them", async () => {
    await withEnvironment(stack.settings("auditor"), async () => {
      const { code, out, err } = await run(...premiere);
      assertEquals(code, 0, err);
      assert(out.includes("usual: learned in the replay alone"), out);
    });
  });

  const after = await jsm.consumers.info("HEARTBEATS", DURABLE.live);
  assertEquals(after.delivered.stream_seq, before.delivered.stream_seq);
  const names = (await Array.fromAsync(jsm.consumers.list("HEARTBEATS"))).map(({ name }) => name);
  assertEquals(names.sort(), [DURABLE.live, DURABLE.royalty]);
});
