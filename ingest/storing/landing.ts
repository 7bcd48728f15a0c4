/**
 * Stores batches in JetStream: by fast ingest, or by single publishes where a stream does not allow
 * batches.
 *
 * @module
 */
import { headers, type MsgHdrs, type NatsConnection } from "nats";
import {
  jetstream,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
} from "nats/jetstream";
import { canaryOf, canarySession } from "../../shared/contract/canary/canary.ts";
import { ENDS_HEADER } from "../../shared/contract/topology.ts";
import { messageOf } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import { probeEvent } from "../admit.ts";
import { FastIngest } from "./fast_ingest.ts";
import { messagesOf, type OutgoingMessage } from "./messages.ts";
import type { Landing } from "./publisher.ts";
import { NotStored, type RefusalReason, StreamOutcome } from "../refusals.ts";

/** Below this, single publishes take fewer round trips than a batch. */
const MIN_FAST_MESSAGES = 4;
/** JetStream error code "batch publish is disabled": no fast ingest on this stream or server. */
const BATCH_DISABLED_CODE = 10205;
/**
 * JetStream error codes "too many requests", when the queue of the stream is full, and "duplicate
 * message id is in process", while the cluster has not agreed on its first copy.
 */
const BUSY_CODES: readonly number[] = [10167, 10158];
/** The second of them: as little as no answer, it says why. */
const NOT_AGREED_CODE = 10158;
/** Round trips that are remembered; the shortest is the one without load. */
const ROUND_TRIPS = 3;

/** JetStream error codes of a refused publish. */
const REASON_OF_CODE: ReadonlyMap<number, RefusalReason> = new Map([
  [10077, "stream_full"],
  // Of the account, of the server, and of the server by a reservation.
  ...[10002, 10023, 10028, 10047].map((code) => [code, "quota"] as const),
  // Temporarily unavailable, too few nodes, no leader, and not enabled (any more).
  ...[10004, 10005, 10008, 10009, 10039, 10076].map((code) => [code, "no_quorum"] as const),
]);
/** Reasons that only somebody's command ends, and of which the server answers at once. */
const LASTING: readonly (RefusalReason | undefined)[] = ["stream_full", "quota"];
/**
 * A probe is a message as large as any: where there is room for a small one only, what devices send is
 * refused all the same.
 */
const PROBE_EVENTS = 4;
const PROBE_EVENT_BYTES = 16_000;
/** Maximum time that a probe waits for an acknowledgement, in ms. */
const PROBE_TIMEOUT_MS = 2_000;

/** Time before a retry, by the cause of the failure, in ms. */
const RETRY_AFTER_MS = {
  timeout: 100,
  busy: 250,
  disconnected: 2_000,
  other: 1_000,
  apiError: 10_000,
} as const;

interface Lane {
  readonly stream: string;
  readonly outcome: StreamOutcome;
  way: "fast" | "plain";
  /** Why nothing is known of the stream; undefined once it has answered or stored something. */
  problem: string | undefined;
  /** What its leader said of it at the last probe; undefined: it did not answer. */
  answer: "leads" | "no_quorum" | undefined;
  /** The server that led it when it last answered. */
  leader: string | undefined;
}

/** What waits for its acknowledgement, and can be given up. */
interface UnderWay {
  readonly lane: Lane;
  readonly sentMs: number;
  readonly giveUp: (reason: NotStored) => void;
}

/** How a {@link JetStreamLanding} works. */
export interface LandingOptions {
  readonly inboxPrefix: string;
  /** Indexed by partition. */
  readonly streams: readonly string[];
  readonly log: Log;
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
}

/** Stores events in the HEARTBEATS streams over one connection. */
export class JetStreamLanding implements Landing {
  readonly #js: JetStreamClient;
  readonly #fast: FastIngest;
  readonly #lanes: readonly Lane[];
  readonly #underWay = new Set<UnderWay>();
  #connected = true;
  /** The last ones, ms. */
  readonly #roundTripsMs: number[] = [];
  #probing: Promise<unknown> | undefined;

