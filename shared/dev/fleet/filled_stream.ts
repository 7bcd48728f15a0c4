/**
 * Fills a HEARTBEATS stream with hundreds of thousands of events, for benchmarks that read it.
 *
 * @module
 */
import { headers, type NatsConnection } from "nats";
import { jetstream } from "nats/jetstream";
import { startFastIngest } from "nats/jetstream/internal";
import { inboxPrefix } from "../../process/nats.ts";
import { frameOf } from "../../contract/delivery/frame.ts";
import { ENDS_HEADER, heartbeatSubject } from "../../contract/topology.ts";
import { aHeartbeat, encode } from "../testing/heartbeats.ts";
import { Random } from "../testing/random.ts";

const BATCH_EVENTS = 500;
/** What the edge gathers at two billion a day with 24 regions, about. */
export const EVENTS_PER_MESSAGE = 15;
/** Share of the events that repeat the previous one byte by byte. */
const REPEATED = 0.05;
/** Maximum age of a heartbeat when it is stored, ms. */
const WATCHED_WITHIN_MS = 20_000;

/**
 * Stores `events` current heartbeats, one in twenty a repetition; returns the distinct ids in the
 * order of the stream. They have no message id, so the stream keeps every copy. `nc` is a
 * connection of the ingest user.
 */
export async function fillStream(nc: NatsConnection, events: number): Promise<string[]> {
  const random = new Random(1);
  const ids: string[] = [];
  const now = Date.now();
  let last: Uint8Array | undefined;
  const next = () => {
    if (last && random.chance(REPEATED)) return last;
    const heartbeat = aHeartbeat(random, now - random.int(0, WATCHED_WITHIN_MS));
    ids.push(heartbeat.event_id);
    return last = encode(heartbeat);
  };
  for (let at = 0; at < events; at += BATCH_EVENTS) {
    await landBatch(nc, Array.from({ length: Math.min(BATCH_EVENTS, events - at) }, next));
  }
  return ids;
}

/**
 * Stores `bodies` as the edge does, {@link EVENTS_PER_MESSAGE} in a message, with the message ids of
 * `msgIdOf` if it is given.
 */
export async function landBatch(
  nc: NatsConnection,
  bodies: readonly Uint8Array[],
  msgIdOf?: (index: number) => string,
): Promise<void> {
  const subject = heartbeatSubject(0, "de");
  const messages = Array.from(
    { length: Math.ceil(bodies.length / EVENTS_PER_MESSAGE) },
    (_, i) => frameOf(bodies.slice(i * EVENTS_PER_MESSAGE, (i + 1) * EVENTS_PER_MESSAGE)),
  );
  const options = (index: number) => {
    const framing = headers();
    framing.set(ENDS_HEADER, messages[index]?.ends ?? "");
    const msgID = msgIdOf?.(index * EVENTS_PER_MESSAGE);
    return { headers: framing, ...(msgID === undefined ? {} : { msgID }) };
  };
  const [first, ...others] = messages;
  if (first === undefined) return;
  const last = others.pop();
  if (last === undefined) {
    await jetstream(nc).publish(subject, first.body, options(0));
    return;
  }
  const fast = await startFastIngest(nc, subject, first.body, {
    ackInterval: messages.length,
    allowGaps: false,
    inboxPrefix: inboxPrefix("ingest"),
    ...options(0),
  });
  for (const [i, { body }] of others.entries()) void fast.add(subject, body, options(i + 1));
  await fast.last(subject, last.body, options(messages.length - 1));
}
