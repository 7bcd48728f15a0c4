/**
 * Names and configuration of every stream, durable and subject. No other module defines them.
 *
 * @module
 */
import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "nats/jetstream";
import type { RejectionReason } from "./event.ts";
import { fnv1aText } from "./hash.ts";

const SECOND_NS = 1_000_000_000;
const HOUR_NS = 3600 * SECOND_NS;
const DAY_NS = 24 * HOUR_NS;
const GIB = 1024 ** 3;

/** Name of the stream of rejected heartbeats. */
export const QUARANTINE = "QUARANTINE";
/** Name of the stream of alerts. */
export const ALERTS = "ALERTS";
/** Names of the durables; each is read by the service of that name. */
export const DURABLE = { live: "live", royalty: "royalty", triage: "triage" } as const;
/** The region token of a heartbeat whose region cannot be read. */
export const NO_REGION = "none";

/** Options of an installation. */
export interface TopologyOptions {
  /** Number of HEARTBEATS streams, 1 to 64; must not change in the life of an installation. */
  readonly partitions: number;
  /** Copies of every stream: 1 in development, 3 in a cluster. */
  readonly replicas: number;
  /** How long a HEARTBEATS stream deduplicates message ids, in ms. */
  readonly duplicateWindowMs: number;
  /** How long raw heartbeats are kept, in ms; longer than the longest outage of a reader. */
  readonly maxAgeMs: number;
  /** Size at which each HEARTBEATS stream refuses new heartbeats, in bytes. */
  readonly heartbeatsMaxBytes: number;
  /** Size at which QUARANTINE refuses new entries, in bytes. */
  readonly quarantineMaxBytes: number;
}

/** The options of a development installation; settings override them. */
export const DEFAULT_TOPOLOGY: TopologyOptions = {
  partitions: 1,
  replicas: 1,
  duplicateWindowMs: 120_000,
  maxAgeMs: 72 * 3600 * 1000,
  heartbeatsMaxBytes: 64 * GIB,
  quarantineMaxBytes: 8 * GIB,
};

/** The HEARTBEATS streams of an installation, indexed by partition. */
export function heartbeatStreams(partitions: number): string[] {
  if (partitions === 1) return ["HEARTBEATS"];
  return Array.from({ length: partitions }, (_, partition) => `HEARTBEATS_${partition}`);
}

/**
 * The partition of a session: FNV-1a of its id modulo `partitions`. Not of the title, because all
 * viewers of a premiere would be in one partition.
 */
export function partitionOf(sessionId: string, partitions: number): number {
  return partitions === 1 ? 0 : fnv1aText(sessionId) % partitions;
}

/** The subject that ingest publishes a heartbeat on. */
export function heartbeatSubject(partition: number, region: string): string {
  return `hb.${partition}.${region}`;
}

/** The subject that a rejected heartbeat is copied to. */
export function quarantineSubject(reason: RejectionReason): string {
  return `quarantine.${reason}`;
}

/** The subject of live's totals of `stream`; plain NATS, not stored in a stream. */
export function liveTotalsSubject(stream: string): string {
  return `totals.live.${stream}`;
}

/** The subjects of alerts; text becomes a {@link token}. */
export const alertSubject = {
  rebuffer: (region: string, title: string) => `alerts.rebuffer.${token(region)}.${token(title)}`,
  quarantine: (reason: string) => `alerts.quarantine.${token(reason)}`,
  pipeline: (what: string) => `alerts.pipeline.${token(what)}`,
} as const;

/** `text` as one subject token: letters, digits, `-` and `_` stay, other bytes become `%XX`. */
export function token(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[.!~*'()]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Names of the headers of a quarantined heartbeat; the body is the original bytes. */
export const QUARANTINE_HEADER = {
  reason: "Twofold-Reason",
  path: "Twofold-Path",
  detail: "Twofold-Detail",
  stream: "Twofold-Stream",
  sequence: "Twofold-Sequence",
  rejectedBy: "Twofold-Rejected-By",
  receivedAt: "Twofold-Received-At",
  build: "Twofold-Build",
} as const;

/** A durable and the stream that it belongs to. */
export interface DesiredConsumer {
  readonly stream: string;
  readonly config: Partial<ConsumerConfig> & { durable_name: string };
}

/** Every stream and durable of an installation, as provisioning creates and checks them. */
export interface DesiredTopology {
  readonly streams: readonly (Partial<StreamConfig> & { name: string })[];
  readonly consumers: readonly DesiredConsumer[];
}

/** The topology of an installation with `options`. */
export function desiredTopology(options: TopologyOptions): DesiredTopology {
  const heartbeats = heartbeatStreams(options.partitions);
  return {
    streams: [
      ...heartbeats.map((name, partition) => heartbeatStream(name, partition, options)),
      quarantineStream(options),
      alertsStream(options),
    ],
    consumers: [
      ...heartbeats.map((stream) => ({ stream, config: ackAllConsumer(DURABLE.live, 10) })),
      ...heartbeats.map((stream) => ({ stream, config: ackAllConsumer(DURABLE.royalty, 60) })),
      { stream: QUARANTINE, config: ackEachConsumer(DURABLE.triage, 60) },
    ],
  };
}

function heartbeatStream(name: string, partition: number, options: TopologyOptions) {
  return {
    ...fileStream(name, options),
    description: "Raw playback heartbeats, exactly as devices sent them",
    subjects: [options.partitions === 1 ? "hb.>" : `hb.${partition}.>`],
    max_age: options.maxAgeMs * 1_000_000,
    max_bytes: options.heartbeatsMaxBytes,
    duplicate_window: options.duplicateWindowMs * 1_000_000,
    deny_delete: true,
    deny_purge: true,
    allow_batched: true,
  };
}

function quarantineStream(options: TopologyOptions) {
  return {
    ...fileStream(QUARANTINE, options),
    description: "Heartbeats that live or royalty rejected: original bytes, reason in the headers",
    subjects: ["quarantine.>"],
    max_age: 30 * DAY_NS,
    max_bytes: options.quarantineMaxBytes,
    // Live and royalty reject the same event independently, and royalty may be an hour behind.
    duplicate_window: HOUR_NS,
    deny_delete: true,
    deny_purge: true,
  };
}

function alertsStream(options: TopologyOptions) {
  return {
    ...fileStream(ALERTS, options),
    description: "Alerts: open and resolve, by region and title",
    subjects: ["alerts.>"],
    max_age: 7 * DAY_NS,
    max_bytes: GIB,
    duplicate_window: 120 * SECOND_NS,
    // When the stream is full, the oldest alert is deleted, so that on-call receives the newest.
    discard: DiscardPolicy.Old,
  };
}

function fileStream(name: string, options: TopologyOptions) {
  return {
    name,
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    num_replicas: options.replicas,
    allow_direct: true,
  };
}

// Unlimited redelivery: with a finite max_deliver the server would skip a message silently.
function ackAllConsumer(durable_name: string, ackWaitSeconds: number) {
  return {
    durable_name,
    ack_policy: AckPolicy.All,
    deliver_policy: DeliverPolicy.All,
    ack_wait: ackWaitSeconds * SECOND_NS,
    max_deliver: -1,
    max_ack_pending: 200_000,
    max_waiting: 512,
  };
}

// Triage stores no position. With ack-all, a batch lost in a crash would be acknowledged together
// with a later one; with explicit acknowledgement it is delivered again.
function ackEachConsumer(durable_name: string, ackWaitSeconds: number) {
  return { ...ackAllConsumer(durable_name, ackWaitSeconds), ack_policy: AckPolicy.Explicit };
}
