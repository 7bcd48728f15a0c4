/**
 * What the start page says of a running pipeline.
 *
 * @module
 */
import type { Hono } from "hono";
import { messageOf } from "../../process/errors.ts";
import { ROOT } from "../testing/module_graph.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { type ServiceName, SERVICES } from "../servers/service_process.ts";
import { type PageLink, type PageRow, startPageApp } from "./start_page.ts";
import type { PartState, Supervisor } from "./supervisor.ts";

/** Maximum wait for the answer of a service, ms. */
const ANSWER_MS = 2_000;

/** The documents of the checkout that the page shows. */
const DOCUMENTS: Readonly<Record<string, string>> = {
  "overview": "README.md",
  "ingest": "ingest/README.md",
  "live": "live/README.md",
  "pager": "live/pager/README.md",
  "royalty": "royalty/README.md",
  "triage": "dlq-triage/README.md",
  "operation": "shared/README.md",
};

/** The start page of `pipeline`. */
export function startPageOf(
  pipeline: Pipeline,
  port: number,
  supervisor: Pick<Supervisor, "states">,
): Hono {
  const texts = Object.entries(DOCUMENTS).map(([name, path]) =>
    [name, () => Deno.readTextFile(new URL(path, ROOT))] as const
  );
  return startPageApp({
    port,
    documents: new Map(texts),
    content: async () => ({
      board: `${pipeline.services.pager.url}/`,
      statements: `http://127.0.0.1:${pipeline.ports.finance}/`,
      documents: Object.keys(DOCUMENTS),
      rows: await Promise.all(supervisor.states.map((state) => rowOf(pipeline, state))),
    }),
  });
}

async function rowOf(pipeline: Pipeline, { name, state, restarts }: PartState): Promise<PageRow> {
  const service = SERVICES.find((each) => each === name);
  const reason = state !== "running"
    ? state
    : service === undefined
    ? undefined
    : await notReady(pipeline.services[service].statusUrl);
  return {
    name,
    restarts,
    state: reason ?? "running",
    isWell: reason === undefined,
    links: service === undefined ? serverLinks(pipeline, name) : serviceLinks(pipeline, service),
  };
}

async function notReady(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS) });
    const { reason } = await response.json();
    return response.ok ? undefined : String(reason);
  } catch (error) {
    return `does not answer: ${messageOf(error)}`;
  }
}

function serverLinks({ nats }: Pipeline, name: string): PageLink[] {
  if (name !== "nats-server") return [];
  const url = `http://127.0.0.1:${nats.monitorPort}`;
  return [{ text: "monitoring", href: `${url}/` }, { text: "status", href: `${url}/healthz` }];
}

function serviceLinks({ services, ports }: Pipeline, name: ServiceName): PageLink[] {
  const { url, statusUrl } = services[name];
  const api: Partial<Record<ServiceName, string>> = {
    ingest: url,
    pager: url,
    royalty: `http://127.0.0.1:${ports.finance}`,
  };
  return [
    { text: "status", href: `${statusUrl}/readyz` },
    { text: "metrics", href: `${statusUrl}/metrics` },
    ...(name in api ? [{ text: "API", href: `${api[name]}/openapi.json` }] : []),
  ];
}
