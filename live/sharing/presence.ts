/**
 * Which processes of live are there: each says so on plain NATS, and is gone when it has not for
 * {@link GONE_MS}, or says that it leaves.
 *
 * Only what is fair follows from it, such as who reads which stream; what must not happen twice is
 * held by leases and by the streams.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { livePresentSubject } from "../../shared/contract/topology.ts";

const SAY_MS = 500;
const GONE_MS = 3_000;
const LEAVES = "leaves";
/** Processes that are noted; more are not run. */
const MAX_PROCESSES = 256;

/** Says that this process is there and notes who else is. */
export class Presence {
  readonly #heardMs = new Map<string, number>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #startedMs = performance.now();

  /** @param id A subject token; processes are ordered by it. */
  constructor(readonly nc: NatsConnection, readonly id: string) {}

  start(): void {
    this.#startedMs = performance.now();
    this.nc.subscribe(livePresentSubject("*"), {
      callback: (error, message) => {
        const id = message.subject.slice(livePresentSubject("").length);
        if (error || id === this.id) return;
        if (message.string() === LEAVES) this.#heardMs.delete(id);
        else if (this.#heardMs.size < MAX_PROCESSES) this.#heardMs.set(id, performance.now());
      },
    });
    const say = () => this.#say("is there");
    say();
    this.#timer = setInterval(say, SAY_MS);
  }

  /** Says that this process leaves. */
  leave(): void {
    clearInterval(this.#timer);
    this.#say(LEAVES);
  }

  /** The processes that are there, this one included, in order. */
  get processes(): string[] {
    const nowMs = performance.now();
    for (const [id, heardMs] of this.#heardMs) {
      if (nowMs - heardMs > GONE_MS) this.#heardMs.delete(id);
    }
    return [...this.#heardMs.keys(), this.id].sort();
  }

  /** Whether the others have had time to be heard. */
  get isKnown(): boolean {
    return performance.now() - this.#startedMs > 2 * SAY_MS;
  }

  #say(what: string): void {
    if (this.nc.isClosed() || this.nc.isDraining()) return;
    this.nc.publish(livePresentSubject(this.id), what);
  }
}

/** The streams that process `id` of `processes` is to read: every so many-th. */
export function shareOf(
  streams: readonly string[],
  processes: readonly string[],
  id: string,
): readonly string[] {
  return streams.filter((_, i) => processes[i % processes.length] === id);
}
