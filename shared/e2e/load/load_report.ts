/**
 * What `task load` says of a run: tables for people, the whole as JSON, and the panels of its plot.
 *
 * Pure.
 *
 * @module
 */
import { whole } from "../../dev/demo/check_line.ts";
import { left, renderTable, right } from "../../process/cli/table.ts";
import { courseOf, type MemoryCourse, memoryLimitOf } from "../chaos/memory.ts";
import type { IncidentHeard } from "../stalling_cohorts.ts";
import type { PlotPanel, PlotSeries } from "./load_plot.ts";
import { alertLatenciesMs } from "./load_verdict.ts";
import { type LatencyFigures, limitOf, type LoadOutcome } from "./outcome.ts";
import type { ProfileName } from "./profile.ts";
import type { LoadSample } from "./sampler.ts";
import { bytesPerEvent, medianOf, type Written } from "./series.ts";

/** The load that was asked for. */
export interface LoadShape {
  readonly profile: ProfileName;
  /** Highest rate, heartbeats a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly perPost: number;
  readonly connections: number;
  readonly titles: number;
  readonly regions: number;
  readonly generators: number;
}

/** Everything that a run left. */
export interface LoadRun {
  readonly shape: LoadShape;
  /** Ms since the epoch. */
  readonly startAtMs: number;
  readonly outcome: LoadOutcome;
  readonly samples: readonly LoadSample[];
  readonly incidents: readonly IncidentHeard[];
  /** From the last request to the last event counted. */
  readonly drainSeconds: number;
}

/** Of the figures of bytes an event over time. */
const WINDOW_SECONDS = 5;
/** When duplicate windows and other caches are full: the window of the streams, and some more. */
const FULL_AFTER_SECONDS = 150;
const MIB = 2 ** 20;

/** The memory of each process of the pipeline over the run. */
export function memoryOf({ samples }: LoadRun): Record<string, MemoryCourse> {
  return Object.fromEntries(
    namesIn(samples).filter((name) => !name.startsWith("generator")).map((name) => [
      name,
      courseOf(
        samples.map((each) => each.memoryBytes.get(name) ?? 0),
        FULL_AFTER_SECONDS,
        memoryLimitOf(name),
      ),
    ]),
  );
}

/** Median share of one core of the busiest generator, while the load lasted. */
export function generatorCores(run: LoadRun): number {
  const names = namesIn(run.samples).filter((name) => name.startsWith("generator"));
  return Math.max(0, ...names.map((name) => medianOf(coresOf(run, name)) ?? 0));
}

function namesIn(samples: readonly LoadSample[]): string[] {
  return [...samples[0]?.cores.keys() ?? []];
}

function coresOf({ samples, shape }: LoadRun, name: string): number[] {
  return samples.filter(({ atSeconds }) => atSeconds >= 1 && atSeconds <= shape.seconds)
    .map(({ cores }) => cores.get(name) ?? 0);
}

/** What is written for events. */
interface BytesWritten {
  readonly bytes: (each: LoadSample) => number;
  readonly events: (each: LoadSample) => number;
}

/** Streams are written before an event is accepted, the log of Postgres when it is counted. */
const STREAM: BytesWritten = {
  bytes: ({ streamBytes }) => streamBytes,
  events: ({ accepted }) => accepted,
};
const WAL: BytesWritten = { bytes: ({ walBytes }) => walBytes, events: ({ counted }) => counted };

/** Bytes an event of the whole load. */
function bytesOf(samples: readonly LoadSample[], written: BytesWritten) {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const events = written.events(last) - written.events(first);
  return events > 0 ? (written.bytes(last) - written.bytes(first)) / events : undefined;
}

/** The figures of a run; names of processes are keys of maps. */
export function figuresOfLoad(run: LoadRun) {
  const { samples, outcome, shape, incidents } = run;
  const most = (part: (each: LoadSample) => number) =>
    samples.reduce((max, each) => Math.max(max, part(each)), 0);
  const alerts = alertLatenciesMs(incidents);
  const inTime = outcome.seconds.slice(0, Math.ceil(shape.seconds));
  return {
    acceptedPerSecond: inTime.reduce((sum, { accepted }) => sum + accepted, 0) / shape.seconds,
    latency: outcome.latency,
    service: outcome.service,
    generator: {
      late: outcome.late,
      waitedRequests: outcome.waited,
      cores: generatorCores(run),
      limit: limitOf(outcome, generatorCores(run)),
    },
    behind: {
      liveMaxMessages: most(({ liveLag }) => liveLag),
      liveMaxSeconds: most(({ liveBehindSeconds }) => liveBehindSeconds),
      royaltyMaxMessages: most(({ royaltyLag }) => royaltyLag),
      royaltyMaxSeconds: most(({ royaltyBehindSeconds }) => royaltyBehindSeconds),
    },
    drainSeconds: run.drainSeconds,
    alerts: {
      incidents: incidents.length,
      heard: alerts.length,
      p50Ms: medianOf(alerts),
      maxMs: alerts.at(-1),
    },
    streamBytesPerEvent: bytesOf(samples, STREAM),
    walBytesPerEvent: bytesOf(samples, WAL),
    processes: new Map(
      namesIn(samples).map((name) => [name, {
        medianCores: medianOf(coresOf(run, name)) ?? 0,
        maxCores: coresOf(run, name).reduce((max, each) => Math.max(max, each), 0),
        maxMemoryBytes: most(({ memoryBytes }) => memoryBytes.get(name) ?? 0),
      }]),
    ),
  };
}

/** The figures as aligned text. */
export function loadText(run: LoadRun): string {
  const figures = figuresOfLoad(run);
  const { shape, outcome } = run;
  const { behind, alerts, generator } = figures;
  const rows = [
    [
      "offered",
      `${shape.profile}, up to ${whole(shape.rate)} heartbeats/s, ${shape.perPost} a post`,
    ],
    [
      "accepted",
      `${whole(Math.round(figures.acceptedPerSecond))} heartbeats/s on average, ${
        whole(outcome.events)
      } in all`,
    ],
    ["latency from the due time", latencyText(figures.latency)],
    ["from the first byte", latencyText(figures.service)],
    ["generator late by itself", latencyText(generator.late)],
    [
      "no connection free",
      `${whole(generator.waitedRequests)} of ${whole(outcome.requests)} requests`,
    ],
    ["what kept it from its rate", generator.limit],
    [
      "requests repeated",
      `${whole(outcome.repeated)}${
        outcome.lastRefusal === undefined ? "" : `, last ${outcome.lastRefusal}`
      }`,
    ],
    ["live behind, at most", behindText(behind.liveMaxMessages, behind.liveMaxSeconds)],
    ["royalty behind, at most", behindText(behind.royaltyMaxMessages, behind.royaltyMaxSeconds)],
    ["all counted", `${figures.drainSeconds.toFixed(1)} s after the load`],
    [
      "device to alert",
      `p50 ${ms(alerts.p50Ms)}, max ${ms(alerts.maxMs)}, ${alerts.incidents} incidents`,
    ],
    ["HEARTBEATS on disk", `${bytes(figures.streamBytesPerEvent)} an event`],
    ["WAL of Postgres", `${bytes(figures.walBytesPerEvent)} an event`],
  ];
  const processes = [...figures.processes].map(([name, each]) => [
    name,
    percent(each.medianCores),
    percent(each.maxCores),
    `${whole(Math.round(each.maxMemoryBytes / MIB))} MiB`,
  ]);
  return [
    renderTable([left("figure"), left("")], rows),
    renderTable(
      [left("process"), right("CPU, median"), right("CPU, most"), right("memory, most")],
      processes,
    ),
  ].join("\n\n");
}

function latencyText({ p50Ms, p99Ms, p999Ms, maxMs }: LatencyFigures): string {
  return `p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)}, p99.9 ${ms(p999Ms)}, max ${ms(maxMs)}`;
}

function behindText(messages: number, seconds: number): string {
  return `${whole(messages)} messages, ${seconds.toFixed(1)} s`;
}

function ms(value: number | undefined): string {
  return value === undefined ? "none" : `${whole(Number(value.toPrecision(3)))} ms`;
}

function bytes(value: number | undefined): string {
  return value === undefined ? "none" : `${whole(Math.round(value))} bytes`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

/** Bytes an event over time. */
function perEventOver(run: LoadRun, { bytes, events }: BytesWritten) {
  const written: Written[] = run.samples.map((each) => ({
    atSeconds: each.atSeconds,
    events: events(each),
    bytes: bytes(each),
  }));
  return bytesPerEvent(written, WINDOW_SECONDS);
}

/** The run over time, for JSON. */
export function courseOfLoad(run: LoadRun) {
  const streamBytes = perEventOver(run, STREAM);
  const walBytes = perEventOver(run, WAL);
  const samples = run.samples.map((sample, i) => ({
    ...sample,
    streamBytesPerEvent: streamBytes[i],
    walBytesPerEvent: walBytes[i],
  }));
  return { seconds: run.outcome.seconds, samples, incidents: run.incidents };
}

/** The panels of the plot. */
export function loadPanels(run: LoadRun): PlotPanel[] {
  const { samples, outcome, incidents, startAtMs, shape } = run;
  const over = (name: string, part: (each: LoadSample) => number): PlotSeries => ({
    name,
    points: samples.map((each) => [each.atSeconds, part(each)]),
  });
  const within = outcome.seconds.slice(0, Math.ceil(shape.seconds));
  const each = (name: string, part: (second: typeof within[number]) => number | undefined) => ({
    name,
    points: within.map((second) => [second.second + 0.5, part(second)] as const),
  });
  const processes = namesIn(samples);
  const perEvent = (name: string, written: BytesWritten): PlotSeries => {
    const values = perEventOver(run, written);
    return { name, points: samples.map(({ atSeconds }, i) => [atSeconds, values[i]]) };
  };
  return [
    {
      title: "heartbeats a second",
      series: [each("due", ({ due }) => due), each("accepted", ({ accepted }) => accepted)],
    },
    {
      title: "latency of a request, ms",
      isLogarithmic: true,
      series: [
        each("p50, from due", ({ p50Ms }) => p50Ms),
        each("p99, from due", ({ p99Ms }) => p99Ms),
        each("p99, from first byte", ({ serviceP99Ms }) => serviceP99Ms),
      ],
    },
    {
      title: "behind, s",
      series: [
        over("live", ({ liveBehindSeconds }) => liveBehindSeconds),
        over("royalty", ({ royaltyBehindSeconds }) => royaltyBehindSeconds),
      ],
    },
    {
      title: "device to alert, s",
      series: [{
        name: "an incident",
        isDots: true,
        points: incidents.map(({ answeredAtMs, alertAfterMs }) => [
          (answeredAtMs - startAtMs) / 1_000,
          alertAfterMs === undefined ? undefined : alertAfterMs / 1_000,
        ]),
      }],
    },
    {
      title: "CPU, % of one core",
      series: processes.map((name) => over(name, ({ cores }) => (cores.get(name) ?? 0) * 100)),
    },
    {
      title: "memory of its own, MiB",
      series: processes.map((name) =>
        over(name, ({ memoryBytes }) => (memoryBytes.get(name) ?? 0) / MIB)
      ),
    },
    {
      title: `bytes an event, over ${WINDOW_SECONDS} s`,
      series: [
        perEvent("HEARTBEATS on disk", STREAM),
        perEvent("WAL of Postgres", WAL),
      ],
    },
  ];
}
