/**
 * `deno task live explain`: why an incident opened, or why none did.
 *
 * Replays the raw streams through the detector that live runs.
 *
 * @module
 */
import { heartbeatStreams } from "../../shared/contract/topology.ts";
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION, type Parser } from "../../shared/process/cli/declaration.ts";
import type { Io } from "../../shared/process/cli/io.ts";
import { Misuse } from "../../shared/process/cli/misuse.ts";
import { filePath, instant, integer, oneOf } from "../../shared/process/cli/parsers.ts";
import { progress } from "../../shared/process/cli/progress.ts";
import { messageOf, Stop } from "../../shared/process/errors.ts";
import { Detector, openKey } from "../detect/detector.ts";
import type { FindingSignal } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { cellPhrase } from "../incidents/wording.ts";
import { liveSettings } from "../settings.ts";
import { withNats } from "./connections.ts";
import {
  keptHeartbeats,
  readReceived,
  type SavedBaselines,
  savedBaselines,
} from "./explain_stream.ts";
import { Explanation } from "./explanation.ts";
import { explanationJson } from "./explanation_json.ts";
import { explanationPlot } from "./explanation_plot.ts";
import { clock, explanationTable, signalToShow, verdictSentence } from "./explanation_text.ts";
import { plotSvg } from "./plot.ts";

const MINUTE_MS = 60_000;
const MAX_MINUTES = 180;
const SIGNALS = ["rebuffer", "start", "silent"] as const satisfies readonly FindingSignal[];

const DETECTOR_SETTINGS = {
  TWOFOLD_LIVE_FALSE_PAGES_PER_DAY: liveSettings.TWOFOLD_LIVE_FALSE_PAGES_PER_DAY,
  TWOFOLD_LIVE_MAX_SESSIONS: liveSettings.TWOFOLD_LIVE_MAX_SESSIONS,
  TWOFOLD_LIVE_MAX_CELLS: liveSettings.TWOFOLD_LIVE_MAX_CELLS,
};

/** A name as devices send it: any text. */
function name(): Parser<string> {
  return {
    parse: (given) => {
      if (given !== "") return given;
      throw new Misuse("is empty");
    },
  };
}

/** Explains a cell at a time. */
export const explainCommand = command({
  name: "explain",
  summary: "why an incident opened, or why none did: a line a second",
  details:
    "Replays the raw heartbeats around TIME through the detector that live runs, with what live " +
    "had learned when it last saved it. Moves and acknowledges nothing; needs the NATS user ops, " +
    "or auditor, who may not read what was learned.\n\n" +
    "A number before < or ≥ is the impaired viewers, the one behind it how many would be " +
    "improbable. An incident that opened before the heartbeats that are read is not known here.",
  options: {
    title: { type: "string", value: "TITLE", about: "a title", parser: name() },
    region: { type: "string", value: "REGION", about: "a region", parser: name() },
    cdn: { type: "string", value: "CDN", about: "a CDN", parser: name() },
    isp: { type: "string", value: "ISP", about: "an ISP of a region", parser: name() },
    build: { type: "string", value: "BUILD", about: "a build of the player", parser: name() },
    model: { type: "string", value: "MODEL", about: "a device model of a region", parser: name() },
    at: { type: "string", value: "TIME", about: "when", parser: instant(), required: true },
    minutes: {
      type: "string",
      value: "M",
      parser: integer(1, MAX_MINUTES),
      default: "4",
      about: "minutes to show, half before and half after TIME",
    },
    warmup: {
      type: "string",
      value: "M",
      parser: integer(1, MAX_MINUTES),
      default: "10",
      about: "minutes to replay before the first line",
    },
    relearn: { type: "boolean", about: "learn what is usual from the replay alone" },
    signal: {
      type: "string",
      value: "SIGNAL",
      parser: oneOf(...SIGNALS),
      about: `what to show: ${SIGNALS.join(", ")}`,
      absent: "what opened, or rebuffer",
    },
    all: { type: "boolean", about: "a line for every second, also if nothing changed" },
    svg: { type: "string", value: "FILE", about: "write a plot to FILE", parser: filePath() },
    json: JSON_OPTION,
  },
  examples: [
    { args: ["--title", "premiere", "--region", "de", "--at", "2026-11-25T12:00:08Z"] },
    {
      args: ["--build", "9.2", "--at", "2026-11-25T12:00:08Z", "--minutes", "10", "--svg", "a.svg"],
      about: "a build in every region, with a plot",
    },
  ],
  async run({ at, minutes, warmup, relearn, signal, all, svg, json, ...names }, io) {
    const cell = cellOf(names);
    const half = minutes * MINUTE_MS / 2;
    const span = { cell, fromMs: secondOf(at - half), toMs: secondOf(at + half) };
    const replay = await replayed(span, warmup * MINUTE_MS, relearn);
    const { explanation } = replay;
    const shown = signal ?? signalToShow(explanation);
    if (svg !== undefined) await writePlot(svg, plotSvg(explanationPlot(explanation, shown)));
    if (json) io.out.write(explanationJson(replay, verdicts(explanation)));
    else printText(io, replay, shown, all);
    if (svg !== undefined) io.err.line(`wrote ${svg}`);
    return 0;
  },
});

