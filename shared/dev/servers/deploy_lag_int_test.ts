/** KEDA's lag of the ScaledObject against a real server. */
import { assert, assertEquals } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { aHeartbeat, encode } from "../testing/heartbeats.ts";
import { ROOT } from "../testing/module_graph.ts";
import { Random } from "../testing/random.ts";
import { waitFor } from "../testing/wait_for.ts";
import { NatsStack } from "./stack.ts";
import { heartbeatSubject } from "../../contract/topology.ts";

const PARTITIONS = 4;
const PUBLISHED = 60;
const READ = 25;
const ACKNOWLEDGED = 10;

const trigger = z.object({
  account: z.string(),
  stream: z.string(),
  consumer: z.string(),
});
const scaled = z.object({
  kind: z.literal("ScaledObject"),
  spec: z.object({ triggers: z.array(z.object({ metadata: trigger })) }),
});
/** What the scaler nats-jetstream of KEDA reads of `/jsz`. */
const jsz = z.object({
  account_details: z.array(z.object({
    name: z.string(),
    stream_detail: z.array(z.object({
      name: z.string(),
      consumer_detail: z.array(
        z.object({ name: z.string(), num_pending: z.int(), num_ack_pending: z.int() }),
      ).default([]),
    })).default([]),
  })).default([]),
});

/** The lag as the scaler computes it; undefined where it finds no such consumer. */
async function lagOf(port: number, of: z.infer<typeof trigger>): Promise<number | undefined> {
  const query = `acc=${of.account}&consumers=true&config=true`;
  const response = await fetch(`http://127.0.0.1:${port}/jsz?${query}`);
  const found = jsz.parse(await response.json()).account_details
    .find(({ name }) => name === of.account)?.stream_detail
    .find(({ name }) => name === of.stream)?.consumer_detail
    .find(({ name }) => name === of.consumer);
  return found && found.num_pending + found.num_ack_pending;
}

Deno.test("KEDA sees the lag that the client sees, of the consumers that the manifest names", async () => {
  const text = await Deno.readTextFile(new URL("shared/deploy/kubernetes/live.yaml", ROOT));
  const found = parseAllDocuments(text).map((each) => scaled.safeParse(each.toJS()).data)
    .find((each) => each !== undefined);
  const triggers = found?.spec.triggers.map(({ metadata }) => metadata) ?? [];
  assertEquals(triggers.length, PARTITIONS);
  await using stack = await NatsStack.start({
    partitions: PARTITIONS,
    heartbeatsMaxBytes: 256 * 1024 ** 2,
  });
  const random = new Random(1);
  const edge = jetstream(await stack.connect("ingest"));
  for (let i = 0; i < PUBLISHED; i++) {
    const heartbeat = { ...aHeartbeat(random, Date.now()), event_id: crypto.randomUUID() };
    await edge.publish(heartbeatSubject(0, "de"), encode(heartbeat));
  }
  const [first] = triggers;
  assert(first, "there is a trigger");
  const js = jetstream(await stack.connect("live"));
  const consumer = await js.consumers.get(first.stream, first.consumer);
  const messages = await consumer.fetch({ max_messages: READ, expires: 5_000 });
  let read = 0;
  for await (const message of messages) {
    read += 1;
    if (read === ACKNOWLEDGED) await message.ackAck();
  }
  assertEquals(read, READ);
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await waitFor("the server and the client to agree about the lag", async () => {
    const info = await jsm.consumers.info(first.stream, first.consumer);
    const lag = await lagOf(stack.nats.monitorPort, first);
    assertEquals(lag, info.num_pending + info.num_ack_pending);
    assertEquals(lag, PUBLISHED - ACKNOWLEDGED);
    return true;
  });
  for (const each of triggers.slice(1)) assertEquals(await lagOf(stack.nats.monitorPort, each), 0);
  assertEquals(await lagOf(stack.nats.monitorPort, { ...first, consumer: "none" }), undefined);
});
