/**
 * Names and shapes of every stream, durable and subject. Nothing else spells them.
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

export const QUARANTINE = "QUARANTINE";
export const ALERTS = "ALERTS";
/** The durables, each named after the one service that reads it. */
export const DURABLE = { live: "live", royalty: "royalty", triage: "triage" } as const;
/** The region token of a heartbeat whose region cannot be read. */
export const NO_REGION = "none";

/** What an installation may choose. */
export interface TopologyOptions {
  /** Number of HEARTBEATS streams, 1 to 64. Fixed for the life of an installation. */
  readonly partitions: number;
  /** Copies of every stream: 1 in development, 3 in a cluster. */
  readonly replicas: number;
  /** How long the stream absorbs a repeated message id, in ms. */
  readonly duplicateWindowMs: number;
  /** How long raw heartbeats are kept, in ms; above the worst outage of a reader. */
  readonly maxAgeMs: number;
  /** Size at which each HEARTBEATS stream refuses new heartbeats, in bytes. */
  readonly heartbeatsMaxBytes: number;
  /** Size at which QUARANTINE refuses new entries, in bytes. */
  readonly quarantineMaxBytes: number;
}

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

/** The partition of a session: never of a title, because a premiere is one hot title. */
export function partitionOf(sessionId: string, partitions: number): number {
  return partitions === 1 ? 0 : fnv1aText(sessionId) % partitions;
}

/** Where ingest lands a heartbeat. */
export function heartbeatSubject(partition: number, region: string): string {
  return `hb.${partition}.${region}`;
}

/** Where a rejected heartbeat goes. */
export function quarantineSubject(reason: RejectionReason): string {
  return `quarantine.${reason}`;
}

/** Where live says what it has read of a stream; plain NATS, no stream keeps it. */
export function liveTotalsSubject(stream: string): string {
  return `totals.live.${stream}`;
}

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

/** Headers of a quarantined heartbeat; its body is the original bytes. */
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

export interface DesiredConsumer {
  readonly stream: string;
  readonly config: Partial<ConsumerConfig> & { durable_name: string };
}

/** Every stream and durable of an installation, as provisioning makes and checks them. */
export interface DesiredTopology {
  readonly streams: readonly (Partial<StreamConfig> & { name: string })[];
  readonly consumers: readonly DesiredConsumer[];
}

/** The topology that `options` asks for. */
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
    // Live and royalty reject the same event independently; royalty may be an hour behind.
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
    // Alerts are news: when the stream is full the oldest goes, on-call still hears the newest.
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

// Redelivery never ends: a finite max_deliver would skip a message without a trace.
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

// Triage keeps no position of its own. With ack-all, a batch lost by a crash would count as
// acknowledged as soon as a later one is; acknowledged one by one, it comes again.
function ackEachConsumer(durable_name: string, ackWaitSeconds: number) {
  return { ...ackAllConsumer(durable_name, ackWaitSeconds), ack_policy: AckPolicy.Explicit };
}
