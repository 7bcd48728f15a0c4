/**
 * Leads or stands by: of all processes of live, the one with the lease tells what it finds.
 *
 * Whoever begins to lead reads from ALERTS what was told, and goes on from there. While KV_LIVE does
 * not exist, nobody can have the lease; then the process that began first leads. Should two believe
 * that they lead, ALERTS refuses the second message about an incident (see `outbox.ts`), and its
 * author learns what was told.
 *
 * @module
 */
import type { JetStreamManager } from "nats/jetstream";
import type { Lease } from "../shared/process/lease/lease.ts";
import type { Log } from "../shared/process/log.ts";
import { natsMessageOf } from "../shared/process/nats.ts";
import type { Decider } from "./incidents/decider.ts";
import { Incidents, type PagingOptions } from "./incidents/incidents.ts";
import type { Outbox } from "./incidents/outbox.ts";
import { toldAlerts } from "./incidents/recovery.ts";
import type { Silence } from "./incidents/silence.ts";
import type { Presence } from "./sharing/presence.ts";

const RETRY_MS = 1_000;
/** Distance of the decisions from now at which a process knows enough to lead, in ms. */
const MAX_BEHIND_MS = 3_000;

/** What a {@link Leadership} needs. */
export interface LeadershipOptions {
  readonly jsm: JetStreamManager;
  readonly lease: Lease;
  readonly presence: Presence;
  readonly decider: Decider;
  readonly outbox: Outbox;
  readonly paging: PagingOptions;
  readonly log: Log;
  /** The receipt time up to which the streams were heard. */
  readonly heardToMs: () => number | undefined;
  /** Whether the last minutes were read. */
  readonly isCaughtUp: () => boolean;
  /** Called when this process begins to lead. */
  readonly onLead: (incidents: Incidents) => void;
}

/** Whether this process leads. */
export class Leadership {
  #silences: readonly Silence[] = [];
  #isTakingOver = false;
  #retryMs = -Infinity;
  #wasLeading: boolean | undefined;
  #isOver = false;

  constructor(readonly options: LeadershipOptions) {}

  /** Whether this process tells what it finds. */
  get isLeading(): boolean {
    return this.options.decider.incidents !== undefined;
  }

  /** The silences and maintenance windows, whoever leads. */
  set silences(silences: readonly Silence[]) {
    this.#silences = silences;
    const { incidents } = this.options.decider;
    if (incidents !== undefined) incidents.silences = silences;
  }

  /** Takes over or stands back, as the lease says; to be called often. */
  look(): void {
    const { decider, outbox } = this.options;
    if (this.isLeading && (!this.#mayLead || outbox.isOvertaken)) {
      outbox.drop();
      decider.follow();
    }
    if (!this.isLeading && this.#mayLead) void this.#takeOver();
    else if (!this.#mayLead) this.#say(false);
  }

  /** Leads no more. */
  end(): void {
    this.#isOver = true;
    this.options.decider.follow();
  }

  get #mayLead(): boolean {
    const { lease, presence } = this.options;
    if (this.#isOver || !presence.isKnown) return false;
    return lease.isHeld || (lease.isMissing && presence.processes[0] === presence.id);
  }

  get #isReady(): boolean {
    const { isCaughtUp, heardToMs, decider } = this.options;
    if (!isCaughtUp()) return false;
    const toMs = heardToMs();
    return toMs === undefined || toMs - decider.decidedMs < MAX_BEHIND_MS;
  }

  async #takeOver(): Promise<void> {
    if (this.#isTakingOver || !this.#isReady || performance.now() < this.#retryMs) return;
    this.#isTakingOver = true;
    const { jsm, log, paging, decider, outbox, onLead } = this.options;
    try {
      // What this process may still have on its way counts as told, or is refused.
      await outbox.flush();
      const { open, lastSequences, lastIdMs } = await toldAlerts(jsm, log);
      if (!this.#mayLead) return;
      if (open.size > 0) log.info("live.incidents.recovered", { incidents: open.size });
      outbox.begin(lastSequences);
      const incidents = new Incidents(paging, open, lastIdMs);
      incidents.silences = this.#silences;
      decider.lead(incidents);
      onLead(incidents);
      this.#say(true);
    } catch (error) {
      log.warn("live.leader.retry", { error: natsMessageOf(error) });
      this.#retryMs = performance.now() + RETRY_MS;
    } finally {
      this.#isTakingOver = false;
    }
  }

  #say(isLeading: boolean): void {
    if (this.#wasLeading === isLeading) return;
    this.#wasLeading = isLeading;
    this.options.log.info(isLeading ? "live.leader.leading" : "live.leader.standby");
  }
}
