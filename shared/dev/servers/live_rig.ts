/**
 * The live process on a real server with viewers in real time, and on-call who listens.
 *
 * @module
 */
import { Ajv } from "ajv";
import { assertExists } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamClient, jetstreamManager } from "nats/jetstream";
import { type Alert, isPage } from "../../contract/alert.ts";
import type { Heartbeat } from "../../contract/event.ts";
import {
  heartbeatStreams,
  heartbeatSubject,
  isSubjectPattern,
  partitionOf,
  type TopologyOptions,
} from "../../contract/topology.ts";
import { pause } from "../../process/retry.ts";
import { aHeartbeat, encode } from "../testing/heartbeats.ts";
import { Random } from "../testing/random.ts";
import { waitFor } from "../testing/wait_for.ts";
import type { ServiceProcess } from "./service_process.ts";
import { NatsStack, type ReceivedAlert } from "./stack.ts";

const INTERVAL_MS = 10_000;
const REGIONS = ["de", "us-east", "br", "jp", "in"];
/** Viewers of {@link Viewers.addWorld}. */
export const WORLD_VIEWERS = 400;
/** Longest time from a page's receipt to on-call, however busy the machine is: the hard limit. */
const MAX_DELIVERY_MS = 30_000;
const RETRY_MS = 100;
const TIMEOUT = { timeoutMs: 120_000 };

/** Viewers who watch the same, and what they are doing. */
export interface Audience {
  /** What their heartbeats have in common. */
  readonly common: Partial<Heartbeat>;
  /** Their clock minus the true time, ms. */
  readonly clockMs: number;
  /** Since when they stall, and which share of the time; ms since the epoch. */
  stallsSinceMs: number;
  stallShare: number;
  /** Whether they are heard at all. */
  isOn: boolean;
}

interface Viewer {
  readonly id: string;
  readonly device: Heartbeat["device"];
  readonly audience: Audience;
  seq: number;
  nextMs: number;
}

/** Viewers in real time: a heartbeat each ten seconds, at random phases. */
export class Viewers implements AsyncDisposable {
  /** Heartbeats stored. */
  stored = 0;
  readonly #viewers: Viewer[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #js: JetStreamClient;
  readonly #pending = new Set<Promise<void>>();
  #isStopped = false;

  constructor(nc: NatsConnection, readonly random: Random, readonly partitions: number) {
    this.#js = jetstream(nc);
    this.#timer = setInterval(() => this.#send(), 50);
  }

  /** Viewers added. */
  get count(): number {
    return this.#viewers.length;
  }

  /** Adds `count` viewers, each with what is `common` in their heartbeats. */
  add(count: number, common: Partial<Heartbeat>, clockMs = 0): Audience {
    const audience = { common, clockMs, stallsSinceMs: Infinity, stallShare: 0, isOn: true };
    for (let i = 0; i < count; i++) {
      const id = `s-${this.#viewers.length}`;
      const device = { model: `m${i % 3}`, os: "tvos 19", build: `9.${i % 2}.0` };
      const nextMs = Date.now() + this.random.int(0, INTERVAL_MS);
      this.#viewers.push({ id, device, audience, seq: this.random.int(5, 500), nextMs });
    }
    return audience;
  }

  /** Adds healthy viewers of other titles, 80 in each region. */
  addWorld(): void {
    for (const region of REGIONS) {
      for (let i = 0; i < 8; i++) {
        const device = { model: `m${i % 3}`, os: "tvos 19", build: `9.${i % 2}.0` };
        this.add(10, {
          region,
          title_id: `world-${i}`,
          cdn: `c${i % 2}`,
          isp: `i${i % 4}`,
          device,
        });
      }
    }
  }

  /** From now on `audience` stalls `share` of the time. */
  stall(audience: Audience, share: number): void {
    audience.stallsSinceMs = Date.now();
    audience.stallShare = share;
  }

  /** From now on `audience` stalls no more. */
  recover(audience: Audience): void {
    audience.stallsSinceMs = Infinity;
  }

  #send(): void {
    const nowMs = Date.now();
    for (const viewer of this.#viewers) {
      while (viewer.nextMs <= nowMs) {
        if (viewer.audience.isOn) this.#store(viewer);
        viewer.seq += 1;
        viewer.nextMs += INTERVAL_MS;
      }
    }
  }

  #store({ id, device, audience, seq, nextMs }: Viewer): void {
    const { common, clockMs, stallsSinceMs, stallShare } = audience;
    const stalledForMs = Math.max(0, Math.min(INTERVAL_MS, nextMs - stallsSinceMs));
    const rebuffer_ms = Math.round(stallShare * stalledForMs);
    const heartbeat = aHeartbeat(this.random, nextMs + clockMs, {
      session_id: id,
      seq,
      rebuffer_ms,
      played_ms: INTERVAL_MS - rebuffer_ms,
      device,
      ...common,
    });
    const subject = heartbeatSubject(partitionOf(id, this.partitions), "de");
    const storing = this.#publish(subject, encode(heartbeat), heartbeat.event_id)
      .finally(() => this.#pending.delete(storing));
    this.#pending.add(storing);
  }

  // As devices and the edge do: again until it is stored, and stored once.
  async #publish(subject: string, bytes: Uint8Array, msgID: string): Promise<void> {
    while (!this.#isStopped) {
      try {
        await this.#js.publish(subject, bytes, { msgID });
        this.stored += 1;
        return;
      } catch {
        await pause(RETRY_MS);
      }
    }
  }

  /** Nobody sends any more; resolves once everything sent is stored. */
  async leave(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    await this.leave();
  }
}

