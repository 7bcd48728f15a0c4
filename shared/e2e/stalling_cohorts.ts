/**
 * Incidents during a load: one small cohort after the other starts to stall, each on a title of its
 * own, and the time from the answer of the edge to the alert is measured.
 *
 * @module
 */
import { isOpen } from "../contract/alert.ts";
import type { Observer } from "../dev/demo/observer.ts";
import type { CellTotals } from "../dev/fleet/device_client_load.ts";
import type { Pipeline } from "../dev/servers/pipeline.ts";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { Stop } from "../process/errors.ts";
import { pause } from "../process/retry.ts";

/** Interval between two incidents, ms: live pages ten a minute, and more of them as one. */
const INCIDENT_EVERY_MS = 7_300;
const COHORT_SESSIONS = 60;
const PLAYED_MS = 5_000;

/** An incident, and what came of it. */
export interface IncidentHeard {
  readonly titleId: string;
  /** When the edge had answered, ms since the epoch. */
  readonly answeredAtMs: number;
  /** From then to the alert; undefined while there is none. */
  readonly alertAfterMs: number | undefined;
}

/** Cohorts that stall, each on a title of its own. */
export class StallingCohorts {
  readonly #answeredAtMs = new Map<string, number>();
  readonly #random = new Random(2);

  /** The cohorts watch in `region`. */
  constructor(readonly pipeline: Pipeline, readonly region = "de") {}

  /** Starts one after the other until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for (let i = 0; !signal.aborted; i++) {
      const titleId = `stalling-${i}`;
      await this.#stall(titleId);
      this.#answeredAtMs.set(titleId, Date.now());
      // No sleep: the rate of incidents is part of the load.
      await pause(INCIDENT_EVERY_MS, signal);
    }
  }

  /** What royalty must credit for the cohorts. */
  credit(): CellTotals[] {
    return [...this.#answeredAtMs.keys()].map((titleId) => ({
      titleId,
      region: this.region,
      events: COHORT_SESSIONS,
      ms: COHORT_SESSIONS * PLAYED_MS,
    }));
  }

  /** Every incident so far, in order. */
  heard(observer: Observer): IncidentHeard[] {
    const openings = openingsOf(observer);
    return [...this.#answeredAtMs].map(([titleId, answeredAtMs]) => {
      const heardAtMs = openings.get(titleId);
      const alertAfterMs = heardAtMs === undefined ? undefined : heardAtMs - answeredAtMs;
      return { titleId, answeredAtMs, alertAfterMs };
    });
  }

  /** Time from the answer of the edge to the alert, ms, ascending. Waits for the last alerts. */
  async latenciesMs(observer: Observer): Promise<number[]> {
    return await waitFor("an alert for every incident", () => {
      const all = this.heard(observer).map(({ alertAfterMs }) => alertAfterMs);
      const latencies = all.filter((each) => each !== undefined);
      return latencies.length === all.length ? latencies.sort((a, b) => a - b) : undefined;
    }, { timeoutMs: 60_000 });
  }

  async #stall(titleId: string): Promise<void> {
    const heartbeats = Array.from(
      { length: COHORT_SESSIONS },
      (_, i) =>
        aHeartbeat(this.#random, Date.now(), {
          title_id: titleId,
          session_id: `${titleId}-${i}`,
          region: this.region,
          state: "rebuffering",
          played_ms: PLAYED_MS,
          rebuffer_ms: 5_000,
          rebuffer_count: 1,
        }),
    );
    const { services, fleetKey } = this.pipeline;
    const response = await fetch(`${services.ingest.url}/v1/heartbeats`, {
      method: "POST",
      headers: { authorization: `Bearer ${fleetKey}`, "content-type": "application/json" },
      body: encode(heartbeats),
    });
    const text = await response.text();
    if (response.status !== 202) throw new Stop(`the edge answered ${response.status} ${text}`);
  }
}

/** When on-call first heard that a title stalls: by itself, or named as one of the worst. */
function openingsOf({ alerts }: Observer): Map<string, number> {
  const openings = new Map<string, number>();
  for (const { alert, heardAtMs } of alerts) {
    if (alert.kind !== "incident" || !isOpen(alert)) continue;
    for (const { title } of [alert.cell, ...alert.dimensions.map(({ cell }) => cell)]) {
      if (title !== undefined && !openings.has(title)) openings.set(title, heardAtMs);
    }
  }
  return openings;
}
