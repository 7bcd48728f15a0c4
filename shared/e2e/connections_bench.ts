/**
 * The edge while hostile clients hold connections:
 * `deno task bench connections [seconds]`.
 *
 * 20,000 silent connections, the same opened twice as fast, 5,000 half headers and 5,000 half bodies
 * of 8 kB, from 50 addresses and opened again as soon as the edge ends one; each for `seconds`, 15 by
 * default. Meanwhile devices post one heartbeat each, on connections of their own, and try again as
 * devices do. Prints how long they took, and the memory of the edge. Needs `ulimit -n` of 16,000.
 *
 * @module
 */
import { connect, type Socket } from "node:net";
import { ChildProcess } from "../dev/testing/child_process.ts";
import { aHeartbeat } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import type { ServiceProcess } from "../dev/servers/service_process.ts";
import { pause } from "../process/retry.ts";

const KEY = "bench-0123456789abcdef";
/** The bound that the README of the edge states, in bytes. */
const MAX_MEMORY_BYTES = 600_000_000;
const MAX_P99_MS = 1_000;
const HONEST_INTERVAL_MS = 10;
/** A device gives up an attempt after this time, and tries again. */
const ATTEMPT_MS = 5_000;
const MAX_ATTEMPTS = 5;
const ADDRESSES = 50;
/** A process opens at most this many; its limit of descriptors is not the edge's. */
const SOCKETS_PER_PROCESS = 10_000;
const OPENED_PER_STEP = 100;
const OPENED_FAST_PER_STEP = 200;
/** After the first round, so that it is about connections that are held. */
const OPENED_AGAIN_PER_STEP = 25;
const STEP_MS = 50;

const HEAD = "POST /v1/heartbeats HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n" +
  `Authorization: Bearer ${KEY}\r\n`;
const ATTACKS: Readonly<Record<string, Omit<Attack, "port" | "seconds">>> = {
  "nothing": { count: 0, text: "" },
  "silent connections": { count: 20_000, text: "" },
  "silent connections, opened twice as fast": {
    count: 20_000,
    text: "",
    perStep: OPENED_FAST_PER_STEP,
  },
  "half headers": { count: 5_000, text: HEAD },
  "half bodies of 8 kB": {
    count: 5_000,
    text: `${HEAD}Content-Length: 8192\r\n\r\n${"[".repeat(4096)}`,
  },
  "half bodies without a length": {
    count: 5_000,
    text: `${HEAD}Transfer-Encoding: chunked\r\n\r\n1000\r\n${"[".repeat(4096)}\r\n`,
  },
};

interface Attack {
  readonly port: number;
  readonly count: number;
  readonly text: string;
  readonly seconds: number;
  /** Connections that a process opens in a step of the first round. */
  readonly perStep?: number;
}

/** Keeps `count` connections open, each from one of many addresses of this machine. */
class Attacker {
  #open = 0;
  #opened = 0;

  constructor(readonly attack: Attack) {}

  async run(): Promise<number> {
    const endMs = performance.now() + this.attack.seconds * 1_000;
    while (performance.now() < endMs) {
      const { count, perStep = OPENED_PER_STEP } = this.attack;
      const most = this.#opened < count ? perStep : OPENED_AGAIN_PER_STEP;
      const missing = Math.min(count - this.#open, most);
      for (let i = 0; i < missing; i++) this.#connect();
      // No sleep: it is how fast connections are opened.
      await pause(STEP_MS);
    }
    return this.#opened;
  }

  #connect(): void {
    const { port, text } = this.attack;
    const localAddress = `127.0.1.${1 + this.#opened++ % ADDRESSES}`;
    this.#open++;
    const socket: Socket = connect({ host: "127.0.0.1", port, localAddress });
    socket.on("connect", () => void (text !== "" && socket.write(text)));
    // Without a reader the end is not noticed.
    socket.on("data", () => {});
    socket.on("error", () => {});
    socket.on("close", () => void this.#open--);
  }
}

/** What honest devices have seen. */
class Devices {
  readonly tookMs: number[] = [];
  readonly #random = new Random(1);
  #again = 0;
  #lost = 0;
  #isOver = false;

  constructor(readonly url: string) {}

