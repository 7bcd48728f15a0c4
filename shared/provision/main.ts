/**
 * `deno task provision [--check]`: streams, durables and Postgres roles, idempotent.
 *
 * @module
 */
import { jetstreamManager } from "nats/jetstream";
import postgres from "postgres";
import { z } from "zod";
import {
  localEnvironment,
  natsSettings,
  readSettings,
  type SettingsShape,
  wholeNumber,
} from "../process/config.ts";
import { messageOf, Stop } from "../process/errors.ts";
import { untilReady } from "../process/lifecycle.ts";
import { Log } from "../process/log.ts";
import { connectNats } from "../process/nats.ts";
import { drift, provision } from "./streams.ts";
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

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(messageOf(error));
    Deno.exit(error instanceof Stop ? error.exitCode : 1);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const unknown = args.filter((arg) => arg !== "--check");
  if (unknown.length > 0) {
    throw new Stop(`unknown argument ${unknown[0]}; use: deno task provision [--check]`, {
      exitCode: 2,
    });
  }
  const settings = readSettings(provisionSettings, localEnvironment("ops"));
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
    const check = args.includes("--check");
    const found = check ? await drift(jsm, desired) : await provision(jsm, desired);
    for (const { what, how } of found) {
      console.log(`${check ? "drift" : "changed"}  ${what}: ${how}`);
    }
    if (!check) await databaseRoles(settings);
    if (found.length === 0) console.log("no drift: streams and durables are as the topology says");
    return check && found.length > 0 ? 1 : 0;
  } finally {
    await nc.close();
  }
}

async function databaseRoles(settings: {
  readonly TWOFOLD_POSTGRES_ADMIN_URL?: string;
  readonly TWOFOLD_POSTGRES_ROYALTY_PASSWORD?: string;
  readonly TWOFOLD_POSTGRES_TRIAGE_PASSWORD?: string;
  readonly TWOFOLD_POSTGRES_FINANCE_PASSWORD?: string;
}): Promise<void> {
  const url = settings.TWOFOLD_POSTGRES_ADMIN_URL;
  if (!url) return;
  const royalty = settings.TWOFOLD_POSTGRES_ROYALTY_PASSWORD;
  const triage = settings.TWOFOLD_POSTGRES_TRIAGE_PASSWORD;
  if (!royalty || !triage) {
    throw new Stop(
      "TWOFOLD_POSTGRES_ADMIN_URL is set, so TWOFOLD_POSTGRES_ROYALTY_PASSWORD and " +
        "TWOFOLD_POSTGRES_TRIAGE_PASSWORD must be too",
    );
  }
  const finance = settings.TWOFOLD_POSTGRES_FINANCE_PASSWORD;
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await provisionRoles(sql, { royalty, triage, finance });
    const made = finance === undefined ? "royalty and triage" : "royalty, triage and finance";
    console.log(`roles  ${made} are ready in Postgres`);
  } finally {
    await sql.end();
  }
}
