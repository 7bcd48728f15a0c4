/**
 * Answers of an HTTP server that are not 2xx, as RFC 9457 `application/problem+json`.
 *
 * A service declares its problems once, with {@link defineProblems}, and throws what
 * {@link ProblemCatalogue.problem} makes; {@link ProblemCatalogue.handler} answers it, and whatever
 * else is thrown.
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
 * the members that the catalogue declares, in its order, as far as they have a value.
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
 * What a client does next. `retry`: send the same again after the wait. `fix`: send it another way.
 * `drop`: give it up.
 */
export type ClientAction = "retry" | "fix" | "drop";

/** One kind of problem. */
export interface ProblemKind {
  /** HTTP status, 400 to 599. */
  readonly status: number;
  /** What it is, the same for every request. */
  readonly title: string;
  /** What the client does next. Documents tell it if the catalogue has the member `action`. */
  readonly action?: ClientAction;
  /** How long the client waits, in ms, where a problem does not say another time. */
  readonly retryAfterMs?: number;
}

/**
 * Members with which documents tell machines what to do next. A catalogue that declares them has
 * them filled in: from the kind, and from the `Retry-After` header.
 */
export const nextMembers = {
  action: z.enum(["retry", "fix", "drop"])
    .describe("retry: the same bytes later; fix: send it another way; drop: give it up"),
  retry_after_s: z.int().optional().describe("the Retry-After header, in seconds"),
};

/** A kind in a catalogue with the members `M`: one that tells the action has an action. */
export type KindFor<M extends z.ZodRawShape> = M extends { readonly action: z.ZodType }
  ? ProblemKind & { readonly action: ClientAction }
  : ProblemKind;

/** The members of a catalogue that whoever makes a problem gives. */
export type GivenMembers<M extends z.ZodRawShape> = Readonly<
  Omit<z.output<z.ZodObject<M>>, keyof typeof nextMembers>
>;

/** What one problem has beside its name and its detail. */
export interface ProblemMore<Members> {
  readonly members?: Members;
  /** How long the client waits, in ms; sent as whole seconds, at least 1. */
  readonly retryAfterMs?: number;
  /** Other headers, their names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** How a catalogue answers in general. */
export interface ProblemOptions<Name extends string, M extends z.ZodRawShape> {
  /** Members beside those of RFC 9457, all optional or among {@link nextMembers}. */
  readonly members: M;
  /** Headers of every problem, their names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What {@link RetryAfter} is answered with; it has `Retry-After` by the error. */
  readonly retryAfter: {
    readonly problem: Name;
    readonly detail: (error: RetryAfter, seconds: number) => string;
    /** The event that is logged; without it none is. */
    readonly event?: LogEvent;
  };
  /** What any other error is answered with; `detail` tells nothing of the error. */
  readonly unexpected: { readonly problem: Name; readonly detail: string };
}

/** A request that is refused; the catalogue's handler answers it as the problem it names. */
export class Problem<Name extends string = string, Members extends object = object> extends Error {
  override readonly name = "Problem";
  readonly members: Partial<Members>;
  /** Headers, `retry-after` and those of every problem of the catalogue included. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #document: Readonly<Record<string, unknown>>;

  /** Made by {@link ProblemCatalogue.problem}. `declared` are the members in their order. */
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

  /** The answer, with `more` headers, their names in lower case. */
  toResponse(more: Readonly<Record<string, string>> = {}): Response {
    const headers = { ...more, "content-type": MEDIA_TYPE, ...this.headers };
    return new Response(JSON.stringify(this.#document), { status: this.status, headers });
  }
}

/** The problems of one service. Made by {@link defineProblems}. */
export class ProblemCatalogue<Name extends string, M extends z.ZodRawShape> {
  /** The body of every problem, as the OpenAPI document names it. */
  readonly schema: ReturnType<typeof schemaOf<M>>;
  /** Every problem, in the order of the definition. */
  readonly names: readonly Name[];

  constructor(
    readonly kinds: Readonly<Record<Name, ProblemKind>>,
    readonly options: ProblemOptions<Name, M>,
  ) {
    this.schema = schemaOf(options.members);
    this.names = Object.keys(kinds).filter((name): name is Name => name in kinds);
  }

  /** A problem of this catalogue, to be thrown or answered. `detail` is read by people. */
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

  /** Any error as a problem. What nobody foresaw is logged with its stack; no client sees it. */
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

  /** Answers what a route throws, with the document or with what `render` makes of the problem. */
  handler<E extends Env>(
    log: Log,
    render: (
      problem: Problem<Name, GivenMembers<M>>,
      c: Context<E>,
    ) => Response | Promise<Response> = (problem) => problem.toResponse(),
  ): ErrorHandler<E> {
    return (error, c) => render(this.problemOf(error, log), c);
  }

  /** The answers of a route that may end in these problems, by status, for OpenAPI. */
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

/** What OpenAPI is told of one status. */
export interface ProblemAnswer<M extends z.ZodRawShape> {
  readonly description: string;
  readonly content: {
    readonly "application/problem+json": { readonly schema: ProblemCatalogue<string, M>["schema"] };
  };
}

/** The problems of a service, by name: lower case and hyphens. Names are part of the API. */
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
    type: z.string().describe("`urn:twofold:problem:` and the problem's name"),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe("what is wrong with this request and what to do"),
  }).extend(members).openapi("Problem");
}

// A wait of 0 s would be a client that asks again at once, and again.
function secondsOf(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
