/**
 * The task `deno task provision [--check]`: creates streams, durables, and database and roles of
 * Postgres.
 *
 * @module
 */
import { jetstreamManager } from "nats/jetstream";
import { z } from "zod";
import { command } from "../process/cli/command.ts";
import { JSON_OPTION } from "../process/cli/declaration.ts";
import { numberWithin } from "../process/cli/parsers.ts";
import { main } from "../process/cli/run.ts";
import {
  localEnvironment,
  natsSettings,
  readSettings,
  type Settings,
  type SettingsRule,
  type SettingsShape,
  wholeNumber,
} from "../process/config.ts";
import { toJson } from "../process/cli/json_output.ts";
import { connectNats } from "../process/nats.ts";
import { postgresSettings } from "../process/postgres/server_url.ts";
import { drift, provision, type TopologyDrift } from "./streams.ts";
import { provisionDatabase } from "./database.ts";
import { Patience, withJetStream } from "./patience.ts";
import { DEFAULT_TOPOLOGY, desiredTopology } from "../contract/topology.ts";

/** Settings of the provisioning step; `shared/README.md` lists them with their defaults. */
export const provisionSettings = {
  ...natsSettings,
  TWOFOLD_REPLICAS: wholeNumber(1, 5).default(DEFAULT_TOPOLOGY.replicas)
    .describe("replicas of every stream: 1 in development, 3 in a cluster"),
  TWOFOLD_DUPLICATE_WINDOW_MS: wholeNumber(100, 7_200_000)
    .default(DEFAULT_TOPOLOGY.duplicateWindowMs)
    .describe("time window in which HEARTBEATS deduplicates message ids, ms"),
  TWOFOLD_MAX_AGE_MS: wholeNumber(60_000, 30 * 86_400_000).default(DEFAULT_TOPOLOGY.maxAgeMs)
    .describe("how long raw heartbeats are kept, ms; longer than the longest outage of a reader"),
  TWOFOLD_HEARTBEATS_MAX_BYTES: wholeNumber(1024, 2 ** 50)
    .default(DEFAULT_TOPOLOGY.heartbeatsMaxBytes)
    .describe("maximum size of each HEARTBEATS stream, bytes; a full stream refuses heartbeats"),
  TWOFOLD_QUARANTINE_MAX_BYTES: wholeNumber(1024, 2 ** 50)
    .default(DEFAULT_TOPOLOGY.quarantineMaxBytes)
    .describe("maximum size of QUARANTINE, bytes; a full stream refuses entries"),
  TWOFOLD_POSTGRES_ADMIN_URL: postgresSettings.TWOFOLD_POSTGRES_URL.optional()
    .describe(
      "Postgres URL of an admin (CREATEROLE, CREATEDB); if set, database and roles are created",
    ),
  TWOFOLD_POSTGRES_ROYALTY_PASSWORD: z.string().min(1).optional()
    .describe("password of the Postgres role royalty"),
  TWOFOLD_POSTGRES_ISSUER_PASSWORD: z.string().min(1).optional()
    .describe("password of the Postgres role issuer"),
  TWOFOLD_POSTGRES_TRIAGE_PASSWORD: z.string().min(1).optional()
    .describe("password of the Postgres role triage"),
  TWOFOLD_POSTGRES_FINANCE_PASSWORD: z.string().min(1).optional()
    .describe("password of the Postgres role finance; if unset, the role is not created"),
} satisfies SettingsShape;

/** An admin's URL is there to create roles, which need passwords. */
const provisionRule: SettingsRule<typeof provisionSettings> = (settings) => {
  if (settings.TWOFOLD_POSTGRES_ADMIN_URL === undefined) return {};
  const needed = [
    "TWOFOLD_POSTGRES_ROYALTY_PASSWORD",
    "TWOFOLD_POSTGRES_ISSUER_PASSWORD",
    "TWOFOLD_POSTGRES_TRIAGE_PASSWORD",
  ] as const;
  return Object.fromEntries(
    needed.filter((name) => settings[name] === undefined)
      .map((name) => [name, "is not set, but TWOFOLD_POSTGRES_ADMIN_URL is"]),
  );
};

