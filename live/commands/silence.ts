/**
 * `deno task live silence`, `silences` and `unsilence`: which alerts do not page.
 *
 * @module
 */
import type { JetStreamManager } from "nats/jetstream";
import { SILENCES } from "../../shared/contract/topology.ts";
import { agreedMs, agreementOf } from "../../shared/process/clock/agreement.ts";
import { readClock, streamClock } from "../../shared/process/clock/clocks.ts";
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION, type Parser } from "../../shared/process/cli/declaration.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { Misuse } from "../../shared/process/cli/misuse.ts";
import { instant, matching, text } from "../../shared/process/cli/parsers.ts";
import { left, renderTable } from "../../shared/process/cli/table.ts";
import { Stop } from "../../shared/process/errors.ts";
import {
  isAlertPattern,
  MAX_SILENCE_MS,
  type Silence,
  silenceState,
} from "../incidents/silence.ts";
import { readSilences, writeSilence } from "../incidents/silences.ts";
import { withStreams } from "./connections.ts";

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const ID_CHARS = 8;

/** A duration such as `90m`; in ms. */
function duration(): Parser<number> {
  return {
    parse: (given) => {
      const [, digits, unit] = /^(\d{1,6})([smhd])$/.exec(given) ?? [];
      const ms = Number(digits) * UNIT_MS[unit as keyof typeof UNIT_MS];
      if (ms > 0 && ms <= MAX_SILENCE_MS) return ms;
      throw new Misuse("is not a duration of at most 30 days; write it like 90m, 2h or 1d");
    },
  };
}

/** A pattern of subjects of alerts. */
function alertPattern(): Parser<string> {
  return {
    parse: (given) => {
      if (isAlertPattern(given)) return given;
      throw new Misuse("is not a pattern of alerts; write it like 'alerts.rebuffer.de.*'");
    },
  };
}

const PERSON_OPTION = {
  type: "string",
  value: "PERSON",
  about: "who answers for it",
  parser: text(100),
  required: true,
} as const;

/** Adds a silence. */
export const silenceCommand = command({
  name: "silence",
  summary: "keep alerts from paging for a while: a silence, or a planned maintenance window",
  details: "Alerts are still published; they say suppressed_by and do not page. An incident that " +
    "goes on when the silence ends pages then. Live follows within seconds.",
  options: {
    subject: {
      type: "string",
      value: "PATTERN",
      about: "subjects of the alerts, with * for a token and > for the rest",
      parser: alertPattern(),
      required: true,
    },
    for: { type: "string", value: "DURATION", about: "how long", parser: duration() },
    until: { type: "string", value: "INSTANT", about: "when it ends", parser: instant() },
    from: {
      type: "string",
      value: "INSTANT",
      about: "when it begins",
      parser: instant(),
      absent: "now",
    },
    by: PERSON_OPTION,
    reason: { type: "string", value: "REASON", about: "why", parser: text(200), required: true },
    json: JSON_OPTION,
  },
  examples: [
    {
      args: ["--subject", "alerts.*.de.>", "--for", "2h", "--by", "ada", "--reason", "CDN upgrade"],
      about: "silence a region",
    },
    {
      args: [
        ...["--subject", "alerts.cohort.*.build.9%2E2", "--from", "2026-11-26T01:00:00Z"],
        ...["--until", "2026-11-26T03:00:00Z", "--by", "ada", "--reason", "rollback of 9.2"],
      ],
      about: "plan a maintenance window for a build",
    },
  ],
  async run({ subject, for: lasting, until: end, from, by, reason, json }, io) {
    const nowMs = Date.now();
    const startMs = from ?? nowMs;
    if ((lasting === undefined) === (end === undefined)) {
      throw new Misuse("give either --for DURATION or --until INSTANT");
    }
    const until = end ?? startMs + (lasting ?? 0);
    if (until <= Math.max(nowMs, startMs)) throw new Misuse("it would be over already");
    if (until - startMs > MAX_SILENCE_MS) throw new Misuse("it would last more than 30 days");
    const id = crypto.randomUUID().slice(0, ID_CHARS);
    const silence: Silence = {
      v: 1,
      id,
      subject,
      from: startMs,
      until,
      by,
      reason,
      created_at: nowMs,
    };
    await withStreams(async (jsm) => {
      await checkClock(jsm);
      await writeSilence(jsm, silence);
    });
    if (json) io.out.write(toJson(silence));
    else {
      io.out.line(`${id}: ${subject} does not page until ${instantText(until)}`);
      io.out.line(`end it with deno task live unsilence ${id} --by PERSON`);
    }
    return 0;
  },
});

const COLUMNS = [
  ...[left("id"), left("state"), left("subject", 60), left("from"), left("until"), left("by", 30)],
  left("reason", 60),
];

/** Lists silences. */
export const silencesCommand = command({
  name: "silences",
  summary: "list silences and maintenance windows, the one that ends last first",
  options: {
    all: { type: "boolean", about: "show those that are over, too" },
    json: JSON_OPTION,
  },
  examples: [{ args: [] }, { args: ["--all", "--json"] }],
  async run({ all, json }, io) {
    const nowMs = Date.now();
    const { silences, unreadable } = await withStreams(readSilences);
    const rows = silences.map((silence) => ({ ...silence, state: silenceState(silence, nowMs) }))
      .filter(({ state }) => all || state !== "over")
      .sort((a, b) => b.until - a.until);
    for (const subject of unreadable) io.err.line(`${subject} is not a silence`);
    if (json) io.out.write(toJson(rows));
    else {
      const cells = rows.map(({ id, state, subject, from, until, by, reason }) => [
        ...[id, state, subject, instantText(from), instantText(until), by, reason],
      ]);
      io.out.line(renderTable(COLUMNS, cells, all ? "there was none" : "nothing is silenced"));
    }
    return 0;
  },
});

/** Ends a silence. */
export const unsilenceCommand = command({
  name: "unsilence",
  summary: "end a silence now",
  details: "It stays listed with --all. Incidents that it suppressed page if they still go on.",
  positionals: [{
    name: "id",
    about: "id of the silence",
    parser: matching(/^[a-z0-9-]{1,64}$/, "an id of a silence; see deno task live silences"),
    required: true,
  }],
  options: {
    by: PERSON_OPTION,
  },
  examples: [{ args: ["1a2b3c4d", "--by", "ada"] }],
  async run({ id, by }, io) {
    const nowMs = Date.now();
    await withStreams(async (jsm) => {
      await checkClock(jsm);
      const { silences } = await readSilences(jsm);
      const silence = silences.find((each) => each.id === id);
      if (silence === undefined || silenceState(silence, nowMs) === "over") {
        throw new Stop(`no silence ${id} is active or planned; see deno task live silences`);
      }
      const from = Math.min(silence.from, nowMs);
      await writeSilence(jsm, { ...silence, from, until: nowMs, ended_by: by });
    });
    io.out.line(`${id} is over`);
    return 0;
  },
});

/** Rejects with `Refused` when the clock here is not that of NATS, by which silences are in force. */
async function checkClock(jsm: JetStreamManager): Promise<void> {
  const reading = await readClock(SILENCES, streamClock(jsm, SILENCES), Date.now);
  agreedMs(agreementOf([reading], Date.now()));
}

function instantText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