  private constructor(
    readonly nc: NatsConnection,
    readonly jsm: JetStreamManager,
    readonly options: LandingOptions,
  ) {
    this.#js = jetstream(nc);
    this.#fast = new FastIngest(nc, options.inboxPrefix);
    this.#lanes = options.streams.map((stream) => ({
      stream,
      outcome: new StreamOutcome(stream, options.log),
      way: "fast",
      problem: "not probed yet",
      answer: undefined,
      leader: undefined,
    }));
    void this.#followConnection();
  }

  /**
   * Creates the landing and probes each stream once. A stream that does not answer only makes it not
   * ready; see {@link notReady}.
   */
  static async open(nc: NatsConnection, options: LandingOptions): Promise<JetStreamLanding> {
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    const landing = new JetStreamLanding(nc, jsm, options);
    await Promise.all([landing.probe(), landing.measure()]);
    return landing;
  }

  /** Why events cannot be stored now, or undefined when they can. */
  notReady(): string | undefined {
    if (!this.#connected) return "NATS is disconnected";
    const lane = this.#lanes.find(({ problem }) => problem !== undefined);
    return this.refusing() ?? (lane && `${lane.stream}: ${lane.problem}`);
  }

  /** The round trip to the server without load, ms; 0 before it is measured. */
  get roundTripMs(): number {
    return this.#roundTripsMs.length === 0 ? 0 : Math.min(...this.#roundTripsMs);
  }

  /** Measures the round trip. Resolves when the connection is lost, too. Never throws. */
  async measure(): Promise<void> {
    try {
      this.#roundTripsMs.push(await this.nc.rtt());
      if (this.#roundTripsMs.length > ROUND_TRIPS) this.#roundTripsMs.shift();
    } catch {
      // There is no connection, and so no link to measure.
    }
  }

  /** Which streams refused the last events, and why; undefined while none does. */
  refusing(): string | undefined {
    const refusing = this.#lanes.flatMap(({ outcome }) => outcome.refusing ?? []);
    return refusing.length === 0 ? undefined : refusing.join("; ");
  }

  /**
   * Asks every stream whether it exists and allows batches, and one that refuses, by an event that
   * no reader counts, whether it stores again: without traffic nothing else would tell. Never throws.
   */
  async probe(): Promise<void> {
    this.#probing ??= Promise.all(this.#lanes.map(async (lane, partition) => {
      await this.#ask(lane);
      if (lane.outcome.isRefusing) await this.#tryToStore(lane, partition);
    })).finally(() => this.#probing = undefined);
    await this.#probing;
  }

  /**
   * Tries whether streams store again that refuse and may do so by themselves, such as after an
   * election. Does not wait for the outcome.
   */
  tryRefusing(): void {
    for (const [partition, lane] of this.#lanes.entries()) {
      const { isRefusing, reason } = lane.outcome;
      if (isRefusing && !LASTING.includes(reason)) void this.#tryToStore(lane, partition);
    }
  }

  async #ask(lane: Lane): Promise<void> {
    // Until it answers: a frozen server must not pass for one that answers and stores nothing.
    if (lane.outcome.isRefusing) lane.answer = undefined;
    try {
      const { config, cluster } = await this.jsm.streams.info(lane.stream);
      const { allow_batched } = config as { allow_batched?: boolean };
      this.#choose(lane, allow_batched ? "fast" : "plain");
      lane.answer = hasQuorum(cluster) ? "leads" : "no_quorum";
      lane.leader = cluster?.leader;
      lane.problem = undefined;
    } catch (error) {
      lane.answer = undefined;
      lane.problem = natsMessageOf(error);
    }
  }

  async #tryToStore(lane: Lane, partition: number): Promise<void> {
    const { streams: { length: partitions }, nowMs } = this.options;
    const session = canarySession(partition, partitions);
    const probes = Array.from({ length: PROBE_EVENTS }, (_, seq) => {
      const canary = canaryOf({ eventId: crypto.randomUUID(), session, seq, ts: nowMs() });
      return probeEvent(canary, partitions, PROBE_EVENT_BYTES);
    });
    const sentMs = performance.now();
    try {
      await this.#landPlain(messagesOf(probes), PROBE_TIMEOUT_MS);
      this.#giveUpBefore(lane, sentMs);
      this.#stored(lane);
    } catch (error) {
      this.#refused(lane, error);
    }
  }

  // A leader answers in order, so what has no answer yet went to one that is gone.
  #giveUpBefore(lane: Lane, sentMs: number): void {
    const lost = new NotStored("no_answer", `${lane.stream}: lost on its way`, 0);
    for (const each of this.#underWay) {
      if (each.lane === lane && each.sentMs < sentMs) each.giveUp(lost);
    }
  }

  #refused(lane: Lane, error: unknown): NotStored {
    // Given up here: it says nothing of the stream.
    if (error instanceof NotStored) return error;
    const notStored = toNotStored(error, lane);
    // Of a lost connection, that says enough.
    if (!this.#connected) return notStored;
    const isFirst = !lane.outcome.isRefusing;
    lane.outcome.refused(notStored, performance.now());
    if (isFirst) void this.probe();
    return notStored;
  }

  #stored(lane: Lane): void {
    lane.problem = undefined;
    if (lane.outcome.isRefusing) lane.outcome.stored(performance.now());
  }

  /**
   * Stores `messages` in the stream of `partition`. Resolves once all are acknowledged; rejects with
   * {@link NotStored} otherwise, when some of them may be stored.
   *
   * @throws {RangeError} When no stream has this partition.
   */
  async land(
    partition: number,
    messages: readonly OutgoingMessage[],
    timeoutMs: number,
  ): Promise<void> {
    if (!this.#connected) throw disconnected();
    const lane = this.#lanes[partition];
    if (lane === undefined) throw new RangeError(`partition ${partition} has no stream`);
    const isFast = lane.way === "fast" && messages.length >= MIN_FAST_MESSAGES;
    try {
      await this.#acknowledged(
        lane,
        isFast ? this.#landFast(messages, timeoutMs) : this.#landPlain(messages, timeoutMs),
      );
      this.#stored(lane);
    } catch (error) {
      if (isFast && isBatchDisabled(error)) {
        this.#choose(lane, "plain");
        return await this.land(partition, messages, timeoutMs);
      }
      throw this.#refused(lane, error);
    }
  }

  // Of copies, a single publish tells whether the first is stored, or only about to be.
  async #landFast(messages: readonly OutgoingMessage[], timeoutMs: number): Promise<void> {
    const isStored = await this.#fast.land(messages, timeoutMs);
    if (!isStored) await this.#landPlain(messages, timeoutMs);
  }

  async #landPlain(messages: readonly OutgoingMessage[], timeoutMs: number): Promise<void> {
    const results = await Promise.allSettled(messages.map((message) => {
      const { subject, bytes, msgId } = message;
      const options = { msgID: msgId, timeout: timeoutMs };
      return this.#js.publish(subject, bytes, { ...options, ...headersOf(message) });
    }));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  // The client waits for its timeout even when disconnected; the device should get 503 at once.
  #acknowledged(lane: Lane, work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const underWay = { lane, sentMs: performance.now(), giveUp: reject };
      this.#underWay.add(underWay);
      work.then(resolve, reject).finally(() => this.#underWay.delete(underWay));
    });
  }

  async #followConnection(): Promise<void> {
    for await (const { type } of this.nc.status()) {
      if (type === "disconnect") {
        this.#connected = false;
        for (const { giveUp } of this.#underWay) giveUp(disconnected());
      } else if (type === "reconnect") {
        this.#connected = true;
        void this.probe();
      }
    }
  }

  #choose(lane: Lane, way: Lane["way"]): void {
    if (lane.way === way) return;
    lane.way = way;
    this.options.log.warn("ingest.landing.way_changed", { stream: lane.stream, way });
  }
}

