/**
 * The canary: a heartbeat that Twofold sends itself through the edge, one per partition, to time and
 * to watch the ways edge → live and edge → books.
 *
 * It is a valid heartbeat of the reserved title {@link CANARY_TITLE}. Whoever sends one, it is part
 * of no window, no total and no statement: live and royalty account for it, and answer with an echo.
 *
 * Pure. Instants and durations are in ms.
 *
 * @module
 */
import { z } from "zod";
import { CANARY_TITLE, type Heartbeat } from "../event.ts";
import { partitionOf } from "../topology.ts";

const NAME = "canary";
/** A session of a partition is found among so many, however many partitions there are (64). */
const MAX_SESSIONS_TRIED = 10_000;

/** Whether a heartbeat is a canary, whatever else is in it and whoever sent it. */
export function isCanary({ title_id }: Pick<Heartbeat, "title_id">): boolean {
  return title_id === CANARY_TITLE;
}

/** A session that the edge routes to `partition` of `partitions`. */
export function canarySession(partition: number, partitions: number): string {
  for (let i = 0; i < MAX_SESSIONS_TRIED; i++) {
    const session = `${NAME}-${partition}-${i}`;
    if (partitionOf(session, partitions) === partition) return session;
  }
  throw new RangeError(`no session for partition ${partition} of ${partitions}`);
}

/** What differs between canaries. */
export interface CanarySeed {
  /** A UUID. */
  readonly eventId: string;
  /** See {@link canarySession}. */
  readonly session: string;
  readonly seq: number;
  /** The time of day, ms since the epoch. Nothing depends on it. */
  readonly ts: number;
}

/** A canary: nothing is played in it, and nothing stalls. */
export function canaryOf({ eventId, session, seq, ts }: CanarySeed): Heartbeat {
  return {
    v: 1,
    event_id: eventId,
    session_id: session,
    device_id: NAME,
    title_id: CANARY_TITLE,
    seq,
    region: NAME,
    ts: Math.max(0, Math.floor(ts)),
    interval_ms: 0,
    state: "paused",
    played_ms: 0,
    rebuffer_ms: 0,
    rebuffer_count: 0,
    device: { model: NAME, os: NAME, build: NAME },
  };
}

/**
 * A message on `canary.live.<stream>` or `canary.royalty.<stream>`: that reader has handled a
 * canary; royalty has committed it.
 */
export const canaryEchoSchema = z.object({
  v: z.literal(1),
  event_id: z.uuid(),
  stream: z.string().min(1).max(64),
  /** Of the canary in the stream. */
  sequence: z.int().min(1),
  /** When the stream stored it, ms since the epoch. */
  received_at: z.int().min(0),
});

/** See {@link canaryEchoSchema}. */
export type CanaryEcho = z.infer<typeof canaryEchoSchema>;

/** The echo in `data`; undefined when it is none. Never throws. */
export function readCanaryEcho(data: Uint8Array): CanaryEcho | undefined {
  try {
    return canaryEchoSchema.safeParse(JSON.parse(new TextDecoder().decode(data))).data;
  } catch {
    return undefined;
  }
}
