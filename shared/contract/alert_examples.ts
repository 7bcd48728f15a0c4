/**
 * Examples of alerts, as the published documents show them.
 *
 * Pure.
 *
 * @module
 */
import type { Alert, IncidentAlert } from "./alert.ts";

const OPENED_MS = Date.UTC(2026, 10, 25, 12, 0, 8);

const critical: IncidentAlert = {
  v: 2,
  kind: "incident",
  incident_id: "rebuffer.de._.1795694408000",
  update: 1,
  status: "open",
  severity: "critical",
  page: true,
  paged_at: OPENED_MS,
  opened_at: OPENED_MS,
  at: OPENED_MS,
  summary: "every title in de: 5120 of 12800 viewers stall (40 %, usual 0.4 %); worst: CDN a in de",
  signal: "rebuffer",
  cell: { kind: "region", region: "de" },
  onset_at: OPENED_MS - 6_000,
  received_at: OPENED_MS - 40,
  detected_ms: 6_000,
  definition: {
    ratio: "sum(rebuffer_ms) / sum(played_ms + rebuffer_ms) of the last 60 s",
    impaired: "viewer sessions that stalled for at least 1 s and 10 % of span_ms",
  },
  ratio: 0.052,
  ...{ watching: 12_800, impaired: 5_120, share: 0.4, baseline: 0.004, span_ms: 10_000 },
  ...{ bound: 141, rebuffer_ms: 41_600_000, played_ms: 758_400_000 },
  peak: {
    ...{ watching: 12_800, impaired: 5_120, share: 0.4, baseline: 0.004, span_ms: 10_000 },
    ...{ bound: 141, rebuffer_ms: 41_600_000, played_ms: 758_400_000 },
  },
  evidence: 300,
  dimensions: [{
    cell: { kind: "region_cdn", region: "de", cdn: "a" },
    ...{ watching: 5_300, impaired: 5_011, share: 5_011 / 5_300, baseline: 0.004 },
  }],
  folded: 1_818,
  coverage: 1,
  next: ["deno task live explain --region de --at 2026-11-25T12:00:08.000Z"],
};

const { paged_at: _, ...unpaged } = critical;

/** Examples by name. */
export const ALERT_EXAMPLES = {
  regionOpens: critical,
  buildIsSilenced: {
    ...unpaged,
    incident_id: "cohort._.build.9%2E2.1795694408000",
    page: false,
    severity: "warning",
    suppressed_by: {
      silence_id: "1a2b3c4d",
      subject: "alerts.cohort.*.build.9%2E2",
      until: OPENED_MS + 7_200_000,
      by: "ada",
      reason: "rollback of 9.2",
    },
    summary: "build 9.2 in every region: 300 of 10000 viewers stall (3.0 %, usual 0.4 %)",
    cell: { kind: "build", build: "9.2" },
    ...{ watching: 10_000, impaired: 300, share: 0.03, dimensions: [] },
    next: ["deno task live explain --build 9.2 --at 2026-11-25T12:00:08.000Z"],
  },
  regionDoubles: {
    ...critical,
    ...{ update: 2, status: "update", page: false, why: "doubled", at: OPENED_MS + 12_000 },
    ...{ watching: 12_800, impaired: 10_240, share: 0.8 },
  },
  regionRecovers: {
    ...critical,
    ...{ update: 3, status: "resolved", page: false, outcome: "recovered", at: OPENED_MS + 60_000 },
    summary: "every title in de has recovered; 50 of 12800 viewers stall (0.4 %, usual 0.4 %)",
    ...{ watching: 12_800, impaired: 50, share: 50 / 12_800, dimensions: [], folded: 0 },
  },
  nobodyStarts: {
    ...critical,
    incident_id: "start.br.premiere.1795694408000",
    summary: "premiere in br: 900 of 900 viewers cannot start (100 %, usual 0.4 %)",
    signal: "start",
    cell: { kind: "title_region", title: "premiere", region: "br" },
    ...{ watching: 900, impaired: 900, share: 1, ratio: null, dimensions: [] },
    ...{ rebuffer_ms: 0, played_ms: 0 },
  },
  moreThanMayPage: {
    ...critical,
    incident_id: "rebuffer._._.1795694408000",
    summary: "991 more incidents than may page: 39640 of 99100 viewers stall (40 %, usual 0.4 %)",
    cell: { kind: "all" },
    ...{ watching: 99_100, impaired: 39_640, dimensions: [], folded: 991 },
    withheld: { incidents: 991, alone: true },
  },
  quarantineGrows: {
    v: 1,
    kind: "quarantine",
    incident_id: "0c4f9f0e-0000-4000-8000-000000000000",
    status: "open",
    severity: "page",
    opened_at: OPENED_MS,
    at: OPENED_MS,
    summary: "The quarantine grows by 1200 a minute",
    reason: "all",
    measure: "growth_per_minute",
    value: 1_200,
    limit: 600,
  },
  noHeartbeats: {
    v: 1,
    kind: "pipeline",
    incident_id: "no-data.1795694408000",
    status: "open",
    severity: "page",
    opened_at: OPENED_MS,
    at: OPENED_MS,
    summary: "No heartbeat has arrived for 30 s: nothing can be detected",
    what: "no-data",
    limit: 30_000,
  },
} as const satisfies Readonly<Record<string, Alert>>;
