/**
 * How good the detector is: `deno task bench detection [--scenario NAME] [--seeds N] [--json]`.
 *
 * Labelled worlds go through live's detector and through the fixed threshold that it replaces, as
 * heartbeats in the order of receipt, in simulated time and without a server. A page is a decision
 * to open. A page is right while something is wrong and for 90 s after, if it is about people that
 * the fault may hit; every other page is false. Worlds are calibrated as in `shared/e2e/worlds/calibration.ts`.
 *
 * @module
 */
import { command } from "../../process/cli/command.ts";
import { Misuse } from "../../process/cli/misuse.ts";
import { toJson } from "../../process/cli/json_output.ts";
import { type OnProgress, progress } from "../../process/cli/progress.ts";
import { main } from "../../process/cli/run.ts";
import { contenders } from "./contenders.ts";
import { INCIDENT_SCENARIOS } from "./incident_scenarios.ts";
import { DETECTION_OPTIONS } from "./options.ts";
import { HEALTHY_KEYS, HEALTHY_WORLDS, healthyTrial, QUIET_SCENARIOS } from "./quiet_scenarios.ts";
import {
  falsePagesReport,
  FIXED,
  healthyReport,
  incidentsReport,
  LIVE,
  quietReport,
  stepsReport,
  totalsReport,
} from "./report.ts";
import {
  detectionTotals,
  type HealthyResult,
  healthyResult,
  resultOf,
  type ScenarioResult,
} from "./results.ts";
import { type DetectionScenario, STEP_SCENARIOS } from "./scenarios.ts";
import { type Score, scoreOf } from "./score.ts";
import { runTrial, type Trial } from "./trial.ts";

const SCENARIOS = [...STEP_SCENARIOS, ...INCIDENT_SCENARIOS, ...QUIET_SCENARIOS];
const HEALTHY = "healthy";
/** The fixed threshold pages so often that an hour is enough to count. */
const FIXED_HOURS = 1;
const SHORT_HOURS = 0.3;
const FULL_HOURS = 24;
const VIEWERS = 20_000;
const FULL_FACTOR = 5;

/** The bench. */
export const detectionBench = command({
  name: "detection",
  summary: "quality of the detector on labelled worlds, against a fixed threshold",
  options: DETECTION_OPTIONS,
  examples: [{ args: [] }, { args: ["--scenario", "region", "--seeds", "5"] }, {
    args: ["--full", "--json"],
  }],
  run({ scenario = "", seeds, hours, viewers = VIEWERS, full, json }, io) {
    const chosen = SCENARIOS.filter(({ name }) => name.startsWith(scenario));
    const isHealthy = HEALTHY.startsWith(scenario);
    if (chosen.length === 0 && !isHealthy) {
      const names = [...SCENARIOS.map(({ name }) => name), HEALTHY].join(", ");
      throw new Misuse(`--scenario ${scenario} begins no name of ${names}`);
    }
    using shown = progress("simulated seconds");
    const bench = new Bench(shown.at);
    for (const each of chosen) {
      bench.runScenario(each, seeds ?? each.worlds * (full ? FULL_FACTOR : 1));
    }
    if (isHealthy) bench.runHealthy(hours ?? (full ? FULL_HOURS : SHORT_HOURS), viewers);
    shown.end();
    io.out.write(json ? toJson(bench.asJson()) : `${bench.asText()}\n`);
    return 0;
  },
});

/** Runs worlds, and keeps what came of them and how long it took. */
class Bench {
  readonly scenarios: ScenarioResult[] = [];
  readonly healthy: HealthyResult[] = [];
  readonly #startMs = performance.now();
  readonly #cost = new Map<string, { busyMs: number; slowestTickMs: number; heartbeats: number }>();
  #seconds = 0;
  #heartbeats = 0;

  constructor(readonly onProgress: OnProgress) {}