function headersOf({ ends }: OutgoingMessage): { readonly headers?: MsgHdrs } {
  if (ends === undefined) return {};
  const framing = headers();
  framing.set(ENDS_HEADER, ends);
  return { headers: framing };
}

function isBatchDisabled(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === BATCH_DISABLED_CODE;
}

type ClusterOfStream = Awaited<ReturnType<JetStreamManager["streams"]["info"]>>["cluster"];

// As its leader sees it. Alone, there is no cluster.
function hasQuorum(cluster: ClusterOfStream): boolean {
  const { leader, replicas = [] } = cluster ?? {};
  if (cluster === undefined || replicas.length === 0) return true;
  const present = replicas.filter(({ offline }) => !offline).length + 1;
  return Boolean(leader) && 2 * present > replicas.length + 1;
}

// An API error (stream full, out of resources) lasts longer than a request; a timeout may not.
function toNotStored(error: unknown, { stream, answer, leader, outcome }: Lane): NotStored {
  const message = `${stream}${leader ? `, led by ${leader}` : ""}: ${messageOf(error)}`;
  const notStored = (reason: RefusalReason, retryAfterMs: number) =>
    new NotStored(reason, message, retryAfterMs, { cause: error });
  // What it answered before this began says nothing.
  const silence = outcome.isRefusing ? silenceOf(answer) : "no_answer";
  if (error instanceof JetStreamApiError) {
    const retryAfterMs = BUSY_CODES.includes(error.code)
      ? RETRY_AFTER_MS.busy
      : RETRY_AFTER_MS.apiError;
    const reason = error.code === NOT_AGREED_CODE ? silence : REASON_OF_CODE.get(error.code);
    return notStored(reason ?? "other", retryAfterMs);
  }
  if (error instanceof Error && error.name === "TimeoutError") {
    return notStored(silence, RETRY_AFTER_MS.timeout);
  }
  // The client wraps it, or says only the status of the answer.
  const isNowhere = /no responders|^503$|jetstream is not enabled/i.test(messageOf(error));
  return notStored(isNowhere ? "no_quorum" : "other", RETRY_AFTER_MS.other);
}

// A server with a full disk acknowledges nothing and says nothing, but answers everything else.
function silenceOf(answer: Lane["answer"]): RefusalReason {
  if (answer === undefined) return "no_answer";
  return answer === "leads" ? "disk" : "no_quorum";
}

function disconnected(): NotStored {
  return new NotStored("disconnected", "NATS is disconnected", RETRY_AFTER_MS.disconnected);
}
