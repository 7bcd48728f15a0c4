/**
 * Recordings of playback, and what a player would have reported.
 *
 * A trace samples one session: `position_s` is media time. A stall is a time in which media time
 * does not advance and the session is not paused. The time before media time first advances is
 * start-up.
 *
 * Pure. Times are integer ms.
 *
 * @module
 */
import { z } from "zod";
import { parseCsv } from "../testing/csv.ts";
import type { Segment } from "../fleet/player.ts";

/** One moment of a trace. */
export interface PlaybackSample {
  /** Since the start of the recording. */
  readonly tMs: number;
  /** Media time. */
  readonly positionMs: number;
  /** Media downloaded ahead of the position. */
  readonly bufferMs: number;
  /** The player event at this moment, if there is one. */
  readonly event?: "buffering" | "playing" | "paused" | undefined;
}

/** One recorded session. */
export interface PlaybackTrace {
  readonly name: string;
  readonly samples: readonly PlaybackSample[];
}

/** One session of which only sums are known. */
export interface WatchedSession {
  readonly titleId: string;
  /** `watched_s`: content shown. */
  readonly watchedMs: number;
  readonly stalls: number;
}

/** Everything read from a folder. */
export interface Recordings {
  readonly traces: readonly PlaybackTrace[];
  readonly sessions: readonly WatchedSession[];
}

const headerSchema = z.object({ trace: z.string().regex(/^[\w.-]{1,58}$/) });
const sampleSchema = z.object({
  t_ms: z.number().min(0).max(86_400_000),
  position_s: z.number().min(0).max(1e6),
  buffer_s: z.number().default(0),
  event: z.enum(["buffering", "playing", "paused"]).optional(),
});

/** Reads a trace (NDJSON). Throws an `Error` that names the line and the reason. */
export function parseTrace(text: string): PlaybackTrace {
  const [header = "", ...lines] = text.trimEnd().split("\n");
  const { trace } = parseLine(header, 1, headerSchema);
  const samples = lines.map((line, index) => sampleOf(line, index + 2));
  if (samples.length < 2) {
    throw new Error(`line ${lines.length + 1}: a trace needs at least two samples`);
  }
  for (const { a, b, at } of pairs(samples)) {
    if (b.tMs < a.tMs) throw new Error(`line ${at + 2}: t_ms goes backwards`);
  }
  return { name: trace, samples };
}

function sampleOf(line: string, number: number): PlaybackSample {
  const { t_ms, position_s, buffer_s, event } = parseLine(line, number, sampleSchema);
  return {
    tMs: Math.round(t_ms),
    positionMs: Math.round(position_s * 1000),
    bufferMs: Math.round(buffer_s * 1000),
    event,
  };
}

