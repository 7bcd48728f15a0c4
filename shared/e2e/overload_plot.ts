/**
 * A plot of the lags of live and royalty under overload, as SVG.
 *
 * Pure.
 *
 * @module
 */

/** Lags at one moment. */
export interface LagSample {
  /** Seconds since the begin. */
  readonly atSeconds: number;
  readonly liveSeconds: number;
  readonly royaltySeconds: number;
  /** Share of the heartbeats that live sees, 0 to 1. */
  readonly coverage: number;
}

const WIDTH = 900;
const HEIGHT = 320;
const LEFT = 50;
const RIGHT = 60;
const TOP = 40;
const BOTTOM = 40;

/** The plot: lags in seconds on the left axis, coverage in percent on the right one. */
export function lagPlot(samples: readonly LagSample[]): string {
  const spanS = Math.max(1, ...samples.map(({ atSeconds }) => atSeconds));
  const lags = samples.flatMap(({ liveSeconds, royaltySeconds }) => [liveSeconds, royaltySeconds]);
  const mostS = Math.max(6, ...lags.filter(Number.isFinite));
  const x = (s: number) => LEFT + s / spanS * (WIDTH - LEFT - RIGHT);
  const y = (part: number) => HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
  const line = (part: (sample: LagSample) => number) =>
    samples.filter((sample) => Number.isFinite(part(sample)))
      .map((sample) => `${x(sample.atSeconds).toFixed(1)},${y(part(sample)).toFixed(1)}`).join(" ");
  const series = [
    ["live, s behind", "#b3261e", line(({ liveSeconds }) => liveSeconds / mostS)],
    ["royalty, s behind", "#0b57d0", line(({ royaltySeconds }) => royaltySeconds / mostS)],
    ["coverage of live, %", "#8a8a8a", line(({ coverage }) => coverage)],
  ] as const;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
    `font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    ...ticks.map((part) =>
      `<path d="M${LEFT} ${y(part)}H${WIDTH - RIGHT}" stroke="#ddd"/>` +
      `<text x="${LEFT - 6}" y="${y(part) + 4}" text-anchor="end">${
        (part * mostS).toFixed(1)
      }</text>` +
      `<text x="${WIDTH - RIGHT + 6}" y="${y(part) + 4}">${part * 100} %</text>`
    ),
    ...ticks.map((part) =>
      `<text x="${x(part * spanS)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${
        (part * spanS).toFixed(0)
      } s</text>`
    ),
    ...series.map(([name, colour, points], i) =>
      `<polyline points="${points}" fill="none" stroke="${colour}" stroke-width="1.5"/>` +
      `<text x="${LEFT + 200 * i}" y="20" fill="${colour}">${name}</text>`
    ),
    "</svg>\n",
  ].join("\n");
}
