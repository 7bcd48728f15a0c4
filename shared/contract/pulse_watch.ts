/**
 * Decides from the pulses of services which one is silent or stalled, or has a wrong clock.
 *
 * A service is silent when no instance of it has been heard for {@link SILENT_AFTER_MS}. It is
 * stalled when some instance says that work waits, and no instance has achieved anything for
 * {@link STALLED_AFTER_MS}: with several instances, one may stand by. It is refusing when some
 * instance has said so for {@link REFUSING_AFTER_MS}: what is sent to that one is refused. Clocks
 * differ when an instance says so.
 *
 * Pure. The time is the caller's, monotonic, in ms.
 *
 * @module
 */
import type { Pulse } from "./pulse.ts";

/** Time without a pulse after which a service is silent, in ms. */
export const SILENT_AFTER_MS = 12_000;
/** Time without progress, while work waits, after which a service is stalled, in ms. */
export const STALLED_AFTER_MS = 12_000;
/** Time for which an instance has to refuse what is sent to it, in ms. */
export const REFUSING_AFTER_MS = 6_000;
/** Time that a service has for its first pulse after the watch began, in ms. */
export const FIRST_PULSE_MS = 45_000;
/** Time for which a service has to be well before it counts as well again, in ms. */
const WELL_AFTER_MS = { silent: 5_000, stalled: 20_000, refusing: 10_000, clock: 10_000 } as const;
/** An instance that was not heard for so long has gone, in ms. */
const INSTANCE_GONE_MS = 6_000;
/** Maximum length of the reason for a refusal, in characters; it says what to do at its end. */
const MAX_REASON_CHARS = 700;
/** Maximum instances of a service; others are not told apart. */
const MAX_INSTANCES = 256;

/** Whether something is wrong with the pipeline. */
export interface PipelineFinding {
  /** `what` of the alert `alerts.pipeline.<what>`. */
  readonly what: string;
  readonly isIll: boolean;
  /** One sentence for on-call. */
  readonly summary: string;
}

/** What may be wrong with a service. */
export type Ailment = "silent" | "stalled" | "refusing" | "clock";

/** Whether a service has an ailment; `what` is `<service>-<ailment>`. */
export interface PulseFinding extends PipelineFinding {
  readonly service: string;
  readonly ailment: Ailment;
}

/** What is known of a service. Ages are ms. */
export interface ServiceState {
  readonly service: string;
  readonly state: "well" | "not_ready" | "stalled" | "silent" | "unheard";
  /** Since its last pulse; undefined: none was heard. */
  readonly pulseAgeMs: number | undefined;
  /** Since something was achieved, or nothing waited; undefined: no pulse was heard. */
  readonly idleMs: number | undefined;
  /** The newest pulse of each instance that is there. */
  readonly instances: readonly { readonly pulse: Pulse; readonly ageMs: number }[];
}

interface Instance {
  readonly pulse: Pulse;
  readonly heardMs: number;
  /** Since when it says that it refuses; undefined: it does not. */
  readonly refusingMs: number | undefined;
}

/** Since when an ailment that was found is gone; undefined: it is not. */
type Well = number | undefined;

/**
 * What was found to be ill, until it has been well for a while: so that nothing pages at each step of
 * a service that barely moves. Times are monotonic, in ms.
 */
export class Convalescence<Name extends string> {
  readonly #ill = new Map<Name, Well>();

  constructor(readonly wellAfterMs: Readonly<Record<Name, number>>) {}

  /** Whether `isIll` may be said of `name` at `nowMs`; not while it gets well. */
  isSettled(name: Name, isIll: boolean, nowMs: number): boolean {
    if (isIll) {
      this.#ill.set(name, undefined);
      return true;
    }
    if (!this.#ill.has(name)) return true;
    const sinceMs = this.#ill.get(name) ?? nowMs;
    this.#ill.set(name, sinceMs);
    if (nowMs - sinceMs < this.wellAfterMs[name]) return false;
    this.#ill.delete(name);
    return true;
  }

  /** Takes `names` as found, because an earlier watch may have found them. */
  suspect(...names: readonly Name[]): void {
    for (const name of names) this.#ill.set(name, undefined);
  }

  /** Forgets what was found. */
  clear(): void {
    this.#ill.clear();
  }
}

interface Watched {
  /** When it was last heard, or has to be heard from. */
  heardMs: number;
  isHeard: boolean;
  /** Whether it was heard since the watch last began. */
  isHeardAnew: boolean;
  /** When some instance last achieved something, or nothing waited. */
  progressMs: number;
  readonly instances: Map<string, Instance>;
  /** The ailments that were found and are not over. */
  readonly ill: Convalescence<Ailment>;
}

/** What a watch that begins finds out only by and by. */
function unknown() {
  const ill = new Convalescence<Ailment>(WELL_AFTER_MS);
  ill.suspect("silent", "stalled", "refusing", "clock");
  return ill;
}

/** See the module. */
export class PulseWatch {
  readonly #services: Map<string, Watched>;

