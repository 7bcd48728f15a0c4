/**
 * The edge over long links to NATS: `deno run -A ingest/link_bench.ts [seconds] [round trip ms]…`.
 *
 * A proxy between the edge and nats-server delays every byte. The floor is the first round trip,
 * measured in the same run, with as many clients.
 *
 * @module
 */
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { TcpProxy } from "../shared/dev/servers/tcp_proxy.ts";
import { type Figure, report } from "../shared/dev/testing/measure.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { BENCH_KEY, generate } from "./ingest_bench.ts";

const ROUND_TRIPS_MS = [1, 200, 500];
const EVENTS_PER_REQUEST = 4;
/** Enough that at 500 ms every client waits less than half of its time. */
const CLIENTS = 2_000;

/** Measures the events acknowledged a second at each round trip, and prints them. */
export async function runLinkBench(
  seconds = 6,
  roundTripsMs: readonly number[] = ROUND_TRIPS_MS,
): Promise<Figure[]> {
  await using stack = await NatsStack.start({ duplicateWindowMs: 10_000 });
  using link = new TcpProxy(stack.nats.port);
  const edge = await stack.service("ingest", {
    TWOFOLD_FLEET_KEYS: `bench:${BENCH_KEY}`,
    TWOFOLD_NATS_URL: link.url,
  });
  const figures: Figure[] = [];
  for (const roundTripMs of roundTripsMs) {
    link.shape({ delayMs: roundTripMs / 2 });
    await waitFor("the edge to measure the link", async () => {
      const seconds = (await edge.metrics()).get("twofold_ingest_round_trip_seconds") ?? 0;
      return seconds * 1_000 >= roundTripMs;
    });
    const figure = await generate(`round trip of ${roundTripMs} ms`, {
      target: { edge: edge.url },
      eventsPerRequest: EVENTS_PER_REQUEST,
      workers: CLIENTS,
      seconds,
      mayRefuse: true,
    }, { edge: edge.pid, nats: stack.nats.pid });
    console.log(report([figure], figures[0]));
    figures.push(figure);
  }
  return figures;
}

if (import.meta.main) {
  const [seconds, ...roundTripsMs] = Deno.args.map(Number);
  await runLinkBench(seconds, roundTripsMs.length > 0 ? roundTripsMs : undefined);
}
