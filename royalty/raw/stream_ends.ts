/**
 * The end and the lag of each raw stream, from NATS.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { DURABLE } from "../../shared/contract/topology.ts";

/**
 * The lag of the durable `royalty` on each of `streams`: messages not acknowledged yet. Rejects with
 * the error of the NATS client when it cannot be read.
 */
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

/**
 * The last sequence of each of `streams`. Rejects with the error of the NATS client when it cannot be
 * read.
 */
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
