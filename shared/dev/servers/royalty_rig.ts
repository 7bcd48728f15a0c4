/**
 * Royalty on real servers: processes, commands, heartbeats, and what the books say of them.
 *
 * @module
 */
import { headers } from "nats";
import {
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
  type PubAck,
} from "nats/jetstream";
import type { Sql } from "postgres";
import { frameOf } from "../../contract/delivery/frame.ts";
import type { Heartbeat } from "../../contract/event.ts";
import {
  DEFAULT_TOPOLOGY,
  desiredTopology,
  ENDS_HEADER,
  heartbeatSubject,
  partitionOf,
  type TopologyOptions,
} from "../../contract/topology.ts";
import { onlyRow } from "../../process/postgres/rows.ts";
import { type ChildResult, runTask } from "../testing/child_process.ts";
import { aHeartbeat, encode } from "../testing/heartbeats.ts";
import { Random } from "../testing/random.ts";
import { waitFor } from "../testing/wait_for.ts";
import type { NatsUser } from "./nats_server.ts";
import type { ServiceProcess } from "./service_process.ts";
import { Stack } from "./stack.ts";

type Texts = Readonly<Record<string, string>>;

/** What a {@link RoyaltyRig} starts from. */
export interface RoyaltyRigOptions {
  readonly topology?: Partial<TopologyOptions>;
  /** Settings of every process and command. */
  readonly settings?: Texts;
  /** Whether statements are written as files, to {@link RoyaltyRig.statementsFolder}. */
  readonly hasFiles?: boolean;
  readonly random?: Random;
  /** Whether what is published together shares messages, at random. */
  readonly framed?: boolean;
}

/** Who runs a command, and with what besides. */
export interface CommandContext {
  /** Who the command is for NATS; royalty unless given. */
  readonly user?: NatsUser;
  readonly settings?: Texts;
}

/** The outcomes of one stream in the books. */
export interface OutcomesRow {
  readonly last_seq: number;
  readonly events: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly gaps: number;
}

interface StreamEndRow {
  readonly stream: string;
  readonly last_seq: number;
}

interface CreditedRow {
  /** `title region`. */
  readonly key: string;
  readonly ms: string;
}

interface PublishedEvent {
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly msgID: string | undefined;
}

/** Servers, a publisher that keeps its own account of minutes, and royalty processes. */
export class RoyaltyRig implements AsyncDisposable {
  /** What must be credited: `title region` to ms. */
  readonly expectedMs = new Map<string, number>();
  /** The last sequence that was published, by stream. */
  readonly lastSeqs = new Map<string, number>();

  private constructor(
    readonly stack: Stack,
    readonly js: JetStreamClient,
    /** A superuser's pool. */
    readonly sql: Sql,
    readonly partitions: number,
    readonly settings: Texts,
    readonly random: Random,
    readonly framed: boolean,
  ) {}

  /** Starts the servers; no royalty process yet. */
  static async start(options: RoyaltyRigOptions = {}): Promise<RoyaltyRig> {
    const { topology = {}, settings = {}, hasFiles = false, random = new Random(1) } = options;
    const { framed = false } = options;
    const stack = await Stack.start(topology);
    const js = jetstream(await stack.connect("ingest"));
    const partitions = topology.partitions ?? 1;
    const files = hasFiles ? { TWOFOLD_STATEMENTS_DIR: statementsFolderOf(stack) } : {};
    const all = { TWOFOLD_PARTITIONS: String(partitions), ...files, ...settings };
    return new RoyaltyRig(stack, js, stack.admin(), partitions, all, random, framed);
  }

  /** Where statements are written, with `hasFiles`. */
  get statementsFolder(): string {
    return statementsFolderOf(this.stack);
  }

  /** A royalty process that is ready. */
  async process(settings: Texts = {}): Promise<ServiceProcess> {
    return await this.stack.service("royalty", { ...this.settings, ...settings });
  }

  /** Runs `deno task royalty <args>` as a person does. */
  async command(...args: string[]): Promise<ChildResult> {
    return await this.commandIn({}, ...args);
  }

  /** As {@link command}, in another context. */
  async commandIn(context: CommandContext, ...args: string[]): Promise<ChildResult> {
    const { user = "royalty", settings = {} } = context;
    const env = { ...this.stack.settings(user), ...this.settings, ...settings };
    return await runTask("royalty", args, env);
  }

  /**
   * Publishes heartbeats to the stream of their session, and other bytes and texts as they are, in
   * this order. `withIds`: with the message id that absorbs a retry, as the edge does.
   */
  async publish(
    bodies: readonly (Heartbeat | Uint8Array | string)[],
    { withIds = false }: { readonly withIds?: boolean } = {},
  ): Promise<void> {
    const events = bodies.map((body) => {
      if (typeof body === "string") return this.#stray(new TextEncoder().encode(body));
      if (body instanceof Uint8Array) return this.#stray(body);
      const subject = heartbeatSubject(partitionOf(body.session_id, this.partitions), body.region);
      return { subject, bytes: encode(body), msgID: withIds ? body.event_id : undefined };
    });
    const acknowledgements = await Promise.all(
      this.framed ? this.#publishFramed(events) : events.map((event) => this.#publishAlone(event)),
    );
    for (const { stream, seq } of acknowledgements) {
      this.lastSeqs.set(stream, Math.max(seq, this.lastSeqs.get(stream) ?? 0));
    }
  }

