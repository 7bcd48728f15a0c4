/**
 * What `deno task up` supervises, and how each part shows that it lives and works.
 *
 * @module
 */
import { messageOf } from "../../process/errors.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { SERVICES } from "../servers/service_process.ts";
import type { Part } from "./supervisor.ts";

/** Maximum wait for a sign of life, ms. */
const ANSWER_MS = 2_000;
/** What nats-server says of itself once it stores nothing any more, whatever space there is. */
const STORES_NOTHING = /write error|JetStream not enabled/;
/** Asks Postgres whether it speaks TLS: it answers with one byte, also while it recovers. */
const TLS_REQUEST = Uint8Array.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f);

/** The servers and services of `pipeline`. */
export function partsOf({ nats, postgres, services }: Pipeline): Part[] {
  return [
    {
      name: "nats-server",
      ended: () => nats.ended(),
      start: () => nats.start(),
      stop: (signal) => nats.stop(signal),
      ailment: () => ailmentOf(() => storesMessages(nats.monitorPort)),
    },
    {
      name: "postgres",
      ended: () => postgres.ended(),
      start: () => postgres.start(),
      stop: (signal) => postgres.stop(signal),
      ailment: () => ailmentOf(() => answersTls(postgres.port)),
    },
    ...SERVICES.map((name): Part => ({
      name,
      ended: () => services[name].ended(),
      start: () => services[name].restart(),
      stop: (signal) => services[name].stop(signal),
      ailment: () => ailmentOf(() => textOf(`${services[name].statusUrl}/healthz`)),
    })),
  ];
}

/** Why `probe` rejects, or that it does not answer in time; undefined when it resolves. */
async function ailmentOf(probe: () => Promise<unknown>): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("does not answer"), ANSWER_MS);
  });
  const answer = probe().then(() => undefined, (error) => messageOf(error));
  return await Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

async function textOf(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
  return await response.text();
}

// While it recovers streams it says that it is not healthy, too: then it has to be left alone.
async function storesMessages(monitorPort: number): Promise<void> {
  const health = await textOf(`http://127.0.0.1:${monitorPort}/healthz`);
  if (STORES_NOTHING.test(health)) throw new Error(`stores nothing (${health.slice(0, 300)})`);
}

async function answersTls(port: number): Promise<void> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(TLS_REQUEST);
  if (await connection.read(new Uint8Array(1)) === null) throw new Error("answers nothing");
}
