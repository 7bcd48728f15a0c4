/**
 * `deno task provision [--check]`: streams, durables and Postgres roles, idempotent.
 *
 * @module
 */
import { jetstreamManager } from "nats/jetstream";
import { z } from "zod";
import { command } from "../process/cli/command.ts";
import { JSON_OPTION } from "../process/cli/declaration.ts";
import { main } from "../process/cli/run.ts";
import {
  localEnvironment,
  natsSettings,
  readSettings,
  type Settings,
  type SettingsShape,
  wholeNumber,
} from "../process/config.ts";
import { Stop } from "../process/errors.ts";
import { toJson } from "../process/cli/json_output.ts";
import { untilReady } from "../process/retry.ts";
import { Log } from "../process/log.ts";
import { connectNats } from "../process/nats.ts";
import { openPool } from "../process/postgres/pool.ts";
import { drift, provision, type TopologyDrift } from "./streams.ts";
import { provisionRoles } from "./roles.ts";
import { DEFAULT_TOPOLOGY, desiredTopology } from "../contract/topology.ts";

/** Settings of the provisioning step. */
export const provisionSettings = {
  ...natsSettings,
  TWOFOLD_REPLICAS: wholeNumber(1, 5).default(DEFAULT_TOPOLOGY.replicas)
    .describe("copies of every stream: 1 in development, 3 in a cluster"),
  TWOFOLD_DUPLICATE_WINDOW_MS: wholeNumber(100, 7_200_000)
    .default(DEFAULT_TOPOLOGY.duplicateWindowMs)
    .describe("how long HEARTBEATS absorbs a repeated message id, ms"),
  TWOFOLD_MAX_AGE_MS: wholeNumber(60_000, 30 * 86_400_000).default(DEFAULT_TOPOLOGY.maxAgeMs)
    .describe("how long raw heartbeats are kept, ms; above the worst outage"),
  TWOFOLD_HEARTBEATS_MAX_BYTES: wholeNumber(1024, 2 ** 50)
    .default(DEFAULT_TOPOLOGY.heartbeatsMaxBytes)
    .describe("size at which each HEARTBEATS stream refuses more, bytes"),
  TWOFOLD_QUARANTINE_MAX_BYTES: wholeNumber(1024, 2 ** 50)
    .default(DEFAULT_TOPOLOGY.quarantineMaxBytes)
    .describe("size at which QUARANTINE refuses more, bytes"),
  TWOFOLD_POSTGRES_ADMIN_URL: z.string().regex(/^postgres(ql)?:\/\//).optional()
    .describe("Postgres superuser URL; when set, the roles are made too"),
  TWOFOLD_POSTGRES_ROYALTY_PASSWORD: z.string().min(1).optional()
    .describe("password given to the Postgres role royalty"),
  TWOFOLD_POSTGRES_TRIAGE_PASSWORD: z.string().min(1).optional()
    .describe("password given to the Postgres role triage"),
  TWOFOLD_POSTGRES_FINANCE_PASSWORD: z.string().min(1).optional()
    .describe("password given to the Postgres role finance; not set: the role is not made"),
} satisfies SettingsShape;

/** `deno task provision`. */
export const provisionTask = command({
  name: "provision",
  summary: "make streams, durables and Postgres roles",
  details: "Idempotent: a second run changes nothing. Roles are made when " +
    "TWOFOLD_POSTGRES_ADMIN_URL is set. With --check nothing is changed, and drift exits with 1.",
  options: {
    check: { type: "boolean", about: "only report drift" },
    json: JSON_OPTION,
  },
  examples: [{ args: [] }, { args: ["--check"], about: "has anybody changed a stream by hand?" }],
  async run({ check, json }, io) {
    const settings = readSettings(provisionSettings, localEnvironment("ops"));
    const found = await topologyDrift(settings, check);
    const roles = check ? [] : await databaseRoles(settings);
    if (json) io.out.write(toJson({ onlyChecked: check, drift: found, roles }));
    else io.out.line(provisionText(check, found, roles));
    return check && found.length > 0 ? 1 : 0;
  },
});

if (import.meta.main) await main(provisionTask);

/** The differences from the topology; removed unless `onlyCheck`. */
async function topologyDrift(
  settings: Settings<typeof provisionSettings>,
  onlyCheck: boolean,
): Promise<TopologyDrift[]> {
  const log = new Log("provision");
  // Waits for servers that are still starting, as in compose, but not for ever.
  const signal = AbortSignal.timeout(60_000);
  const nc = await untilReady(signal, log, () => connectNats(settings, log));
  try {
    const jsm = await jetstreamManager(nc);
    const desired = desiredTopology({
      partitions: settings.TWOFOLD_PARTITIONS,
      replicas: settings.TWOFOLD_REPLICAS,
      duplicateWindowMs: settings.TWOFOLD_DUPLICATE_WINDOW_MS,
      maxAgeMs: settings.TWOFOLD_MAX_AGE_MS,
      heartbeatsMaxBytes: settings.TWOFOLD_HEARTBEATS_MAX_BYTES,
      quarantineMaxBytes: settings.TWOFOLD_QUARANTINE_MAX_BYTES,
    });
    return onlyCheck ? await drift(jsm, desired) : await provision(jsm, desired);
  } finally {
    await nc.close();
  }
}

function provisionText(
  onlyChecked: boolean,
  found: readonly TopologyDrift[],
  roles: readonly string[],
): string {
  const [last, ...others] = roles.toReversed();
  const named = `${others.reverse().join(", ")} and ${last}`;
  return [
    ...found.map(({ what, how }) => `${onlyChecked ? "drift" : "changed"}  ${what}: ${how}`),
    ...(roles.length > 0 ? [`roles  ${named} are ready in Postgres`] : []),
    ...(found.length === 0 ? ["no drift: streams and durables are as the topology says"] : []),
  ].join("\n");
}

/** Makes the roles, if the settings say where; returns their names. */
async function databaseRoles(
  settings: Settings<typeof provisionSettings>,
): Promise<readonly string[]> {
  const url = settings.TWOFOLD_POSTGRES_ADMIN_URL;
  if (!url) return [];
  const royalty = settings.TWOFOLD_POSTGRES_ROYALTY_PASSWORD;
  const triage = settings.TWOFOLD_POSTGRES_TRIAGE_PASSWORD;
  if (!royalty || !triage) {
    throw new Stop(
      "TWOFOLD_POSTGRES_ADMIN_URL is set, so TWOFOLD_POSTGRES_ROYALTY_PASSWORD and " +
        "TWOFOLD_POSTGRES_TRIAGE_PASSWORD must be too",
    );
  }
  const finance = settings.TWOFOLD_POSTGRES_FINANCE_PASSWORD;
  const sql = openPool(url, { purpose: "provision", max: 1 });
  try {
    await provisionRoles(sql, { royalty, triage, finance });
    return ["royalty", "triage", ...(finance === undefined ? [] : ["finance"])];
  } finally {
    await sql.end();
  }
}
