/**
 * `deno task royalty audit`.
 *
 * @module
 */
import { Refused } from "../../shared/process/errors.ts";
import { type Audit, type AuditedDay, auditOf, auditText, isKnown } from "../audit/audit.ts";
import { readAuditedDay } from "../audit/audited_day.ts";
import { isDay } from "../statement/business_day.ts";
import { withRawStreams } from "./with_raw_streams.ts";
import {
  type Arguments,
  type Command,
  Misuse,
  readArguments,
  required,
  requiredDay,
  wholeNumberFlag,
  withBooks,
} from "./command.ts";
import { readAccounts } from "../books/accounts.ts";
import { addsUp, linesOf, traceText, type Wanted } from "../audit/trace.ts";
import { traceLines } from "../audit/trace_raw.ts";

const NARROWING = ["--territory", "--event-day", "--limit"];
const DEFAULT_LIMIT = 100;

export const auditCommand: Command = {
  name: "audit",
  usage: `audit --day YYYY-MM-DD [--title ID [--territory T] [--event-day YYYY-MM-DD] [--limit N]]
whether every sequence of the day has an outcome and the statement is their sum; with --title,
the heartbeats that the lines of a title are the sum of, by id and sequence (needs NATS, as
royalty or auditor). Exits 1 when something does not agree`,
  async run(args) {
    const given = readArguments("audit", args, { valued: ["--day", "--title", ...NARROWING] });
    const day = requiredDay(given);
    const wanted = wantedLines(given, day);
    const limit = wholeNumberFlag(given, "--limit") ?? DEFAULT_LIMIT;
    const { audited, audit } = await withBooks(async (sql) => {
      const audited = await readAuditedDay(sql, day);
      if (!isKnown(audited)) throw new Refused(unknownText(audited));
      return { audited, audit: auditOf(audited, (await readAccounts(sql)).disagreements) };
    });
    console.log(auditText(audited, audit));
    const isComplete = audit.disagreements.length === 0;
    const isTraced = wanted === undefined || await traceWanted(wanted, audit, limit);
    return isComplete && isTraced ? 0 : 1;
  },
};

function wantedLines(given: Arguments, day: string): Wanted | undefined {
  const { flags } = given;
  if (!flags.has("--title") && !NARROWING.some((flag) => flags.has(flag))) return undefined;
  const eventDay = flags.get("--event-day");
  if (eventDay !== undefined && !isDay(eventDay)) {
    throw new Misuse(`--event-day ${eventDay} is not a day; write it YYYY-MM-DD`);
  }
  const titleId = required(given, "--title", "ID");
  return { day, titleId, territory: flags.get("--territory"), eventDay };
}

async function traceWanted(wanted: Wanted, audit: Audit, limit: number): Promise<boolean> {
  const lines = linesOf(audit.lines, wanted);
  if (lines.length === 0) throw new Refused(noLineText(wanted));
  const trace = await withRawStreams((options) => traceLines(wanted, lines, limit, options));
  const traced = trace.against(lines);
  console.log(`\n${traceText(trace, traced)}`);
  return addsUp(trace, traced);
}

function noLineText({ day, titleId, territory, eventDay }: Wanted): string {
  const where = territory === undefined ? "" : ` in ${territory}`;
  const when = eventDay === undefined ? "" : ` watched on ${eventDay}`;
  return `no line of title ${titleId}${where}${when} is recognised on ${day}`;
}

function unknownText({ day, known }: AuditedDay): string {
  const others = known
    ? `the books have days from ${known.first} to ${known.last}`
    : "the books are empty";
  return `${day} has no statement and no credits; ${others}`;
}
