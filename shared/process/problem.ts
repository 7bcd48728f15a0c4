/**
 * Error responses of an HTTP server as problem documents: RFC 9457, `application/problem+json`.
 *
 * A service declares its problems once with {@link defineProblems} and throws the result of
 * {@link ProblemCatalogue.problem}; {@link ProblemCatalogue.handler} turns it, and any other error,
 * into a response.
 *
 * ```ts
 * const problems = defineProblems({
 *   "no-such-day": { status: 404, title: "There is no such day" },
 *   "internal": { status: 500, title: "The service failed" },
 *   "unavailable": { status: 503, title: "Not right now", retryAfterMs: 5_000 },
 * }, {
 *   members: { first_day: z.string().optional() },
 *   retryAfter: { problem: "unavailable", detail: (_, s) => `Try again in ${s} s.` },
 *   unexpected: { problem: "internal", detail: "Tell the operators." },
 * });
 * app.onError(problems.handler(log));
 * throw problems.problem("no-such-day", "Too old.", { members: { first_day: "2026-01-01" } });
 * ```
 *
 * A document has `type` (`urn:twofold:problem:` and the name), `title`, `status` and `detail`, then
 * the declared members of the catalogue that have a value, in their order.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import type { Context, Env, ErrorHandler } from "hono";
import { RetryAfter } from "./errors.ts";
import type { LogEvent } from "./log_events.ts";
import type { Log } from "./log.ts";

const MEDIA_TYPE = "application/problem+json";

/**
 * What a client should do. `retry`: send the same request again after the wait. `fix`: change the
 * request. `drop`: do not send it again.
 */
export type ClientAction = "retry" | "fix" | "drop";

/** One kind of problem. */
export interface ProblemKind {
  /** HTTP status, 400 to 599. */
  readonly status: number;
  /** Short description, the same for every request. */
  readonly title: string;
  /** What the client should do. In documents only if the catalogue has the member `action`. */
  readonly action?: ClientAction;
  /** Default wait before a retry, in ms. */
  readonly retryAfterMs?: number;
}

/**
 * Members that tell client programs what to do. A catalogue that declares them gets their values
 * from the kind and from the `Retry-After` header.
 */
export const nextMembers = {
  action: z.enum(["retry", "fix", "drop"])
    .describe(
      "retry: send the same bytes later; fix: change the request; drop: do not send it again",
    ),
  retry_after_s: z.int().optional().describe("the Retry-After header, in seconds"),
};

/**
 * A kind in a catalogue with the members `M`: with the member `action`, each kind has an action.
 */
export type KindFor<M extends z.ZodRawShape> = M extends { readonly action: z.ZodType }
  ? ProblemKind & { readonly action: ClientAction }
  : ProblemKind;

/** The members of a catalogue that the caller of {@link ProblemCatalogue.problem} sets. */
export type GivenMembers<M extends z.ZodRawShape> = Readonly<
  Omit<z.output<z.ZodObject<M>>, keyof typeof nextMembers>
>;

/** Optional values of one problem. */
export interface ProblemMore<Members> {
  readonly members?: Members;
  /** Wait before a retry, in ms; sent as whole seconds, at least 1. */
  readonly retryAfterMs?: number;
  /** Additional headers, with names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Options of a {@link ProblemCatalogue}. */
export interface ProblemOptions<Name extends string, M extends z.ZodRawShape> {
  /** Members in addition to those of RFC 9457, all optional or from {@link nextMembers}. */
  readonly members: M;
  /** Headers of every problem, with names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The problem for a {@link RetryAfter}, whose wait becomes the `Retry-After` header. */
  readonly retryAfter: {
    readonly problem: Name;
    readonly detail: (error: RetryAfter, seconds: number) => string;
    /** The event to log, if any. */
    readonly event?: LogEvent;
  };
  /** The problem for any other error; `detail` must not depend on the error. */
  readonly unexpected: { readonly problem: Name; readonly detail: string };
}

/** A problem to throw; the handler of its catalogue turns it into a response. */
export class Problem<Name extends string = string, Members extends object = object> extends Error {
  override readonly name = "Problem";
  readonly members: Partial<Members>;
  /** All headers, including `retry-after` and those of the catalogue. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #document: Readonly<Record<string, unknown>>;

  /** Called by {@link ProblemCatalogue.problem}. `declared` is the order of the members. */
  constructor(
    readonly problem: Name,
    readonly detail: string,
    readonly kind: ProblemKind,
    declared: readonly string[],
    more: ProblemMore<Members>,
  ) {
    super(detail);
    this.members = more.members ?? {};
    const waitMs = more.retryAfterMs ?? kind.retryAfterMs;
    const seconds = waitMs === undefined ? undefined : secondsOf(waitMs);
    this.headers = {
      ...more.headers,
      ...(seconds === undefined ? {} : { "retry-after": String(seconds) }),
    };
    const values = new Map<string, unknown>(Object.entries({
      ...this.members,
      action: kind.action,
      retry_after_s: seconds,
    }));
    this.#document = {
      type: `urn:twofold:problem:${problem}`,
      title: kind.title,
      status: kind.status,
      detail,
      ...Object.fromEntries(declared.map((member) => [member, values.get(member)])),
    };
  }