  /** Watches `services` from `nowMs` on. */
  constructor(services: readonly string[], nowMs: number) {
    this.#services = new Map(services.map((service) => [service, {
      heardMs: nowMs + FIRST_PULSE_MS - SILENT_AFTER_MS,
      isHeard: false,
      isHeardAnew: false,
      progressMs: nowMs,
      instances: new Map(),
      ill: unknown(),
    }]));
  }

  /** A pulse arrived at `nowMs`; one of a service that is not watched is ignored. */
  hear(pulse: Pulse, nowMs: number): void {
    const watched = this.#services.get(pulse.service);
    if (watched === undefined) return;
    const before = watched.instances.get(pulse.instance);
    if (pulse.progress !== before?.pulse.progress) watched.progressMs = nowMs;
    watched.heardMs = nowMs;
    watched.isHeard = true;
    watched.isHeardAnew = true;
    if (pulse.leaving) watched.instances.delete(pulse.instance);
    else if (before || watched.instances.size < MAX_INSTANCES) {
      const refusingMs = pulse.refusing ? before?.refusingMs ?? nowMs : undefined;
      watched.instances.set(pulse.instance, { pulse, heardMs: nowMs, refusingMs });
    }
    this.#restWhenIdle(watched, nowMs);
  }

  /**
   * Begins anew at `nowMs`, because the watch itself was away: nothing can be said about the time
   * before.
   */
  restart(nowMs: number): void {
    for (const watched of this.#services.values()) {
      if (watched.isHeard) watched.heardMs = nowMs;
      else watched.heardMs = Math.max(watched.heardMs, nowMs);
      watched.progressMs = nowMs;
      watched.isHeardAnew = false;
      watched.ill.suspect("silent", "stalled", "refusing", "clock");
      for (const [id, { pulse, refusingMs }] of watched.instances) {
        watched.instances.set(id, { pulse, heardMs: nowMs, refusingMs: refusingMs && nowMs });
      }
    }
  }

  /** What is to say about each service at `nowMs`. */
  findings(nowMs: number): PulseFinding[] {
    return [...this.#services].flatMap(([service, watched]) => {
      for (const [id, { heardMs }] of watched.instances) {
        if (nowMs - heardMs > INSTANCE_GONE_MS) watched.instances.delete(id);
      }
      this.#restWhenIdle(watched, nowMs);
      const silent = silentFinding(service, watched, nowMs);
      // A service that is silent says nothing about its work.
      const all = silent.isIll ? [silent] : [
        silent,
        stalledFinding(service, watched, nowMs),
        ...refusingFinding(service, watched, nowMs),
        clockFinding(service, watched),
      ];
      // What was not heard may be ill, and an alert of that may be open.
      return all.filter(({ isIll }) => isIll || watched.isHeardAnew)
        .filter(({ ailment, isIll }) => watched.ill.isSettled(ailment, isIll, nowMs));
    });
  }

  /** Time since the last pulse of each service, in ms; without those that may still be starting. */
  ages(nowMs: number): [service: string, ageMs: number][] {
    return [...this.#services].map(([service, { heardMs, isHeard }]) =>
      [service, nowMs - heardMs, isHeard] as const
    ).filter(([, ageMs, isHeard]) => isHeard || ageMs >= SILENT_AFTER_MS)
      .map(([service, ageMs]) => [service, ageMs]);
  }

  /** What is known of each service at `nowMs`, whoever alerts. */
  states(nowMs: number): ServiceState[] {
    return [...this.#services].map(([service, watched]) => {
      const { heardMs, isHeard, progressMs } = watched;
      const instances = [...watched.instances.values()]
        .map(({ pulse, heardMs }) => ({ pulse, ageMs: nowMs - heardMs }))
        .filter(({ ageMs }) => ageMs <= SILENT_AFTER_MS);
      return {
        service,
        state: stateOf(watched, nowMs),
        pulseAgeMs: isHeard ? nowMs - heardMs : undefined,
        idleMs: isHeard ? nowMs - progressMs : undefined,
        instances,
      };
    });
  }

  /** The newest pulse of each instance that is there. */
  pulses(): Pulse[] {
    return [...this.#services.values()].flatMap(({ instances }) =>
      [...instances.values()].map(({ pulse }) => pulse)
    );
  }

  #restWhenIdle(watched: Watched, nowMs: number): void {
    if (![...watched.instances.values()].some(({ pulse }) => hasWork(pulse))) {
      watched.progressMs = nowMs;
    }
  }
}

