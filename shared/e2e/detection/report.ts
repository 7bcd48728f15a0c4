/**
 * The results as tables for a terminal.
 *
 * Pure.
 *
 * @module
 */
import type { CellName } from "../../../live/watch/cells.ts";
import { left, renderTable, right } from "../../process/cli/table.ts";
import type { HealthyResult, Result, ScenarioResult, Spread } from "./results.ts";
import { detectionTotals } from "./results.ts";

/** The detector of live, as the tables name it. */
export const LIVE = "live";
/** The rule of before. */
export const FIXED = "fixed 5 %";

/** Recall, and seconds to open and close, of steps on one title. */
export function stepsReport(all: readonly ScenarioResult[]): string {
  return renderTable(
    [
      left("step"),
      ...[LIVE, FIXED].flatMap((name) => [
        right(`${name}: recall`),
        right("open s (p95)"),
        right("close s (p95)"),
        right("pages"),
        right("false"),
      ]),
    ],
    all.map(({ scenario, results }) => [
      scenario.name.replace(/^step-(\d+)-of-(\d+)$/, "$1 % of $2 viewers"),
      ...[LIVE, FIXED].flatMap((name) => {
        const result = results.get(name);
        if (!result) return ["", "", "", "", ""];
        return [
          percent(result.found / result.incidents),
          spread(result.open),
          spread(result.close),
          perIncident(result),
          count(result.falsePages),
        ];
      }),
    ]),
    "no steps",
  );
}

/** One row a scenario in which something is wrong. */
export function incidentsReport(all: readonly ScenarioResult[]): string {
  return renderTable(
    [
      left("incident"),
      right("found"),
      right("named"),
      right("pages"),
      right("open s (p95)"),
      right("close s (p95)"),
      right("left open"),
      right("recovered too soon"),
      right("false"),
      right(`${FIXED}: found`),
      right("pages"),
      right("open s (p95)"),
      right("false"),
    ],
    all.map(({ scenario, results }) => {
      const [live, fixed] = [results.get(LIVE), results.get(FIXED)];
      return [
        scenario.name,
        live ? `${live.found}/${live.incidents}` : "",
        live ? `${live.named}/${live.incidents}` : "",
        live ? perIncident(live) : "",
        spread(live?.open),
        spread(live?.close),
        count(live?.leftOpen),
        count(live?.falseRecoveries),
        count(live?.falsePages),
        fixed ? `${fixed.found}/${fixed.incidents}` : "",
        fixed ? perIncident(fixed) : "",
        spread(fixed?.open),
        count(fixed?.falsePages),
      ];
    }),
    "no incidents",
  );
}

/** One row a scenario in which nothing should page. */
export function quietReport(all: readonly ScenarioResult[]): string {
  return renderTable(
    [
      left("quiet"),
      right("false pages"),
      right("pages of blips"),
      right("cold start"),
      right(`${FIXED}: false pages`),
      right("pages of blips"),
      right("cold start"),
    ],
    all.map(({ scenario, results }) => [
      scenario.name,
      ...[LIVE, FIXED].flatMap((name) => {
        const result = results.get(name);
        return [count(result?.falsePages), count(result?.optionalPages), count(result?.coldPages)];
      }),
    ]),
    "no quiet scenarios",
  );
}

/** False pages of the healthy run. */
export function healthyReport(all: readonly HealthyResult[]): string {
  return renderTable(
    [
      left("healthy"),
      left("detector"),
      right("hours"),
      right("wall s"),
      right("viewers"),
      right("keys"),
      right("with viewers"),
      right("with 5"),
      right("false pages"),
      right("a day and 100,000 keys"),
      right("95 % bound"),
      right("with viewers"),
      right("95 % bound"),
    ],
    all.map((each) => [
      each.world,
      each.name,
      each.hours.toFixed(1),
      whole(each.wallMs / 1_000),
      whole(each.viewers),
      whole(each.catalogueKeys),
      whole(each.activeKeys),
      whole(each.keysOfFive),
      whole(each.falsePages),
      each.perDay.toFixed(2),
      each.perDayUpper.toFixed(2),
      each.perDayActive.toFixed(2),
      each.perDayActiveUpper.toFixed(2),
    ]),
    "no healthy run",
  );
}

/** Precision and recall over all scenarios. */
export function totalsReport(all: readonly ScenarioResult[]): string {
  return renderTable(
    [left("all scenarios"), right("precision"), right("recall"), right("false pages")],
    [LIVE, FIXED].map((name) => {
      const { precision, recall, falsePages } = detectionTotals(all, name);
      return [name, percent(precision), percent(recall), whole(falsePages)];
    }),
  );
}

/** The first false pages of the live detector, one line each. */
export function falsePagesReport(
  all: readonly ScenarioResult[],
  healthy: readonly HealthyResult[],
): string {
  const examples = [
    ...all.map(({ scenario, results }) => ({ name: scenario.name, of: results.get(LIVE) })),
    ...healthy.filter(({ name }) => name === LIVE).map((of) => ({ name: "healthy", of })),
  ];
  return renderTable(
    [
      left("false page in"),
      right("seed"),
      right("at s"),
      left("signal"),
      left("cell", 60),
      right("impaired"),
      right("baseline"),
    ],
    examples.flatMap(({ name, of }) =>
      (of?.examples ?? []).map((each) => [
        name,
        String(each.seed),
        String(each.atMs / 1_000),
        each.signal,
        cellText(each.cell),
        `${each.impaired} of ${each.watching}`,
        percent(each.baseline),
      ])
    ),
    "no false pages",
  );
}

function cellText({ kind, ...dimensions }: CellName): string {
  return [kind, ...Object.values(dimensions)].join(" ");
}

function percent(share: number): string {
  return Number.isNaN(share) ? "" : `${(share * 100).toFixed(share < 0.1 && share > 0 ? 1 : 0)} %`;
}

function spread(of: Spread | undefined): string {
  return of ? `${Math.round(of.medianMs / 1_000)} (${Math.round(of.p95Ms / 1_000)})` : "";
}

function perIncident({ pagesPerIncident }: Result): string {
  return pagesPerIncident.toFixed(pagesPerIncident < 10 ? 1 : 0);
}

function count(value: number | undefined): string {
  return value === undefined ? "" : whole(value);
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