  get status(): number {
    return this.kind.status;
  }
  get title(): string {
    return this.kind.title;
  }

  /** The response, with `more` headers (names in lower case). */
  toResponse(more: Readonly<Record<string, string>> = {}): Response {
    const headers = { ...more, "content-type": MEDIA_TYPE, ...this.headers };
    return new Response(JSON.stringify(this.#document), { status: this.status, headers });
  }
}

/** The problems of one service; created by {@link defineProblems}. */
export class ProblemCatalogue<Name extends string, M extends z.ZodRawShape> {
  /** The schema of every problem document, named `Problem` in OpenAPI. */
  readonly schema: ReturnType<typeof schemaOf<M>>;
  /** The names of all problems, in the order of the definition. */
  readonly names: readonly Name[];

  constructor(
    readonly kinds: Readonly<Record<Name, ProblemKind>>,
    readonly options: ProblemOptions<Name, M>,
  ) {
    this.schema = schemaOf(options.members);
    this.names = Object.keys(kinds).filter((name): name is Name => name in kinds);
  }

  /** Creates a problem to throw or to return. `detail` is text for people. */
  problem(
    name: Name,
    detail: string,
    more: ProblemMore<GivenMembers<M>> = {},
  ): Problem<Name, GivenMembers<M>> {
    const headers = { ...this.options.headers, ...more.headers };
    const declared = Object.keys(this.options.members);
    return new Problem(name, detail, this.kinds[name], declared, { ...more, headers });
  }

  /** Whether an error is a problem of this catalogue. */
  has(error: unknown): error is Problem<Name, GivenMembers<M>> {
    return error instanceof Problem && Object.values(this.kinds).includes(error.kind);
  }

  /** Turns any error into a problem. An unexpected error is logged and not shown to the client. */
  problemOf(error: unknown, log: Log): Problem<Name, GivenMembers<M>> {
    if (this.has(error)) return error;
    const { retryAfter, unexpected } = this.options;
    if (error instanceof RetryAfter) {
      if (retryAfter.event) log.warn(retryAfter.event, { error });
      const { retryAfterMs } = error;
      const detail = retryAfter.detail(error, secondsOf(retryAfterMs));
      return this.problem(retryAfter.problem, detail, { retryAfterMs });
    }
    log.error("service.request_failed", { error });
    return this.problem(unexpected.problem, unexpected.detail);
  }

  /** An error handler that responds with the problem document, or with the result of `render`. */
  handler<E extends Env>(
    log: Log,
    render: (
      problem: Problem<Name, GivenMembers<M>>,
      c: Context<E>,
    ) => Response | Promise<Response> = (problem) => problem.toResponse(),
  ): ErrorHandler<E> {
    return (error, c) => render(this.problemOf(error, log), c);
  }

  /** OpenAPI responses by status for a route that may return these problems. */
  responses(names: readonly Name[]): Record<string, ProblemAnswer<M>> {
    const byStatus = Map.groupBy(names, (name) => this.kinds[name].status);
    const content = { [MEDIA_TYPE]: { schema: this.schema } } as const;
    return Object.fromEntries(
      [...byStatus].map(([status, names]) => {
        const titles = names.map((name) => this.#titleAndAction(this.kinds[name]));
        return [status, { description: titles.join("; "), content }];
      }),
    );
  }

  #titleAndAction({ title, action }: ProblemKind): string {
    return "action" in this.options.members ? `${title} (${action})` : title;
  }
}

/** The OpenAPI response of one status. */
export interface ProblemAnswer<M extends z.ZodRawShape> {
  readonly description: string;
  readonly content: {
    readonly "application/problem+json": { readonly schema: ProblemCatalogue<string, M>["schema"] };
  };
}

/**
 * Defines the problems of a service by name. Names are lower case with hyphens, and part of the
 * API.
 */
export function defineProblems<
  const Kinds extends Readonly<Record<string, KindFor<M>>>,
  M extends z.ZodRawShape,
>(
  kinds: Kinds,
  options: ProblemOptions<NoInfer<keyof Kinds & string>, M>,
): ProblemCatalogue<keyof Kinds & string, M> {
  return new ProblemCatalogue<keyof Kinds & string, M>(kinds, options);
}

function schemaOf<M extends z.ZodRawShape>(members: M) {
  return z.object({
    type: z.string().describe("`urn:twofold:problem:` and the name of the problem"),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe("the problem with this request and what to do"),
  }).extend(members).openapi("Problem");
}

// At least 1 s, because a wait of 0 s would make clients retry in a tight loop.
function secondsOf(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