/** A server, the live process, viewers, and an on-call subscriber. */
export class LiveRig implements AsyncDisposable {
  private constructor(
    readonly stack: NatsStack,
    readonly service: ServiceProcess,
    readonly ingest: NatsConnection,
    readonly viewers: Viewers,
    readonly partitions: number,
    readonly alerts: readonly ReceivedAlert[],
    /** Payloads of `alerts.>` that do not follow the published JSON Schema, and why. */
    readonly misfits: readonly string[],
  ) {}

  static async start(
    settings: Record<string, string> = {},
    options: Partial<TopologyOptions> = {},
    prepare: (stack: NatsStack) => Promise<void> = async () => {},
  ): Promise<LiveRig> {
    const partitions = options.partitions ?? 1;
    const stack = await NatsStack.start(options);
    await prepare(stack);
    const misfits = await receiveMisfits(await stack.connect("oncall"));
    const alerts = await stack.receiveAlerts();
    const service = await stack.service("live", {
      TWOFOLD_PARTITIONS: String(partitions),
      ...settings,
    });
    const ingest = await stack.connect("ingest");
    const viewers = new Viewers(ingest, new Random(7), partitions);
    return new LiveRig(stack, service, ingest, viewers, partitions, alerts, misfits);
  }

  /** Stores `bytes` as they are. */
  async land(bytes: Uint8Array | string): Promise<void> {
    await jetstream(this.ingest).publish(heartbeatSubject(0, "de"), bytes);
  }

  /** Subject and status of every alert but updates. */
  statuses(): string[] {
    return this.alerts.filter(({ alert }) => alert.status !== "update")
      .map(({ subject, alert }) => `${subject} ${alert.status}`);
  }

  /** Subjects of everything that paged, in order. */
  pages(): string[] {
    return this.alerts.filter(({ alert }) => isPage(alert)).map(({ subject }) => subject);
  }

  /** Waits for an alert with `status`, of `subject` if given. */
  alertIs(status: Alert["status"], subject?: string): Promise<Alert> {
    return this.alertThat(
      `${subject ?? "an alert"} to be ${status}`,
      (alert, of) => alert.status === status && (subject === undefined || of === subject),
    );
  }

  /** Waits for the first alert that `is` accepts; `what` says which it is. */
  async alertThat(
    what: string,
    is: (alert: Alert, subject: string) => boolean,
  ): Promise<Alert> {
    const find = () => this.alerts.find(({ alert, subject }) => is(alert, subject));
    await waitFor(what, () => find() !== undefined, TIMEOUT);
    const found = find();
    assertExists(found);
    return found.alert;
  }

  /** The sample `name` of the metrics. */
  async metric(name: string): Promise<number | undefined> {
    return (await this.service.metrics()).get(name);
  }

  /** Waits until the sample `name` is `expected`. */
  async metricIs(name: string, expected: number): Promise<void> {
    await waitFor(
      `${name} to be ${expected}`,
      async () => await this.metric(name) === expected,
      TIMEOUT,
    );
  }

  /**
   * Waits for the page of `subject`; after how long it was decided, in ms by receipts. Throws if its
   * delivery took longer than the hard limit.
   */
  async paged(subject: string): Promise<number> {
    const startMs = Date.now();
    const page = await waitFor(`the page ${subject}`, () => {
      const found = this.alerts.find((each) => each.subject === subject && isPage(each.alert));
      if (found) return found.alert;
      throw new Error(`alerts: ${this.statuses().join(", ")}`);
    }, TIMEOUT);
    const deliveryMs = Date.now() - page.at;
    if (deliveryMs > MAX_DELIVERY_MS) throw new Error(`${subject} came after ${deliveryMs} ms`);
    return page.at - startMs;
  }

  /** Waits until live counts every viewer. */
  async heard(): Promise<void> {
    await this.metricIs("twofold_live_sessions", this.viewers.count);
  }

  /** Lets viewers watch for so long. */
  async watch(seconds: number): Promise<void> {
    await pause(seconds * 1_000);
  }

  /** Waits until live has handled and acknowledged everything that was stored. */
  async caughtUp(): Promise<void> {
    const jsm = await jetstreamManager(await this.stack.connect("ops"));
    for (const stream of heartbeatStreams(this.partitions)) {
      await waitFor(`live to acknowledge ${stream}`, async () => {
        const { num_pending, num_ack_pending } = await jsm.consumers.info(stream, "live");
        return num_pending + num_ack_pending === 0;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.viewers[Symbol.asyncDispose]();
    await this.stack[Symbol.asyncDispose]();
    if (this.misfits.length > 0) throw new Error(`misfits: ${this.misfits.join("\n")}`);
  }
}

/** What a terminal or a log could act on. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/u;

// Checks the bytes with the committed file, as those who read `alerts.>` do.
async function receiveMisfits(oncall: NatsConnection): Promise<readonly string[]> {
  const misfits: string[] = [];
  const schema = await Deno.readTextFile(
    new URL("../../contract/alert.schema.json", import.meta.url),
  );
  const follows = new Ajv({ strict: true }).compile(JSON.parse(schema));
  oncall.subscribe("alerts.>", {
    callback: (_error, message) => {
      const { subject } = message;
      const text = message.string();
      if (!follows(message.json())) misfits.push(`${subject}: ${JSON.stringify(follows.errors)}`);
      if (INVISIBLE.test(text)) misfits.push(`${subject} is not printable: ${text}`);
      if (!isSubjectPattern(subject) || /[*>]/.test(subject)) misfits.push(`${subject}: no token`);
    },
  });
  await oncall.flush();
  return misfits;
}
