/**
 * Causes the faults of a schedule on a running pipeline, and ends them.
 *
 * @module
 */
import { jetstreamManager } from "nats/jetstream";
import type { NatsServer } from "../../dev/servers/nats_server.ts";
import type { Pipeline } from "../../dev/servers/pipeline.ts";
import type { ServiceProcess } from "../../dev/servers/service_process.ts";
import type { TcpProxy } from "../../dev/servers/tcp_proxy.ts";
import { isAlive, runCommand } from "../../dev/testing/child_process.ts";
import { processTree } from "../../dev/testing/measure.ts";
import { pause } from "../../process/retry.ts";
import type { NatsDisks } from "./disks.ts";
import type { ProxyLinks } from "./links.ts";
import {
  type ChaosFault,
  type FaultKind,
  JITTER_MS,
  natsNames,
  PROCESSES,
  type ProcessName,
  RESET_EVERY_MS,
  SLOW_MS,
} from "./schedule.ts";

/** Undoes what a fault did. */
export type Undo = () => Promise<void>;

/** A process that can be ended, started and asked for its id. */
interface Victim {
  readonly pid: number;
  stop(signal: Deno.Signal): Promise<unknown>;
  start(): Promise<void>;
}

/** What faults act on. */
export interface Field {
  readonly pipeline: Pipeline;
  readonly links: ProxyLinks;
  /** None without the right to mount. */
  readonly disks: NatsDisks | undefined;
}

/** Causes `fault`; the result ends it, and resolves once what was stopped has been started. */
export async function cause({ kind, target }: ChaosFault, field: Field): Promise<Undo> {
  const { pipeline, links } = field;
  if (target.includes("→")) return disturb(kind, target, links);
  if (kind === "full") return await fill(target, pipeline);
  if (kind === "disk") return await fillDisk(target, field);
  if (kind === "isolate") return isolate(target, pipeline);
  const victim = victimOf(target, pipeline);
  if (kind === "freeze") return freeze(victim);
  if (kind === "descriptors") return await exhaust(victim);
  await victim.stop(kind === "kill" ? "SIGKILL" : "SIGTERM");
  return () => victim.start();
}

/** The process of a service. */
export function processOf(name: ProcessName, { services, pagers }: Pipeline): ServiceProcess {
  if (name !== "pager-2") return services[name];
  const [, standby] = pagers;
  if (standby === undefined) throw new RangeError("there is one pager only");
  return standby;
}

function victimOf(target: string, pipeline: Pipeline): Victim {
  const name = PROCESSES.find((each) => each === target);
  if (name !== undefined) return serviceVictim(processOf(name, pipeline));
  const { postgres, nats } = pipeline;
  const server = target === "postgres" ? postgres : nodeOf(target, nats);
  return {
    get pid() {
      return server.pid;
    },
    // Postgres ends its connections at SIGINT; at SIGTERM it waits for the services to go.
    stop: (signal) => server.stop(server === postgres && signal === "SIGTERM" ? "SIGINT" : signal),
    // What was killed may still hold what it needs.
    start: () => retried(() => server.start()),
  };
}

function nodeOf(target: string, nats: NatsServer): NatsServer {
  const node = nats.nodes[indexOf(target, nats)];
  if (node === undefined) throw new RangeError(`there is no process ${target}`);
  return node;
}

function indexOf(target: string, { nodes }: NatsServer): number {
  return natsNames(nodes.length).indexOf(target);
}

function serviceVictim(service: ServiceProcess): Victim {
  return {
    get pid() {
      return service.pid;
    },
    stop: (signal) => service.stop(signal),
    start: async () => {
      await service.restart();
      // Whether it is ready depends on others, which may be out too.
      await retried(() => service.readiness());
    },
  };
}

function freeze(victim: Victim): Undo {
  // With its children: Postgres works in them.
  const frozen = processTree(victim.pid);
  for (const pid of frozen) signal(pid, "SIGSTOP");
  return async () => {
    for (const pid of frozen) signal(pid, "SIGCONT");
    await Promise.resolve();
  };
}

function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch {
    // It has ended.
  }
}

async function exhaust({ pid }: Victim): Promise<Undo> {
  const limits = await Deno.readTextFile(`/proc/${pid}/limits`);
  const [, soft = ""] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  const open = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  await limit(pid, `--nofile=${open}:`);
  return async () => {
    if (isAlive(pid)) await limit(pid, `--nofile=${soft}:`);
  };
}

