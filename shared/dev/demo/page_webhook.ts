/**
 * A webhook on this machine that the pager delivers to, and what must be true of what it got.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import { type Alert, alertSchema, isPage } from "../../contract/alert.ts";
import { type ReceivedRequest, ReceiverServer } from "../receivers/receiver_server.ts";
import { check, type CheckLine, equal, whole } from "./check_line.ts";
import type { HeardAlert } from "./observer.ts";

const SECRET_VARIABLE = "TWOFOLD_DEMO_WEBHOOK_SECRET";

/** The webhook. */
export class PageWebhook implements AsyncDisposable {
  readonly #server = new ReceiverServer();
  readonly #secret = crypto.randomUUID();

  /** `host:port`. */
  get host(): string {
    return this.#server.host;
  }

  /** The settings of a pager that delivers here. */
  get settings(): Readonly<Record<string, string>> {
    const { url } = this.#server;
    const receiver = { name: "webhook", kind: "webhook", url, secret_env: SECRET_VARIABLE };
    return {
      TWOFOLD_PAGER_RECEIVERS: JSON.stringify([receiver]),
      [SECRET_VARIABLE]: this.#secret,
    };
  }

  /** Whether it got the end of everything in `heard` that paged and has ended. */
  hasAllEnds(heard: readonly HeardAlert[]): boolean {
    const ended = new Set(this.#of("end"));
    const paged = new Set(pagesOf(heard));
    return heard.every(({ alert: { incident_id, status } }) =>
      !paged.has(incident_id) || !["resolved", "closed"].includes(status) || ended.has(incident_id)
    );
  }

  /** The lines of the verdict, given what on-call heard on `alerts.>`. */
  checks(heard: readonly HeardAlert[]): CheckLine[] {
    const delivered = this.#of("page").sort();
    const published = pagesOf(heard).sort();
    const unsigned = this.#server.requests.filter((request) => !this.#isSigned(request));
    return [
      check(
        "pages at the webhook, one each",
        whole(published.length),
        String(published) === String(delivered) ? whole(delivered.length) : listOf(delivered),
        published.length > 0 && String(published) === String(delivered),
      ),
      check(
        "ends at the webhook",
        "of every page",
        this.hasAllEnds(heard) ? "of every page" : "missing",
        this.hasAllEnds(heard),
      ),
      equal("requests at the webhook without a right signature", 0, unsigned.length),
    ];
  }

  /** The pages that it got, in the order of their arrival; one that was sent again is there twice. */
  get pages(): { readonly atMs: number; readonly alert: Alert }[] {
    return this.#server.accepted.filter(({ headers }) => headers.get("twofold-step") === "page")
      .map(({ atMs, body }) => ({ atMs, alert: alertOf(body) }));
  }

  /** The incidents of the requests with this step, in the order of their arrival. */
  #of(step: string): string[] {
    return this.#server.accepted.filter(({ headers }) => headers.get("twofold-step") === step)
      .map(({ body }) => alertOf(body).incident_id);
  }

  #isSigned({ headers, body }: ReceivedRequest): boolean {
    const timestamp = headers.get("twofold-timestamp");
    const signature = createHmac("sha256", this.#secret).update(`${timestamp}.${body}`);
    return headers.get("twofold-signature") === `v1=${signature.digest("hex")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

function pagesOf(heard: readonly HeardAlert[]): string[] {
  return heard.filter(({ alert }) => isPage(alert)).map(({ alert }) => alert.incident_id);
}

function listOf(ids: readonly string[]): string {
  return ids.length === 0 ? "none" : `${ids.length}: ${ids.join(", ")}`;
}

function alertOf(body: string): Alert {
  return alertSchema.parse(JSON.parse(body));
}
