/**
 * Starts closing in a thread of its own. A recount keeps a core busy for as long as it lasts, and so
 * does a statement of a million lines for a moment; counting goes on meanwhile.
 *
 * @module
 */
import type { Settings } from "../../shared/process/config.ts";
import { type Lifecycle, pause } from "../../shared/process/lifecycle.ts";
import type { Log } from "../../shared/process/log.ts";
import type { Metrics } from "../../shared/process/metrics.ts";
import type { royaltySettings } from "../settings.ts";

/** What the thread tells. */
export type ClosingMessage =
  /** How long the oldest open day has been due. */
  | { readonly kind: "overdue"; readonly seconds: number }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "stopped" };

/** What the thread is told: to come to an end. */
export const STOP = "stop";

/** Longest that a stop waits for the thread. A close may be cut off anywhere, and is taken up again. */
const STOP_MS = 5_000;

/** Starts the thread, unless days close only by command; ends it with the process. */
export function startClosing(
  life: Lifecycle,
  settings: Settings<typeof royaltySettings>,
  metrics: Metrics,
  log: Log,
): void {
  if (settings.TWOFOLD_CLOSE_SCHEDULE === "off") {
    log.info("days close only by command", { setting: "TWOFOLD_CLOSE_SCHEDULE" });
    return;
  }
  const overdue = metrics.gauge(
    "twofold_royalty_close_overdue_seconds",
    "How long the oldest open day has been due to close",
  );
  const thread = new Worker(new URL("./thread_main.ts", import.meta.url).href, {
    type: "module",
    name: "closing",
  });
  const stopped = new AbortController();
  thread.onmessage = ({ data }: MessageEvent<ClosingMessage>) => {
    if (data.kind === "overdue") overdue.set(data.seconds);
    else if (data.kind === "failed") life.fail(new Error(`closing: ${data.reason}`));
    else stopped.abort();
  };
  thread.onerror = (event) => {
    event.preventDefault();
    life.fail(new Error(`closing: ${event.message}`));
  };
  life.onStop("closing", async () => {
    thread.postMessage(STOP);
    await pause(STOP_MS, stopped.signal);
    thread.terminate();
  });
}
