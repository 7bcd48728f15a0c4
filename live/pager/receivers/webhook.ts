/**
 * The plain webhook: the alert as JSON, signed.
 *
 * `Twofold-Signature: v1=<hex>` is HMAC-SHA-256 with the receiver's secret over
 * `<Twofold-Timestamp>.<body>`; the timestamp is in seconds since the epoch. A receiver compares the
 * signature in constant time and refuses old timestamps. `Twofold-Delivery` is the same in every
 * attempt to deliver a message, and so is `Twofold-Incident` in every message of an incident.
 *
 * Pure.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import type { Message, Post, Receiver } from "./receiver.ts";

/** The POST of `message` at `nowMs`, ms since the epoch. */
export function webhookPost(
  { url, secret }: Extract<Receiver, { kind: "webhook" }>,
  { step, subject, alert, order }: Message,
  nowMs: number,
): Post {
  const body = JSON.stringify(alert);
  const timestamp = String(Math.floor(nowMs / 1_000));
  // A header takes no other characters.
  const incident = encodeURIComponent(alert.incident_id.toWellFormed());
  return {
    url,
    headers: {
      "content-type": "application/json",
      "twofold-delivery": `${incident}.${order}`,
      "twofold-incident": incident,
      "twofold-signature": `v1=${signatureOf(secret, timestamp, body)}`,
      "twofold-step": step,
      "twofold-subject": encodeURI(subject.toWellFormed()).replaceAll("%25", "%"),
      "twofold-timestamp": timestamp,
    },
    body,
  };
}

/** HMAC-SHA-256 over `<timestamp>.<body>` in lower-case hex. */
export function signatureOf(secret: string, timestamp: string, body: string): string {
  return createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex");
}
