/**
 * Sends the pulse of a service, and watches the pulses of others: a dead man's switch.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { isOpen, type PipelineAlert, pipelineAlertSchema } from "./alert.ts";
import { type Achieved, type Pulse, PULSE_MS, pulseSchema } from "./pulse.ts";
import { type PipelineFinding, PulseWatch } from "./pulse_watch.ts";
import { ALERTS, alertSubject, pulseSubject } from "./topology.ts";

const TICK_MS = 1_000;
/** A watch that was frozen or without NATS for so long has not heard what was said, in ms. */
const MAX_DEAF_MS = 3_000;
const TIMEOUT_MS = 2_000;

/** What a service that has a pulse is, as far as the pulse is concerned. */
export interface PulsingService {
  readonly log: { readonly service: string };
  readonly health: { readonly notReady: string | undefined };
  onStop(name: string, step: () => void): void;
}

/** The clock of a service, and whether it agrees with those of its servers. */
export interface PulsingClock {
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
  /** Which clocks differ; undefined while they agree. */
  readonly difference: string | undefined;
}

/**
 * Sends the pulse of `service` every {@link PULSE_MS}, and one that says so when the service stops.
 * `achieved` must not throw.
 */
export function sendPulses(
  pulsing: PulsingService,
  nc: Pick<NatsConnection, "publish" | "isClosed" | "isDraining">,
  achieved: () => Achieved,
  clock: PulsingClock,
): void {
  const { log: { service }, health } = pulsing;
  const instance = crypto.randomUUID();
  const send = (leaving?: true) => {
    if (nc.isClosed() || nc.isDraining()) return;
    const notReady = health.notReady;
    const { refusing, ...work } = achieved();
    const { difference } = clock;
    const pulse: Pulse = {
      v: 1,
      service,
      instance,
      at: clock.nowMs(),
      ...work,
      ...(refusing === undefined ? {} : { refusing: refusing && plainText(refusing) }),
      ...(notReady === undefined ? {} : { not_ready: plainText(notReady) }),
      ...(difference === undefined ? {} : { clock: plainText(difference) }),
      ...(leaving ? { leaving } : {}),
    };
    nc.publish(pulseSubject(service, instance), JSON.stringify(pulse));
  };
  send();
  const timer = setInterval(send, PULSE_MS);
  pulsing.onStop("pulse", () => {
    clearInterval(timer);
    send(true);
  });
}

/** Concludes from what is heard over NATS. The times are monotonic, in ms. */
export interface PipelineWatch {
  /** Begins anew, because nothing could be heard before `nowMs`. */
  restart(nowMs: number): void;
  /** Another process may alert: called each second until this one may. */
  standBy?(): void;
  /** What is known at `nowMs`; what is not known is left out. */
  findings(nowMs: number): readonly PipelineFinding[];
}

/** How {@link reportFindings} works. */
export interface FindingsOptions {
  readonly nc: NatsConnection;
  /** Whether this process may publish alerts now; others may watch too. */
  readonly mayAlert: () => boolean;
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
  readonly onAlert: (alert: PipelineAlert) => void;
  /** Called when an alert cannot be published; the next second tries again. */
  readonly onRetry: (error: unknown) => void;
}

/** How {@link watchPulses} works. */
export interface PulseWatchOptions extends FindingsOptions {
  /** Names of the services that have to be heard. */
  readonly services: readonly string[];
}

/**
 * Watches the pulses of services until `signal` is aborted: opens and resolves
 * `alerts.pipeline.<service>-silent`, `-stalled`, `-refusing` and `-clock`, as
 * {@link reportFindings} does.
 */
export function watchPulses(options: PulseWatchOptions, signal: AbortSignal): PulseWatch {
  const watch = new PulseWatch(options.services, performance.now());
  for (const service of options.services) {
    options.nc.subscribe(pulseSubject(service, "*"), {
      callback: (error, message) => {
        const pulse = error ? undefined : pulseOf(message.data);
        if (pulse?.service === service) watch.hear(pulse, performance.now());
      },
    });
  }
  reportFindings(watch, options, signal);
  return watch;
}

/**
 * Opens and resolves the alerts of what `watch` finds, until `signal` is aborted. Whether one is open
 * is read from ALERTS, so that a restart neither repeats nor forgets it. While NATS is away or hangs,
 * and while this process is frozen, nothing can be heard, and nothing is concluded from that.
 */
