/**
 * Who receives pages: the setting that declares receivers, and what a message to one of them is.
 *
 * Pure. The setting names environment variables; secrets are never part of it.
 *
 * @module
 */
import { z } from "zod";
import type { Alert } from "../../../shared/contract/alert.ts";

/** Maximum receivers. */
const MAX_RECEIVERS = 16;
const PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue";

const name = z.string().regex(/^[a-z0-9-]{1,32}$/, "expected 1 to 32 of a-z, 0-9 and -");
const url = z.url({ protocol: /^https?$/, error: "expected an http:// or https:// URL" });
const secretName = z.string().regex(/^TWOFOLD_[A-Z0-9_]{1,64}$/, "expected TWOFOLD_…");

const receiverSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    name,
    kind: z.literal("alertmanager"),
    /** Of the server; `/api/v2/alerts` is appended. */
    url,
    /** An alert that is not repeated for so long is over for Alertmanager. */
    resolve_timeout_ms: z.int().min(1_000).max(86_400_000).default(300_000),
    /** Names the variable with the value of the header `Authorization`. */
    authorization_env: secretName.optional(),
  }),
  z.strictObject({
    name,
    kind: z.literal("pagerduty"),
    url: url.default(PAGERDUTY_URL),
    routing_key_env: secretName,
  }),
  z.strictObject({ name, kind: z.literal("slack"), url_env: secretName }),
  z.strictObject({ name, kind: z.literal("webhook"), url, secret_env: secretName }),
]);

/** The setting `TWOFOLD_PAGER_RECEIVERS`: a JSON array. */
export const receiversSetting: z.ZodType<readonly ReceiverConfig[], string> = z.string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: "custom", message: "expected JSON" });
      return z.NEVER;
    }
  })
  .pipe(
    z.array(receiverSchema).max(MAX_RECEIVERS).refine(
      (receivers) => new Set(receivers.map((each) => each.name)).size === receivers.length,
      "two receivers have the same name",
    ),
  );

/** A receiver as it is declared; `…_env` names the variable that holds a secret. */
export type ReceiverConfig = z.output<typeof receiverSchema>;

/** A receiver with its secrets. */
export type Receiver =
  | {
    readonly kind: "alertmanager";
    readonly name: string;
    readonly url: string;
    readonly resolveTimeoutMs: number;
    readonly authorization: string | undefined;
  }
  | {
    readonly kind: "pagerduty";
    readonly name: string;
    readonly url: string;
    readonly routingKey: string;
  }
  | { readonly kind: "slack"; readonly name: string; readonly url: string }
  | {
    readonly kind: "webhook";
    readonly name: string;
    readonly url: string;
    readonly secret: string;
  };

/** Receivers, or what is missing. */
export type WithSecrets =
  | { readonly receivers: readonly Receiver[] }
  | { readonly missing: readonly string[] };

/** Adds the secrets that `secrets` has by name; says which are missing or not usable. */
export function withSecrets(
  configs: readonly ReceiverConfig[],
  secrets: Readonly<Record<string, string | undefined>>,
): WithSecrets {
  const missing: string[] = [];
  const secret = (config: ReceiverConfig, env: string): string => {
    const value = secrets[env] ?? "";
    if (value === "") missing.push(`${env} (of the receiver ${config.name}) is not set`);
    return value;
  };
  const receivers = configs.map((config): Receiver => {
    const { name, kind } = config;
    if (kind === "alertmanager") {
      const { authorization_env: env, resolve_timeout_ms: resolveTimeoutMs } = config;
      const authorization = env === undefined ? undefined : secret(config, env);
      return { kind, name, url: config.url, resolveTimeoutMs, authorization };
    }
    if (kind === "pagerduty") {
      return { kind, name, url: config.url, routingKey: secret(config, config.routing_key_env) };
    }
    if (kind === "webhook") {
      return { kind, name, url: config.url, secret: secret(config, config.secret_env) };
    }
    const slackUrl = secret(config, config.url_env);
    if (slackUrl !== "" && !url.safeParse(slackUrl).success) {
      missing.push(`${config.url_env} (of the receiver ${name}) is not an http:// or https:// URL`);
    }
    return { kind, name, url: slackUrl };
  });
  return missing.length > 0 ? { missing } : { receivers };
}

/** What a message says to a receiver: the page, news of it, its end, or the same again. */
export type Step = "page" | "update" | "end" | "repeat";

/** A message for a receiver. */
export interface Message {
  readonly step: Step;
  /** The subject of the incident. */
  readonly subject: string;
  /** The message that paged; what identifies the incident to a receiver is taken from it. */
  readonly page: Alert;
  /** What is told now. */
  readonly alert: Alert;
  /** Counts the messages of the incident; the same in every attempt. */
  readonly order: number;
}

/** An HTTP POST. */
export interface Post {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** What of the body must not be repeated in a log. */
  readonly secret?: string;
}

/** `ms` since the epoch as RFC 3339. */
export function instantText(ms: number): string {
  return new Date(ms).toISOString();
}

/** `text` with at most `maxChars` characters, without half a character at its end. */
export function cut(text: string, maxChars: number): string {
  const characters = [...text];
  return characters.length <= maxChars ? text : `${characters.slice(0, maxChars - 1).join("")}…`;
}
