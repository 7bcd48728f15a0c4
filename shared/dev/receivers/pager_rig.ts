/**
 * Pager processes on a real server, and alerts for them as live publishes them.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstream } from "nats/jetstream";
import type { Alert, IncidentAlert } from "../../contract/alert.ts";
import { ALERT_EXAMPLES } from "../../contract/alert_examples.ts";
import { alertSubject } from "../../contract/topology.ts";
import { freePort } from "../servers/free_port.ts";
import { ServiceProcess } from "../servers/service_process.ts";
import { NatsStack } from "../servers/stack.ts";
import { waitFor } from "../testing/wait_for.ts";
import type { ReceiverServer } from "./receiver_server.ts";

/** A server, and pagers that deliver to `receivers`. */
export class PagerRig implements AsyncDisposable {
  readonly #pagers: ServiceProcess[] = [];

  private constructor(
    readonly stack: NatsStack,
    readonly live: NatsConnection,
    readonly settings: Readonly<Record<string, string>>,
    readonly reach: readonly string[],
  ) {}

  /** Starts the server unless one is `given`, which ends with the rig; `settings` and `reach` are those of each pager. */
  static async start(
    receivers: readonly Readonly<Record<string, unknown>>[],
    reach: readonly string[],
    settings: Readonly<Record<string, string>> = {},
    given?: NatsStack,
  ): Promise<PagerRig> {
    const stack = given ?? await NatsStack.start();
    const live = await stack.connect("live");
    return new PagerRig(stack, live, {
      TWOFOLD_PAGER_RECEIVERS: JSON.stringify(receivers),
      ...settings,
    }, reach);
  }

  /** As {@link start}, with one webhook, which is told everything: `hook`. */
  static async telling(
    hook: ReceiverServer,
    settings: Readonly<Record<string, string>> = {},
    given?: NatsStack,
  ): Promise<PagerRig> {
    const secret_env = "TWOFOLD_PAGER_SECRET";
    const receiver = { name: "ops", kind: "webhook", url: hook.url, secret_env };
    const secret = { [secret_env]: "a-secret-of-the-test" };
    return await PagerRig.start([receiver], [hook.host], { ...secret, ...settings }, given);
  }

  /** Starts a pager and waits until it is ready. */
  async pager(settings: Readonly<Record<string, string>> = {}): Promise<ServiceProcess> {
    const pager = await ServiceProcess.start(this.stack.workspace, "pager", {
      httpPort: freePort(),
      reach: [this.stack.nats.url, ...this.reach],
      settings: { ...this.stack.settings("pager"), ...this.settings, ...settings },
    });
    this.#pagers.push(pager);
    return pager;
  }

  /** Resolves once `pager` delivers. */
  async leads(pager: ServiceProcess): Promise<void> {
    await waitFor("the pager to lead", async () => {
      return (await pager.metrics()).get("twofold_pager_leader") === 1;
    });
  }

  /** Publishes `alert` as live does. */
  async publish(alert: Alert): Promise<void> {
    const subject = subjectOf(alert);
    const order = alert.kind === "incident" ? alert.update : alert.status;
    const msgID = `${encodeURIComponent(alert.incident_id.toWellFormed())}.${order}`;
    const js = jetstream(this.live, { timeout: 1_000 });
    // As live does: again until it is stored.
    await waitFor(
      "the alert to be stored",
      () => js.publish(subject, JSON.stringify(alert), { msgID }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#pagers.map((pager) => pager.stop("SIGKILL")));
    await this.stack[Symbol.asyncDispose]();
  }
}

function subjectOf(alert: Alert): string {
  if (alert.kind === "incident") return alertSubject.incident(alert.signal, alert.cell);
  if (alert.kind === "quarantine") return alertSubject.quarantine(alert.reason);
  return alertSubject.pipeline(alert.what);
}

/** The messages of an incident of `title` that opened just now: page, update, end. */
export function anIncident(
  title: string,
  nowMs: number,
  changes: Partial<IncidentAlert> = {},
): { readonly open: IncidentAlert; readonly update: IncidentAlert; readonly end: IncidentAlert } {
  const common = {
    incident_id: `rebuffer.de.${encodeURIComponent(title).slice(0, 100)}.${nowMs}`,
    cell: { kind: "title_region", title, region: "de" } as const,
    onset_at: nowMs - 5_000,
    received_at: nowMs - 40,
    opened_at: nowMs,
    paged_at: nowMs,
    at: nowMs,
    ...changes,
  };
  return {
    open: { ...ALERT_EXAMPLES.regionOpens, ...common },
    update: { ...ALERT_EXAMPLES.regionDoubles, ...common, at: nowMs + 1_000 },
    end: { ...ALERT_EXAMPLES.regionRecovers, ...common, at: nowMs + 2_000 },
  };
}
