/**
 * Whether deliveries continue the books without a hole.
 *
 * A consumer numbers its deliveries, and a reset starts that numbering at 1. While every number
 * arrives here, nothing was handed to anybody else and nothing was lost on the way; a jump in the
 * stream's sequence is then a hole in the stream itself. Once a number is missing, nothing can be
 * said about the messages in between, and the durable has to be set back.
 *
 * Pure.
 *
 * @module
 */
import type { Delivery } from "../../shared/contract/delivery.ts";

/** A delivery with its number in the consumer's numbering. */
export interface NumberedDelivery extends Delivery {
  readonly deliverySequence: number;
}

/** How far the books and the deliveries have come. */
export interface Cursor {
  /** The last sequence that is accounted for. */
  readonly lastSeq: number;
  /** When the stream received that message, ms since the epoch; 0 before the first. */
  readonly lastReceivedAt: number;
  /** Deliveries since the reset. */
  readonly deliveries: number;
}

/** Sequences that the stream does not have any more. */
export interface Gap {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export type Continuation =
  /** `fresh` are the deliveries after the cursor; `gaps` the sequences missing among them. */
  | {
    readonly kind: "continues";
    readonly fresh: readonly NumberedDelivery[];
    readonly gaps: readonly Gap[];
    readonly cursor: Cursor;
  }
  /** A delivery went elsewhere: set the durable back to the books and fetch again. */
  | { readonly kind: "broken"; readonly reason: string }
  /** The stream has other messages under sequences that the books have counted. */
  | { readonly kind: "rewritten"; readonly reason: string };

/** Follows `deliveries`, in the order they came, from `cursor`. */
export function follow(cursor: Cursor, deliveries: readonly NumberedDelivery[]): Continuation {
  const fresh: NumberedDelivery[] = [];
  const gaps: Gap[] = [];
  let { lastSeq, lastReceivedAt, deliveries: number } = cursor;
  for (const delivery of deliveries) {
    number += 1;
    const { sequence, receivedAt, deliverySequence, redelivered } = delivery;
    if (deliverySequence !== number) {
      return { kind: "broken", reason: `delivery ${number} expected, ${deliverySequence} came` };
    }
    if (sequence === lastSeq && receivedAt !== lastReceivedAt) {
      const reason = `sequence ${sequence} was received at ${lastReceivedAt}, now ${receivedAt}`;
      return { kind: "rewritten", reason };
    }
    // Only the message at the cursor may come again unasked: a reset starts with it.
    if (sequence < lastSeq && !redelivered) {
      return { kind: "broken", reason: `sequence ${sequence} came after ${lastSeq}` };
    }
    if (sequence <= lastSeq) continue;
    if (sequence > lastSeq + 1) gaps.push({ firstSeq: lastSeq + 1, lastSeq: sequence - 1 });
    fresh.push(delivery);
    lastSeq = sequence;
    lastReceivedAt = receivedAt;
  }
  return {
    kind: "continues",
    fresh,
    gaps,
    cursor: { lastSeq, lastReceivedAt, deliveries: number },
  };
}
