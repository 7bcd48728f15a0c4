/**
 * Starts the finance API of a royalty process.
 *
 * It has a port of its own, because other people reach it from other networks than the scrapes and
 * probes of the service's status port, and that port has no keys. It has a role and connections of
 * its own, so what finance asks for neither writes nor takes a connection from the counting.
 *
 * @module
 */
import type { Settings } from "../../shared/process/config.ts";
import { Stop } from "../../shared/process/errors.ts";
import { type Lifecycle, pause, untilReady } from "../../shared/process/lifecycle.ts";
import type { Log } from "../../shared/process/log.ts";
import type { Metrics } from "../../shared/process/metrics.ts";
import { serveHttp } from "../../shared/process/status.ts";
import { BusinessCalendar } from "../statement/business_day.ts";
import { financeApp } from "./api.ts";
import { FinanceKeys } from "./keys.ts";
import type { royaltySettings } from "../settings.ts";
import { connectStatements, letFinanceRead, PostgresStatements } from "./store.ts";

/** Longest that a stop waits for downloads; whoever is still at it goes on by ranges, elsewhere. */
const DOWNLOADS_STOP_MS = 2_000;

/** Serves the finance API if it has keys. The books must be open. Resolves once it is listening. */
export async function startFinance(
  life: Lifecycle,
  log: Log,
  metrics: Metrics,
  settings: Settings<typeof royaltySettings>,
  now: () => number,
): Promise<void> {
  const keys = settings.TWOFOLD_FINANCE_KEYS;
  const url = settings.TWOFOLD_FINANCE_POSTGRES_URL;
  if (!keys) return;
  if (!url) {
    throw new Stop(
      "TWOFOLD_FINANCE_KEYS is set, so TWOFOLD_FINANCE_POSTGRES_URL must be too: the URL of the " +
        "Postgres role finance, which only reads",
    );
  }
  await untilReady(life.signal, log, () => letFinanceRead(settings.TWOFOLD_POSTGRES_URL));
  const sql = connectStatements(url);
  life.onStop("finance connections", () => sql.end({ timeout: 2 }));
  const calendar = new BusinessCalendar(settings.TWOFOLD_BUSINESS_ZONE);
  const app = financeApp(
    { calendar, graceMs: settings.TWOFOLD_CLOSE_GRACE_MS, now },
    { store: new PostgresStatements(sql), keys: new FinanceKeys(keys), metrics, log },
  );
  const hostname = settings.TWOFOLD_HTTP_HOST;
  serveHttp(impatient(life), log, { hostname, port: settings.TWOFOLD_FINANCE_PORT }, app);
}

// The stop waits for every response to end; a slow download would keep the books from stopping.
function impatient(life: Lifecycle): Lifecycle {
  return {
    ...life,
    onStop: (name, step) =>
      life.onStop(`finance ${name}`, async () => {
        const stopped = new AbortController();
        const done = Promise.resolve(step()).finally(() => stopped.abort());
        await Promise.race([done, pause(DOWNLOADS_STOP_MS, stopped.signal)]);
      }),
  };
}
