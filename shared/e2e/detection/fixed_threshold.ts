/**
 * What a detector is compared with: the rule that Twofold had before, a fixed threshold.
 *
 * A title × region opens when, in two evaluations one after the other, some span of the newest 60,
 * 30 or 15 s of event time has at least 25 heartbeats of 10 s, three stalled sessions, and a
 * rebuffer ratio above 5 % with 95 % confidence: the lower bound of E. B. Wilson ("Probable
 * inference, the law of succession, and statistical inference", 1927). It resolves after 15 s at
 * or below 2 %, and closes after 300 s without heartbeats. Heartbeats older than the window are
 * left out; a clock that is ahead counts as the time of receipt.
 *
 * @module
 */
import type { Finding, Measurement } from "../../../live/detect/finding.ts";
import type { Heartbeat } from "../../contract/event.ts";

const BUCKET_MS = 1_000;
const BUCKETS = 60;
const SPANS = [60, 30, 15];
const HEARTBEAT_MS = 10_000;
const OPEN_RATIO = 0.05;
const RESOLVE_RATIO = 0.02;
const MIN_HEARTBEATS = 25;
const MIN_STALLED = 3;
const OPEN_AFTER = 2;
const RESOLVE_AFTER_MS = 15_000;
const CLOSE_AFTER_MS = 300_000;
/** One-sided 95 % quantile of the normal distribution. */
const Z_95 = 1.645;

/** Sums over some of the newest buckets. */
interface Sums {
  readonly heartbeats: number;
  readonly playedMs: number;
  readonly rebufferMs: number;
  readonly stalled: number;
}

/** The sums of one title in one region over the window. */
class Cell {
  heartbeats = 0;
  playedMs = 0;
  rebufferMs = 0;
  receivedAtMs = 0;
  /** Evaluations one after the other that found it stalling. */
  stalling = 0;
  openedAtMs: number | undefined;
  calm: { readonly isEmpty: boolean; readonly sinceMs: number } | undefined;
  readonly #heartbeats = new Float64Array(BUCKETS);
  readonly #playedMs = new Float64Array(BUCKETS);
  readonly #rebufferMs = new Float64Array(BUCKETS);
  readonly #stalled = new Map<number, Set<string>>();

  constructor(readonly title: string, readonly region: string, public bucket: number) {}

  add(bucket: number, heartbeat: Heartbeat, receivedAtMs: number): void {
    const at = bucket % BUCKETS;
    const { played_ms, rebuffer_ms, session_id } = heartbeat;
    this.#heartbeats[at] = (this.#heartbeats[at] ?? 0) + 1;
    this.#playedMs[at] = (this.#playedMs[at] ?? 0) + played_ms;
    this.heartbeats += 1;
    this.playedMs += played_ms;
    this.receivedAtMs = Math.max(this.receivedAtMs, receivedAtMs);
    if (rebuffer_ms === 0) return;
    this.#rebufferMs[at] = (this.#rebufferMs[at] ?? 0) + rebuffer_ms;
    this.rebufferMs += rebuffer_ms;
    const stalled = this.#stalled.get(at) ?? new Set();
    this.#stalled.set(at, stalled.add(session_id));
  }

  /** Moves the end of the window to `bucket`. */
  advance(bucket: number): void {
    for (let each = Math.max(this.bucket + 1, bucket - BUCKETS + 1); each <= bucket; each++) {
      const at = each % BUCKETS;
      this.heartbeats -= this.#heartbeats[at] ?? 0;
      this.playedMs -= this.#playedMs[at] ?? 0;
      this.rebufferMs -= this.#rebufferMs[at] ?? 0;
      this.#heartbeats[at] = this.#playedMs[at] = this.#rebufferMs[at] = 0;
      this.#stalled.delete(at);
    }
    if (bucket > this.bucket) this.bucket = bucket;
  }

  newest(buckets: number): Sums {
    const stalled = new Set<string>();
    let [heartbeats, playedMs, rebufferMs] = [0, 0, 0];
    for (let i = 0; i < buckets; i++) {
      const at = (this.bucket - i + BUCKETS) % BUCKETS;
      heartbeats += this.#heartbeats[at] ?? 0;
      playedMs += this.#playedMs[at] ?? 0;
      rebufferMs += this.#rebufferMs[at] ?? 0;
      for (const session of this.#stalled.get(at) ?? []) stalled.add(session);
    }
    return { heartbeats, playedMs, rebufferMs, stalled: stalled.size };
  }
}

/** The fixed threshold; see above. Times are ms since the epoch. */
export class FixedThreshold {
  readonly #cells = new Map<string, Map<string, Cell>>();
  /** Cells that have stalled in their window, or are open; the others need no evaluation. */
  readonly #stalling = new Set<Cell>();
  #watermarkMs = 0;
  #bucket = 0;
  #evaluatedBucket = 0;
  #findings: Finding[] = [];

