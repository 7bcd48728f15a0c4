/**
 * Starts the finance API in a royalty process.
 *
 * It has its own port, because its users are in other networks than the scrapes and probes of the
 * status port, which has no keys. It has its own Postgres role and connections, so it can neither
 * write nor take a connection from posting.
 *
 * @module
 */
import { untilReady } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import type { royaltySettings } from "../settings.ts";
import { BusinessCalendar } from "../statement/business_day.ts";
import { financeApp } from "./api.ts";
import { checkFinanceRead, connectStatements, PostgresStatements } from "./store.ts";

/** Maximum time that a stop waits for downloads; a client resumes by ranges at another process. */
const MAX_DOWNLOAD_STOP_MS = 2_000;

/**
 * Serves the finance API if `TWOFOLD_FINANCE_KEYS` is set. The books have to be opened. Resolves once
 * the API listens. Rejects with a `Stop` when the finance role is missing. `now` is ms since the
 * epoch.
 */
export async function startFinance(
  service: Service<typeof royaltySettings>,
  now: () => number,
): Promise<void> {
  const { settings, log, metrics, signal } = service;
  const keys = settings.TWOFOLD_FINANCE_KEYS;
  const url = settings.TWOFOLD_FINANCE_POSTGRES_URL;
  if (!keys || url === undefined) return;
  const part = service.health.part("finance", "the finance API is starting");
  await untilReady(signal, log, () => checkFinanceRead(url), part);
  const sql = connectStatements(url);
  service.onStop("finance connections", () => sql.end({ timeout: 2 }));
  const calendar = new BusinessCalendar(settings.TWOFOLD_BUSINESS_ZONE);
  const app = financeApp(
    { calendar, graceMs: settings.TWOFOLD_CLOSE_GRACE_MS, now },
    { store: new PostgresStatements(sql), keys, metrics, log },
  );
  const address = {
    hostname: settings.TWOFOLD_HTTP_HOST,
    port: settings.TWOFOLD_FINANCE_PORT,
    portSetting: "TWOFOLD_FINANCE_PORT",
  };
  service.listenAt(address, app, MAX_DOWNLOAD_STOP_MS);
}
