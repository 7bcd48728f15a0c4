/**
 * Problems as RFC 9457 `application/problem+json`, each with what the device should do.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";

/** `retry`: the same bytes after `retry_after_s`. `fix`: send it another way. `drop`: give it up. */
export type DeviceAction = "retry" | "fix" | "drop";

/** Every problem of the edge: its status, what it is, and what the device should do. */
export const PROBLEMS = {
  "no-events": [400, "The body holds no event", "drop"],
  "bad-gzip": [400, "The body cannot be inflated", "fix"],
  "body-broken-off": [400, "The body broke off", "retry"],
  "unknown-key": [401, "The fleet key is missing or unknown", "fix"],
  "not-found": [404, "There is nothing at this path", "fix"],
  "method-not-allowed": [405, "This path does not take that method", "fix"],
  "slow-body": [408, "The body took too long to arrive", "retry"],
  "body-too-large": [413, "The body is too large", "fix"],
  "too-many-events": [413, "The body holds too many events", "fix"],
  "event-too-large": [413, "An event is too large", "fix"],
  "unsupported-content-type": [415, "The content type is not supported", "fix"],
  "unsupported-encoding": [415, "The content encoding is not supported", "fix"],
  "fleet-limit": [429, "The fleet sends too fast", "retry"],
  "internal": [500, "The edge failed", "retry"],
  "too-much-in-flight": [503, "Too much is in flight", "retry"],
  "not-stored": [503, "Not every event was stored", "retry"],
} as const satisfies Record<string, readonly [number, string, DeviceAction]>;

export type ProblemName = keyof typeof PROBLEMS;

/** The body of every answer that is not 2xx. */
export const problemSchema = z.object({
  type: z.string().describe("`urn:twofold:problem:` and the problem's name"),
  title: z.string(),
  status: z.int(),
  detail: z.string().describe("what is wrong with this request and what to do"),
  action: z.enum(["retry", "fix", "drop"])
    .describe("retry: the same bytes later; fix: send it another way; drop: give it up"),
  retry_after_s: z.int().optional().describe("the Retry-After header, in seconds"),
  event_index: z.int().optional().describe("index of the offending event in the body, from 0"),
}).openapi("Problem");

/** A request that is refused; the app answers it as the problem it names. */
export class Problem extends Error {
  override readonly name = "Problem";
  constructor(
    readonly problem: ProblemName,
    readonly detail: string,
    readonly more: { readonly retryAfterMs?: number; readonly eventIndex?: number } = {},
  ) {
    super(detail);
  }

  get status(): number {
    return PROBLEMS[this.problem][0];
  }

  /** The answer, with `more` headers. */
  toResponse(more: Readonly<Record<string, string>> = {}): Response {
    const [status, title, action] = PROBLEMS[this.problem];
    const { retryAfterMs, eventIndex } = this.more;
    const retry_after_s = retryAfterMs === undefined
      ? undefined
      : Math.max(1, Math.ceil(retryAfterMs / 1000));
    const body: z.infer<typeof problemSchema> = {
      ...{ type: `urn:twofold:problem:${this.problem}`, title, status, detail: this.detail },
      ...{ action, retry_after_s, event_index: eventIndex },
    };
    const headers = {
      ...more,
      "content-type": "application/problem+json",
      ...(retry_after_s === undefined ? {} : { "retry-after": String(retry_after_s) }),
    };
    return new Response(JSON.stringify(body), { status, headers });
  }
}