/** The dimensions that a cell can fix besides the region, and its kind without and with one. */
const COHORTS = {
  title: { alone: "title", inRegion: "title_region" },
  cdn: { alone: "cdn", inRegion: "region_cdn" },
  isp: { alone: undefined, inRegion: "region_isp" },
  build: { alone: "build", inRegion: "region_build" },
  model: { alone: undefined, inRegion: "region_model" },
} as const;
type Cohort = keyof typeof COHORTS;

/** The cell that fixes the given names. Throws {@link Misuse} for what is no cell. */
export function cellOf(
  { region, ...cohorts }: { readonly [K in Cohort | "region"]: string | undefined },
): CellName {
  const given = (["title", "cdn", "isp", "build", "model"] as const)
    .flatMap((cohort) => cohorts[cohort] === undefined ? [] : [[cohort, cohorts[cohort]] as const]);
  if (given.length > 1) {
    const options = given.map(([cohort]) => `--${cohort}`).join(" and ");
    throw new Misuse(`${options} cannot be combined; give one of them, with or without --region`);
  }
  const [cohort, value] = given[0] ?? [];
  if (cohort === undefined) {
    return region === undefined ? { kind: "all" } : { kind: "region", region };
  }
  const { alone, inRegion } = COHORTS[cohort];
  if (region !== undefined) return { kind: inRegion, [cohort]: value, region };
  if (alone === undefined) throw new Misuse(`--${cohort} needs --region`);
  return { kind: alone, [cohort]: value };
}

/** A replay and what it stands on. */
export interface ReplayedStream {
  readonly explanation: Explanation;
  readonly baselines: SavedBaselines;
  /** Receipt from which, and before which, heartbeats were read. */
  readonly readFromMs: number;
  readonly readUntilMs: number;
  readonly heartbeats: number;
  readonly unusable: number;
}

