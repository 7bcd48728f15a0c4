/**
 * The POST of a message, by kind of receiver.
 *
 * Pure.
 *
 * @module
 */
import { alertmanagerPost } from "./alertmanager.ts";
import { pagerdutyPost } from "./pagerduty.ts";
import type { Message, Post, Receiver } from "./receiver.ts";
import { slackPost } from "./slack.ts";
import { webhookPost } from "./webhook.ts";

/** The POST of `message` to `receiver` at `nowMs`, ms since the epoch. */
export function postOf(receiver: Receiver, message: Message, nowMs: number): Post {
  switch (receiver.kind) {
    case "alertmanager":
      return alertmanagerPost(receiver, message, nowMs);
    case "pagerduty":
      return pagerdutyPost(receiver, message);
    case "slack":
      return slackPost(receiver, message);
    case "webhook":
      return webhookPost(receiver, message, nowMs);
  }
}
