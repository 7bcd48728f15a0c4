/**
 * What a HEARTBEATS stream holds, for tests.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Heartbeat } from "../../contract/event.ts";
import { rawExtent, readRawMessages } from "../../process/raw/raw_stream.ts";
import { type RawEvent, rawEventsIn, type RawMessage } from "../../process/raw/stored_message.ts";

/** The messages that `stream` holds, in their order. */
export async function storedMessages(
  nc: NatsConnection,
  stream = "HEARTBEATS",
): Promise<RawMessage[]> {
  const { firstSeq, lastSeq } = await rawExtent(nc, stream);
  const range = { from: firstSeq, through: lastSeq };
  return (await Array.fromAsync(readRawMessages(nc, stream, range))).flat();
}

/** The heartbeats that `stream` holds, in their order, as their bytes. */
export async function storedEvents(nc: NatsConnection, stream?: string): Promise<RawEvent[]> {
  return (await storedMessages(nc, stream)).flatMap(rawEventsIn);
}

/** The same, of valid heartbeats. */
export async function storedHeartbeats(nc: NatsConnection, stream?: string): Promise<Heartbeat[]> {
  const events = await storedEvents(nc, stream);
  return events.map(({ bytes }) => JSON.parse(new TextDecoder().decode(bytes)));
}