  #stray(bytes: Uint8Array): PublishedEvent {
    return { subject: heartbeatSubject(0, "none"), bytes, msgID: undefined };
  }

  #publishAlone({ subject, bytes, msgID }: PublishedEvent): Promise<PubAck> {
    return this.js.publish(subject, bytes, msgID === undefined ? {} : { msgID });
  }

  // Those of a subject in their order, up to 20 in a message; an empty event is alone.
  #publishFramed(events: readonly PublishedEvent[]): Promise<PubAck>[] {
    const groups = [...Map.groupBy(events, ({ subject }) => subject)];
    return groups.flatMap(([subject, together]) => {
      const acknowledgements: Promise<PubAck>[] = [];
      for (let at = 0; at < together.length;) {
        const some = together.slice(at, at + this.random.int(1, 20));
        const empty = some.findIndex(({ bytes }) => bytes.length === 0);
        const part = empty < 0 ? some : some.slice(0, Math.max(1, empty));
        at += part.length;
        const [first] = part;
        if (part.length === 1 && first !== undefined) {
          acknowledgements.push(this.#publishAlone(first));
          continue;
        }
        const { body, ends } = frameOf(part.map(({ bytes }) => bytes));
        const framing = headers();
        framing.set(ENDS_HEADER, ends);
        acknowledgements.push(this.js.publish(subject, body, { headers: framing }));
      }
      return acknowledgements;
    });
  }

  /** Publishes `count` new heartbeats with their ids, and expects their minutes. */
  async watch(count: number, changes: Partial<Heartbeat> = {}): Promise<Heartbeat[]> {
    const heartbeats = Array.from({ length: count }, () =>
      aHeartbeat(this.random, Date.now(), {
        played_ms: this.random.int(1, 9_999),
        title_id: `title-${this.random.int(0, 4)}`,
        ...changes,
      }));
    for (const heartbeat of heartbeats) this.expect(heartbeat);
    await this.publish(heartbeats, { withIds: true });
    return heartbeats;
  }

  /** Expects `heartbeat` to be credited; `times` -1 takes that back. */
  expect({ title_id, region, played_ms }: Heartbeat, times = 1): void {
    const key = `${title_id} ${region}`;
    const ms = (this.expectedMs.get(key) ?? 0) + times * played_ms;
    if (ms === 0 && times < 0) this.expectedMs.delete(key);
    else this.expectedMs.set(key, ms);
  }

  /** The outcomes of `stream` in the books. */
  async position(stream = "HEARTBEATS"): Promise<OutcomesRow> {
    const rows = await this.sql<OutcomesRow[]>`
      select last_seq::int, events::int, counted::int, duplicates::int, quarantined::int, gaps::int
      from royalty.stream_position where stream = ${stream}`;
    return { ...onlyRow(rows, `the position of ${stream}`) };
  }

  /**
   * Waits until the books account for everything that was published. `databases` that count streams
   * of their own count together.
   */
  async accountedFor(databases: readonly Sql[] = [this.sql], timeoutMs = 30_000): Promise<void> {
    await waitFor("everything published to be in the books", async () => {
      const rows = await Promise.all(databases.map((sql) =>
        sql<StreamEndRow[]>`
          select stream, last_seq::int from royalty.stream_position where last_seq > 0`
      ));
      const posted = new Map(rows.flat().map(({ stream, last_seq }) => [stream, last_seq]));
      const state = [...this.lastSeqs].map(([stream, last]) => [stream, posted.get(stream), last]);
      if (state.every(([, at, last]) => at === last)) return true;
      throw new Error(`stream, posted, published: ${JSON.stringify(state)}`);
    }, { timeoutMs });
  }

  /** What the books credit, `title region` to ms. */
  async creditedMs(): Promise<Map<string, number>> {
    const rows = await this.sql<CreditedRow[]>`
      select title_id || ' ' || region as key, sum(ms_watched) as ms
      from royalty.accrual group by 1`;
    return new Map(rows.map(({ key, ms }) => [key, Number(ms)]));
  }

  /** Makes HEARTBEATS again as it is, except that messages can be deleted. */
  async makeDeletable(): Promise<JetStreamManager> {
    const jsm = await jetstreamManager(await this.stack.connect("ops"));
    const desired = desiredTopology({ ...DEFAULT_TOPOLOGY, heartbeatsMaxBytes: 1024 ** 3 });
    const stream = desired.streams.find(({ name }) => name === "HEARTBEATS");
    if (stream === undefined) throw new Error("the topology has no HEARTBEATS");
    await jsm.streams.delete("HEARTBEATS");
    await jsm.streams.add({ ...stream, deny_delete: false, deny_purge: false });
    for (const consumer of desired.consumers) {
      if (consumer.stream === "HEARTBEATS") await jsm.consumers.add("HEARTBEATS", consumer.config);
    }
    return jsm;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
  }
}

function statementsFolderOf({ workspace }: Stack): string {
  return `${workspace.folder}/statements`;
}