  runScenario(scenario: DetectionScenario, worlds: number): void {
    const scores = new Map<string, Map<number, Score>>();
    for (let seed = 1; seed <= worlds; seed++) {
      for (const [name, score] of this.#run(scenario.trial(seed)).scores) {
        scores.set(name, (scores.get(name) ?? new Map<number, Score>()).set(seed, score));
      }
    }
    const results = new Map([...scores].map(([name, each]) => [name, resultOf(each)]));
    this.scenarios.push({ scenario, results });
  }

  /** Runs healthy worlds for `hours`; the fixed threshold only for the first. */
  runHealthy(hours: number, viewers: number): void {
    for (const world of HEALTHY_WORLDS) {
      const isShort = hours <= FIXED_HOURS;
      this.#runHealthyWorld(world, hours, viewers, isShort ? [LIVE, FIXED] : [LIVE]);
      if (!isShort) this.#runHealthyWorld(world, FIXED_HOURS, viewers, [FIXED]);
    }
  }

  #runHealthyWorld(
    world: typeof HEALTHY_WORLDS[number],
    hours: number,
    viewers: number,
    names: readonly string[],
  ): void {
    const { outcome, scores } = this.#run(healthyTrial(world, hours, viewers), names);
    for (const [name, score] of scores) {
      const size = {
        hours,
        catalogueKeys: HEALTHY_KEYS,
        activeKeys: outcome.keys,
        keysOfFive: outcome.keysOfFive,
        viewers: outcome.viewers,
        wallMs: Math.round(outcome.wallMs),
      };
      this.healthy.push(healthyResult({ world, name }, size, score));
    }
  }

  #run(trial: Trial, names: readonly string[] = [LIVE, FIXED]) {
    const outcome = runTrial(trial, contenders(names), () => this.onProgress(++this.#seconds));
    this.#heartbeats += outcome.heartbeats;
    for (const [name, heard] of outcome.heard) {
      const cost = this.#cost.get(name) ?? { busyMs: 0, slowestTickMs: 0, heartbeats: 0 };
      this.#cost.set(name, {
        busyMs: cost.busyMs + heard.busyMs,
        slowestTickMs: Math.max(cost.slowestTickMs, heard.slowestTickMs),
        heartbeats: cost.heartbeats + outcome.heartbeats,
      });
    }
    const scores = new Map(
      [...outcome.heard].map(([name, heard]) => [name, scoreOf(trial, heard)]),
    );
    return { outcome, scores };
  }

  asText(): string {
    const part = (name: DetectionScenario["part"]) =>
      this.scenarios.filter(({ scenario }) => scenario.part === name);
    return [
      ...[stepsReport(part("steps")), incidentsReport(part("incidents"))],
      ...[quietReport(part("quiet")), healthyReport(this.healthy), totalsReport(this.scenarios)],
      ...[falsePagesReport(this.scenarios, this.healthy), this.#costText()],
    ].join("\n\n");
  }

  #costText(): string {
    const seconds = (performance.now() - this.#startMs) / 1_000;
    const each = [...this.#cost].map(([name, { busyMs, slowestTickMs, heartbeats }]) =>
      `${name} ${(busyMs * 1_000 / heartbeats).toFixed(2)} µs a heartbeat with its ticks, ` +
      `slowest tick ${slowestTickMs.toFixed(0)} ms`
    );
    const millions = (this.#heartbeats / 1e6).toFixed(1);
    return `${millions} million heartbeats in ${seconds.toFixed(0)} s; ${each.join("; ")}`;
  }

  asJson(): unknown {
    return {
      scenarios: this.scenarios.map(({ scenario: { name, about, part }, results }) => ({
        name,
        about,
        part,
        results,
      })),
      healthy: this.healthy,
      totals: new Map([LIVE, FIXED].map((name) => [name, detectionTotals(this.scenarios, name)])),
      cost: this.#cost,
      heartbeats: this.#heartbeats,
      wallMs: Math.round(performance.now() - this.#startMs),
    };
  }
}

if (import.meta.main) await main(detectionBench);
