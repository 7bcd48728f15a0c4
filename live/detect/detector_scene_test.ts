/**
 * Simulated viewers for the detector's tests: they send heartbeats every ten seconds at random
 * phases, delivered two seconds later, and stall as they are told.
 *
 * @module
 */
import { Random } from "../../shared/dev/testing/random.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { Detector, type DetectorOptions } from "./detector.ts";
import type { Finding } from "./finding.ts";

const START_MS = 1_795_000_000_000;
const DELIVERY_MS = 2_000;

/** One simulated viewer. */
export interface Viewer {
  id: string;
  title: string;
  region: string;
  cdn: string;
  isp: string;
  build: string;
  /** What a heartbeat differs in; called with the seconds since the start. */
  behave: (second: number, viewer: Viewer) => Partial<WatchedHeartbeat> | "silent" | undefined;
  /** Clock minus true time, and the time between heartbeats, in ms. */
  clockMs: number;
  intervalMs: number;
  seq: number;
  nextMs: number;
}

/** A detector and its viewers, second by second. */
export class Scene {
  detector: Detector;
  readonly viewers: Viewer[] = [];
  /** Everything found, each with the seconds since the start. */
  readonly findings: { readonly second: number; readonly finding: Finding }[] = [];
  second = 0;
  readonly random: Random;

  constructor(seed = 1, readonly options: DetectorOptions = {}) {
    this.random = new Random(seed);
    this.detector = new Detector(options);
  }

  /** ms since the epoch. */
  get nowMs(): number {
    return START_MS + this.second * 1_000;
  }

  /** Another detector takes over what this one learned. */
  restart(): void {
    const learned = JSON.parse(JSON.stringify(this.detector.snapshot()));
    this.detector = new Detector(this.options);
    this.detector.load(learned, this.nowMs);
  }

  /** Adds `count` viewers. */
  add(count: number, more: (i: number) => Partial<Viewer> = () => ({})): Viewer[] {
    const added = Array.from({ length: count }, (_, i): Viewer => ({
      id: `s${this.viewers.length + i}`,
      title: "t1",
      region: "de",
      cdn: "c1",
      isp: "i1",
      build: "b1",
      behave: () => undefined,
      clockMs: 0,
      intervalMs: 10_000,
      seq: 100,
      nextMs: this.nowMs + this.random.next() * 10_000,
      ...more(i),
    }));
    for (const viewer of added) this.viewers.push(viewer);
    return added;
  }

  /** Lets `seconds` pass; `onSecond` is called before each. */
  run(seconds: number, onSecond: (second: number) => void = () => {}): void {
    for (const end = this.second + seconds; this.second < end;) {
      onSecond(this.second);
      this.second += 1;
      for (const viewer of this.viewers) {
        while (viewer.nextMs < this.nowMs) this.#send(viewer);
      }
      for (const finding of this.detector.tick(this.nowMs)) {
        this.findings.push({ second: this.second, finding });
      }
    }
  }

  /** Findings with this change, as text: second, signal and cell. */
  list(change: Finding["change"]): string[] {
    return this.findings.filter(({ finding }) => finding.change === change)
      .map(({ second, finding: { signal, cell, why } }) => {
        const { kind: _, ...values } = cell;
        const text = Object.values(values).join(" ") || "all";
        return `${second} ${signal} ${text}${why === undefined ? "" : ` ${why}`}`;
      });
  }

  #send(viewer: Viewer): void {
    const { id, title, region, cdn, isp, build, intervalMs, clockMs } = viewer;
    const ts = Math.round(viewer.nextMs + clockMs);
    const behaviour = viewer.behave((viewer.nextMs - START_MS) / 1_000, viewer);
    viewer.nextMs += intervalMs;
    if (behaviour === "silent") return;
    const stalledMs = behaviour?.rebuffer_ms ?? 0;
    this.detector.heartbeat({
      session_id: id,
      title_id: title,
      region,
      seq: viewer.seq++,
      ts,
      interval_ms: intervalMs,
      state: "playing",
      played_ms: Math.max(0, Math.min(600_000, intervalMs) - stalledMs),
      rebuffer_ms: 0,
      cdn,
      isp,
      device: { model: "tv", os: "os", build },
      ...behaviour,
    }, Math.round(viewer.nextMs - intervalMs + DELIVERY_MS));
  }
}

/** Behaviour: from second `from` on every heartbeat stalled `share` of its interval. */
export function stallsFrom(from: number, share: number, until = Infinity): Viewer["behave"] {
  return (second, { intervalMs }) => {
    const stalledS = Math.max(
      0,
      Math.min(second, until) - Math.max(from, second - intervalMs / 1_000),
    );
    return stalledS === 0 ? undefined : { rebuffer_ms: Math.round(stalledS * 1_000 * share) };
  };
}
