/**
 * Where `deno task up` is: its folder, and eleven ports in a row, the same at every start, so that links
 * and scripts stay valid.
 *
 * @module
 */
import { Stop } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";
import { isFreePort } from "../servers/free_port.ts";
import type { Ports } from "../servers/pipeline.ts";

/** The folder of data, logs and secrets, in the working directory. */
export const FOLDER = ".twofold";

/** The ports of a pipeline, and that of the start page. */
export interface UpPorts extends Ports {
  readonly page: number;
}

/** The first port unless another one is given. */
export const BASE_PORT = 7400;
/** How many ports {@link portsFrom} takes. */
export const PORT_COUNT = 11;
/** What ends after a SIGKILL of an earlier `up` holds its ports for a moment. */
const MAX_WAIT_MS = 15_000;

/** The ports `base` to `base` + 10. */
export function portsFrom(base: number): UpPorts {
  return {
    page: base,
    http: {
      ingest: base + 1,
      live: base + 2,
      royalty: base + 3,
      triage: base + 4,
      pager: base + 5,
    },
    finance: base + 6,
    nats: base + 7,
    natsMonitor: base + 8,
    postgres: base + 9,
    ingestStatus: base + 10,
  };
}

/**
 * Resolves once no process listens on the ports from `base`. Throws {@link Stop} when one still does
 * after `maxWaitMs`.
 */
export async function requireFree(
  base: number,
  say: (line: string) => void,
  maxWaitMs = MAX_WAIT_MS,
): Promise<void> {
  const deadline = performance.now() + maxWaitMs;
  for (let port = base, isSaid = false; port < base + PORT_COUNT;) {
    if (isFreePort(port)) {
      port++;
      continue;
    }
    if (performance.now() > deadline) {
      throw new Stop(
        `port ${port} is in use; choose others with --port N (takes N to N + ${PORT_COUNT - 1})`,
      );
    }
    if (!isSaid) say(`waiting until port ${port} is free`);
    isSaid = true;
    await pause(100);
  }
}
