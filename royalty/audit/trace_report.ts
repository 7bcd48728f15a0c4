/**
 * A trace as people and as programs read it.
 *
 * Pure.
 *
 * @module
 */
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import { lineType } from "../statement/csv.ts";
import { addsUp, lineAddsUp, type Trace, type TracedEvent, type TracedLine } from "./trace.ts";

const EVENT_COLUMNS = [
  left("event_id"),
  right("stream"),
  right("sequence"),
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

/** The trace for a person; the last line is the verdict. */
export function traceText(trace: Trace, lines: readonly TracedLine[]): string {
  const { events, fates } = trace;
  const rest = tracedCount(trace) - events.length;
  return [
    renderTable(EVENT_COLUMNS, events.map(eventRow)),
    ...(rest > 0 ? [`… and ${rest} more; --limit N shows N`] : []),
    "",
    Object.entries(fates).map(([fate, count]) => `${fate} ${count}`).join(", "),
    "",
    renderTable(LINE_COLUMNS, lines.map(lineRow)),
    "",
    addsUp(trace, lines)
      ? "every line is the sum of its heartbeats"
      : "the lines are NOT the sum of their heartbeats",
  ].join("\n");
}

/** The same for a program; `toJson` takes it. */
export function traceFacts(trace: Trace, lines: readonly TracedLine[]) {
  const { wanted, events, fates } = trace;
  return {
    titleId: wanted.titleId,
    territory: wanted.territory,
    eventDay: wanted.eventDay,
    addsUp: addsUp(trace, lines),
    outcomes: fates,
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
    heartbeats: events.map(({ ts, fate, ...event }) => ({ ...event, tsMs: ts, outcome: fate })),
  };
}

function tracedCount({ fates }: Trace): number {
  return Object.values(fates).reduce((sum, count) => sum + count, 0);
}

function eventRow(event: TracedEvent): string[] {
  const { eventId, stream, sequence, ts, playedMs, territory, eventDay, fate } = event;
  const at = new Date(ts).toISOString();
  return [eventId, stream, String(sequence), at, String(playedMs), territory, eventDay, fate];
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
