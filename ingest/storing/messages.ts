/**
 * Gathers the events of a batch into the messages that are stored: one or more for each subject, with
 * up to 200 events or 64 KiB.
 *
 * A message with several events costs the broker and its readers little more than one with one. Its id
 * is a hash of its content, so that a batch that is sent again whole is absorbed by the stream. What a
 * device sends again arrives in another company: readers know it by its own id.
 *
 * Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  frameOf,
  MAX_FRAME_BYTES,
  MAX_FRAME_EVENTS,
} from "../../shared/contract/delivery/frame.ts";
import type { RoutedEvent } from "../admit.ts";

/** A message to be stored. */
export interface OutgoingMessage {
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** `Nats-Msg-Id`. */
  readonly msgId: string;
  /** Where each of its events ends; undefined for a message of one. */
  readonly ends: string | undefined;
}

/** The messages for `events`: those of a subject in their order. */
export function messagesOf(events: readonly RoutedEvent[]): OutgoingMessage[] {
  const open = new Map<string, Gathering>();
  const messages: OutgoingMessage[] = [];
  for (const event of events) {
    const bytes = event.bytes.length + 1;
    const gathering = open.get(event.subject);
    if (gathering?.hasRoom(bytes)) {
      gathering.add(event, bytes);
      continue;
    }
    if (gathering) messages.push(gathering.message());
    const next = new Gathering();
    next.add(event, bytes);
    open.set(event.subject, next);
  }
  for (const gathering of open.values()) messages.push(gathering.message());
  return messages;
}

/** The events of the next message of a subject. */
class Gathering {
  readonly #events: RoutedEvent[] = [];
  #bytes = -1;

  hasRoom(bytes: number): boolean {
    return this.#events.length < MAX_FRAME_EVENTS && this.#bytes + bytes <= MAX_FRAME_BYTES;
  }

  add(event: RoutedEvent, bytes: number): void {
    this.#events.push(event);
    this.#bytes += bytes;
  }

  message(): OutgoingMessage {
    const [first, ...others] = this.#events;
    if (first === undefined) throw new RangeError("a message has at least one event");
    const { subject, bytes } = first;
    if (others.length === 0) return { subject, bytes, msgId: first.msgId, ends: undefined };
    const { body, ends } = frameOf(this.#events.map((event) => event.bytes));
    return { subject, bytes: body, msgId: frameId(body, ends), ends };
  }
}

function frameId(body: Uint8Array, ends: string): string {
  const digest = createHash("sha256").update(body).update(ends).digest("hex");
  return `frame.${digest.slice(0, 32)}`;
}
