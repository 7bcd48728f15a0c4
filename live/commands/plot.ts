/**
 * Draws an explanation as SVG: the impaired share against its bound and its baseline, the viewers
 * below, and when incidents opened and ended. Light or dark as the reader's browser is.
 *
 * Pure.
 *
 * @module
 */
import { safeText } from "../../shared/process/cli/table.ts";

/** What a plot shows. Times are ms since the epoch, shares 0 to 1. */
export interface Plot {
  readonly title: string;
  readonly subtitle: string;
  /** Name of the share, such as `stalled in 10 s`. */
  readonly shareName: string;
  readonly seconds: readonly PlotSecond[];
  readonly marks: readonly PlotMark[];
}

/** One second. */
export interface PlotSecond {
  readonly atMs: number;
  readonly watching: number;
  readonly share: number;
  /** Share that would be improbable; above 1 if none would. */
  readonly bound: number;
  readonly baseline: number;
  /** Shares over other spans of time, in an order that stays the same. */
  readonly others: readonly number[];
  /** Whether an incident on the cell is open, or it is part of one. */
  readonly state: "open" | "folded" | "none";
}

/** A moment, with text beside it. */
export interface PlotMark {
  readonly atMs: number;
  readonly text: string;
}

const WIDTH = 960;
const HEIGHT = 480;
const LEFT = 64;
const RIGHT = WIDTH - 24;
/** The panel of shares, and the one of viewers. */
const SHARES = { top: 96, bottom: 336 };
const VIEWERS = { top: 368, bottom: 424 };
const MARK_LINE = 15;
const MAX_TITLE_CHARS = 90;
const MAX_MARK_CHARS = 60;
const MAX_MARKS = 12;
const CHAR_WIDTH = 6.2;

const STYLE = `
text{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:#57606a}
.title{font-size:16px;font-weight:600;fill:#1f2328}.mark{fill:#1f2328}
.paper{fill:#fff}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#8c959f;stroke-width:1}
.share{fill:none;stroke:#0969da;stroke-width:2}.other{fill:none;stroke:#0969da;stroke-opacity:.35}
.bound{fill:none;stroke:#bc4c00;stroke-width:1.5;stroke-dasharray:6 4}
.baseline{fill:none;stroke:#57606a;stroke-width:1.5;stroke-dasharray:2 3}
.viewers{fill:#57606a;fill-opacity:.18;stroke:#57606a}
.open{fill:#cf222e;fill-opacity:.12}.folded{fill:#bf8700;fill-opacity:.14}
.when{stroke:#1f2328;stroke-width:1}
@media (prefers-color-scheme:dark){
text{fill:#9198a1}.title,.mark{fill:#f0f6fc}.paper{fill:#0d1117}.grid{stroke:#30363d}
.axis{stroke:#6e7681}.share,.other{stroke:#4493f8}.bound{stroke:#f0883e}.baseline{stroke:#9198a1}
.viewers{fill:#9198a1;stroke:#9198a1}.open{fill:#f85149;fill-opacity:.2}
.folded{fill:#d29922;fill-opacity:.2}.when{stroke:#f0f6fc}
}`;

/** Places of times and shares on the drawing. */
interface Scales {
  readonly x: (ms: number) => number;
  readonly y: (share: number) => number;
  readonly fromMs: number;
  readonly toMs: number;
  /** The largest share that is shown. */
  readonly top: number;
}

