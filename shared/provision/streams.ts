/**
 * Provisioning of streams and durables: creates and updates them according to the topology, and
 * reports drift.
 *
 * Services may not create or change streams; this step does, as the `ops` user. It is idempotent.
 *
 * @module
 */
import type { ConsumerConfig, JetStreamManager, StreamConfig } from "nats/jetstream";
import type { DesiredConsumer, DesiredTopology } from "../contract/topology.ts";
import { isNotFound } from "../process/nats.ts";

/** One difference between the server and the topology. */
export interface TopologyDrift {
  /** `stream NAME` or `consumer STREAM/NAME`. */
  readonly what: string;
  /** What differs, e.g. `max_bytes is 1, should be 2`, or `missing`. */
  readonly how: string;
}

type DesiredStream = DesiredTopology["streams"][number];

/** The differences between the server and `desired`. Changes nothing. */
export async function drift(
  jsm: JetStreamManager,
  desired: DesiredTopology,
): Promise<TopologyDrift[]> {
  const streams = await Promise.all(desired.streams.map((stream) => streamDrift(jsm, stream)));
  const consumers = await Promise.all(
    desired.consumers.map((consumer) => consumerDrift(jsm, consumer)),
  );
  return [...streams, ...consumers].flat();
}

/**
 * Creates and updates streams and durables to match `desired`; returns the differences removed. A
 * caller that repeats this after a failure gives `removed`, to which they are added.
 */
export async function provision(
  jsm: JetStreamManager,
  desired: DesiredTopology,
  removed: TopologyDrift[] = [],
): Promise<TopologyDrift[]> {
  // Streams first, because a consumer needs its stream.
  for (const stream of desired.streams) {
    const found = await streamDrift(jsm, stream);
    if (found.length === 0) continue;
    if (isMissing(found)) await jsm.streams.add(stream);
    else await jsm.streams.update(stream.name, stream);
    removed.push(...found);
  }
  for (const consumer of desired.consumers) {
    const found = await consumerDrift(jsm, consumer);
    if (found.length === 0) continue;
    const { stream, config } = consumer;
    if (isMissing(found)) await jsm.consumers.add(stream, config);
    else await jsm.consumers.update(stream, config.durable_name, config);
    removed.push(...found);
  }
  return removed;
}

async function streamDrift(
  jsm: JetStreamManager,
  desired: DesiredStream,
): Promise<TopologyDrift[]> {
  const what = `stream ${desired.name}`;
  const info = await undefinedIfMissing(jsm.streams.info(desired.name));
  if (!info) return [{ what, how: "missing" }];
  return differences(what, desired, info.config);
}

async function consumerDrift(
  jsm: JetStreamManager,
  desired: DesiredConsumer,
): Promise<TopologyDrift[]> {
  const { stream, config } = desired;
  const what = `consumer ${stream}/${config.durable_name}`;
  const info = await undefinedIfMissing(jsm.consumers.info(stream, config.durable_name));
  if (!info) return [{ what, how: "missing" }];
  return differences(what, config, info.config);
}

// Compares only the fields of the topology; the server sets defaults for the others.
function differences(
  what: string,
  desired: Partial<StreamConfig> | Partial<ConsumerConfig>,
  actual: StreamConfig | ConsumerConfig,
): TopologyDrift[] {
  const found: ReadonlyMap<string, unknown> = new Map(Object.entries(actual));
  return Object.entries(desired)
    .filter(([key, value]) =>
      JSON.stringify(normalized(found.get(key))) !== JSON.stringify(normalized(value))
    )
    .map(([key, value]) => ({
      what,
      how: `${key} is ${JSON.stringify(found.get(key))}, should be ${JSON.stringify(value)}`,
    }));
}

// The server omits fields that are false or 0.
function normalized(value: unknown): unknown {
  return value === false || value === 0 ? undefined : value;
}

function isMissing(drift: readonly TopologyDrift[]): boolean {
  return drift.some(({ how }) => how === "missing");
}

async function undefinedIfMissing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
