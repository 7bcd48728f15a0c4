/**
 * The framing of HEARTBEATS: a message is one heartbeat, or several joined by line feeds with a header
 * that says where each ends.
 *
 * A heartbeat may hold line feeds itself, so the ends decide and the line feeds are for people who read
 * the stream. Ends that do not fit the body mean that the body is one event: its readers judge it.
 *
 * Pure.
 *
 * @module
 */

/** Maximum heartbeats in a message. */
export const MAX_FRAME_EVENTS = 200;
/** Maximum bytes of a message with several heartbeats. */
export const MAX_FRAME_BYTES = 64 * 1024;

const LINE_FEED = 10;
const ENDS = new RegExp(`^\\d{1,6}(,\\d{1,6}){0,${MAX_FRAME_EVENTS - 1}}$`);

/** Several heartbeats in one message. */
export interface Frame {
  readonly body: Uint8Array;
  /** The offset in `body` at which each heartbeat ends, with commas between: `305,611`. */
  readonly ends: string;
}

/** The frame of `events`, of which none is empty. */
export function frameOf(events: readonly Uint8Array[]): Frame {
  const bytes = events.reduce((sum, { length }) => sum + length + 1, -1);
  const body = new Uint8Array(bytes).fill(LINE_FEED);
  const ends: number[] = [];
  let at = 0;
  for (const event of events) {
    body.set(event, at);
    ends.push(at + event.length);
    at += event.length + 1;
  }
  return { body, ends: ends.join(",") };
}

/** The heartbeats in a message, as views of `body`; `ends` is undefined for a message of one. */
export function eventsOf(body: Uint8Array, ends: string | undefined): readonly Uint8Array[] {
  if (ends === undefined || !ENDS.test(ends)) return [body];
  const events: Uint8Array[] = [];
  let start = 0;
  for (const text of ends.split(",")) {
    const end = Number(text);
    const isJoined = start === 0 || body[start - 1] === LINE_FEED;
    if (!isJoined || end <= start || end > body.length) return [body];
    events.push(body.subarray(start, end));
    start = end + 1;
  }
  return start === body.length + 1 ? events : [body];
}