/** `plot` as an SVG document. */
export function plotSvg(plot: Plot): string {
  const scales = scalesOf(plot.seconds);
  const parts = [
    `<rect class="paper" width="${WIDTH}" height="${HEIGHT}"/>`,
    `<text class="title" x="${LEFT}" y="30">${shown(plot.title, MAX_TITLE_CHARS)}</text>`,
    `<text x="${LEFT}" y="50">${shown(plot.subtitle, 2 * MAX_TITLE_CHARS)}</text>`,
    ...legend(plot),
    ...states(plot.seconds, scales),
    ...shareAxis(scales),
    ...timeAxis(scales),
    ...lines(plot.seconds, scales),
    ...viewersPanel(plot.seconds, scales),
    ...marks(plot.marks, scales),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
    `width="${WIDTH}" height="${HEIGHT}" role="img" ` +
    `aria-label="${shown(plot.title, MAX_TITLE_CHARS)}">\n<style>${STYLE}</style>\n` +
    `${parts.join("\n")}\n</svg>\n`;
}

function scalesOf(seconds: readonly PlotSecond[]): Scales {
  const fromMs = seconds[0]?.atMs ?? 0;
  const toMs = Math.max(fromMs + 1_000, seconds.at(-1)?.atMs ?? 0);
  let largest = 0.01;
  for (const { share, bound, baseline, others } of seconds) {
    for (const each of [share, baseline, ...others]) largest = Math.max(largest, each);
    // A bound far above everything would flatten the rest.
    if (bound <= 1) largest = Math.max(largest, Math.min(bound, 0.3));
  }
  const step = shareStep(largest);
  const top = Math.min(1, Math.ceil(largest / step - 1e-9) * step);
  return {
    fromMs,
    toMs,
    top,
    x: (ms) => rounded(LEFT + (ms - fromMs) / (toMs - fromMs) * (RIGHT - LEFT)),
    y: (share) => rounded(SHARES.bottom - Math.min(1, share / top) * (SHARES.bottom - SHARES.top)),
  };
}

// A step of 1, 2 or 5 that gives at most six grid lines.
function shareStep(largest: number): number {
  const steps = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
  return steps.find((step) => largest / step <= 6) ?? 0.2;
}

function legend({ shareName, seconds }: Plot): string[] {
  const hasOthers = (seconds[0]?.others.length ?? 0) > 0;
  const entries: readonly (readonly [kind: string, text: string])[] = [
    ["share", shareName],
    ...(hasOthers ? [["other", "in longer or shorter spans"] as const] : []),
    ["bound", "bound: improbable from here on"],
    ["baseline", "baseline: usual here"],
  ];
  let x = LEFT;
  return entries.map(([kind, text]) => {
    const entry = `<line class="${kind}" x1="${rounded(x)}" x2="${rounded(x + 24)}" y1="70" ` +
      `y2="70"/><text x="${rounded(x + 30)}" y="74">${shown(text, MAX_TITLE_CHARS)}</text>`;
    x += 54 + text.length * CHAR_WIDTH;
    return entry;
  });
}

function states(seconds: readonly PlotSecond[], { x }: Scales): string[] {
  const bands: { readonly state: "open" | "folded"; readonly fromMs: number; toMs: number }[] = [];
  for (const { atMs, state } of seconds) {
    if (state === "none") continue;
    const last = bands.at(-1);
    if (last?.state === state && last.toMs === atMs - 1_000) last.toMs = atMs;
    else bands.push({ state, fromMs: atMs, toMs: atMs });
  }
  return bands.map(({ state, fromMs, toMs }) => {
    const width = Math.max(1, rounded(x(toMs) - x(fromMs)));
    return `<rect class="${state}" x="${x(fromMs)}" y="${SHARES.top}" width="${width}" ` +
      `height="${SHARES.bottom - SHARES.top}"/>`;
  });
}

function shareAxis({ y, top }: Scales): string[] {
  const step = shareStep(top);
  const count = Math.round(top / step);
  const middle = (SHARES.top + SHARES.bottom) / 2;
  const ticks = Array.from({ length: count + 1 }, (_, i) => {
    const share = i * step;
    return `<line class="${i === 0 ? "axis" : "grid"}" x1="${LEFT}" x2="${RIGHT}" ` +
      `y1="${y(share)}" y2="${y(share)}"/><text x="${LEFT - 8}" y="${y(share) + 4}" ` +
      `text-anchor="end">${rounded(share * 100)}</text>`;
  });
  return [
    ...ticks,
    `<text transform="translate(18 ${middle}) rotate(-90)" text-anchor="middle">` +
    "impaired viewers, %</text>",
  ];
}

const TIME_STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600];

