/**
 * Starts closing in a thread of its own. A recount keeps a core busy for as long as it lasts, and so
 * does a statement of a million lines for a moment; counting goes on meanwhile.
 *
 * @module
 */
import { pause } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import type { royaltySettings } from "../settings.ts";

/** What the thread tells. */
export type ClosingMessage =
  /** How long the oldest open day has been due. */
  | { readonly kind: "overdue"; readonly seconds: number }
  /** When a day was closed, by whatever process, s since the epoch. */
  | { readonly kind: "closed"; readonly atSeconds: number }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "stopped" };

/** The one message that the thread receives: to come to an end. */
export const STOP = "stop";

/** Longest that a stop waits for the thread. A close may be cut off anywhere, and is taken up again. */
const STOP_MS = 5_000;

/** Starts the thread, unless days close only by command; ends it with the process. */
export function startClosing(service: Service<typeof royaltySettings>): void {
  const { settings, metrics, log } = service;
  if (settings.TWOFOLD_CLOSE_SCHEDULE === "off") {
    log.info("royalty.closing.by_command_only", { setting: "TWOFOLD_CLOSE_SCHEDULE" });
    return;
  }
  const overdue = metrics.gauge(
    "twofold_royalty_close_overdue_seconds",
    "How long the oldest open day has been due to close",
  );
  const lastClose = metrics.gauge(
    "twofold_royalty_last_close_timestamp_seconds",
    "When this process last saw a day closed, seconds since the epoch; 0 before the first",
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
    await pause(STOP_MS, stopped.signal);
    thread.terminate();
  });
}
