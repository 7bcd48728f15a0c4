/**
 * The script of the board: asks the read API every two seconds and shows the answers. It makes
 * elements and text nodes only, never HTML, so that text of devices stays text. Elements stay when
 * figures change, so that focus, what is opened and what is selected stay, too.
 *
 * Pure: it runs in the browser.
 *
 * @module
 */
import { PAGE_FUNCTIONS } from "./page_model.ts";

const CODE = String.raw`
const SVG = "http://www.w3.org/2000/svg";
const known = { list: undefined, state: undefined, answeredMs: undefined };
const rows = new Map();
const byId = (id) => document.getElementById(id);

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  return fill(element, attributes, children);
}
function draw(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}
function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function setSection(element, value, build) {
  const key = JSON.stringify(value);
  if (element.shownKey === key) return;
  element.shownKey = key;
  element.replaceChildren(...build());
}
function pairs(entries) {
  return entries.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
}
function timeText(ms) {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ") + " UTC";
}
function answerAgeMs() {
  return known.answeredMs === undefined ? undefined : performance.now() - known.answeredMs;
}
// The time by the clock of the pager.
function nowMs() {
  return known.list.at + answerAgeMs();
}

function plotPaths({ share, baseline }) {
  return [["baseline", baseline.line], ["baseline dots", baseline.dots], ["share", share.line],
    ["share dots", share.dots]].map(([name, d]) => draw("path", { class: name, d }));
}
function sparkline(series, toMs) {
  const frame = { width: 120, height: 28, fromMs: toMs - 900000, toMs };
  const plot = plotOf(series, frame);
  return draw("svg", { viewBox: "-3 -4 126 36", class: "spark", "aria-hidden": "true",
    preserveAspectRatio: "none" }, ...plotPaths(plot));
}
function plotFigure(incident, toMs) {
  const width = 300;
  const height = 100;
  const { series, figures } = incident;
  const plot = plotOf(series, { width, height, fromMs: toMs - 900000, toMs });
  const svg = draw("svg", { viewBox: "-46 -8 352 130", role: "img", "aria-label":
    "impaired share of the last 15 minutes against its baseline; now " +
    percentText(figures.share) + ", usual " + percentText(figures.baseline) });
  for (const part of [0, 0.5, 1]) {
    const y = height * (1 - part);
    svg.append(
      draw("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y }),
      draw("text", { x: -4, y: y + 3.5, "text-anchor": "end" }, percentText(plot.top * part)
        .replace(".00", "").replace(".0", "")));
  }
  for (const minutes of [15, 10, 5, 0]) {
    const x = width * (1 - minutes / 15);
    const anchor = minutes === 0 ? "end" : minutes === 15 ? "start" : "middle";
    svg.append(draw("text", { x, y: height + 17, "text-anchor": anchor },
      minutes === 0 ? "now" : "−" + minutes + " min"));
  }
  svg.append(...plotPaths(plot));
  return make("figure", {}, svg, make("figcaption", {},
    make("span", { class: "key share" }, "impaired share"), " ",
    make("span", { class: "key baseline" }, "baseline: usual here")));
}
function figurePairs({ figures }) {
  const of = (each) => each.impaired + " of " + each.watching + " (" + percentText(each.share) + ")";
  return [
    ["Impaired viewers", of(figures) + (figures.is_current ? "" : ", by the last alert")],
    ["Usual", percentText(figures.baseline)],
    ["At the worst", of(figures.peak)],
    ["Rebuffer ratio", figures.ratio === null ? "nobody plays" : percentText(figures.ratio)],
    ["Share of heartbeats seen", percentText(figures.coverage)],
  ];
}
function happenedPairs(incident) {
  const { figures, last, subject, deliveries } = incident;
  const told = deliveries === null
    ? "known by the pager that delivers"
    : Object.entries(deliveries).map(([name, what]) => name + " " + what.replace("_", " "))
      .join(", ") || "nobody is told";
  return [
    ["What happened last", lastText(incident) + ", " + timeText(last.at)],
    ["Told then", make("bdi", {}, shownText(incident.summary, 400))],
    ["Open since", timeText(incident.opened_at)],
    ...(figures ? [["First impaired second", timeText(figures.onset_at)]] : []),
    ["Page", pageText(incident)],
    ["Receivers", told],
    ["Subject", shownText(subject, 2048)],
    ["Incident", shownText(incident.incident_id, 200)],
  ];
}
function dimensionList({ dimensions }) {
  if (dimensions.length === 0) return [];
  const items = dimensions.map((each) => make("li", {}, make("bdi", {}, cellText(each.cell)), ": " +
    each.impaired + " of " + each.watching + " impaired (" + percentText(each.share) + ", usual " +
    percentText(each.baseline) + ")"));
  return [make("h4", {}, "Dimensions"), make("ol", {}, ...items)];
}
function nextList({ next }) {
  if (next.length === 0) return [];
  return [make("h4", {}, "To run next"),
    ...next.map((each) => make("pre", {}, make("code", {}, shownText(each, 1500))))];
}

function newRow() {
  const parts = {
    badge: make("span", { class: "badge" }),
    what: make("bdi", { class: "what" }),
    since: make("span", { class: "since" }),
    page: make("span", { class: "page" }),
    spark: make("span", { class: "sparks" }),
    plot: make("div", {}),
    figures: make("dl", {}),
    dimensions: make("div", {}),
    happened: make("dl", {}),
    next: make("div", {}),
  };
  const heading = make("h3", {}, parts.badge, " ", parts.what);
  const summary = make("summary", {}, heading,
    make("span", { class: "line" }, parts.since, " ", parts.page), parts.spark);
  const body = make("div", { class: "body" }, parts.plot, parts.figures, parts.dimensions,
    parts.happened, parts.next);
  const details = make("details", {}, summary, body);
  details.addEventListener("toggle", show);
  return { ...parts, details, item: make("li", {}, details) };
}
function showRow(row, incident) {
  const { severity, figures, pages, suppressed_by: silence } = incident;
  setText(row.badge, severity);
  row.item.className = "incident " + severity;
  setText(row.what, headlineOf(incident));
  setText(row.since, "for " + spanText(nowMs() - incident.opened_at) +
    (figures ? " · " + figures.impaired + " of " + figures.watching + " viewers impaired" : ""));
  setText(row.page, "· " + pagedText(incident));
  // A plot moves on when a point is added, or when ten seconds have passed.
  const drawnMs = Math.ceil(nowMs() / 10000) * 10000;
  const points = [incident.series.length, incident.series.at(-1), drawnMs];
  setSection(row.spark, figures ? points : 0,
    () => figures ? [sparkline(incident.series, drawnMs)] : []);
  if (!row.details.open) return;
  setSection(row.plot, figures ? points : 0,
    () => figures ? [plotFigure(incident, drawnMs)] : []);
  setSection(row.figures, figures ?? 0, () => figures ? pairs(figurePairs(incident)) : []);
  setSection(row.dimensions, incident.dimensions, () => dimensionList(incident));
  setSection(row.happened, [incident.last, silence, pages, incident.deliveries],
    () => pairs(happenedPairs(incident)));
  setSection(row.next, incident.next, () => nextList(incident));
}
function showIncidents(list) {
  const holder = byId("incidents");
  const focused = document.activeElement;
  const ids = new Set(list.incidents.map((each) => each.incident_id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.item.remove();
    rows.delete(id);
  }
  list.incidents.forEach((incident, index) => {
    const row = rows.get(incident.incident_id) ?? newRow();
    rows.set(incident.incident_id, row);
    showRow(row, incident);
    if (holder.children[index] !== row.item) {
      holder.insertBefore(row.item, holder.children[index] ?? null);
    }
  });
  // An element that is moved loses the focus; one that has gone leaves it to the heading.
  if (focused && focused !== document.activeElement) {
    (focused.isConnected ? focused : byId("open")).focus({ preventScroll: true });
  }
  const more = list.open - list.incidents.length;
  setText(byId("more"), more > 0 ? more + " more are open and not shown." : "");
}

function servicePairs(each) {
  const waiting = each.instances.map((instance) => instance.waiting ?? "not known");
  const reasons = each.instances.flatMap((instance) => instance.not_ready ?? []);
  return [
    ["Last pulse", each.pulse_age_ms === null ? "none" : spanText(each.pulse_age_ms) + " ago"],
    ["Processes", String(each.instances.length)],
    ["Achieved so far", each.instances.map((one) => one.progress.toLocaleString("en"))
      .join(", ") || "not known"],
    ["Waiting", waiting.join(", ") || "not known"],
    ["Last progress", each.idle_ms === null ? "not known" : spanText(each.idle_ms) + " ago"],
    ...(reasons.length > 0 ? [["Not ready", shownText(reasons.join("; "), 300)]] : []),
  ];
}
function card(name, level, state, entries) {
  return make("li", { class: "card " + level },
    make("h3", {}, name, " ", make("span", { class: "state" }, state)),
    make("dl", {}, ...pairs(entries)));
}
function liveCard({ live }) {
  if (live === null) return card("view of live", "ill", "missing", []);
  const isOld = live.view_age_ms > 6000;
  const isBehind = live.lag_ms === null || live.lag_ms > 5000;
  const lag = (ms) => ms === null ? "not known" : (ms / 1000).toFixed(1) + " s";
  return card("view of live", isOld || isBehind || live.coverage < 0.999 ? "ill" : "well",
    isOld ? "old" : isBehind ? "behind" : live.coverage < 0.999 ? "partial" : "current", [
      ["Said", spanText(live.view_age_ms) + " ago"],
      ["Coverage", percentText(live.coverage)],
      ["Lag", lag(live.lag_ms)],
      ...(live.streams.length < 2 ? [] : live.streams.map((each) =>
        [shownText(each.stream, 64), lag(each.lag_ms)])),
    ]);
}
function pagerCard({ pager }) {
  if (pager === null) return card("pager", "ill", "starting", []);
  const { receivers } = pager;
  const { isWell, text } = pagerStateText(pager);
  return card("pager", isWell ? "well" : "ill", text, [
      ["This pager", pager.instance.slice(0, 8)],
      ["Delivers", pager.is_delivered ? pager.deliverer.slice(0, 8) : "nobody"],
      ["Receivers", receivers.length === 0 ? "none: nobody is paged" : receivers.map((each) =>
        each.receiver + (each.waiting === null ? "" : ", " + each.waiting + " waiting")).join("; ")],
    ]);
}
function showState(state) {
  setSection(byId("services"), state, () => [
    ...state.services.map((each) => card(each.service, each.state === "well" ? "well" : "ill",
      each.state.replace("_", " "), servicePairs(each))),
    liveCard(state),
    pagerCard(state),
  ]);
}

function show() {
  const verdict = boardVerdictOf(known.list, known.state, answerAgeMs());
  document.documentElement.dataset.level = verdict.level;
  setText(byId("verdict"), verdict.title);
  setText(byId("detail"), verdict.detail);
  document.title = (verdict.level === "ok" ? "" : verdict.title + " · ") + "What is open now";
  if (known.list === undefined) return;
  setText(byId("as-of"), "As of " + timeText(known.list.at) + ".");
  showIncidents(known.list);
  showState(known.state);
}
async function ask() {
  const get = async (path) => {
    const response = await fetch(path, { signal: AbortSignal.timeout(4000), cache: "no-store" });
    if (!response.ok) throw new Error("status " + response.status);
    return await response.json();
  };
  try {
    const sentMs = performance.now();
    const [list, state] = await Promise.all([get("/v1/incidents"), get("/v1/state")]);
    known.list = list;
    known.state = state;
    known.answeredMs = sentMs;
  } catch {
    // The age of the last answer says so.
  }
  show();
  setTimeout(ask, 2000);
}
setInterval(show, 1000);
ask();
`;

/** The script; the content security policy allows it by its hash. */
export const SCRIPT = `"use strict";\n${PAGE_FUNCTIONS}\n${CODE}`;
