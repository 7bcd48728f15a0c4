/**
 * What `deno task up` prints once everything runs.
 *
 * @module
 */
import { renderPairs } from "../../process/cli/table.ts";
import { ROLES } from "../../process/nats.ts";
import { type ServiceName, SERVICES } from "../servers/service_process.ts";
import { FOLDER } from "./places.ts";

/** What {@link guide} says of a pipeline. */
export interface GuidedPipeline {
  readonly services: Readonly<
    Record<ServiceName, { readonly url: string; readonly statusUrl: string }>
  >;
  readonly fleetKey: string;
  readonly financeKey: string;
  readonly nats: { readonly url: string; readonly monitorPort: number };
  readonly ports: { readonly page: number; readonly finance: number };
  readonly postgres: { readonly port: number };
}

/** What `deno task up` prints once everything runs; `contexts` is the folder of the nats CLI's. */
export function guide(pipeline: GuidedPipeline, contexts: string): string {
  const { services, fleetKey, financeKey, nats, ports, postgres } = pipeline;
  const event = JSON.stringify({
    v: 1,
    event_id: crypto.randomUUID(),
    session_id: "s-1",
    device_id: "d-1",
    title_id: "title-1",
    seq: 0,
    region: "de",
    ts: Date.now(),
    interval_ms: 10000,
    state: "playing",
    played_ms: 10000,
    rebuffer_ms: 0,
    rebuffer_count: 0,
    device: { model: "TV-55", os: "tvos 19", build: "9.1.0" },
  });
  return `
Twofold is up. Data, logs and secrets are in ${FOLDER}/; Ctrl-C stops it, the next start continues.

  start     http://127.0.0.1:${ports.page}/   (links to all of it, and how it is)
  board     ${services.pager.url}/   (what is open now; also /openapi.json)
  edge      ${services.ingest.url}/v1/heartbeats   (also /openapi.json)
  each has  /healthz /readyz /metrics:
${indented(renderPairs(SERVICES.map((name) => [name, services[name].statusUrl])), 12)}
  finance   http://127.0.0.1:${ports.finance}/   (user demo, password ${financeKey})
  nats      ${nats.url}   monitoring http://127.0.0.1:${nats.monitorPort}
  postgres  127.0.0.1:${postgres.port}   database twofold

Send a heartbeat:
  curl -i ${services.ingest.url}/v1/heartbeats -H 'authorization: Bearer ${fleetKey}' \\
    -H 'content-type: application/json' -d '${event}'

Finance and the quarantine, from this folder:
  npx -y deno@2.9.6 task royalty status
  npx -y deno@2.9.6 task royalty export --day ${new Date().toISOString().slice(0, 10)}
  npx -y deno@2.9.6 task triage list

What is open now:
  npx -y deno@2.9.6 task alerts --follow

The nats CLI, with a context per role (${ROLES.map((role) => `twofold-${role}`).join(", ")}):
  export XDG_CONFIG_HOME=${contexts}
  nats --context twofold-oncall sub --last-per-subject 'alerts.>'
  nats --context twofold-ops stream report
  nats --context twofold-ops consumer report HEARTBEATS
`;
}

function indented(text: string, columns: number): string {
  return text.split("\n").map((line) => " ".repeat(columns) + line).join("\n");
}
