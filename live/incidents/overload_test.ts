import { assert, assertEquals } from "@std/assert";
import { isPage } from "../../shared/contract/alert.ts";
import { audience, AUDIENCE_INTERVAL_MS } from "../../shared/dev/fleet/audience.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { Detector } from "../detect/detector.ts";
import { Incidents } from "./incidents.ts";

const START_MS = 1_764_000_000_000;
const SESSIONS = 5_000;
const COHORTS = 3;
const COHORT_SESSIONS = 200;
const FIRST_STALL_MS = START_MS + 40_000;
const STALL_EVERY_MS = 20_000;
const STALLS_MS = 9_000;
/** Live reads for a part of this time, then jumps. */
const CYCLE_MS = 1_500;
const MAX_TO_PAGE_MS = 8_000;

interface Viewer {
  readonly heartbeat: ReturnType<typeof audience>[number];
  readonly phaseMs: number;
  /** When the interval in which it stalls begins, ms since the epoch. */
  readonly stallsMs: number;
}

function viewersOf(random: Random): Viewer[] {
  const phaseMs = () => random.int(0, AUDIENCE_INTERVAL_MS - 1);
  const healthy = audience(random, SESSIONS, START_MS)
    .map((heartbeat) => ({ heartbeat, phaseMs: phaseMs(), stallsMs: Infinity }));
  const stalling = Array.from(
    { length: COHORTS },
    (_, cohort) =>
      audience(random, COHORT_SESSIONS, START_MS).map((heartbeat, i) => ({
        heartbeat: {
          ...heartbeat,
          session_id: `${cohort}-${i}`,
          title_id: `fresh-${cohort}`,
          region: "r1",
        },
        phaseMs: phaseMs(),
        stallsMs: FIRST_STALL_MS + cohort * STALL_EVERY_MS,
      })),
  ).flat();
  return [...healthy, ...stalling].sort((a, b) => a.phaseMs - b.phaseMs);
}

/** How long a viewer stalled in the interval that ends at `atMs`: 60 % of the time. */
function rebufferMs({ stallsMs }: Viewer, atMs: number): number {
  const fromMs = Math.max(stallsMs, atMs - AUDIENCE_INTERVAL_MS);
  return Math.round(0.6 * Math.max(0, Math.min(atMs, stallsMs + STALLS_MS) - fromMs));
}

for (const coverage of [0.5, 0.16]) {
  Deno.test(`with ${coverage * 100} % of the heartbeats, read between jumps, only incidents page, in time`, () => {
    const detector = new Detector({ maxSessions: 20_000 });
    const incidents = new Incidents({ pagesPerMinute: 10, silenceMs: 30_000 });
    const viewers = viewersOf(new Random(3));
    const pages: string[] = [];
    const tick = (nowMs: number) => {
      const moment = { nowMs, coverage };
      for (const alert of incidents.decide(detector.tick(nowMs, coverage), moment)) {
        if (!isPage(alert)) continue;
        assertEquals(alert.degraded, true);
        const cohort = pages.length;
        const tookMs = nowMs - (FIRST_STALL_MS + cohort * STALL_EVERY_MS);
        assert(tookMs > 0 && tookMs <= MAX_TO_PAGE_MS, `${alert.summary}: after ${tookMs} ms`);
        pages.push(alert.cell.title ?? alert.summary);
      }
    };
    let decidedMs = START_MS;
    let isSkipping = false;
    const endMs = FIRST_STALL_MS + COHORTS * STALL_EVERY_MS;
    for (let pass = 0; START_MS + pass * AUDIENCE_INTERVAL_MS < endMs; pass++) {
      for (const viewer of viewers) {
        const atMs = START_MS + pass * AUDIENCE_INTERVAL_MS + viewer.phaseMs;
        while (atMs >= decidedMs + 1_000) tick(decidedMs += 1_000);
        if ((atMs - START_MS) % CYCLE_MS >= coverage * CYCLE_MS) {
          isSkipping = true;
          continue;
        }
        if (isSkipping) detector.skipped(0, atMs);
        isSkipping = false;
        const rebuffer_ms = rebufferMs(viewer, atMs);
        detector.heartbeat({
          ...viewer.heartbeat,
          seq: viewer.heartbeat.seq + pass,
          ts: atMs,
          rebuffer_ms,
          played_ms: AUDIENCE_INTERVAL_MS - rebuffer_ms,
        }, atMs);
      }
    }
    assertEquals(pages, ["fresh-0", "fresh-1", "fresh-2"]);
  });
}