  async run(): Promise<void> {
    const posts: Promise<void>[] = [];
    while (!this.#isOver) {
      posts.push(this.#post());
      // No sleep: it is how often a device posts.
      await pause(HONEST_INTERVAL_MS);
    }
    await Promise.all(posts);
  }
  end(): void {
    this.#isOver = true;
  }
  percentileMs(share: number): number {
    const sorted = this.tookMs.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  }
  get text(): string {
    const [p50, p99, max] = [0.5, 0.99, 1].map((share) => this.percentileMs(share).toFixed(0));
    return `${this.tookMs.length} posts, p50 ${p50} ms, p99 ${p99} ms, slowest ${max} ms, ` +
      `${this.#again} attempts repeated, ${this.#lost} lost`;
  }
  get lost(): number {
    return this.#lost;
  }

  async #post(): Promise<void> {
    const startMs = performance.now();
    const body = JSON.stringify(aHeartbeat(this.#random, Date.now()));
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const status = await this.#attempt(body).catch(() => 0);
      if (status === 202) return void this.tookMs.push(performance.now() - startMs);
      this.#again++;
    }
    this.#lost++;
  }

  async #attempt(body: string): Promise<number> {
    const response = await fetch(`${this.url}/v1/heartbeats`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${KEY}`,
        "content-type": "application/json",
        connection: "close",
      },
      body,
      signal: AbortSignal.timeout(ATTEMPT_MS),
    });
    await response.body?.cancel();
    return response.status;
  }
}

/** Runs every attack; returns 1 when honest devices were slow or memory exceeded its bound. */
async function runConnectionsBench(seconds: number): Promise<number> {
  await using stack = await NatsStack.start();
  const edge = await stack.service("ingest", { TWOFOLD_FLEET_KEYS: `bench:${KEY}` });
  let failures = 0;
  for (const [name, attack] of Object.entries(ATTACKS)) {
    const devices = new Devices(edge.url);
    const memory = new PeakMemory(edge);
    const posting = devices.run();
    const opened = await attackers({ port: edge.options.httpPort, seconds, ...attack });
    devices.end();
    await posting;
    const peakBytes = memory.end();
    const isFailed = !(devices.percentileMs(0.99) < MAX_P99_MS) || devices.lost > 0 ||
      peakBytes > MAX_MEMORY_BYTES;
    failures += isFailed ? 1 : 0;
    console.log(
      `${isFailed ? "FAILED" : "held"}: ${attack.count} ${name}, ${opened} opened in all`,
    );
    console.log(`  ${devices.text}; memory at most ${Math.round(peakBytes / 1_000_000)} MB`);
  }
  return failures === 0 ? 0 : 1;
}

async function attackers({ count, ...attack }: Attack): Promise<number> {
  const shares: number[] = [];
  for (let left = count; left > 0 || shares.length === 0; left -= SOCKETS_PER_PROCESS) {
    shares.push(Math.min(left, SOCKETS_PER_PROCESS));
  }
  const opened = await Promise.all(shares.map(async (share) => {
    const order = JSON.stringify({ ...attack, count: share });
    const args = ["run", "-A", "--quiet", new URL(import.meta.url).pathname, "--attack", order];
    await using child = new ChildProcess(Deno.execPath(), args);
    const { out, err, code } = await child.ended;
    if (code !== 0) throw new Error(`an attacker failed: ${err}`);
    return Number(out);
  }));
  return opened.reduce((sum, each) => sum + each, 0);
}

/** The resident memory of a process. */
class PeakMemory {
  #bytes = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(readonly process: ServiceProcess) {
    // No sleep: it is how often memory is looked at.
    this.#timer = setInterval(() => this.#look(), 200);
  }
  end(): number {
    clearInterval(this.#timer);
    return this.#bytes;
  }
  #look(): void {
    const status = Deno.readTextFileSync(`/proc/${this.process.pid}/status`);
    const bytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
    this.#bytes = Math.max(this.#bytes, bytes);
  }
}

if (import.meta.main) {
  const [first = "15", order] = Deno.args;
  if (first === "--attack") {
    console.log(await new Attacker(JSON.parse(order ?? "{}")).run());
    Deno.exit(0);
  }
  Deno.exit(await runConnectionsBench(Number(first)));
}
