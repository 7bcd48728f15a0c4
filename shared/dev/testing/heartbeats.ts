/**
 * Valid heartbeats for tests, simulations and benchmarks.
 *
 * @module
 */
import type { Heartbeat } from "../../contract/event.ts";
import type { Random } from "./random.ts";

const encoder = new TextEncoder();

/** A valid heartbeat of ten played seconds that ends at `ts` (ms), with `changes` applied. */
export function aHeartbeat(
  random: Random,
  ts: number,
  changes: Partial<Heartbeat> = {},
): Heartbeat {
  return {
    v: 1,
    event_id: random.uuidv7(ts),
    session_id: `s-${random.int(0, 9999)}`,
    device_id: `d-${random.int(0, 9999)}`,
    title_id: `title-${random.int(0, 49)}`,
    seq: random.int(0, 500),
    region: random.pick(["de", "us-east", "br", "jp", "in"]),
    ts,
    interval_ms: 10_000,
    state: "playing",
    played_ms: 10_000,
    rebuffer_ms: 0,
    rebuffer_count: 0,
    device: { model: "TV-55", os: "tvos 19", build: "9.1.0" },
    ...changes,
  };
}

/** The bytes a device sends for `value`. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(value));
}
