/**
 * Starts the finance API of a royalty process.
 *
 * It has a port of its own, because other people reach it from other networks than the scrapes and
 * probes of the service's status port, and that port has no keys. It has a role and connections of
 * its own, so what finance asks for neither writes nor takes a connection from the counting.
 *
 * @module
 */
import { Stop } from "../../shared/process/errors.ts";
import { untilReady } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import type { royaltySettings } from "../settings.ts";
import { BusinessCalendar } from "../statement/business_day.ts";
import { financeApp } from "./api.ts";
import { connectStatements, letFinanceRead, PostgresStatements } from "./store.ts";

/** Longest that a stop waits for downloads; whoever is still at it goes on by ranges, elsewhere. */
const DOWNLOADS_STOP_MS = 2_000;

/** Serves the finance API if it has keys. The books must be open. Resolves once it is listening. */
export async function startFinance(
  service: Service<typeof royaltySettings>,
  now: () => number,
): Promise<void> {
  const { settings, log, metrics, signal } = service;
  const keys = settings.TWOFOLD_FINANCE_KEYS;
  const url = settings.TWOFOLD_FINANCE_POSTGRES_URL;
  if (!keys) return;
  if (!url) {
    throw new Stop(
      "TWOFOLD_FINANCE_KEYS is set, so TWOFOLD_FINANCE_POSTGRES_URL must be too: the URL of the " +
        "Postgres role finance, which only reads",
    );
  }
  const part = service.health.part("finance", "the finance API is starting");
  await untilReady(signal, log, () => letFinanceRead(settings.TWOFOLD_POSTGRES_URL), part);
  const sql = connectStatements(url);
  service.onStop("finance connections", () => sql.end({ timeout: 2 }));
  const calendar = new BusinessCalendar(settings.TWOFOLD_BUSINESS_ZONE);
  const app = financeApp(
    { calendar, graceMs: settings.TWOFOLD_CLOSE_GRACE_MS, now },
    { store: new PostgresStatements(sql), keys, metrics, log },
  );
  const address = { hostname: settings.TWOFOLD_HTTP_HOST, port: settings.TWOFOLD_FINANCE_PORT };
  service.listenAt(address, app, DOWNLOADS_STOP_MS);
}
