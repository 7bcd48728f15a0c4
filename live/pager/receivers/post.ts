/**
 * Sends a POST and returns the answer.
 *
 * @module
 */
import { messageOf } from "../../../shared/process/errors.ts";
import type { Answer } from "./answer.ts";
import type { Post } from "./receiver.ts";

/** Maximum bytes that are read of an answer. */
const MAX_ANSWER_BYTES = 2_048;
/** Maximum characters of an answer in a log line. */
const MAX_ANSWER_CHARS = 300;

/** Shorter parts of a path or a header are no secrets. */
const MIN_SECRET_CHARS = 6;
const JSON_TYPE = "application/json";

/** An answer, or why there is none. */
export type Sent = { readonly answer: Answer } | { readonly failure: string };

/** Sends `post`; the answer has to be complete within `timeoutMs`. Never rejects. */
export async function send(post: Post, timeoutMs: number): Promise<Sent> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { url, headers, body } = post;
    // A redirect would send the page, and its secrets, to a place that nobody configured.
    const response = await fetch(url, {
      method: "POST",
      headers,
      body,
      signal,
      redirect: "manual",
    });
    const text = await beginningOf(response);
    const retryAfter = response.headers.get("retry-after");
    return { answer: { status: response.status, retryAfter, text: withoutSecrets(text, post) } };
  } catch (error) {
    if (signal.aborted) return { failure: `no answer within ${timeoutMs} ms` };
    // The message of fetch says nothing; its cause does.
    const cause = error instanceof Error ? error.cause ?? error : error;
    return { failure: withoutSecrets(messageOf(cause), post) };
  }
}

// A URL, a part of its path or a header may be a secret; an answer may repeat it, and the text
// becomes a log line.
function withoutSecrets(text: string, { url, headers, secret = "" }: Post): string {
  const { href, origin, pathname, search, searchParams } = new URL(url);
  const parts = [url, href].map((part) => [part, origin] as const);
  const ofUrl = [pathname, search, ...pathname.split("/"), ...searchParams.values()];
  // A scheme such as `Bearer` may be left out.
  const ofHeaders = Object.values(headers).flatMap((value) => [value, ...value.split(" ")]);
  const secrets = [...ofUrl, ...ofHeaders, secret]
    .flatMap((part) => [part, encodeURIComponent(part)])
    .filter((part) => part.length >= MIN_SECRET_CHARS && part !== JSON_TYPE)
    .sort((a, b) => b.length - a.length)
    .map((part) => [part, "…"] as const);
  return [...parts, ...secrets]
    .reduce((said, [part, instead]) => said.replaceAll(part, instead), text)
    .slice(0, MAX_ANSWER_CHARS);
}

async function beginningOf({ body }: Response): Promise<string> {
  if (body === null) return "";
  const decoder = new TextDecoder();
  let [text, bytes] = ["", 0];
  // Leaving the loop cancels the rest.
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    bytes += chunk.length;
    if (bytes >= MAX_ANSWER_BYTES) break;
  }
  // Cut only once it has no secret: half of one would not be found.
  return text.toWellFormed();
}
