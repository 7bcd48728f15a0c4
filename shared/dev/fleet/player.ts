/**
 * A player: what it does (segments), when it reports (beats), and the bytes that it sends. The
 * simulator and the replay of recordings use it.
 *
 * Pure and seeded. All times are integer ms.
 *
 * @module
 */
import type { Heartbeat } from "../../contract/event.ts";
import type { Random } from "../testing/random.ts";

/** A player reports at least this often, and at every change of state. */
export const HEARTBEAT_MS = 10_000;

/** The states of a player in a heartbeat. */
export type PlayerState = Heartbeat["state"];

/** A period of one behaviour. */
export interface Segment {
  /**
   * `starting` is the time before the first frame. It is not rebuffering (the industry's
   * definition, see Mux "Video Startup Time").
   */
  readonly state: PlayerState;
  /** Wall time. */
  readonly ms: number;
  /** Content shown, spread evenly over the segment. */
  readonly playedMs: number;
}

/** The content of a heartbeat without its identity. */
export interface Beat {
  /** End of the interval, ms since the session began. */
  readonly atMs: number;
  readonly state: PlayerState;
  readonly intervalMs: number;
  readonly playedMs: number;
  readonly rebufferMs: number;
  readonly rebufferCount: number;
}

const NOTHING_YET = { intervalMs: 0, playedMs: 0, rebufferMs: 0, rebufferCount: 0 };

/**
 * Turns segments into beats: one at the beginning of a start-up, one every {@link HEARTBEAT_MS},
 * one at each change of state, and `ended` after the last segment. The sums of the beats equal
 * those of the segments exactly, because every beat has the difference of two running sums.
 */
export class Playback {
  #atMs = 0;
  #segment: Segment | undefined;
  #intoMs = 0;
  #beat = { ...NOTHING_YET };
  #begins = true;

  /**
   * `next` returns the segment that begins `atMs` after the session's start, undefined at the end.
   */
  constructor(private readonly next: (atMs: number) => Segment | undefined) {
    this.#segment = next(0);
  }

  /** The next beat, undefined when the session is over. */
  beat(): Beat | undefined {
    const begins = this.#begins;
    this.#begins = false;
    if (begins && this.#segment?.state === "starting") return this.#report("starting");
    while (this.#segment) {
      const { state, ms } = this.#segment;
      const leftMs = ms - this.#intoMs;
      const dueMs = HEARTBEAT_MS - this.#beat.intervalMs;
      if (dueMs < leftMs) {
        this.#advance(this.#segment, dueMs);
        return this.#report(state);
      }
      this.#advance(this.#segment, leftMs);
      const changed = this.#enter(this.next(this.#atMs), state);
      if (changed) return this.#report(changed);
    }
    return undefined;
  }

  /** Begins `segment`; returns the state to report when that is a change. */
  #enter(segment: Segment | undefined, before: PlayerState): PlayerState | undefined {
    this.#segment = segment;
    this.#intoMs = 0;
    if (!segment) return "ended";
    if (segment.state === before) return undefined;
    if (segment.state === "rebuffering") this.#beat.rebufferCount++;
    return segment.state;
  }

  #advance(segment: Segment, ms: number): void {
    const shownBy = (into: number) =>
      segment.ms === 0 ? segment.playedMs : Math.floor(segment.playedMs * into / segment.ms);
    this.#beat.playedMs += shownBy(this.#intoMs + ms) - (this.#intoMs && shownBy(this.#intoMs));
    if (segment.state === "rebuffering") this.#beat.rebufferMs += ms;
    this.#beat.intervalMs += ms;
    this.#intoMs += ms;
    this.#atMs += ms;
  }

  #report(state: PlayerState): Beat {
    const beat = { atMs: this.#atMs, state, ...this.#beat };
    this.#beat = { ...NOTHING_YET };
    return beat;
  }
}

/** The part of a heartbeat that is constant for a session. */
export interface SessionIdentity {
  readonly sessionId: string;
  readonly deviceId: string;
  readonly titleId: string;
  readonly region: string;
  readonly device: Heartbeat["device"];
  readonly cdn?: string;
  readonly isp?: string;
  readonly bitrateKbps?: number;
}

/** Opaque: the same object on every send that carries the same `event_id`. */
export type ExpectedCredit = Readonly<Record<never, never>>;

/** One transmission of one event. */
export interface Send {
  /** Time of the transmission, ms since the start of the run. */
  readonly sendAtMs: number;
  /** `retry` is byte-identical to an earlier send; `conflict` reuses an id for other content. */
  readonly kind: "fresh" | "retry" | "conflict" | "malformed";
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** `line`: not JSON, so it can be a line of NDJSON but not an element of an array. */
  readonly framing: "value" | "line";
  readonly titleId: string;
  readonly region: string;
  /** Credit, when the event is counted. */
  readonly playedMs: number;
  readonly claim: ExpectedCredit;
}

