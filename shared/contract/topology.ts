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
import type { AlertCell, IncidentAlert } from "./alert.ts";
import type { RejectionReason } from "./event.ts";
import { fnv1aText } from "./hash.ts";

const SECOND_NS = 1_000_000_000;
const HOUR_NS = 3600 * SECOND_NS;
const DAY_NS = 24 * HOUR_NS;
const GIB = 1024 ** 3;
const OBSERVATIONS_MAX_AGE_NS = 180 * SECOND_NS;

/** Name of the stream of rejected heartbeats. */
export const QUARANTINE = "QUARANTINE";
/** How long QUARANTINE keeps an entry, in ms: 30 days. */
export const QUARANTINE_MAX_AGE_MS = 30 * 86_400_000;
/** Name of the stream of alerts. */
export const ALERTS = "ALERTS";
/** Name of the stream of silences; in its form the key-value bucket `SILENCES`. */
export const SILENCES = "KV_SILENCES";
/** Name of the stream of what live has learned; in its form the key-value bucket `LIVE`. */
export const LIVE_STATE = "KV_LIVE";
/** Name of the stream of observations, which the readers of live pass to the one that decides. */
export const OBSERVATIONS = "OBSERVATIONS";
/** Name of the stream of what the pager has delivered; in its form the key-value bucket `PAGER`. */
export const PAGER_STATE = "KV_PAGER";
/** Name of the stream of probes: what each connection publishes to know that NATS stores it. */
export const PROBES = "PROBES";
/** Names of the durables; each is read by the service of that name. */
export const DURABLE = {
  live: "live",
  royalty: "royalty",
  triage: "triage",
  pager: "pager",
} as const;
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

/** The token of a dimension that is not fixed. */
export const ANY = "_";

/** The subjects of alerts; text becomes a {@link token}. */
export const alertSubject = {
  rebuffer: (region: string, title: string) => `alerts.rebuffer.${token(region)}.${token(title)}`,
  incident: incidentSubject,
  quarantine: (reason: string) => `alerts.quarantine.${token(reason)}`,
  pipeline: (what: string) => `alerts.pipeline.${token(what)}`,
} as const;

/** Subjects on which live publishes incidents. */
export const INCIDENT_SUBJECTS = [
  "alerts.rebuffer.>",
  "alerts.cohort.>",
  "alerts.start.>",
  "alerts.silent.>",
] as const;

/** The dimension of a cell that is neither its region nor its title. */
const COHORT_DIMENSIONS = {
  cdn: "cdn",
  build: "build",
  region_cdn: "cdn",
  region_isp: "isp",
  region_build: "build",
  region_model: "model",
} as const satisfies Partial<Record<AlertCell["kind"], keyof AlertCell>>;

/**
 * The subject of an incident: `alerts.<signal>.<region>.<title>`, or for a cohort
 * `alerts.cohort.<region>.<dimension>.<value>` (`alerts.<signal>.…` in the same form unless the
 * signal is `rebuffer`). `_` is a dimension that is not fixed.
 */
function incidentSubject(signal: IncidentAlert["signal"], cell: AlertCell): string {
  const region = tokenOrAny(cell.region);
  if (!isCohort(cell.kind)) return `alerts.${signal}.${region}.${tokenOrAny(cell.title)}`;
  const dimension = COHORT_DIMENSIONS[cell.kind];
  const kind = signal === "rebuffer" ? "cohort" : signal;
  return `alerts.${kind}.${region}.${dimension}.${tokenOrAny(cell[dimension])}`;
}

function isCohort(kind: AlertCell["kind"]): kind is keyof typeof COHORT_DIMENSIONS {
  return kind in COHORT_DIMENSIONS;
}

function tokenOrAny(text: string | undefined): string {
  return text === undefined ? ANY : token(text);
}

/**
 * `text` as one subject token: letters, digits, `-` and `_` stay, other bytes become `%XX`. A lone
 * `_` becomes `%5F`, because `_` stands for {@link ANY}; empty text becomes `%`.
 */
