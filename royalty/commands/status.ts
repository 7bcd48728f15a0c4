/**
 * `deno task royalty status`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import { type Account, type Accounts, readAccounts } from "../books/accounts.ts";
import { lagOf } from "../raw/stream_ends.ts";
import { queryNats, withBooks } from "./connections.ts";

/** `deno task royalty status`: shows the account of each stream. */
export const statusCommand = command({
  name: "status",
  summary: "show the account of each stream; exits 1 when the books do not balance",
  details: "The lag needs NATS, as royalty or auditor; without NATS it is shown as unknown.",
  options: { json: JSON_OPTION },
  examples: [{ args: [] }, { args: ["--json"], about: "for a program" }],
  async run({ json }, io) {
    const [accounts, lag] = await Promise.all([withBooks(readAccounts), queryNats(lagOf)]);
    if (json) io.out.write(toJson(statusFacts(accounts, lag)));
    else io.out.line(statusText(accounts, lag));
    return accounts.disagreements.length === 0 ? 0 : 1;
  },
});

/** Lag by stream, or the reason why it is unknown. */
type Lag = ReadonlyMap<string, number> | string;

const COLUMNS = [
  left("stream"),
  right("last_seq"),
  right("events"),
  right("counted"),
  right("duplicates"),
  right("quarantined"),
  right("canaries"),
  right("gaps"),
  right("identity"),
  right("lag"),
];

/** A table with a line per stream, then every disagreement. */
function statusText({ streams, disagreements }: Accounts, lag: Lag): string {
  const creditedMs = streams.reduce((sum, each) => sum + each.creditedMs, 0n);
  return [
    renderTable(COLUMNS, streams.map((account) => cells(account, lag))),
    "",
    `credited ${creditedMs} ms`,
    ...(typeof lag === "string" ? [`lag unknown: ${lag}`] : []),
    "events = counted + duplicates + quarantined + canaries; gaps are lost messages",
    ...disagreements.map((line) => `DISAGREES  ${line}`),
    disagreements.length === 0 ? "the books balance" : "the books do NOT balance",
  ].join("\n");
}

function cells(account: Account, lag: Lag): string[] {
  const { stream, lastSeq, events, counted, duplicates, quarantined, canaries, gaps } = account;
  return [
    stream,
    ...[lastSeq, events, counted, duplicates, quarantined, canaries, gaps].map(String),
    account.identityHolds ? "yes" : "NO",
    String(lagOfStream(stream, lag) ?? "?"),
  ];
}

function lagOfStream(stream: string, lag: Lag): number | null {
  return typeof lag === "string" ? null : lag.get(stream) ?? null;
}

/** The same as JSON. */
function statusFacts({ streams, disagreements }: Accounts, lag: Lag) {
  return {
    balanced: disagreements.length === 0,
    disagreements,
    streams: streams.map(({ lastReceivedAtMs: _, ...account }) => ({
      ...account,
      lag: lagOfStream(account.stream, lag),
    })),
  };
}
