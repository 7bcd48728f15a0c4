/**
 * The report of a trace, as text and as JSON.
 *
 * Pure.
 *
 * @module
 */
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import { lineType } from "../statement/statement_csv.ts";
import { addsUp, lineAddsUp, type Trace, type TracedEvent, type TracedLine } from "./trace.ts";

const EVENT_COLUMNS = [
  left("event_id"),
  right("stream"),
  right("sequence"),
  right("index"),
  right("ts"),
  right("played_ms"),
  right("territory"),
  right("event_day"),
  right("outcome"),
];
const LINE_COLUMNS = [
  left("line type"),
  right("event_day"),
  right("territory"),
  right("events"),
  right("found"),
  right("ms_watched"),
  right("found"),
  right(""),
];

/** The report as text; the last line is the verdict. */
export function traceText(trace: Trace, lines: readonly TracedLine[]): string {
  const { events, outcomes } = trace;
  const rest = tracedCount(trace) - events.length;
  return [
    renderTable(EVENT_COLUMNS, events.map(eventRow)),
    ...(rest > 0 ? [`… and ${rest} more; --limit N shows N`] : []),
    "",
    Object.entries(outcomes).map(([outcome, count]) => `${outcome} ${count}`).join(", "),
    "",
    renderTable(LINE_COLUMNS, lines.map(lineRow)),
    "",
    addsUp(trace, lines)
      ? "every line is the sum of its heartbeats"
      : "the lines are NOT the sum of their heartbeats",
  ].join("\n");
}

/** The report for `toJson`. */
export function traceFacts(trace: Trace, lines: readonly TracedLine[]) {
  const { filter, events, outcomes } = trace;
  return {
    titleId: filter.titleId,
    territory: filter.territory,
    eventDay: filter.eventDay,
    addsUp: addsUp(trace, lines),
    outcomes,
    lines: lines.map((line) => ({
      lineType: lineType(line.booked),
      eventDay: line.booked.eventDay,
      territory: line.booked.territory,
      events: line.booked.events,
      eventsFound: line.events,
      msWatched: line.booked.msWatched,
      msFound: line.msWatched,
      equal: lineAddsUp(line),
    })),
    heartbeatsFound: tracedCount(trace),
    heartbeats: events.map(({ ts, outcome, ...event }) => ({ ...event, tsMs: ts, outcome })),
  };
}

function tracedCount({ outcomes }: Trace): number {
  return Object.values(outcomes).reduce((sum, count) => sum + count, 0);
}

function eventRow(event: TracedEvent): string[] {
  const { eventId, stream, sequence, index, ts, playedMs, territory, eventDay, outcome } = event;
  const address = [stream, String(sequence), String(index)];
  const at = new Date(ts).toISOString();
  return [eventId, ...address, at, String(playedMs), territory, eventDay, outcome];
}

function lineRow(line: TracedLine): string[] {
  const { booked, events, msWatched } = line;
  return [
    lineType(booked),
    booked.eventDay,
    booked.territory,
    String(booked.events),
    String(events),
    String(booked.msWatched),
    String(msWatched),
    lineAddsUp(line) ? "equal" : "DIFFERS",
  ];
}