export function token(text: string): string {
  if (text === "") return "%";
  if (text === ANY) return "%5F";
  return encodeURIComponent(text.toWellFormed()).replace(
    /[.!~*'()]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Whether `pattern` is a subject in which `*` may be a token and `>` the last one. */
export function isSubjectPattern(pattern: string): boolean {
  if (!/^[\w%*>-]+(\.[\w%*>-]+)*$/.test(pattern)) return false;
  const tokens = pattern.split(".");
  return tokens.every((each, i) =>
    each === "*" || (each === ">" && i === tokens.length - 1) || !/[*>]/.test(each)
  );
}

/** Whether a NATS subscription to `pattern`, an {@link isSubjectPattern}, receives `subject`. */
export function subjectMatches(pattern: string, subject: string): boolean {
  const tokens = subject.split(".");
  const wanted = pattern.split(".");
  for (const [i, each] of wanted.entries()) {
    if (each === ">") return tokens.length > i;
    if (i >= tokens.length || (each !== "*" && each !== tokens[i])) return false;
  }
  return wanted.length === tokens.length;
}

/** The subject of the silence `id`. */
export function silenceSubject(id: string): string {
  return `$KV.SILENCES.${token(id)}`;
}

/** The subject of live's baselines: of the head, or of a part in one of the two slots. */
export function baselinesSubject(slot?: 0 | 1, part = 0): string {
  return slot === undefined ? "$KV.LIVE.baselines" : `$KV.LIVE.baselines.${slot}.${part}`;
}

/** The subject of the observations of `stream`; `*` for all. */
export function observedSubject(stream: string): string {
  return `observed.${stream}`;
}

/** The subject of the lease of a part of live's work: `leader`, or `reader.<stream>`. */
export function liveLeaseSubject(part: string): string {
  return `$KV.LIVE.lease.${part}`;
}

/** The subject on which a live process says that it is there; plain NATS, not stored. */
export function livePresentSubject(instance: string): string {
  return `live.present.${instance}`;
}

/** The subject of the lease that the pager which delivers holds. */
export const PAGER_LEASE_SUBJECT = "$KV.PAGER.lease";

/** The subject of what is delivered of an incident; `key` is one token, `*` for all of them. */
export function pagerIncidentSubject(key: string): string {
  return `$KV.PAGER.incident.${key}`;
}

/** The subject of the pulses of a service; plain NATS, not stored in a stream. */
export function pulseSubject(service: string, instance: string): string {
  return `pulse.${service}.${instance}`;
}

/** Who echoes canaries. */
export type CanaryReader = "live" | "royalty";

/** The subject of the echoes of canaries; plain NATS, not stored in a stream. `*` is any stream. */
export function canarySubject(reader: CanaryReader, stream: string): string {
  return `canary.${reader}.${stream}`;
}

/** The subject of what live sees now; plain NATS, not stored in a stream. */
export const LIVE_VIEW_SUBJECT = "view.live";

/** Header of a message with several heartbeats: where each ends, see `delivery/frame.ts`. */
export const ENDS_HEADER = "Twofold-Ends";

/** Names of the headers of a quarantined heartbeat; the body is the original bytes. */
export const QUARANTINE_HEADER = {
  reason: "Twofold-Reason",
  path: "Twofold-Path",
  detail: "Twofold-Detail",
  stream: "Twofold-Stream",
  sequence: "Twofold-Sequence",
  index: "Twofold-Index",
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
      silencesStream(options),
      liveStateStream(options),
      observationsStream(options),
      pagerStateStream(options),
      probesStream(options),
    ],
    consumers: [
      ...heartbeats.map((stream) => ({ stream, config: ackAllConsumer(DURABLE.live, 10) })),
      ...heartbeats.map((stream) => ({ stream, config: ackAllConsumer(DURABLE.royalty, 60) })),
      { stream: QUARANTINE, config: ackEachConsumer(DURABLE.triage, 60) },
      { stream: ALERTS, config: pagerConsumer() },
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
    max_age: QUARANTINE_MAX_AGE_MS * 1_000_000,
    max_bytes: options.quarantineMaxBytes,
    // Live and royalty reject the same event independently. When royalty is more than an hour behind,
    // it looks for the copy itself.
    duplicate_window: HOUR_NS,
    deny_delete: true,
    deny_purge: true,
  };
}

function alertsStream(options: TopologyOptions) {
  return {
    ...fileStream(ALERTS, options),
    description: "Alerts: the messages of each incident, by what is wrong and where",
    subjects: ["alerts.>"],
    max_age: 7 * DAY_NS,
    max_bytes: GIB,
    duplicate_window: 120 * SECOND_NS,
    // When the stream is full, the oldest alert is deleted, so that on-call receives the newest.
    discard: DiscardPolicy.Old,
  };
}

// In the form of a key-value bucket, so that `nats kv ls SILENCES` shows them. A silence that is
// ended early is written again with its new end; nothing is deleted.
function silencesStream(options: TopologyOptions) {
  return {
    ...fileStream(SILENCES, options),
    description: "Silences and maintenance windows: which alerts do not page, until when and why",
    subjects: ["$KV.SILENCES.>"],
    max_msgs_per_subject: 1,
    max_age: 90 * DAY_NS,
    max_bytes: 16 * 1024 ** 2,
    max_msg_size: 8 * 1024,
    deny_delete: true,
    deny_purge: true,
  };
}

// Baselines; two snapshots of 100,000 cells fit several times.
function liveStateStream(options: TopologyOptions) {
  return {
    ...fileStream(LIVE_STATE, options),
    description: "What live has learned, and which of its processes reads what and decides",
    subjects: ["$KV.LIVE.>"],
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    max_age: 2 * DAY_NS,
    max_bytes: 64 * 1024 ** 2,
    max_msg_size: 512 * 1024,
    deny_delete: true,
    deny_purge: true,
  };
}

// What a process of live needs to know of the last minutes; what is older, nobody reads.
function observationsStream(options: TopologyOptions) {
  return {
    ...fileStream(OBSERVATIONS, options),
    description: "What live needs of the heartbeats of the last minutes, in batches",
    subjects: [observedSubject("*")],
    max_age: OBSERVATIONS_MAX_AGE_NS,
    max_bytes: GIB,
    discard: DiscardPolicy.Old,
    duplicate_window: SECOND_NS,
    deny_delete: true,
    deny_purge: true,
  };
}

// A lease, which expires by itself, and a record of each incident that paged.
function pagerStateStream(options: TopologyOptions) {
  return {
    ...fileStream(PAGER_STATE, options),
    description: "What the pager has delivered to whom, and which pager delivers",
    subjects: ["$KV.PAGER.>"],
    max_msgs_per_subject: 1,
    allow_msg_ttl: true,
    max_age: 8 * DAY_NS,
    max_bytes: 64 * 1024 ** 2,
    max_msg_size: 256 * 1024,
    deny_delete: true,
    deny_purge: true,
  };
}

// Stored by a majority like the others, so that its acknowledgement says that they can be.
function probesStream(options: TopologyOptions) {
  return {
    ...fileStream(PROBES, options),
    description: "The last probe of each user: a connection without an acknowledgement moves on",
    subjects: ["probe.*"],
    max_msgs_per_subject: 1,
    max_age: DAY_NS,
    max_bytes: 1024 ** 2,
    max_msg_size: 1024,
    duplicate_window: SECOND_NS,
    deny_delete: true,
    deny_purge: true,
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

// Made new, it begins with the last message of each subject: with what is open, not with the history
// of a week. An alert is acknowledged once it is in KV_PAGER, so little is ever pending.
function pagerConsumer() {
  return {
    ...ackEachConsumer(DURABLE.pager, 5),
    deliver_policy: DeliverPolicy.LastPerSubject,
    filter_subject: "alerts.>",
    max_ack_pending: 1_000,
  };
}
