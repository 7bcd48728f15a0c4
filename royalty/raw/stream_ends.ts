/**
 * Where each raw stream ends and how much of it waits, as NATS says.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { DURABLE } from "../../shared/contract/topology.ts";

/** Messages of each of `streams` that are not acknowledged yet. */
export async function lagOf(
  nc: NatsConnection,
  streams: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return new Map(
    await Promise.all(
      streams.map(async (stream) => {
        const info = await jsm.consumers.info(stream, DURABLE.royalty);
        return [stream, info.num_pending + info.num_ack_pending] as const;
      }),
    ),
  );
}

/** The last sequence of each of `streams`. */
export async function streamEnds(
  nc: NatsConnection,
  streams: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return new Map(
    await Promise.all(
      streams.map(async (stream) => {
        const { state } = await jsm.streams.info(stream);
        return [stream, state.last_seq] as const;
      }),
    ),
  );
}
