/**
 * `deno task royalty audit`.
 *
 * @module
 */
import { command } from "../../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../../shared/process/cli/declaration.ts";
import type { Io } from "../../../shared/process/cli/io.ts";
import { Misuse } from "../../../shared/process/cli/misuse.ts";
import { day, integer, matching } from "../../../shared/process/cli/parsers.ts";
import { Refused } from "../../../shared/process/errors.ts";
import { toJson } from "../../../shared/process/cli/json_output.ts";
import { progress } from "../../../shared/process/cli/progress.ts";
import { type Audit, type AuditedDay, auditOf, isKnown } from "../../audit/audit.ts";
import { auditFacts, auditText } from "../../audit/audit_report.ts";
import { readAuditedDay } from "../../audit/audited_day.ts";
import {
  addsUp,
  type LineFilter,
  matchingLines,
  type Trace,
  type TracedLine,
} from "../../audit/trace.ts";
import { traceLines } from "../../audit/trace_raw.ts";
import { traceFacts, traceText } from "../../audit/trace_report.ts";
import { readAccounts } from "../../books/accounts.ts";
import { withBooks, withRawStreams } from "../connections.ts";

const DEFAULT_MAX_EVENTS = 100;
/** Ids are sent by devices, so any text may be one. */
const anyText = matching(/./s, "an id");

/** `deno task royalty audit`: audits a day, and traces lines to their heartbeats. */
export const auditCommand = command({
  name: "audit",
  summary: "check that every sequence of a day has an outcome and the statement is their sum",
  details:
    "With --title, also lists the heartbeats that the lines of a title are the sum of, by id and " +
    "sequence; this needs NATS, as royalty or auditor. Exits 1 on any disagreement.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    title: { type: "string", value: "ID", about: "the title to trace", parser: anyText },
    territory: {
      type: "string",
      value: "T",
      about: "trace only lines of this territory",
      parser: anyText,
    },
    eventDay: {
      type: "string",
      value: "YYYY-MM-DD",
      about: "trace only lines watched on this day",
      parser: day(),
    },
    limit: {
      type: "string",
      value: "N",
      about: "maximum heartbeats shown",
      parser: integer(1),
      absent: String(DEFAULT_MAX_EVENTS),
    },
    json: JSON_OPTION,
  },
  examples: [
    { args: ["--day", "2026-11-23"] },
    { args: ["--day", "2026-11-23", "--title", "title-1", "--territory", "de"] },
  ],
  async run({ day, title, territory, eventDay, limit, json }, io) {
    const traceOptions = { territory, eventDay, limit };
    if (title === undefined && Object.values(traceOptions).some((each) => each !== undefined)) {
      throw new Misuse("--title ID is missing; --territory, --event-day and --limit narrow it");
    }
    const { audited, audit } = await auditDay(day);
    if (!json) io.out.line(auditText(audited, audit));
    const filter = title === undefined ? undefined : { day, titleId: title, territory, eventDay };
    const traced = filter && await traceTitle(filter, audit, limit ?? DEFAULT_MAX_EVENTS, io);
    if (json) {
      const trace = traced && traceFacts(traced.trace, traced.lines);
      io.out.write(toJson({ ...auditFacts(audited, audit), trace }));
    } else if (traced) io.out.line(`\n${traceText(traced.trace, traced.lines)}`);
    const isTraced = traced === undefined || addsUp(traced.trace, traced.lines);
    return audit.disagreements.length === 0 && isTraced ? 0 : 1;
  },
});

interface Audited {
  readonly audited: AuditedDay;
  readonly audit: Audit;
}

async function auditDay(day: string): Promise<Audited> {
  return await withBooks(async (sql) => {
    const audited = await readAuditedDay(sql, day);
    if (!isKnown(audited)) throw new Refused(unknownDayText(audited));
    return { audited, audit: auditOf(audited, (await readAccounts(sql)).disagreements) };
  });
}

interface Traced {
  readonly trace: Trace;
  readonly lines: readonly TracedLine[];
}

async function traceTitle(
  filter: LineFilter,
  audit: Audit,
  limit: number,
  io: Io,
): Promise<Traced> {
  const lines = matchingLines(audit.lines, filter);
  if (lines.length === 0) throw new Refused(noLineText(filter));
  using shown = progress("sequences", undefined, { to: io.err });
  const trace = await withRawStreams((options) =>
    traceLines(filter, lines, limit, { ...options, onProgress: shown.at })
  );
  return { trace, lines: trace.against(lines) };
}

function noLineText({ day, titleId, territory, eventDay }: LineFilter): string {
  const where = territory === undefined ? "" : ` in ${territory}`;
  const when = eventDay === undefined ? "" : ` watched on ${eventDay}`;
  return `no line of title ${titleId}${where}${when} is recognised on ${day}`;
}

function unknownDayText({ day, known }: AuditedDay): string {
  const others = known
    ? `the books have days from ${known.first} to ${known.last}`
    : "the books are empty";
  return `${day} has no statement and no credits; ${others}`;
}
