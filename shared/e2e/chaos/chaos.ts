/**
 * `deno task chaos`: the whole pipeline under a seeded schedule of faults, several at once, with
 * load, incidents and closes of days in between, and a verdict.
 *
 * @module
 */
import { PageWebhook } from "../../dev/demo/page_webhook.ts";
import { runScenario, type Scenario, SCENARIO_OPTIONS } from "../../dev/demo/scenario.ts";
import type { Tick } from "../../dev/fleet/player.ts";
import { DEFAULT_SIMULATION, type IncidentOptions, Simulator } from "../../dev/fleet/simulator.ts";
import { command } from "../../process/cli/command.ts";
import { numberWithin, oneOf } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { messageOf, Stop } from "../../process/errors.ts";
import { NatsDisks } from "./disks.ts";
import { FaultRunner } from "./fault_runner.ts";
import { ProxyLinks } from "./links.ts";
import { type ChaosIncident, ROUND_MS, scheduleOf } from "./schedule.ts";

/** Short, so that a run has many retries after the duplicate window. */
const DUPLICATE_WINDOW_MS = 5_000;
/** Share of the time that the viewers of a failing CDN stall. */
const STALL_RATIO = 0.6;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** So many requests that those which hang at a fault do not keep the others from being sent. */
const DEVICES = { concurrency: 128, timeoutMs: 5_000 };
/** Devices that upload what they played days ago. */
const OFFLINE_SESSIONS = 200;

/** `deno task chaos`. */
export const chaosTask = command({
  name: "chaos",
  summary: "the whole pipeline under seeded faults, several at once, and a verdict",
  details: "Kills, freezes and restarts processes and servers, takes their file descriptors, " +
    "cuts, resets, slows and half-opens the links between them, fills disks and streams, and " +
    "isolates NATS servers, in rounds of " +
    `${ROUND_MS / 1_000} s, while devices send, a CDN fails and days are closed. Every ` +
    "acknowledged event must be in the statements once or in the quarantine, every incident " +
    "paged within 15 s of service, every outage of more than 20 s paged, and all be healthy at " +
    "the end. Exits 1 when a check of the verdict fails.",
  options: {
    minutes: {
      type: "string",
      value: "M",
      about: "length of the run, 0.75 to 120; whole rounds",
      parser: numberWithin(0.75, 120),
      default: "3",
    },
    nodes: {
      type: "string",
      value: "N",
      about: "servers of NATS, 1 or 3",
      parser: oneOf("1", "3"),
      default: "1",
    },
    ...SCENARIO_OPTIONS,
  },
  examples: [
    { args: ["--seed", "7", "--minutes", "3"] },
    { args: ["--seed", "7", "--minutes", "30", "--nodes", "3", "--json"] },
  ],
  async run({ minutes, nodes, seed, report, json }, io) {
    const schedule = scheduleOf(seed, Math.floor(minutes * MINUTE_MS / ROUND_MS), Number(nodes));
    await using webhook = new PageWebhook();
    using links = new ProxyLinks();
    await using disks = await NatsDisks.mount(schedule.nodes);
    if (!disks) io.err.line("no right to mount disks: on a full one, files of NATS do not grow");
    using chaos = new FaultRunner(schedule, webhook, links, disks);
    const scenario = scenarioOf(chaos, seed);
    try {
      return await runScenario(scenario, { report, json }, io);
    } catch (error) {
      throw new Stop(`seed ${seed}: ${messageOf(error)}`, { cause: error });
    }
  },
});

function scenarioOf(chaos: FaultRunner, seed: number): Scenario {
  const { schedule: { nodes, durationMs, incidents, closesAtMs }, webhook, links, disks } = chaos;
  return {
    seed,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    pipeline: {
      hasCanary: true,
      natsNodes: nodes,
      ...(disks ? { natsDisks: disks.disks } : {}),
      pagers: 2,
      links,
      receivers: [webhook.host],
      provision: { TWOFOLD_DUPLICATE_WINDOW_MS: String(DUPLICATE_WINDOW_MS) },
      services: { pager: webhook.settings },
    },
    begin: (startEpochMs) => {
      chaos.begin(startEpochMs);
      const options = {
        ...DEFAULT_SIMULATION,
        seed,
        startEpochMs,
        durationMs,
        // Which of two contents stands is decided by the first that is stored, not answered.
        conflicts: 0,
        uplink: { ...DEFAULT_SIMULATION.uplink, duplicateWindowMs: DUPLICATE_WINDOW_MS },
      };
      // Days that are over can be closed while events come: one day for each close.
      const firstEventMs = startEpochMs - (closesAtMs.length + 1) * DAY_MS;
      const offline = { seed: seed + 1, startEpochMs: firstEventMs, sessions: OFFLINE_SESSIONS };
      return {
        ticks: together(
          new Simulator({ ...options, incidents: incidents.map(simulated) }).ticks(),
          new Simulator({ ...options, ...offline }).ticks(),
        ),
        firstEventMs,
        // Which pages must come is judged apart; these may.
        expectations: incidents.map(({ region }) => ({ titleId: "-", region, alert: "either" })),
      };
    },
    devices: DEVICES,
    faults: chaos.faults(),
    closesAtMs,
    isSettled: () => chaos.isOver(),
    checks: () => chaos.checks(),
  };
}

/** Both at once; they have the same steps. */
function* together(one: Iterable<Tick>, other: Generator<Tick>): Generator<Tick> {
  for (const { atMs, sends } of one) {
    const { value } = other.next();
    yield { atMs, sends: [...sends, ...value?.sends ?? []] };
  }
}

function simulated({ cdn, region, beginMs, endMs }: ChaosIncident): IncidentOptions {
  return {
    cdn,
    stages: [{ atMs: beginMs, region, share: 1 }],
    untilMs: endMs,
    stallRatio: STALL_RATIO,
  };
}

if (import.meta.main) await main(chaosTask);
