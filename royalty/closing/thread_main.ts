/**
 * The closing thread of the royalty service, with connections of its own.
 *
 * @module
 */
import { jetstream } from "nats/jetstream";
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { environment, readSettings } from "../../shared/process/config.ts";
import { messageOf } from "../../shared/process/errors.ts";
import { untilReady } from "../../shared/process/retry.ts";
import { Log } from "../../shared/process/log.ts";
import { connectWatched } from "../../shared/process/nats.ts";
import { alertSubject } from "../../shared/contract/topology.ts";
import { booksClocks } from "../books/clocks.ts";
import { connectBooks } from "../books/connection.ts";
import { Closer } from "./closer.ts";
import type { ClosingMessage } from "./thread.ts";
import { streamEnds } from "../raw/stream_ends.ts";
import { serviceRecount } from "../recount/day.ts";
import { Scheduler } from "./scheduler.ts";
import { countedStreams, royaltyRule, royaltySettings } from "../settings.ts";
import { StatementFiles } from "../statement/files.ts";

/** The scope of this thread; the compiler types `globalThis` as that of a main thread. */
const service = globalThis as unknown as {
  onmessage: () => void;
  postMessage(message: ClosingMessage): void;
};
/** Closes days until `signal` is aborted, which also aborts a recount in progress. */
async function run(signal: AbortSignal): Promise<void> {
  const settings = readSettings(royaltySettings, environment(), royaltyRule);
  const log = new Log("royalty", settings.TWOFOLD_LOG_LEVEL);
  const nc = await untilReady(signal, log, () => connectWatched(settings, log, "royalty-closing"));
  // The rule of the settings demands it while days close by themselves.
  const databaseUrl = settings.TWOFOLD_ISSUER_POSTGRES_URL ?? settings.TWOFOLD_POSTGRES_URL;
  const sql = connectBooks(databaseUrl);
  try {
    const clocks = await booksClocks(sql, nc, countedStreams(settings), Date.now);
    await clocks.compare();
    void clocks.run(signal);
    const now = () => clocks.sharedMs();
    const folder = settings.TWOFOLD_STATEMENTS_DIR;
    const closer = new Closer({
      databaseUrl,
      graceMs: settings.TWOFOLD_CLOSE_GRACE_MS,
      now,
      agreedMs: () => clocks.agreedMs(),
      streamEnds: () => streamEnds(nc, countedStreams(settings)),
      recount: serviceRecount(settings, nc, now, signal),
      files: folder ? new StatementFiles(folder) : undefined,
      signal,
    });
    const alert = async (what: PipelineAlert) => {
      await jetstream(nc).publish(alertSubject.pipeline(what.what), JSON.stringify(what), {
        msgID: `${what.incident_id}:${what.status}`,
      });
    };
    const report = {
      overdue: (seconds: number) => service.postMessage({ kind: "overdue", seconds }),
      closed: (atSeconds: number) => service.postMessage({ kind: "closed", atSeconds }),
    };
    await new Scheduler(closer, { alert, log, now, report }).run(signal);
  } finally {
    await sql.end({ timeout: 2 });
    await nc.close();
  }
}

const stop = new AbortController();
// STOP is the only message.
service.onmessage = () => stop.abort("the process stops");
try {
  await run(stop.signal);
} catch (error) {
  if (!stop.signal.aborted) service.postMessage({ kind: "failed", reason: messageOf(error) });
}
service.postMessage({ kind: "stopped" });
