/**
 * Publishes that a reader of a HEARTBEATS stream has handled a canary.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Delivery } from "../delivery/delivery.ts";
import { type CanaryReader, canarySubject } from "../topology.ts";
import type { CanaryEcho } from "./canary.ts";

/** Anyone with a fleet key can send canaries. Beyond so many in a second there is no echo. */
const MAX_PER_SECOND = 1_000;

/** The echoes of one reader. */
export class CanaryEchoes {
  #secondMs = -Infinity;
  #inSecond = 0;

  constructor(
    readonly nc: Pick<NatsConnection, "publish" | "isClosed" | "isDraining">,
    readonly reader: CanaryReader,
  ) {}

  /** Publishes the echo of a canary of `stream`. Never throws: it changes nothing for the reader. */
  echo(
    stream: string,
    eventId: string,
    { sequence, receivedAtMs }: Pick<Delivery, "sequence" | "receivedAtMs">,
  ): void {
    if (this.nc.isClosed() || this.nc.isDraining() || this.#isTooMany()) return;
    const echo: CanaryEcho = {
      v: 1,
      event_id: eventId,
      stream,
      sequence,
      received_at: receivedAtMs,
    };
    try {
      this.nc.publish(canarySubject(this.reader, stream), JSON.stringify(echo));
    } catch {
      // Then the pager misses it, which is what it watches.
    }
  }

  #isTooMany(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#secondMs >= 1_000) {
      this.#secondMs = nowMs;
      this.#inSecond = 0;
    }
    this.#inSecond += 1;
    return this.#inSecond > MAX_PER_SECOND;
  }
}
