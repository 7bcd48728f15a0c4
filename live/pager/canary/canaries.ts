/**
 * Sends canaries to the edge while this pager has the lease, and listens for their echoes.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { canaryOf, canarySession, readCanaryEcho } from "../../../shared/contract/canary/canary.ts";
import { type FindingsOptions, reportFindings } from "../../../shared/contract/pulses.ts";
import {
  type CanaryReader,
  canarySubject,
  heartbeatStreams,
} from "../../../shared/contract/topology.ts";
import type { Metrics } from "../../../shared/process/metrics.ts";
import type { Service } from "../../../shared/process/service.ts";
import { send, type Sent } from "../receivers/post.ts";
import type { pagerSettings } from "../settings.ts";
import { type CanaryPath, CanaryWatch } from "./canary_watch.ts";

/** Time in which the edge has to answer; shorter than the interval, in ms. */
const ANSWER_MS = 4_000;
const PATH = "/v1/heartbeats";
const READER_OF: Readonly<Record<CanaryPath, CanaryReader>> = { live: "live", books: "royalty" };

/** Sends and watches canaries until the service stops; without an edge it only says so. */
export function startCanaries(
  service: Service<typeof pagerSettings>,
  options: FindingsOptions,
): void {
  const { settings, log, metrics, signal } = service;
  const { TWOFOLD_PAGER_EDGE_URL: url, TWOFOLD_PAGER_EDGE_KEY: key } = settings;
  if (url === undefined || key === undefined) return log.info("live.pager.canary_off");
  const streams = heartbeatStreams(settings.TWOFOLD_PARTITIONS);
  const watch = new CanaryWatch(streams);
  listen(options.nc, watch);
  reportFindings(watch, options, signal);
  showTimes(metrics, watch);
  const senders = streams.map((stream, partition) =>
    new CanarySender({
      url: new URL(PATH, url).href,
      key,
      partition,
      session: canarySession(partition, streams.length),
      watch,
      nowMs: options.nowMs,
      onRefused: (why) => log.warn("live.pager.canary_not_accepted", { stream, why }),
    })
  );
  const timer = setInterval(() => {
    if (options.mayAlert()) { for (const sender of senders) void sender.send(); }
  }, settings.TWOFOLD_PAGER_CANARY_INTERVAL_MS);
  service.onStop("canaries", () => clearInterval(timer));
}

/** What a {@link CanarySender} needs. */
interface CanarySenderParts {
  /** Where the edge takes heartbeats. */
  readonly url: string;
  readonly key: string;
  readonly partition: number;
  readonly session: string;
  readonly watch: CanaryWatch;
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
  /** Called when the edge begins not to accept. */
  readonly onRefused: (why: string) => void;
}

/** Sends the canaries of one partition. */
class CanarySender {
  #seq = 0;
  #isSending = false;
  #isAccepted = true;

  constructor(readonly parts: CanarySenderParts) {}

  /** Sends the next one, unless the answer to the last one is awaited. Never rejects. */
  async send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    const { url, key, partition, session, watch, nowMs, onRefused } = this.parts;
    const eventId = crypto.randomUUID();
    const canary = canaryOf({ eventId, session, seq: this.#seq++, ts: nowMs() });
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    watch.sent(partition, eventId, performance.now());
    const sent = await send({ url, headers, body: JSON.stringify(canary) }, ANSWER_MS);
    const refusal = refusalIn(sent);
    if (refusal === undefined) watch.accepted(partition, eventId, performance.now());
    else watch.refused(partition, eventId, refusal);
    if (refusal !== undefined && this.#isAccepted) onRefused(refusal);
    this.#isAccepted = refusal === undefined;
    this.#isSending = false;
  }
}

function refusalIn(sent: Sent): string | undefined {
  if ("failure" in sent) return sent.failure;
  const { status, text } = sent.answer;
  return status === 202 ? undefined : `it answered ${status} ${text}`;
}

function listen(nc: NatsConnection, watch: CanaryWatch): void {
  for (const path of ["live", "books"] as const) {
    nc.subscribe(canarySubject(READER_OF[path], "*"), {
      callback: (error, { data, subject }) => {
        const nowMs = performance.now();
        const echo = error ? undefined : readCanaryEcho(data);
        const stream = subject.slice(subject.lastIndexOf(".") + 1);
        if (echo) watch.heard(path, stream, echo, nowMs);
      },
    });
  }
}

function showTimes(metrics: Metrics, watch: CanaryWatch): void {
  const labels = ["path", "partition"] as const;
  const samples = (of: "tookMs" | "ageMs") =>
    watch.times(performance.now()).map((time) =>
      [{ path: time.path, partition: String(time.partition) }, time[of] / 1_000] as const
    );
  metrics.gaugeOf(
    "twofold_pager_canary_seconds",
    "Time from sending the last canary that came back to its echo",
    () => samples("tookMs"),
    [...labels],
  );
  metrics.gaugeOf(
    "twofold_pager_canary_age_seconds",
    "Time since the last echo of a canary",
    () => samples("ageMs"),
    [...labels],
  );
}