/** `deno task provision`. */
export const provisionTask = command({
  name: "provision",
  summary: "create or update streams, durables and Postgres roles",
  details:
    "Idempotent: a second run changes nothing. The Postgres database and roles are created " +
    "if TWOFOLD_POSTGRES_ADMIN_URL is set. Servers that are still starting are waited for. With " +
    "--check nothing is changed, and drift exits with 1.",
  options: {
    check: { type: "boolean", about: "only report drift, change nothing" },
    wait: {
      type: "string",
      value: "SECONDS",
      about: "maximum wait for NATS, for JetStream and for Postgres, each; s",
      parser: numberWithin(0, 3600),
      default: "60",
    },
    json: JSON_OPTION,
  },
  examples: [{ args: [] }, {
    args: ["--check"],
    about: "check whether a stream was changed manually",
  }],
  async run({ check, json, wait }, io) {
    const settings = readSettings(provisionSettings, localEnvironment("ops"), provisionRule);
    const patience = new Patience(wait * 1000);
    const found = await topologyDrift(settings, patience, check);
    const roles = check ? [] : await createRoles(settings, patience);
    if (json) io.out.write(toJson({ onlyChecked: check, drift: found, roles }));
    else io.out.line(provisionText(check, found, roles));
    return check && found.length > 0 ? 1 : 0;
  },
});

if (import.meta.main) await main(provisionTask);

/** The drift from the topology; removes it unless `onlyCheck`. */
async function topologyDrift(
  settings: Settings<typeof provisionSettings>,
  patience: Patience,
  onlyCheck: boolean,
): Promise<TopologyDrift[]> {
  const nc = await patience.until(() => connectNats(settings, patience.log));
  try {
    const desired = desiredTopology({
      partitions: settings.TWOFOLD_PARTITIONS,
      replicas: settings.TWOFOLD_REPLICAS,
      duplicateWindowMs: settings.TWOFOLD_DUPLICATE_WINDOW_MS,
      maxAgeMs: settings.TWOFOLD_MAX_AGE_MS,
      heartbeatsMaxBytes: settings.TWOFOLD_HEARTBEATS_MAX_BYTES,
      quarantineMaxBytes: settings.TWOFOLD_QUARANTINE_MAX_BYTES,
    });
    const removed: TopologyDrift[] = [];
    return await patience.until(() =>
      withJetStream(settings.TWOFOLD_NATS_USER, async () => {
        const jsm = await jetstreamManager(nc);
        return onlyCheck ? await drift(jsm, desired) : await provision(jsm, desired, removed);
      })
    );
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
    ...(found.length === 0 ? ["no drift: streams and durables match the topology"] : []),
  ].join("\n");
}

/** Creates database and roles if the URL of an admin is set; returns the names of the roles. */
async function createRoles(
  settings: Settings<typeof provisionSettings>,
  patience: Patience,
): Promise<readonly string[]> {
  const url = settings.TWOFOLD_POSTGRES_ADMIN_URL;
  const royalty = settings.TWOFOLD_POSTGRES_ROYALTY_PASSWORD;
  const issuer = settings.TWOFOLD_POSTGRES_ISSUER_PASSWORD;
  const triage = settings.TWOFOLD_POSTGRES_TRIAGE_PASSWORD;
  if (!url || !royalty || !issuer || !triage) return [];
  const finance = settings.TWOFOLD_POSTGRES_FINANCE_PASSWORD;
  await patience.until(() => provisionDatabase(url, { royalty, issuer, triage, finance }));
  return ["royalty", "issuer", "triage", ...(finance === undefined ? [] : ["finance"])];
}
