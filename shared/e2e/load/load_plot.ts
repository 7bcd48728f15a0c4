/**
 * A plot of a load over time as SVG: panels below each other on one axis of time.
 *
 * Pure.
 *
 * @module
 */

/** One line of a panel, or dots. */
export interface PlotSeries {
  readonly name: string;
  /** Seconds and value; undefined interrupts the line. */
  readonly points: readonly (readonly [atSeconds: number, value: number | undefined])[];
  readonly isDots?: boolean;
}

/** Values of one unit. */
export interface PlotPanel {
  /** What is shown, with its unit: `latency, ms`. */
  readonly title: string;
  readonly series: readonly PlotSeries[];
  /** Powers of ten have even distances. */
  readonly isLogarithmic?: boolean;
}

const WIDTH = 960;
const LEFT = 80;
const RIGHT = WIDTH - 190;
const HEAD = 56;
const PANEL_TITLE = 26;
const PANEL_HEIGHT = 116;
const PANEL_GAP = 18;
const FOOT = 44;
const LEGEND_LINE = 15;
const COLOURS = [
  ...["#0969da", "#cf222e", "#1a7f37", "#bf8700", "#8250df", "#ff6ac1", "#24292f", "#8c959f"],
  ...["#39c5cf", "#8b4513"],
];
const STYLE = `text{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;` +
  `fill:#57606a}.title{font-size:16px;font-weight:600;fill:#1f2328}` +
  `.panel{font-weight:600;fill:#1f2328}.grid{stroke:#d0d7de}.axis{stroke:#8c959f}` +
  `polyline{fill:none;stroke-width:1.6}`;

/** Where values of a panel are, in px, and the values with a line of the grid. */
interface PanelScale {
  readonly y: (value: number) => number;
  readonly ticks: readonly number[];
}

/** `panels` as an SVG document, over `seconds`. */
export function loadPlotSvg(
  { title, subtitle, seconds, panels }: {
    readonly title: string;
    readonly subtitle: string;
    readonly seconds: number;
    readonly panels: readonly PlotPanel[];
  },
): string {
  const span = Math.max(1, seconds);
  const height = HEAD + panels.length * (PANEL_TITLE + PANEL_HEIGHT + PANEL_GAP) + FOOT;
  const x = (second: number) => rounded(LEFT + second / span * (RIGHT - LEFT));
  const tops = panels.map((_, i) =>
    HEAD + i * (PANEL_TITLE + PANEL_HEIGHT + PANEL_GAP) + PANEL_TITLE
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" ` +
    `height="${height}" role="img" aria-label="${shown(title)}">`,
    `<style>${STYLE}</style>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text class="title" x="${LEFT}" y="24">${shown(title)}</text>`,
    `<text x="${LEFT}" y="44">${shown(subtitle)}</text>`,
    ...panels.flatMap((panel, i) => panelSvg(panel, tops[i] ?? 0, x)),
    ...timeAxis(span, height - FOOT, x),
    "</svg>\n",
  ].join("\n");
}

function panelSvg(panel: PlotPanel, top: number, x: (second: number) => number): string[] {
  const { y, ticks } = scaleOf(panel, top);
  return [
    `<text class="panel" x="${LEFT}" y="${top - 9}">${shown(panel.title)}</text>`,
    ...ticks.map((value) =>
      `<path class="grid" d="M${LEFT} ${y(value)}H${RIGHT}"/>` +
      `<text x="${LEFT - 8}" y="${rounded(y(value) + 4)}" text-anchor="end">${label(value)}</text>`
    ),
    ...panel.series.flatMap((series, i) => {
      const colour = COLOURS[i % COLOURS.length] ?? "#000";
      const at = top + 8 + i * LEGEND_LINE;
      return [
        ...(series.isDots ? dots(series, colour, x, y) : lines(series, colour, x, y)),
        `<rect x="${RIGHT + 14}" y="${at - 5}" width="12" height="4" fill="${colour}"/>`,
        `<text x="${RIGHT + 32}" y="${at + 1}">${shown(series.name)}</text>`,
      ];
    }),
  ];
}

function scaleOf({ series, isLogarithmic = false }: PlotPanel, top: number): PanelScale {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value ?? NaN))
    .filter(Number.isFinite);
  const most = values.reduce((max, value) => Math.max(max, value), 0);
  const place = (part: number) =>
    rounded(top + PANEL_HEIGHT - Math.min(1, Math.max(0, part)) * PANEL_HEIGHT);
  if (isLogarithmic) {
    const least = values.reduce((min, value) => value > 0 ? Math.min(min, value) : min, Infinity);
    const from = Math.floor(Math.log10(Number.isFinite(least) ? least : 1));
    const until = Math.max(from + 1, Math.ceil(Math.log10(Math.max(most, 1e-3))));
    const ticks = Array.from({ length: until - from + 1 }, (_, i) => 10 ** (from + i));
    return { ticks, y: (value) => place((Math.log10(value) - from) / (until - from)) };
  }
  const step = niceStep(Math.max(most, 1e-9));
  const count = Math.max(1, Math.ceil(most / step - 1e-9));
  const ticks = Array.from({ length: count + 1 }, (_, i) => i * step);
  return { ticks, y: (value) => place(value / (count * step)) };
}

// 1, 2 or 5 times a power of ten, with at most five lines of the grid.
function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 5));
  return [1, 2, 5, 10].map((each) => each * power).find((step) => most / step <= 5) ?? most;
}

function lines(
  { points }: PlotSeries,
  colour: string,
  x: (second: number) => number,
  y: (value: number) => number,
): string[] {
  const parts: string[][] = [[]];
  for (const [second, value] of points) {
    if (value === undefined || !Number.isFinite(value)) parts.push([]);
    else parts.at(-1)?.push(`${x(second)},${y(value)}`);
  }
  return parts.filter((part) => part.length > 0)
    .map((part) => `<polyline points="${part.join(" ")}" stroke="${colour}"/>`);
}

function dots(
  { points }: PlotSeries,
  colour: string,
  x: (second: number) => number,
  y: (value: number) => number,
): string[] {
  return points.flatMap(([second, value]) =>
    value === undefined
      ? []
      : [`<circle cx="${x(second)}" cy="${y(value)}" r="3" fill="${colour}"/>`]
  );
}

const TIME_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200];

function timeAxis(span: number, bottom: number, x: (second: number) => number): string[] {
  const step = TIME_STEPS_S.find((each) => span / each <= 12) ?? 14_400;
  const ticks = Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => i * step);
  return [
    `<path class="axis" d="M${LEFT} ${bottom}H${RIGHT}"/>`,
    ...ticks.map((second) =>
      `<path class="axis" d="M${x(second)} ${bottom}v5"/>` +
      `<text x="${x(second)}" y="${bottom + 19}" text-anchor="middle">${second}</text>`
    ),
    `<text x="${(LEFT + RIGHT) / 2}" y="${bottom + 36}" text-anchor="middle">` +
    "time since the start of the load, s</text>",
  ];
}

function label(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 });
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", '"': "&quot;" };

function shown(text: string): string {
  return text.replace(/[&<"]/g, (char) => ENTITIES[char] ?? "");
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
