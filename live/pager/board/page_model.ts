/**
 * What the board shows, computed from the answers of the read API. Each function is also part of the
 * script of the page, by its source text, so it uses nothing but its arguments and its neighbours
 * in {@link PAGE_FUNCTIONS}.
 *
 * Pure. Times are ms since the epoch, ages ms, shares 0 to 1.
 *
 * @module
 */
import type { BoardIncident, IncidentList, PipelineState } from "./board_schema.ts";

/** What the page says first. */
export interface BoardVerdict {
  /** `ok` only when everything is known and well. */
  readonly level: "ok" | "open" | "blind" | "stale";
  readonly title: string;
  readonly detail: string;
}

/** What of a series is drawn: a line, and a dot where it has no neighbour and where it ends. */
export interface DrawnSeries {
  readonly line: string;
  readonly dots: string;
}

/** The lines of a plot in its own coordinates. */
export interface SeriesPlot {
  readonly share: DrawnSeries;
  readonly baseline: DrawnSeries;
  /** The largest share that fits. */
  readonly top: number;
}

/** Size of a plot, and the time that it shows. */
export interface PlotFrame {
  readonly width: number;
  readonly height: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** `text` in which nothing is invisible or turns the direction of writing; at most `max` code points. */
export function shownText(text: string, max: number): string {
  const safe = text.toWellFormed().replace(
    /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu,
    (char) => "\\u{" + (char.codePointAt(0) ?? 0).toString(16) + "}",
  );
  const chars = [...safe];
  return chars.length <= max ? safe : chars.slice(0, max - 1).join("") + "…";
}

/** `ms` as a person says it. */
export function spanText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return seconds + " s";
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes + " min " + seconds % 60 + " s";
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? hours + " h " + minutes % 60 + " min" : Math.floor(hours / 24) + " d";
}

/** A share as percent, with more digits the smaller it is. */
export function percentText(share: number): string {
  const percent = share * 100;
  return (percent >= 10 ? percent.toFixed(0) : percent.toFixed(percent >= 1 ? 1 : 2)) + " %";
}

/** A cell by its dimensions. */
export function cellText(cell: NonNullable<BoardIncident["figures"]>["cell"]): string {
  const names = [
    ["title", cell.title],
    ["region", cell.region],
    ["CDN", cell.cdn],
    ["ISP", cell.isp],
    ["build", cell.build],
    ["model", cell.model],
  ].filter(([, name]) => name !== undefined);
  if (names.length === 0) return "everything";
  return names.map(([kind, name]) => kind + " " + shownText(name ?? "", 64)).join(", ");
}

/** What keeps on-call from seeing: what is not well, in words; empty when all is well. */
export function blindSpots(state: PipelineState): string[] {
  const spots: string[] = [];
  const { pager, live, services } = state;
  if (pager === null) spots.push("this pager is starting");
  else if (pager.receivers.length === 0) spots.push("no receiver is configured, nobody is paged");
  else if (!pager.is_delivered) spots.push("no pager delivers");
  else {
    const waiting = pager.receivers.filter((each) => (each.waiting ?? 0) > 0);
    if (waiting.length > 0) {
      spots.push("messages wait for " + waiting.map((each) => each.receiver).join(" and "));
    }
  }
  if (live === null) spots.push("live has said nothing yet");
  else {
    if (live.view_age_ms > 6000) {
      spots.push("live has said nothing for " + spanText(live.view_age_ms));
    }
    if (live.lag_ms === null) spots.push("how far live is behind is not known");
    else if (live.lag_ms > 5000) spots.push("live is " + spanText(live.lag_ms) + " behind");
    if (live.coverage < 0.999) spots.push("live sees " + percentText(live.coverage));
  }
  if (services.length === 0) spots.push("no service is watched");
  for (const each of services) {
    if (each.state !== "well") spots.push(each.service + " is " + each.state.replace("_", " "));
  }
  return spots;
}

/**
 * What the page says first. `answerAgeMs` is the time since the pager answered; undefined: it never
 * did. Nothing that is old or missing looks well.
 */
export function boardVerdictOf(
  list: IncidentList | undefined,
  state: PipelineState | undefined,
  answerAgeMs: number | undefined,
): BoardVerdict {
  if (list === undefined || state === undefined || answerAgeMs === undefined) {
    return {
      level: "stale",
      title: "Not known yet",
      detail: "The pager has not answered. Nothing on this page says that all is well.",
    };
  }
  if (answerAgeMs > 6000) {
    return {
      level: "stale",
      title: "Disconnected: the pager does not answer",
      detail: "What is shown is " + spanText(answerAgeMs) + " old. Do not rely on it.",
    };
  }
  if (list.read_age_ms === null || list.read_age_ms + answerAgeMs > 6000) {
    const old = list.read_age_ms === null
      ? "It has not been read yet."
      : "What is shown is " + spanText(list.read_age_ms + answerAgeMs) + " old.";
    const why = state.problem === undefined ? "" : " " + shownText(state.problem, 300);
    return {
      level: "stale",
      title: "Stale: the pager cannot read ALERTS",
      detail: old + " Do not rely on it." + why,
    };
  }
  const spots = blindSpots(state);
  const blind = spots.length === 0 ? "" : "Not everything works: " + spots.join("; ") + ".";
  const paging = list.incidents.filter((each) => each.pages).length;
  if (list.open > 0) {
    const open = list.open === 1 ? "1 incident is open" : list.open + " incidents are open";
    return {
      level: "open",
      title: open + ", " +
        (paging === 0 ? "none pages" : paging === 1 ? "1 pages" : paging + " page"),
      detail: blind,
    };
  }
  if (blind !== "") {
    return { level: "blind", title: "Nothing is open, but it may be unseen", detail: blind };
  }
  return {
    level: "ok",
    title: "Nothing is open",
    detail: "Every service is heard, live keeps up and sees every heartbeat.",
  };
}