function stateOf(
  { heardMs, isHeard, progressMs, instances }: Watched,
  nowMs: number,
): ServiceState["state"] {
  if (nowMs - heardMs >= SILENT_AFTER_MS) return "silent";
  if (!isHeard) return "unheard";
  const there = [...instances.values()].filter((each) => nowMs - each.heardMs <= SILENT_AFTER_MS);
  const isWorking = there.some(({ pulse }) => hasWork(pulse));
  if (isWorking && nowMs - progressMs >= STALLED_AFTER_MS) return "stalled";
  const isReady = there.some(({ pulse }) => pulse.not_ready === undefined);
  return isReady ? "well" : "not_ready";
}

function hasWork({ waiting }: Pulse): boolean {
  return waiting !== null && waiting > 0;
}

function silentFinding(
  service: string,
  { heardMs, isHeard }: Watched,
  nowMs: number,
): PulseFinding {
  const isIll = nowMs - heardMs >= SILENT_AFTER_MS;
  const seconds = Math.round((isHeard ? nowMs - heardMs : FIRST_PULSE_MS) / 1_000);
  const summary = isIll
    ? `${service} is silent: no pulse for ${seconds} s; it is dead, frozen, or cut off from NATS`
    : `${service} is heard again`;
  return { what: `${service}-silent`, service, ailment: "silent", isIll, summary };
}

function stalledFinding(service: string, watched: Watched, nowMs: number): PulseFinding {
  const isIll = nowMs - watched.progressMs >= STALLED_AFTER_MS;
  const pulses = [...watched.instances.values()].map(({ pulse }) => pulse);
  const waiting = Math.max(0, ...pulses.map((pulse) => pulse.waiting ?? 0));
  const because = pulses.find(({ not_ready }) => not_ready !== undefined)?.not_ready;
  const seconds = Math.round((nowMs - watched.progressMs) / 1_000);
  const summary = isIll
    ? `${service} is stalled: ${waiting} wait, and it achieved nothing for ${seconds} s` +
      (because === undefined ? "" : ` (${because.slice(0, 300).toWellFormed()})`)
    : `${service} works again`;
  return { what: `${service}-stalled`, service, ailment: "stalled", isIll, summary };
}

// Only of a service that says so: what is sent to the others does not depend on them.
function refusingFinding(service: string, watched: Watched, nowMs: number): PulseFinding[] {
  const all = [...watched.instances.values()].filter(({ pulse }) => pulse.refusing !== undefined);
  if (all.length === 0) return [];
  const ill = all.filter(({ refusingMs }) =>
    refusingMs !== undefined && nowMs - refusingMs >= REFUSING_AFTER_MS
  );
  const because = ill[0]?.pulse.refusing ?? "";
  const isIll = ill.length > 0;
  const summary = isIll
    ? `${service} refuses events (${ill.length} of ${all.length} processes): ` +
      because.slice(0, MAX_REASON_CHARS).toWellFormed()
    : `${service} refuses nothing any more`;
  return [{ what: `${service}-refusing`, service, ailment: "refusing", isIll, summary }];
}

function clockFinding(service: string, { instances }: Watched): PulseFinding {
  const told = [...instances.values()].flatMap(({ pulse }) => pulse.clock ?? [])[0];
  const summary = told === undefined
    ? `the clocks of ${service} and its servers agree again`
    : `clocks differ at ${service}: ${
      told.slice(0, 400).toWellFormed()
    }; what depends on time waits`;
  return {
    what: `${service}-clock`,
    service,
    ailment: "clock",
    isIll: told !== undefined,
    summary,
  };
}
