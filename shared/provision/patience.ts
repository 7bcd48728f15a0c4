/**
 * Waits of provisioning for servers that are still starting.
 *
 * @module
 */
import { NoRespondersError, RequestError, TimeoutError } from "nats";
import { JetStreamApiError, JetStreamError } from "nats/jetstream";
import { messageOf, RetryAfter, Stop } from "../process/errors.ts";
import { Log } from "../process/log.ts";
import { natsMessageOf } from "../process/nats.ts";
import { untilReady } from "../process/retry.ts";

/** Repeats what fails because a server is not there yet, for a limited time. */
export class Patience {
  /** Receives a line for each repetition. */
  readonly log = new Log("provision");

  /** `maxMs` is for each call of {@link Patience.until}. */
  constructor(readonly maxMs: number) {}

  /**
   * Calls `attempt` until it throws no {@link RetryAfter}. Throws {@link Stop} with the last reason
   * when time is up; any other error at once.
   */
  async until<T>(attempt: () => Promise<T>): Promise<T> {
    const signal = AbortSignal.timeout(this.maxMs);
    let last: unknown;
    try {
      return await untilReady(signal, this.log, async () => {
        try {
          return await attempt();
        } catch (error) {
          last = error;
          throw error;
        }
      });
    } catch (error) {
      if (error !== signal.reason) throw error;
      throw new Stop(`given up after ${this.maxMs / 1000} s: ${messageOf(last)}`, { cause: last });
    }
  }
}

const RETRY_MS = 500;
/** API errors of this status say that the server, or a leader among servers, is not there yet. */
const UNAVAILABLE = 503;
/** JetStream error code "no suitable peers for placement": nodes of the cluster are not there yet. */
const NO_PEERS_CODE = 10005;
const NO_ANSWERS = [TimeoutError, NoRespondersError, RequestError];

/**
 * Runs requests of JetStream. Throws {@link RetryAfter} while it does not answer, as happens while
 * a server recovers its streams or a cluster has no leader, and {@link Stop} when it refuses.
 */
export async function withJetStream<T>(user: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof JetStreamApiError && !isStarting(error)) {
      throw new Stop(`JetStream refuses: ${error.message}`, { cause: error });
    }
    if (![...NO_ANSWERS, JetStreamApiError, JetStreamError].some((kind) => error instanceof kind)) {
      throw error;
    }
    const why = "it is starting or has no leader, or that user lacks the right";
    throw new RetryAfter(
      `JetStream does not answer ${user} (${natsMessageOf(error)}): ${why}`,
      RETRY_MS,
      { cause: error },
    );
  }
}

function isStarting({ status, code }: JetStreamApiError): boolean {
  return status === UNAVAILABLE || code === NO_PEERS_CODE;
}
