/**
 * An audience that reports at a fixed rate, straight into the stream and without an edge, as a
 * process of its own. Its argument is {@link OverloadOptions} as JSON. It ends when it is told to.
 *
 * @module
 */
import { connect } from "nats";
import { audience, AUDIENCE_INTERVAL_MS } from "../dev/fleet/audience.ts";
import { landBatch } from "../dev/fleet/filled_stream.ts";
import { encode } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { inboxPrefix } from "../process/nats.ts";
import { pause } from "../process/retry.ts";

/** What the load needs. */
export interface OverloadOptions {
  /** Server, and password of the user ingest. */
  readonly url: string;
  readonly password: string;
  readonly eventsPerSecond: number;
}

/** Time between two batches, ms. */
const EVERY_MS = 50;

async function run({ url, password, eventsPerSecond }: OverloadOptions): Promise<void> {
  const nc = await connect({
    servers: url,
    user: "ingest",
    pass: password,
    inboxPrefix: inboxPrefix("ingest"),
    maxReconnectAttempts: -1,
  });
  const random = new Random(3);
  const viewers = audience(random, eventsPerSecond * AUDIENCE_INTERVAL_MS / 1_000, Date.now());
  let next = 0;
  let owed = 0;
  let atMs = performance.now();
  for (;;) {
    const nowMs = performance.now();
    owed += (nowMs - atMs) * eventsPerSecond / 1_000;
    atMs = nowMs;
    const ts = Date.now();
    const bodies = Array.from({ length: Math.floor(owed) }, () => {
      const viewer = viewers[next % viewers.length];
      const seq = 100 + Math.floor(next++ / viewers.length);
      return encode({ ...viewer, event_id: random.uuidv7(ts), seq, ts });
    });
    if (bodies.length > 0) {
      owed -= bodies.length;
      const first = next;
      await landBatch(nc, bodies, (i) => `load-${first}-${i}`);
    }
    // No sleep: the rate is the load.
    await pause(Math.max(1, EVERY_MS - (performance.now() - nowMs)));
  }
}

if (import.meta.main) {
  const [json] = Deno.args;
  if (json === undefined) throw new Error("the argument is missing: the options as JSON");
  await run(JSON.parse(json));
}
