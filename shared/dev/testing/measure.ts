/**
 * Figures of benchmarks: rates, CPU shares, and ratios to a floor measured in the same run.
 *
 * @module
 */
import { ChildProcess } from "./child_process.ts";
import { type Column, left, renderTable, right } from "../../process/cli/table.ts";

/** Clock ticks a second in /proc; 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds (user and system, all threads) a process has used; NaN where /proc is missing. */
export function cpuSeconds(pid: number): number {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name in parentheses may contain spaces; utime and stime are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return NaN;
  }
}

/** CPU seconds of a process and its children; Postgres works in children. */
export function cpuSecondsOfTree(pid: number): number {
  return processTree(pid).reduce((sum, each) => sum + (cpuSeconds(each) || 0), 0);
}

/** A process and everything that it started, by process id; itself first. */
export function processTree(pid: number): number[] {
  try {
    const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
    return [
      pid,
      ...children.trim().split(" ").filter(Boolean).flatMap((c) => processTree(Number(c))),
    ];
  } catch {
    return [pid];
  }
}

/** One measured run. */
export interface Figure {
  readonly name: string;
  readonly events: number;
  readonly seconds: number;
  /** Share of one core that each process used, by name: 1 is one core busy. */
  readonly cores: Readonly<Record<string, number>>;
}

/** Runs `work`, which returns how many events it handled, and measures it. */
export async function measure(
  name: string,
  pids: Readonly<Record<string, number>>,
  work: () => Promise<number>,
): Promise<Figure> {
  const before = Object.entries(pids).map(([who, pid]) => ({
    who,
    pid,
    cpu: cpuSecondsOfTree(pid),
  }));
  const start = performance.now();
  const events = await work();
  const seconds = (performance.now() - start) / 1000;
  const cores = before.map(({ who, pid, cpu }) => [who, (cpuSecondsOfTree(pid) - cpu) / seconds]);
  return { name, events, seconds, cores: Object.fromEntries(cores) };
}

/** A command that was measured from start to end. */
export interface MeasuredCommand {
  readonly figure: Figure;
  /** Peak resident memory, bytes; 0 where /proc is missing. */
  readonly peakBytes: number;
  readonly exitCode: number;
  /** Its standard output. */
  readonly text: string;
  /** Its standard error. */
  readonly errors: string;
}

/**
 * Runs a Deno program to its end and measures it and the processes `pids`. `events` is the number
 * of events that it handles.
 */
export async function measureCommand(
  name: string,
  { args, env, events, pids = {} }: {
    readonly args: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly events: number;
    readonly pids?: Readonly<Record<string, number>>;
  },
): Promise<MeasuredCommand> {
  const child = new ChildProcess(Deno.execPath(), args, { env });
  // /proc has no figures of a process that has ended.
  let peakBytes = 0;
  let cpuUsed = 0;
  const sampling = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakBytesOf(child.pid));
    cpuUsed = Math.max(cpuUsed, cpuSeconds(child.pid) || 0);
  }, 50);
  const measured = await measure(name, pids, () => child.ended.then(() => events));
  clearInterval(sampling);
  const { code, out, err } = await child.ended;
  const cores = { [name]: cpuUsed / measured.seconds, ...measured.cores };
  return {
    figure: { ...measured, cores },
    peakBytes,
    exitCode: code,
    text: out,
    errors: err,
  };
}

/** Peak resident memory of a process so far, bytes; 0 where /proc is missing. */
function peakBytesOf(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/**
 * Memory of a process and its children that belongs to none but them, bytes: without files and what
 * Postgres shares; 0 where /proc is missing.
 */
export function ownBytesOfTree(pid: number): number {
  return processTree(pid).reduce((sum, each) => sum + ownBytes(each), 0);
}

function ownBytes(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Bytes as whole MiB. */
export function mebibytes(bytes: number): string {
  return `${whole(bytes / 2 ** 20)} MiB`;
}

/** Events a second of a run. */
export function rateOf(figure: Figure): number {
  return figure.events / figure.seconds;
}

/** A table of figures: rate, ratio to `floor` and to `target` (events a second), cores used. */
export function report(figures: readonly Figure[], floor?: Figure, target?: number): string {
  const parts: readonly Part[] = [
    { column: left("figure"), cell: ({ name }) => name },
    { column: right("events/s"), cell: (figure) => whole(rateOf(figure)) },
    ...(floor ? [ratio("of the floor", rateOf(floor))] : []),
    ...(target ? [ratio("of the target", target)] : []),
    { column: left("CPU"), cell: ({ cores }) => coresText(cores) },
  ];
  return renderTable(
    parts.map(({ column }) => column),
    figures.map((figure) => parts.map(({ cell }) => cell(figure))),
  );
}

/** A column of the report. */
interface Part {
  readonly column: Column;
  readonly cell: (figure: Figure) => string;
}

function ratio(heading: string, of: number): Part {
  return { column: right(heading), cell: (figure) => (rateOf(figure) / of).toFixed(2) };
}

function coresText(cores: Figure["cores"]): string {
  return Object.entries(cores)
    .map(([who, share]) => `${who} ${(share * 100).toFixed(0)}%`).join(", ");
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
