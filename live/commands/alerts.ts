/**
 * `deno task alerts`: what is open now.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { type Alert, isOpen, pagesOncall } from "../../shared/contract/alert.ts";
import { command } from "../../shared/process/cli/command.ts";
import type { Io, Output } from "../../shared/process/cli/io.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { main } from "../../shared/process/cli/run.ts";
import { left, renderTable, right, safeText } from "../../shared/process/cli/table.ts";
import { isExpected, messageOf, Stop } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import { withNats } from "./connections.ts";
import { parsedAlert, readOpenAlerts, type SubjectAlert } from "./open_alerts.ts";

const MINUTE_MS = 60_000;
const RETRY_MS = 1_000;
/** Maximum subjects whose newest alert is remembered while following. */
const MAX_REMEMBERED = 100_000;

/** `deno task alerts`. */
export const alertsTask = command({
  name: "alerts",
  summary: "what is open now, what pages first; then what happens, with --follow",
  details: "Reads the last message of each subject of ALERTS as on-call's own NATS user. NATS is " +
    "TWOFOLD_NATS_URL, or the one that deno task up runs here. With --json an array of alerts, " +
    "and with --follow one alert a line.",
  options: {
    follow: { type: "boolean", about: "then print each alert as it comes, until Ctrl-C" },
    json: { type: "boolean", about: "print JSON" },
  },
  examples: [{ args: [] }, { args: ["--follow"] }, { args: ["--json"] }],
  async run({ follow, json }, io) {
    await withNats({}, async (nc) => {
      try {
        const jsm = await jetstreamManager(nc, { checkAPI: false });
        if (follow) await followAlerts(nc, jsm, io, json);
        else showOpen(await readOpenAlerts(jsm), io.out, json);
      } catch (error) {
        if (isExpected(error)) throw error;
        throw new Stop(`NATS: ${messageOf(error)} (was deno task provision run?)`, {
          cause: error,
        });
      }
    }, "oncall");
    return 0;
  },
});

const COLUMNS = [
  left("pages"),
  left("severity"),
  right("for"),
  right("impaired"),
  left("subject", 60),
  left("what", 120),
];

function showOpen(open: readonly SubjectAlert[], output: Output, json: boolean): void {
  if (json) return output.write(toJson(open.map(({ subject, alert }) => ({ subject, ...alert }))));
  const nowMs = Date.now();
  const rows = open.map(({ subject, alert }) => [
    pagesOncall(alert) ? "yes" : alert.suppressed_by ? "silenced" : "no",
    alert.severity,
    ageText(nowMs - alert.opened_at),
    alert.kind === "incident" ? `${alert.impaired}/${alert.watching}` : "",
    subject,
    alert.summary,
  ]);
  output.line(renderTable(COLUMNS, rows, "nothing is open"));
}

/** Prints what is open, then every alert; ends with the connection. */
async function followAlerts(
  nc: NatsConnection,
  jsm: JetStreamManager,
  { out: output, err }: Io,
  json: boolean,
): Promise<void> {
  const seen = new Map<string, string>();
  const print = ({ subject, alert }: SubjectAlert) => {
    const key = keyOf(alert);
    if (seen.get(subject) === key) return;
    if (seen.size >= MAX_REMEMBERED) seen.clear();
    seen.set(subject, key);
    if (json) output.line(jsonLine({ subject, ...alert }));
    else output.line(alertLine(subject, alert));
  };
  // First, so that nothing falls between what is read and what is heard.
  const subscription = nc.subscribe("alerts.>");
  const open = await readOpenAlerts(jsm);
  if (json) open.forEach(print);
  else {
    showOpen(open, output, false);
    for (const { subject, alert } of open) seen.set(subject, keyOf(alert));
  }
  void catchUpAfterReconnect(nc, jsm, print, (line) => err.line(line));
  for await (const { subject, data } of subscription) {
    const alert = parsedAlert(data);
    if (alert) print({ subject, alert });
    else if (!json) output.line(`${safeText(subject)}: a message that is no alert`);
  }
}

// What was published while the connection was lost is not heard; what is still open is read.
async function catchUpAfterReconnect(
  nc: NatsConnection,
  jsm: JetStreamManager,
  print: (found: SubjectAlert) => void,
  say: (line: string) => void,
): Promise<void> {
  for await (const { type } of nc.status()) {
    if (type === "disconnect") say("NATS is lost: until it is back no alert is heard");
    if (type !== "reconnect") continue;
    say("NATS is back");
    for (let isRead = false; !isRead && !nc.isClosed();) {
      try {
        (await readOpenAlerts(jsm)).forEach(print);
        isRead = true;
      } catch {
        await pause(RETRY_MS);
      }
    }
  }
}

function keyOf(alert: Alert): string {
  return `${alert.incident_id} ${alert.kind === "incident" ? alert.update : ""} ${alert.status}`;
}

function alertLine(subject: string, alert: Alert): string {
  const at = new Date(alert.at).toISOString().replace(/\.\d+Z$/, "Z");
  const what = isOpen(alert) ? `${alert.status} ${alert.severity}` : alert.status;
  return `${at}  ${what.padEnd(15)}  ${safeText(subject)}  ${safeText(alert.summary)}`;
}

/** `value` on one line, with what a terminal could act on escaped. */
function jsonLine(value: unknown): string {
  // Of what is indented, a line break is only between values.
  return toJson(value).replace(/\n */g, "").trimEnd();
}

function ageText(ms: number): string {
  const minutes = Math.floor(Math.max(0, ms) / MINUTE_MS);
  if (minutes < 1) return `${Math.floor(Math.max(0, ms) / 1_000)} s`;
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2_880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1_440)} d`;
}

if (import.meta.main) await main(alertsTask);