/**
 * What an incident is about. The sentence of an alert has figures of the moment at which it was told,
 * so it stands for what has no figures of now.
 */
export function headlineOf({ summary, figures }: BoardIncident): string {
  if (figures === undefined) return shownText(summary, 400);
  const what = { rebuffer: "Rebuffering", start: "Starts fail", silent: "Viewers fell silent" };
  return what[figures.signal] + ": " + cellText(figures.cell);
}

/** What happened last to an incident. */
export function lastText({ last }: BoardIncident): string {
  const words = {
    doubled: "its viewers doubled",
    halved: "its viewers halved",
    dimension: "a dimension emerged or joined",
    folded: "another incident folded into it",
    severity: "its severity rose",
  };
  if (last.status === "open") return "opened";
  return last.why === undefined ? "updated" : words[last.why];
}

/** Whether a receiver has got the page, in two words. */
export function pagedText({ suppressed_by: silence, pages, deliveries }: BoardIncident): string {
  if (silence !== undefined) return "silenced";
  if (!pages) return "not paged";
  if (deliveries === null) return "pages";
  const outcomes = Object.values(deliveries);
  if (outcomes.includes("delivered")) return "paged";
  if (outcomes.length === 0) return "pages nobody";
  return outcomes.includes("waiting") ? "page waits" : "page refused";
}

/** What the state of the pager is, and whether that is well. */
export function pagerStateText(
  pager: NonNullable<PipelineState["pager"]>,
): { readonly isWell: boolean; readonly text: string } {
  if (!pager.is_delivered) return { isWell: false, text: "nobody delivers" };
  if (pager.receivers.length === 0) return { isWell: false, text: "no receivers" };
  if (!pager.delivers) return { isWell: true, text: "stands by" };
  const isWaiting = pager.receivers.some((each) => (each.waiting ?? 0) > 0);
  return isWaiting ? { isWell: false, text: "messages wait" } : { isWell: true, text: "delivers" };
}

/** Whether on-call knows, in words. */
export function pageText(incident: BoardIncident): string {
  const { suppressed_by: silence } = incident;
  if (silence === undefined) return pagedText(incident);
  return "silenced until " + new Date(silence.until).toISOString().slice(0, 16).replace("T", " ") +
    " UTC by " + shownText(silence.by, 64) + ": " + shownText(silence.reason, 200);
}

/** The lines of `series` in `frame`; a line is broken where nothing was said for 30 s. */
export function plotOf(series: BoardIncident["series"], frame: PlotFrame): SeriesPlot {
  const { width, height, fromMs, toMs } = frame;
  let largest = 0.01;
  for (const [, share, baseline] of series) largest = Math.max(largest, share, baseline);
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
  const top = steps.find((step) => step >= largest) ?? 1;
  const place = (ms: number, share: number) => {
    const x = (ms - fromMs) / (toMs - fromMs) * width;
    const y = height - share / top * height;
    return x.toFixed(1) + " " + y.toFixed(1);
  };
  const shown = series.filter(([atMs]) => atMs >= fromMs && atMs <= toMs);
  const draw = (index: 1 | 2) => {
    let line = "";
    let dots = "";
    shown.forEach((point, i) => {
      const at = place(point[0], point[index]);
      const isFirst = point[0] - (shown[i - 1]?.[0] ?? -Infinity) > 30_000;
      const isLast = (shown[i + 1]?.[0] ?? Infinity) - point[0] > 30_000;
      if (!(isFirst && isLast)) line += (isFirst ? "M" : "L") + at;
      // A path that has a length of zero is drawn as its round cap.
      if (isFirst && isLast || index === 1 && i === shown.length - 1) dots += "M" + at + "h0";
    });
    return { line, dots };
  };
  return { share: draw(1), baseline: draw(2), top };
}

/** The functions of the script, by their source text. */
export const PAGE_FUNCTIONS = [
  shownText,
  spanText,
  percentText,
  cellText,
  blindSpots,
  boardVerdictOf,
  headlineOf,
  lastText,
  pagedText,
  pagerStateText,
  pageText,
  plotOf,
].map(String).join("\n");