export function reportFindings(
  watch: PipelineWatch,
  options: FindingsOptions,
  signal: AbortSignal,
): void {
  const reporter = new FindingsReporter(options);
  const hearing = new Hearing(options.nc);
  void hearing.follow(watch);
  let lastTickMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const isDeaf = hearing.isDeaf(nowMs) || nowMs - lastTickMs > MAX_DEAF_MS;
    lastTickMs = nowMs;
    if (isDeaf) watch.restart(nowMs);
    void hearing.ask();
    if (options.mayAlert()) void reporter.report(isDeaf ? [] : watch.findings(nowMs));
    else {
      reporter.forget();
      watch.standBy?.();
    }
  }, TICK_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}

/**
 * Whether a pulse that is sent can be heard here. A server that hangs keeps the connection for a
 * while, so only its answers tell; what it sent before an answer has arrived before it.
 */
class Hearing {
  #answeredMs = performance.now();
  #isAsking = false;

  constructor(readonly nc: NatsConnection) {}

  isDeaf(nowMs: number): boolean {
    return nowMs - this.#answeredMs > MAX_DEAF_MS;
  }

  /** Asks the server for a sign of life. Never rejects. */
  async ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      // Rejects while there is no connection, and as soon as it is lost.
      await this.nc.rtt();
      this.#answeredMs = performance.now();
    } catch {
      // It is deaf for now.
    } finally {
      this.#isAsking = false;
    }
  }

  /** Begins `watch` anew after each connection that was lost: others come back later than this. */
  async follow(watch: PipelineWatch): Promise<void> {
    for await (const { type } of this.nc.status()) {
      if (type === "reconnect") watch.restart(performance.now());
    }
  }
}

/** Opens and resolves the alerts of findings. */
class FindingsReporter {
  #isReporting = false;
  /** The alert that is open by what is wrong; undefined: none is; absent: not known. */
  readonly #open = new Map<string, PipelineAlert | undefined>();
  #jsm: JetStreamManager | undefined;

  constructor(readonly options: FindingsOptions) {}

  async report(findings: readonly PipelineFinding[]): Promise<void> {
    if (this.#isReporting) return;
    this.#isReporting = true;
    try {
      for (const finding of findings) await this.#reportOne(finding);
    } catch (error) {
      // What was published is read again: an acknowledgement may be lost.
      this.#open.clear();
      this.options.onRetry(error);
    } finally {
      this.#isReporting = false;
    }
  }

  async #reportOne({ what, isIll, summary }: PipelineFinding): Promise<void> {
    const { nowMs, mayAlert, onAlert, nc } = this.options;
    this.#jsm ??= await jetstreamManager(nc, { checkAPI: false, timeout: TIMEOUT_MS });
    if (!this.#open.has(what)) this.#open.set(what, await openAlert(this.#jsm, what));
    const open = this.#open.get(what);
    if (isIll === (open !== undefined) || !mayAlert()) return;
    const at = Math.round(nowMs());
    const begun = open ?? { incident_id: `${what}.${at}`, opened_at: at };
    const alert = pipelineAlertSchema.parse({
      v: 1,
      kind: "pipeline",
      what,
      severity: "page",
      incident_id: begun.incident_id,
      status: isIll ? "open" : "resolved",
      opened_at: begun.opened_at,
      at,
      summary,
    });
    const msgID = `${alert.incident_id}.${alert.status}`;
    await this.#jsm.jetstream().publish(alertSubject.pipeline(what), JSON.stringify(alert), {
      msgID,
      timeout: TIMEOUT_MS,
    });
    this.#open.set(what, isIll ? alert : undefined);
    onAlert(alert);
  }

  /** Another process may have published: what is open has to be read again. */
  forget(): void {
    this.#open.clear();
  }
}

async function openAlert(jsm: JetStreamManager, what: string): Promise<PipelineAlert | undefined> {
  const last = await jsm.direct.getMessage(ALERTS, { last_by_subj: alertSubject.pipeline(what) });
  if (last === null) return undefined;
  try {
    const alert = pipelineAlertSchema.safeParse(last.json()).data;
    return alert && isOpen(alert) ? alert : undefined;
  } catch {
    return undefined;
  }
}

// It becomes part of a sentence that a terminal shows.
function plainText(text: string): string {
  return text.slice(0, 1_000).toWellFormed().replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ");
}

function pulseOf(data: Uint8Array): Pulse | undefined {
  try {
    return pulseSchema.safeParse(JSON.parse(new TextDecoder().decode(data))).data;
  } catch {
    return undefined;
  }
}