/** Replays `span` after `warmupMs` of what was received before it. */
async function replayed(
  span: Explanation["span"],
  warmupMs: number,
  relearn: boolean,
): Promise<ReplayedStream> {
  return await withNats(DETECTOR_SETTINGS, async (nc, settings) => {
    const kept = await keptHeartbeats(nc, heartbeatStreams(settings.TWOFOLD_PARTITIONS));
    if (span.fromMs > kept.untilMs) {
      throw new Stop(`nothing was received yet: it is ${new Date(kept.untilMs).toISOString()}`);
    }
    if (span.toMs < kept.sinceMs) {
      const since = new Date(kept.sinceMs).toISOString();
      throw new Stop(`raw heartbeats are kept since ${since} only`);
    }
    const readFromMs = Math.max(span.fromMs - warmupMs, kept.sinceMs);
    const readUntilMs = Math.min(span.toMs, kept.untilMs);
    const detector = new Detector({
      falsePagesPerDay: settings.TWOFOLD_LIVE_FALSE_PAGES_PER_DAY,
      maxSessions: settings.TWOFOLD_LIVE_MAX_SESSIONS,
      limits: { cells: settings.TWOFOLD_LIVE_MAX_CELLS },
    });
    const baselines = relearn ? { reason: "--relearn" } : await savedBaselines(nc, span.fromMs);
    if ("snapshot" in baselines) detector.load(baselines.snapshot, readFromMs);
    const explanation = new Explanation(detector, span);
    using shown = progress("heartbeats");
    const counts = await readReceived(
      nc,
      kept,
      { fromMs: readFromMs, untilMs: readUntilMs },
      (heartbeat, receivedAtMs) => explanation.heartbeat(heartbeat, receivedAtMs),
      shown.at,
    );
    explanation.advance(readUntilMs);
    return { explanation, baselines, readFromMs, readUntilMs, ...counts };
  });
}

function printText(io: Io, replay: ReplayedStream, signal: FindingSignal, all: boolean): void {
  const { explanation } = replay;
  for (const line of headLines(replay)) io.out.line(line);
  io.out.line("");
  io.out.line(explanationTable(explanation, signal, all));
  io.out.line("");
  for (const { signal: each, sentence, isWorthSaying } of verdicts(explanation)) {
    if (each === signal || isWorthSaying) io.out.line(sentence);
  }
}

function headLines(
  { explanation, baselines, readFromMs, readUntilMs, heartbeats, unusable }: ReplayedStream,
): string[] {
  const { cell, fromMs } = explanation.span;
  const learnedMs = Math.max(0, Math.min(fromMs, readUntilMs) - readFromMs);
  const learned = `${(learnedMs / MINUTE_MS).toFixed(1)} min before the first line`;
  return [
    `${cellPhrase(cell)}, ${new Date(fromMs).toISOString().slice(0, 10)}`,
    `read ${heartbeats} heartbeats received from ${clock(readFromMs)} until ${clock(readUntilMs)}` +
    (unusable > 0 ? `; ${unusable} messages are no heartbeats` : ""),
    "snapshot" in baselines
      ? `usual: ${baselines.snapshot.cells.length} baselines that live saved at ` +
        `${new Date(baselines.savedMs).toISOString().slice(0, 19)}Z ` +
        `(${ownBaseline(baselines, cell)}), and ${learned}`
      : `usual: learned in the replay alone, ${learned} (${baselines.reason})`,
  ];
}

function ownBaseline(baselines: SavedBaselines, cell: CellName): string {
  const key = openKey("rebuffer", cell);
  const isSaved = "snapshot" in baselines &&
    baselines.snapshot.cells.some((each) => openKey("rebuffer", each.cell) === key);
  return isSaved ? "one of this cell's own" : "of this cell that of what it is part of";
}

/** The sentence about each signal. */
export interface SignalVerdict {
  readonly signal: FindingSignal;
  readonly sentence: string;
  /** Whether something opened. */
  readonly isWorthSaying: boolean;
}

function verdicts(explanation: Explanation): SignalVerdict[] {
  return SIGNALS.map((signal) => ({
    signal,
    sentence: verdictSentence(explanation, signal),
    isWorthSaying: explanation.seconds.some(({ signals }) =>
      signals.some((each) =>
        each.signal === signal && (each.decision === "open" || each.decision === "folded")
      )
    ),
  }));
}

async function writePlot(file: string, svg: string): Promise<void> {
  try {
    await Deno.writeTextFile(file, svg);
  } catch (error) {
    throw new Stop(`cannot write ${file}: ${messageOf(error)}`, { cause: error });
  }
}

function secondOf(ms: number): number {
  return Math.floor(ms / 1_000) * 1_000;
}