function parseLine<T>(line: string, number: number, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error(`line ${number}: this is not JSON: ${JSON.stringify(line.slice(0, 60))}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Error(`line ${number}: ${firstIssue(parsed.error)}`);
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  return issue ? `${issue.path.join(".") || "value"}: ${issue.message}` : error.message;
}

const number = (min: number, max: number) =>
  z.string().regex(/^\d+(\.\d+)?$/, "expected a number").transform(Number)
    .pipe(z.number().min(min).max(max));
const sessionSchema = z.object({
  title_id: z.string().regex(/^[\w-]{1,61}$/),
  watched_s: number(0, 86_400),
  buffering_events: number(0, 10_000).pipe(z.int()),
});

/** Reads `sessions.csv`. Throws an `Error` that names the line and the reason. */
export function parseSessions(text: string): WatchedSession[] {
  return parseCsv(text).map(({ line, values }) => {
    const parsed = sessionSchema.safeParse(values);
    if (!parsed.success) throw new Error(`line ${line}: ${firstIssue(parsed.error)}`);
    const { title_id, watched_s, buffering_events } = parsed.data;
    return {
      titleId: title_id,
      watchedMs: Math.round(watched_s * 1000),
      stalls: buffering_events,
    };
  });
}

/** A smaller shortfall of media time against wall time is noise of sampling and start. */
const NOISE_MS = 400;
/** Minimum ratio of media time to wall time for playback to count as advancing, 0 to 1. */
const STANDING_SHARE = 0.05;
/** A larger step back of media time is a seek; a smaller one is a correction of the player. */
const CORRECTION_MS = 2_000;

/** Content without downloads for this long was complete. */
const COMPLETE_MS = 60_000;

/** Two neighbours of a list; `at` is the index of the second. */
interface Pair<T> {
  readonly a: T;
  readonly b: T;
  readonly at: number;
}

/** Every item with the previous one. */
export function pairs<T extends object>(items: readonly T[]): Pair<T>[] {
  const found: Pair<T>[] = [];
  let a: T | undefined;
  for (const [at, b] of items.entries()) {
    if (a !== undefined) found.push({ a, b, at });
    a = b;
  }
  return found;
}

/** Whether media time changed between two samples as playback cannot change it. */
export function isSeek(a: PlaybackSample, b: PlaybackSample): boolean {
  const movedMs = b.positionMs - a.positionMs;
  return movedMs < -CORRECTION_MS || movedMs > 1.5 * (b.tMs - a.tMs) + 1_000;
}

/**
 * Whether media time did not advance for part of the time between two samples, which show
 * `shownMs`.
 */
export function isShort(a: PlaybackSample, b: PlaybackSample, shownMs: number): boolean {
  const wallMs = b.tMs - a.tMs;
  return wallMs > 0 && (shownMs <= wallMs * STANDING_SHARE || wallMs - shownMs > NOISE_MS);
}

/**
 * The sample at which the content ended although the recording continued, if there is one.
 *
 * The recordings have no event for the end. At the end of content media time does not advance, as
 * in a stall, but there is no `buffering` event, the buffer is empty, and downloads ended long
 * before.
 */
export function contentEnd(trace: PlaybackTrace): number | undefined {
  const { samples } = trace;
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const end = samples.findLastIndex(({ positionMs }) => positionMs !== last.positionMs) + 1;
  const tail = samples.slice(end);
  const [over] = tail;
  if (over === undefined || end === 0 || tail.length < 3) return undefined;
  if (tail.some(({ event }) => event !== undefined)) return undefined;
  if (lastEvent(samples, end) !== "playing" || last.bufferMs > 100) return undefined;
  const downloadedMs = last.positionMs + last.bufferMs;
  const missing = samples.findLast((s) => s.positionMs + s.bufferMs < downloadedMs - 1_000);
  return over.tMs - (missing ?? first).tMs >= COMPLETE_MS ? end : undefined;
}

function lastEvent(samples: readonly PlaybackSample[], upTo: number): PlaybackSample["event"] {
  return samples.slice(0, upTo + 1).findLast(({ event }) => event !== undefined)?.event;
}

/** The segments of a trace. Their shown content adds up to {@link watchedOf} exactly. */
export function traceSegments(trace: PlaybackTrace): Segment[] {
  const end = contentEnd(trace);
  const samples = end === undefined ? trace.samples : trace.samples.slice(0, end + 1);
  const out: Segment[] = [];
  let event: PlaybackSample["event"];
  for (const { a, b, at } of pairs(shownAt(samples))) {
    event = a.event ?? event;
    const step = { a, b, shownMs: b.shownMs - a.shownMs };
    if (b.shownMs === 0) out.push({ state: "starting", ms: b.tMs - a.tMs, playedMs: 0 });
    else if (a.shownMs === 0) out.push(...firstFrames(step));
    else if (at === end) out.push({ state: "playing", ms: step.shownMs, playedMs: step.shownMs });
    else if (isSeek(a, b)) out.push({ state: "seeking", ms: b.tMs - a.tMs, playedMs: 0 });
    else out.push(...stepSegments(step, event));
  }
  return plausible(out);
}

interface Step {
  readonly a: PlaybackSample;
  readonly b: PlaybackSample;
  readonly shownMs: number;
}

function firstFrames({ a, b, shownMs }: Step): Segment[] {
  const playMs = Math.min(shownMs, b.tMs - a.tMs);
  const starting: Segment = { state: "starting", ms: b.tMs - a.tMs - playMs, playedMs: 0 };
  return [...[starting].filter(lasts), { state: "playing", ms: playMs, playedMs: shownMs }];
}

function stepSegments(step: Step, event: PlaybackSample["event"]): Segment[] {
  const { a, b, shownMs } = step;
  const wallMs = b.tMs - a.tMs;
  if (!isShort(a, b, shownMs)) return [{ state: "playing", ms: wallMs, playedMs: shownMs }];
  const play = (ms: number): Segment => ({ state: "playing", ms, playedMs: ms });
  const still = (state: "paused" | "rebuffering"): Segment => ({
    state,
    ms: wallMs - shownMs,
    playedMs: 0,
  });
  if (event === "paused") return [play(shownMs), still("paused")].filter(lasts);
  // The buffer is shown before the stall, the rest after it.
  const before = event === "buffering" ? 0 : Math.min(shownMs, Math.max(0, a.bufferMs));
  return [play(before), still("rebuffering"), play(shownMs - before)].filter(lasts);
}

function lasts({ ms }: Segment): boolean {
  return ms > 0;
}

// A position that was read late looks like playback faster than time. The excess is moved to the
// next steps, so that no heartbeat exceeds the limit of the schema.
function plausible(segments: readonly Segment[]): Segment[] {
  let owedMs = 0;
  const out = segments.map((segment): Segment => {
    if (segment.state !== "playing") return segment;
    owedMs += segment.playedMs;
    const playedMs = Math.min(owedMs, Math.floor(segment.ms * 1.5));
    owedMs -= playedMs;
    return { ...segment, playedMs };
  });
  const last = out.findLastIndex(({ state }) => state === "playing");
  return out.map((segment, at) =>
    at === last ? { ...segment, playedMs: segment.playedMs + owedMs } : segment
  );
}

/** A sample, and the content shown up to it. */
interface ShownSample extends PlaybackSample {
  readonly shownMs: number;
}

/** Content shown up to each sample, as the sum of the runs between seeks. */
function shownAt(samples: readonly PlaybackSample[]): ShownSample[] {
  const shown: ShownSample[] = [];
  for (const run of runsOf(samples)) {
    const [first] = run;
    const last = run.at(-1);
    if (first === undefined || last === undefined) continue;
    const baseMs = shown.at(-1)?.shownMs ?? 0;
    const lastMs = Math.max(first.positionMs, last.positionMs);
    let highMs = first.positionMs;
    for (const sample of run) {
      // The player corrects its position by fractions of a second; shown content is not taken back.
      highMs = Math.min(lastMs, Math.max(highMs, sample.positionMs));
      shown.push({ ...sample, shownMs: baseMs + highMs - first.positionMs });
    }
  }
  return shown;
}

/** The samples, split at every seek. */
function runsOf(samples: readonly PlaybackSample[]): PlaybackSample[][] {
  const done: PlaybackSample[][] = [];
  let run: PlaybackSample[] = [];
  for (const sample of samples) {
    const before = run.at(-1);
    if (before && isSeek(before, sample)) {
      done.push(run);
      run = [];
    }
    run.push(sample);
  }
  return [...done, run];
}

/** Content shown in a trace: the advance of its positions without seeks. */
export function watchedOf({ samples }: PlaybackTrace): number {
  let watchedMs = (samples.at(-1)?.positionMs ?? 0) - (samples.at(0)?.positionMs ?? 0);
  for (const { a, b } of pairs(samples)) {
    if (isSeek(a, b)) watchedMs -= b.positionMs - a.positionMs;
  }
  return Math.max(0, watchedMs);
}

/** The file of sessions counts stalls without their durations; this is assumed for each. */
export const ASSUMED_STALL_MS = 2_000;
/** It has no start-up time either. */
const ASSUMED_STARTUP_MS = 1_000;

/** The segments of a counted session: its stalls spread evenly over the content shown. */
export function sessionSegments({ watchedMs, stalls }: WatchedSession): Segment[] {
  const out: Segment[] = [{ state: "starting", ms: ASSUMED_STARTUP_MS, playedMs: 0 }];
  for (let part = 0; part <= stalls; part++) {
    const shownBy = (parts: number) => Math.floor(watchedMs * parts / (stalls + 1));
    const ms = shownBy(part + 1) - shownBy(part);
    if (part > 0) out.push({ state: "rebuffering", ms: ASSUMED_STALL_MS, playedMs: 0 });
    out.push({ state: "playing", ms, playedMs: ms });
  }
  return out;
}
