/**
 * Figures of benchmarks: rates, shares of CPU, ratios to a floor measured in the same run.
 *
 * @module
 */

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
  return treeOf(pid).reduce((sum, each) => sum + (cpuSeconds(each) || 0), 0);
}

function treeOf(pid: number): number[] {
  try {
    const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
    return [pid, ...children.trim().split(" ").filter(Boolean).flatMap((c) => treeOf(Number(c)))];
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
  const before = Object.entries(pids).map(([who, pid]) => [who, cpuSecondsOfTree(pid)] as const);
  const start = performance.now();
  const events = await work();
  const seconds = (performance.now() - start) / 1000;
  const cores = before.map(([who, cpu]) => [who, (cpuSecondsOfTree(pids[who]) - cpu) / seconds]);
  return { name, events, seconds, cores: Object.fromEntries(cores) };
}

/** Events a second of a run. */
export function rateOf(figure: Figure): number {
  return figure.events / figure.seconds;
}

/** One line per figure: rate, ratio to `floor`, rate per busy core of `process`, cores used. */
export function report(figures: readonly Figure[], floor?: Figure, aim?: number): string {
  const lines = figures.map((figure) => {
    const rate = rateOf(figure);
    const cores = Object.entries(figure.cores)
      .map(([who, share]) => `${who} ${(share * 100).toFixed(0)}%`).join(", ");
    return [
      figure.name.padEnd(38),
      `${Math.round(rate).toLocaleString("en-US").padStart(9)} events/s`,
      floor ? `${(rate / rateOf(floor)).toFixed(2)} of the floor` : "",
      aim ? `${(rate / aim).toFixed(2)} of the aim` : "",
      `CPU: ${cores}`,
    ].filter(Boolean).join("  ");
  });
  return lines.join("\n");
}