function timeAxis({ x, fromMs, toMs }: Scales): string[] {
  const lengthS = (toMs - fromMs) / 1_000;
  const stepMs = 1_000 * (TIME_STEPS_S.find((step) => lengthS / step <= 9) ?? 7_200);
  const ticks: string[] = [];
  for (let ms = Math.ceil(fromMs / stepMs) * stepMs; ms <= toMs; ms += stepMs) {
    const time = new Date(ms).toISOString().slice(11, 19);
    ticks.push(
      `<line class="axis" x1="${x(ms)}" x2="${x(ms)}" y1="${VIEWERS.bottom}" ` +
        `y2="${VIEWERS.bottom + 5}"/><text x="${x(ms)}" y="${VIEWERS.bottom + 19}" ` +
        `text-anchor="middle">${time}</text>`,
    );
  }
  return [
    ...ticks,
    `<text x="${(LEFT + RIGHT) / 2}" y="${HEIGHT - 12}" text-anchor="middle">` +
    "time of receipt, UTC</text>",
  ];
}

function lines(seconds: readonly PlotSecond[], { x, y, top }: Scales): string[] {
  const line = (kind: string, of: (second: PlotSecond) => number | undefined) =>
    path(
      kind,
      seconds.map((second) => {
        const share = of(second);
        return share === undefined ? undefined : `${x(second.atMs)} ${y(share)}`;
      }),
    );
  const others = seconds[0]?.others.length ?? 0;
  return [
    line("baseline", ({ baseline }) => baseline),
    ...Array.from({ length: others }, (_, i) => line("other", (second) => second.others[i])),
    line("bound", ({ bound, watching }) => watching > 0 && bound <= top ? bound : undefined),
    line("share", ({ share, watching }) => watching > 0 ? share : undefined),
  ];
}

// A path through points; it is interrupted where there is none.
function path(kind: string, points: readonly (string | undefined)[]): string {
  let d = "";
  let isDown = false;
  for (const point of points) {
    if (point !== undefined) d += `${isDown ? "L" : "M"}${point}`;
    isDown = point !== undefined;
  }
  return `<path class="${kind}" d="${d}"/>`;
}

function viewersPanel(seconds: readonly PlotSecond[], { x }: Scales): string[] {
  const most = seconds.reduce((max, { watching }) => Math.max(max, watching), 1);
  const height = VIEWERS.bottom - VIEWERS.top;
  const points = seconds.map(({ atMs, watching }) =>
    `L${x(atMs)} ${rounded(VIEWERS.bottom - watching / most * height)}`
  ).join("");
  return [
    `<path class="viewers" d="M${LEFT} ${VIEWERS.bottom}${points}` +
    `L${x(seconds.at(-1)?.atMs ?? 0)} ${VIEWERS.bottom}Z"/>`,
    `<line class="axis" x1="${LEFT}" x2="${RIGHT}" y1="${VIEWERS.bottom}" y2="${VIEWERS.bottom}"/>`,
    `<text x="${LEFT - 8}" y="${VIEWERS.top + 6}" text-anchor="end">${most}</text>`,
    `<text x="${LEFT - 8}" y="${VIEWERS.bottom + 4}" text-anchor="end">0</text>`,
    `<text x="${LEFT + 4}" y="${VIEWERS.top - 6}">viewers</text>`,
  ];
}

// Text of marks that are near each other stands on lines of its own.
function marks(all: readonly PlotMark[], { x, fromMs, toMs }: Scales): string[] {
  const ends: number[] = [];
  const within = all.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).slice(0, MAX_MARKS);
  return within.flatMap(({ atMs, text }) => {
    const at = x(atMs);
    const width = Math.min(text.length, MAX_MARK_CHARS) * CHAR_WIDTH + 12;
    const isLeft = at + width > RIGHT;
    const from = isLeft ? at - width : at;
    const free = ends.findIndex((end) => end <= from);
    const row = free < 0 ? ends.length : free;
    ends[row] = from + width;
    const y = SHARES.top + MARK_LINE * (row + 1) - 3;
    return [
      `<line class="when" x1="${at}" x2="${at}" y1="${SHARES.top}" y2="${VIEWERS.bottom}"/>`,
      `<text class="mark" x="${isLeft ? at - 5 : at + 5}" y="${y}"` +
      `${isLeft ? ' text-anchor="end"' : ""}>${shown(text, MAX_MARK_CHARS)}</text>`,
    ];
  });
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** `text` for XML: at most `maxChars` code points, what is invisible escaped. */
function shown(text: string, maxChars: number): string {
  const chars = [...safeText(text)];
  const cut = chars.length <= maxChars
    ? chars.join("")
    : `${chars.slice(0, maxChars - 1).join("")}…`;
  return cut.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? "");
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