  heartbeat(heartbeat: Heartbeat, receivedAtMs: number): void {
    const ts = Math.min(heartbeat.ts, receivedAtMs);
    const bucket = Math.floor(ts / BUCKET_MS);
    if (bucket <= this.#bucket - BUCKETS) return;
    if (ts > this.#watermarkMs) {
      this.#watermarkMs = ts;
      this.#bucket = bucket;
    }
    const cell = this.#cellOf(heartbeat);
    cell.advance(this.#bucket);
    cell.add(bucket, heartbeat, receivedAtMs);
    if (cell.rebufferMs > 0) this.#stalling.add(cell);
    if (this.#bucket !== this.#evaluatedBucket) this.#evaluate(receivedAtMs);
  }

  /** The decisions since the last tick. */
  tick(): readonly Finding[] {
    // Event time stands still when nothing arrives; then nothing can have changed.
    const findings = this.#findings;
    this.#findings = [];
    return findings;
  }

  #cellOf({ title_id, region }: Heartbeat): Cell {
    let titles = this.#cells.get(region);
    if (!titles) this.#cells.set(region, titles = new Map());
    let cell = titles.get(title_id);
    if (!cell) titles.set(title_id, cell = new Cell(title_id, region, this.#bucket));
    return cell;
  }

  #evaluate(nowMs: number): void {
    this.#evaluatedBucket = this.#bucket;
    for (const cell of this.#stalling) {
      cell.advance(this.#bucket);
      if (cell.openedAtMs !== undefined) this.#evaluateOpen(cell, nowMs);
      else if (cell.rebufferMs === 0) this.#stalling.delete(cell);
      else this.#evaluateCalm(cell, nowMs);
    }
  }

  #evaluateCalm(cell: Cell, nowMs: number): void {
    const mayStall = rebufferShare(cell) >= OPEN_RATIO / 4;
    const sums = mayStall ? stallingSums(cell) : undefined;
    cell.stalling = sums ? cell.stalling + 1 : 0;
    if (!sums || cell.stalling < OPEN_AFTER) return;
    cell.stalling = 0;
    cell.openedAtMs = nowMs;
    cell.calm = undefined;
    this.#findings.push(findingOf(cell, "open", sums, nowMs));
  }

  #evaluateOpen(cell: Cell, nowMs: number): void {
    const sums = cell.newest(BUCKETS);
    const isEmpty = sums.heartbeats === 0;
    if (!isEmpty && rebufferShare(sums) > RESOLVE_RATIO) {
      cell.calm = undefined;
      return;
    }
    if (cell.calm?.isEmpty !== isEmpty) cell.calm = { isEmpty, sinceMs: this.#watermarkMs };
    const waitMs = isEmpty ? CLOSE_AFTER_MS : RESOLVE_AFTER_MS;
    if (this.#watermarkMs - cell.calm.sinceMs < waitMs) return;
    cell.openedAtMs = undefined;
    this.#findings.push(findingOf(cell, isEmpty ? "close" : "resolve", sums, nowMs));
  }
}

function stallingSums(cell: Cell): Sums | undefined {
  return SPANS.map((buckets) => cell.newest(buckets)).find((sums) => {
    const sample = Math.min(sums.heartbeats, (sums.playedMs + sums.rebufferMs) / HEARTBEAT_MS);
    return sample >= MIN_HEARTBEATS && sums.stalled >= MIN_STALLED &&
      lowerBound(rebufferShare(sums), sample) > OPEN_RATIO;
  });
}

function rebufferShare({ playedMs, rebufferMs }: Pick<Sums, "playedMs" | "rebufferMs">): number {
  return playedMs + rebufferMs === 0 ? 0 : rebufferMs / (playedMs + rebufferMs);
}

function lowerBound(ratio: number, size: number): number {
  const z2 = Z_95 * Z_95;
  const spread = Z_95 * Math.sqrt((ratio * (1 - ratio) + z2 / (4 * size)) / size);
  return Math.max(0, (ratio + z2 / (2 * size) - spread) / (1 + z2 / size));
}

function findingOf(
  cell: Cell,
  change: Finding["change"],
  sums: Sums,
  nowMs: number,
): Finding {
  const watching = Math.round(sums.heartbeats / 6);
  const now: Measurement = {
    watching,
    impaired: sums.stalled,
    spanMs: BUCKETS * BUCKET_MS,
    share: rebufferShare(sums),
    baseline: 0,
    bound: OPEN_RATIO * watching,
    rebufferMs: sums.rebufferMs,
    playedMs: sums.playedMs,
  };
  const why = change === "resolve" ? "recovered" : "gone";
  return {
    change,
    signal: "rebuffer",
    cell: { kind: "title_region", title: cell.title, region: cell.region },
    atMs: nowMs,
    onsetMs: nowMs,
    receivedAtMs: cell.receivedAtMs,
    now,
    peak: now,
    evidence: 0,
    worst: [],
    folded: 0,
    ...(change === "open" ? {} : { why }),
  };
}
