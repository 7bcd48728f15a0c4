/**
 * Slack-compatible webhooks: one text a message.
 *
 * Titles, builds and regions come from devices. Their text must not become a link, a mention or
 * formatting, in Slack (`<!channel>`, `<http://…|text>`) nor in what is compatible with it
 * (`@channel`, `[text](http://…)`). So it stands in a code span, in which nothing is interpreted,
 * and cannot end it; Slack's own three characters are escaped; and schemes and `@` are broken, for
 * what interprets them all the same.
 *
 * Pure. Source of the escapes: Slack's documentation "Formatting text for app surfaces".
 *
 * @module
 */
import type { Alert } from "../../../shared/contract/alert.ts";
import { cut, instantText, type Message, type Post, type Receiver, type Step } from "./receiver.ts";

const MAX_TEXT_CHARS = 1_000;
const MAX_COMMANDS = 3;
const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

/** The POST of `message`. */
export function slackPost(
  { url }: Extract<Receiver, { kind: "slack" }>,
  { step, page, alert }: Message,
): Post {
  const lines = [
    `${headOf(step, alert)} ${codeSpan(alert.summary)}`,
    `since ${instantText(alert.opened_at)}, incident ${codeSpan(page.incident_id)}`,
    ...(step === "page" && alert.kind === "incident"
      ? alert.next.slice(0, MAX_COMMANDS).map((next) => codeSpan(next))
      : []),
  ];
  const text = lines.join("\n");
  return {
    url,
    headers: { "content-type": "application/json" },
    // Without these two, Slack makes links of what looks like an address or a name.
    body: JSON.stringify({ text, parse: "none", link_names: false, unfurl_links: false }),
  };
}

function headOf(step: Step, { status, severity }: Alert): string {
  if (step !== "end") return `*${severity.toUpperCase()}*${step === "update" ? " (update)" : ""}`;
  return status === "closed" ? "*CLOSED*" : "*RESOLVED*";
}

/** `text` as a code span that means nothing but itself. */
export function codeSpan(text: string): string {
  const plain = cut(text, MAX_TEXT_CHARS)
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll("`", "'")
    .replaceAll("://", ": //")
    .replaceAll("@", "＠")
    .replace(/[&<>]/g, (char) => ESCAPES[char] ?? char);
  return `\`${plain}\``;
}
