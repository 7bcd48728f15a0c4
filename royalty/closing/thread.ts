/**
 * Runs closing in a separate thread, because a recount and a statement of a million lines keep a core
 * busy, and posting must continue meanwhile.
 *
 * @module
 */
import { pause } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import type { royaltySettings } from "../settings.ts";

/** A message from the closing thread. */
export type ClosingMessage =
  /** How long the oldest open day has been due to close. */
  | { readonly kind: "overdue"; readonly seconds: number }
  /** When the newest statement was issued, s since the epoch. */
  | { readonly kind: "closed"; readonly atSeconds: number }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "stopped" };

/** The only message to the closing thread: it asks the thread to stop. */
export const STOP = "stop";

/** Maximum time that a stop waits for the thread. A close that is cut off is continued later. */
const MAX_STOP_MS = 5_000;

/**
 * Starts the thread, unless `TWOFOLD_CLOSE_SCHEDULE` is `off`, and stops it with the service. An
 * error of the thread fails the service.
 */
export function startClosing(service: Service<typeof royaltySettings>): void {
  const { settings, metrics, log } = service;
  if (settings.TWOFOLD_CLOSE_SCHEDULE === "off") {
    log.info("royalty.closing.by_command_only", { setting: "TWOFOLD_CLOSE_SCHEDULE" });
    return;
  }
  const overdue = metrics.gauge(
    "twofold_royalty_close_overdue_seconds",
    "How long the oldest open day has been due to close, in seconds",
  );
  const lastClose = metrics.gauge(
    "twofold_royalty_last_close_timestamp_seconds",
    "When the newest statement was issued, seconds since the epoch; 0 before the first",
  );
  const thread = new Worker(new URL("./thread_main.ts", import.meta.url).href, {
    type: "module",
    name: "closing",
  });
  const stopped = new AbortController();
  thread.onmessage = ({ data }: MessageEvent<ClosingMessage>) => {
    if (data.kind === "overdue") overdue.set(data.seconds);
    else if (data.kind === "closed") lastClose.set(data.atSeconds);
    else if (data.kind === "failed") service.fail(new Error(`closing: ${data.reason}`));
    else stopped.abort();
  };
  thread.onerror = (event) => {
    event.preventDefault();
    service.fail(new Error(`closing: ${event.message}`));
  };
  service.onStop("closing", async () => {
    thread.postMessage(STOP);
    await pause(MAX_STOP_MS, stopped.signal);
    thread.terminate();
  });
}
