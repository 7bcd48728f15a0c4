/**
 * Detects gaps: whether deliveries continue the books, and which sequences the stream has lost.
 *
 * A consumer numbers its deliveries, and a reset restarts that numbering at 1. While every number
 * arrives here, no message went to another process or was lost in transit, so a jump in the stream
 * sequence is a gap of the stream itself. Once a number is missing, the messages in between may have
 * gone elsewhere, and the durable has to be set back.
 *
 * Pure.
 *
 * @module
 */
import type { DeliveredMessage } from "../../shared/contract/delivery/delivery.ts";

/** How far books and deliveries have got. */
export interface Cursor {
  /** The last sequence accounted for. */
  readonly lastSeq: number;
  /** When the stream received that message, ms since the epoch; 0 before the first. */
  readonly lastReceivedAtMs: number;
  /** Deliveries since the reset. */
  readonly deliveries: number;
}

/** Sequences that the stream lost, both ends included. */
export interface Gap {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Whether deliveries continue the books. */
export type Continuation =
  /** `fresh` are the messages after the cursor, `gaps` the sequences missing among them. */
  | {
    readonly kind: "continues";
    readonly fresh: readonly DeliveredMessage[];
    readonly gaps: readonly Gap[];
    readonly cursor: Cursor;
  }
  /** A delivery went elsewhere: set the durable back and fetch again. */
  | { readonly kind: "broken"; readonly reason: string }
  /** The stream has other messages at sequences that were counted. */
  | { readonly kind: "rewritten"; readonly reason: string };

/** Follows `messages`, in the order of their arrival, from `cursor`. */
export function follow(cursor: Cursor, messages: readonly DeliveredMessage[]): Continuation {
  const fresh: DeliveredMessage[] = [];
  const gaps: Gap[] = [];
  let { lastSeq, lastReceivedAtMs, deliveries: number } = cursor;
  for (const message of messages) {
    number += 1;
    const { sequence, receivedAtMs, deliverySequence, redelivered } = message;
    if (deliverySequence !== number) {
      const reason = `expected delivery ${number}, received ${deliverySequence}`;
      return { kind: "broken", reason };
    }
    if (sequence === lastSeq && receivedAtMs !== lastReceivedAtMs) {
      const reason =
        `sequence ${sequence} was received at ${lastReceivedAtMs}, now ${receivedAtMs}`;
      return { kind: "rewritten", reason };
    }
    // Only the message at the cursor may be delivered a second time without being marked as
    // redelivered, because a reset starts with it.
    if (sequence < lastSeq && !redelivered) {
      return { kind: "broken", reason: `sequence ${sequence} arrived after ${lastSeq}` };
    }
    if (sequence <= lastSeq) continue;
    if (sequence > lastSeq + 1) gaps.push({ firstSeq: lastSeq + 1, lastSeq: sequence - 1 });
    fresh.push(message);
    lastSeq = sequence;
    lastReceivedAtMs = receivedAtMs;
  }
  return {
    kind: "continues",
    fresh,
    gaps,
    cursor: { lastSeq, lastReceivedAtMs, deliveries: number },
  };
}