/** What is sent in one step of a run, in the order of `sendAtMs`. */
export interface Tick {
  /** End of the step, ms since the start of the run; every send is due by then. */
  readonly atMs: number;
  readonly sends: readonly Send[];
}

/** Writes the heartbeats of one session. */
export class Player {
  #seq = 0;
  readonly #constant: string;

  constructor(readonly identity: SessionIdentity) {
    const { sessionId, deviceId, titleId, region, device, cdn, isp, bitrateKbps } = identity;
    const who = {
      session_id: sessionId,
      device_id: deviceId,
      title_id: titleId,
      region,
      device,
      cdn,
      isp,
      bitrate_kbps: bitrateKbps,
    };
    // Without the opening brace: it follows the fields that change.
    this.#constant = JSON.stringify(who).slice(1);
  }

  /** The send of `beat`, whose interval ends at `ts` (ms since the epoch). */
  send(random: Random, beat: Beat, ts: number, sendAtMs: number): Send {
    return this.#send("fresh", encodeText(this.text(random.uuidv7(ts), this.#seq++, beat, ts)), {
      sendAtMs,
      playedMs: beat.playedMs,
    });
  }

  /** Two sends with one `event_id`: the correct one and one with other content. */
  rivals(random: Random, beat: Beat, ts: number, sendAtMs: number): [fresh: Send, rival: Send] {
    const id = random.uuidv7(ts);
    const seq = this.#seq++;
    const fresh = this.#send("fresh", encodeText(this.text(id, seq, beat, ts)), {
      sendAtMs,
      playedMs: beat.playedMs,
    });
    const other = { ...beat, playedMs: beat.playedMs + 1 + random.int(0, 499) };
    const bytes = encodeText(this.text(id, seq, other, ts));
    return [fresh, { ...fresh, kind: "conflict", bytes, playedMs: other.playedMs }];
  }

  /** The send of a broken build: `beat`, broken in one of several ways seen in production. */
  malformed(random: Random, beat: Beat, ts: number, sendAtMs: number): Send {
    const id = random.uuidv7(ts);
    const seq = this.#seq++;
    const text = (changes: TextChanges) => this.text(id, seq, beat, ts, changes);
    const { bytes, framing } = breakage(random, beat, text);
    return { ...this.#send("malformed", bytes, { sendAtMs, playedMs: 0 }), framing };
  }

  /** One heartbeat as JSON, by concatenation, because a fleet writes thousands a second. */
  private text(id: string, seq: number, beat: Beat, ts: number, changes: TextChanges = {}): string {
    const { v = "1", eventId = `"event_id":"${id}",`, playedMs = String(beat.playedMs) } = changes;
    return `{"v":${v},${eventId}"seq":${seq},"ts":${ts},"interval_ms":${beat.intervalMs}` +
      `,"state":"${beat.state}","played_ms":${playedMs},"rebuffer_ms":${beat.rebufferMs}` +
      `,"rebuffer_count":${beat.rebufferCount},"media_ms":${beat.playedMs},${this.#constant}`;
  }

  #send(
    kind: Send["kind"],
    bytes: Uint8Array<ArrayBuffer>,
    when: { readonly sendAtMs: number; readonly playedMs: number },
  ): Send {
    const { titleId, region } = this.identity;
    return { ...when, kind, bytes, framing: "value", titleId, region, claim: {} };
  }
}

interface TextChanges {
  readonly v?: string;
  /** The member with its comma; empty to omit it. */
  readonly eventId?: string;
  readonly playedMs?: string;
}

const encoder = new TextEncoder();
function encodeText(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

type Broken = Pick<Send, "bytes" | "framing">;

function breakage(random: Random, beat: Beat, text: (changes: TextChanges) => string): Broken {
  const value = (broken: string): Broken => ({ bytes: encodeText(broken), framing: "value" });
  const line = (broken: string): Broken => ({ bytes: encodeText(broken), framing: "line" });
  const kind = random.next();
  if (kind < 0.6) return value(text({ playedMs: `"${beat.playedMs}"` }));
  if (kind < 0.68) return value(text({ eventId: "" }));
  if (kind < 0.76) return value(text({ v: "2" }));
  // Microseconds instead of milliseconds.
  if (kind < 0.84) return value(text({ playedMs: String(600_000) }));
  if (kind < 0.9) return line(text({ playedMs: "NaN" }));
  // Truncated after the id, so that no two of them have the same bytes.
  if (kind < 0.96) return line(text({}).slice(0, random.int(60, 100)));
  return { bytes: garbage(random), framing: "line" };
}

// From 0x80: no byte is framing, and the first is not valid UTF-8.
function garbage(random: Random): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(random.int(24, 160)).map(() => random.int(0x80, 0xfe));
  bytes[0] = 0xff;
  return bytes;
}
