/**
 * Reads raw messages by sequence from a real server.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { deliveredMessage } from "../../contract/delivery/delivery.ts";
import { NatsStack } from "../../dev/servers/stack.ts";
import { rawExtent, readRaw } from "./raw_stream.ts";
import type { RawMessage } from "./stored_message.ts";

const MESSAGES = 2_600;
/** Fills the 8 MiB of one batch with half of the messages. */
const BODY_BYTES = 6_000;
const LOST = [1, 2, 3, 1_000, 1_500, 1_501, MESSAGES - 1];

/** Fills a stream with holes; returns the messages that a durable delivers. */
async function fillStreamWithHoles(stack: NatsStack): Promise<RawMessage[]> {
  const nc = await stack.connect("ops");
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "RAW", subjects: ["raw.>"], allow_direct: true });
  const js = jetstream(nc);
  const body = (i: number) => new Uint8Array(BODY_BYTES).fill(i % 251);
  for (let i = 1; i <= MESSAGES; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, k) => js.publish("raw.x", body(i + k))));
  }
  for (const sequence of LOST) await jsm.streams.deleteMessage("RAW", sequence);
  await jsm.consumers.add("RAW", { durable_name: "witness", max_ack_pending: 10_000 });
  const consumer = await js.consumers.get("RAW", "witness");
  const count = MESSAGES - LOST.length;
  const delivered: RawMessage[] = [];
  for await (const message of await consumer.fetch({ max_messages: count, expires: 10_000 })) {
    const { sequence, receivedAtMs } = deliveredMessage(message);
    delivered.push({ sequence, receivedAtMs, bytes: message.data });
  }
  return delivered;
}

// A summary of the bytes, because comparing megabytes element by element is slow.
function summarize(messages: readonly RawMessage[]) {
  return messages.map(({ sequence, receivedAtMs, bytes }) => ({
    sequence,
    receivedAtMs,
    length: bytes.length,
    all: bytes.every((byte) => byte === bytes[0]) ? bytes[0] : "mixed",
  }));
}

Deno.test("readRaw returns what a durable delivers, with holes and server restarts", async (t) => {
  await using stack = await NatsStack.start();
  const delivered = await fillStreamWithHoles(stack);
  const nc = await stack.connect("auditor");
  const read = async (from: number, through: number) =>
    (await Array.fromAsync(readRaw(nc, "RAW", { from, through }))).flat();
  const within = (from: number, through: number) =>
    delivered.filter(({ sequence }) => sequence >= from && sequence <= through);

  await t.step("a range may have holes at its ends and inside", async () => {
    assertEquals(delivered.length, MESSAGES - LOST.length);
    const ranges: readonly [from: number, through: number][] = [
      [1, MESSAGES],
      [1, 3],
      [4, 4],
      [999, 1_001],
      [1_500, 1_501],
      [2, 1],
    ];
    for (const [from, through] of ranges) {
      assertEquals(summarize(await read(from, through)), summarize(within(from, through)));
    }
  });

  await t.step("reading ends at the last message, without waiting for more", async () => {
    assertEquals((await read(MESSAGES - 5, MESSAGES + 100)).length, 5);
    assertEquals(await read(MESSAGES + 1, MESSAGES + 100), []);
  });

  await t.step("the extent is that of the messages kept", async () => {
    assertEquals(await rawExtent(nc, "RAW"), {
      firstSeq: 4,
      lastSeq: MESSAGES,
      firstReceivedAt: delivered[0]?.receivedAtMs,
      maxAgeMs: Infinity,
    });
    const { firstSeq, lastSeq, firstReceivedAt } = await rawExtent(nc, "HEARTBEATS");
    assertEquals([firstSeq, lastSeq, firstReceivedAt], [1, 0, undefined]);
  });

  await t.step("a server restart during reading loses no message", async () => {
    const seen: RawMessage[] = [];
    for await (const batch of readRaw(nc, "RAW", { from: 1, through: MESSAGES })) {
      if (seen.length === 0) {
        await stack.nats.stop("SIGKILL");
        await stack.nats.start();
      }
      seen.push(...batch);
    }
    assertEquals(summarize(seen), summarize(delivered));
  });
});
