/**
 * The pulse of a service: what it last achieved, every few seconds, on plain NATS.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { z } from "zod";

/** Interval between two pulses, in ms. */
export const PULSE_MS = 2_000;

/** A message on `pulse.<service>.<instance>`. */
export const pulseSchema = z.object({
  v: z.literal(1),
  service: z.string().min(1).max(32),
  instance: z.string().min(1).max(64),
  at: z.int().min(0).describe("when it was made, by the clock of the service"),
  /** Changes whenever the service has achieved something; otherwise it says nothing. */
  progress: z.number(),
  /** What waits for the service; null while it does not know. */
  waiting: z.number().min(0).nullable(),
  /** Why `/readyz` answers 503; absent while it answers 200. */
  not_ready: z.string().max(1_000).exactOptional(),
  /** Why what is sent to the service is refused; null while it is not; absent if nothing is sent to it. */
  refusing: z.string().max(1_000).nullable().exactOptional(),
  /** Which clocks differ, of the service and of its servers; absent while they agree. */
  clock: z.string().max(1_000).exactOptional(),
  /** The last pulse: the instance leaves in order. */
  leaving: z.literal(true).exactOptional(),
});

/** See {@link pulseSchema}. */
export type Pulse = Readonly<z.infer<typeof pulseSchema>>;

/** What a service says in its pulse. */
export type Achieved = Pick<Pulse, "progress" | "waiting" | "refusing">;