async function limit(pid: number, what: string): Promise<void> {
  // As the user of the process: root alone may have no right to that of another.
  const { uid, gid } = await Deno.stat(`/proc/${pid}`);
  const user = uid === Deno.uid() ? {} : { uid: uid ?? 0, gid: gid ?? 0 };
  const args = ["--pid", String(pid), what];
  const { code, err } = await runCommand("prlimit", args, { cwd: "/", ...user });
  // It may have ended because of the fault; who starts it again is the one to restore it.
  if (code !== 0 && isAlive(pid)) throw new Error(`prlimit of ${pid}: ${err.trim()}`);
}

function disturb(kind: FaultKind, target: string, links: ProxyLinks): Undo {
  const proxies = links.of(target);
  for (const proxy of proxies) {
    if (kind === "cut") proxy.shut();
    else if (kind === "half-open") proxy.silence();
    else if (kind === "slow") proxy.shape({ delayMs: SLOW_MS });
    else if (kind === "jitter") proxy.shape({ jitterMs: JITTER_MS });
  }
  if (kind === "resets") return repeated(() => reset(proxies));
  return async () => {
    for (const proxy of proxies) proxy.heal();
    await Promise.resolve();
  };
}

/** `act` now and every {@link RESET_EVERY_MS}. */
function repeated(act: () => Promise<void>): Undo {
  const over = new AbortController();
  const acting = (async () => {
    while (!over.signal.aborted) {
      await act();
      await pause(RESET_EVERY_MS, over.signal);
    }
  })();
  return async () => {
    over.abort();
    await acting;
  };
}

async function reset(proxies: readonly TcpProxy[]): Promise<void> {
  // The kernel sends a reset to who connected, if there is this program and the right to use it.
  const ports = proxies.map(({ port }) => `sport = ${port}`);
  await runCommand("ss", ["--kill", "--tcp", ports.join(" or ")]).catch(() => {});
  for (const proxy of proxies) proxy.cut();
}

async function fillDisk(target: string, { pipeline, disks }: Field): Promise<Undo> {
  const index = indexOf(target, pipeline.nats);
  if (disks && index >= 0) {
    await disks.fill(index);
    return () => disks.free(index);
  }
  const victim = victimOf(target, pipeline);
  const { pid } = victim;
  await limitSizes(pid, 1);
  return async () => {
    await limitSizes(pid, "unlimited");
    // Without its log Postgres ends.
    if (!isAlive(pid)) await victim.start();
  };
}

/** Also of its children; those that it starts have the same limit. */
async function limitSizes(pid: number, maxBytes: number | "unlimited"): Promise<void> {
  for (const each of processTree(pid)) {
    if (isAlive(each)) await limit(each, `--fsize=${maxBytes}:`);
  }
}

function isolate(target: string, { nats, cluster }: Pipeline): Undo {
  const index = indexOf(target, nats);
  cluster?.isolate(index);
  return async () => {
    cluster?.rejoin(index);
    await Promise.resolve();
  };
}

/**
 * Why a node of NATS writes to a stream no more, if so. It does not begin again by itself after an
 * error of its disk, or without descriptors.
 */
export async function writeErrorOf({ monitorPort }: NatsServer): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(1_000);
    const response = await fetch(`http://127.0.0.1:${monitorPort}/healthz`, { signal });
    const { error = "" } = await response.json();
    // The second: the error hit a log of its cluster, and nats-server has stopped JetStream whole.
    return /write error|JetStream not enabled/.test(error) ? error : undefined;
  } catch {
    // It is down, or hangs: that is a fault of its own.
    return undefined;
  }
}

/** Bytes that a full stream still has room for: no heartbeat. */
const ROOM_BYTES = 1;

async function fill(stream: string, pipeline: Pipeline): Promise<Undo> {
  const jsm = await retried(async () =>
    jetstreamManager(await pipeline.connect("ops"), { checkAPI: false })
  );
  const { config, state } = await retried(() => jsm.streams.info(stream));
  const resize = (max_bytes: number) =>
    retried(() => jsm.streams.update(stream, { ...config, max_bytes }));
  await resize(state.bytes + ROOM_BYTES);
  return async () => void await resize(config.max_bytes);
}

const RETRY_FOR_MS = 60_000;

/** Until it succeeds: a server that it needs may be out. */
async function retried<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + RETRY_FOR_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(250);
    }
  }
}
