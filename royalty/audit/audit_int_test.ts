/** `deno task royalty audit` as finance types it, on real servers and books that closed a day. */
import { assert, assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import type { NatsUser } from "../../shared/dev/servers/nats_server.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { ServiceProcess, sumOf } from "../../shared/dev/servers/service_process.ts";
import { DATABASE, Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { heartbeatSubject } from "../../shared/contract/topology.ts";

const DAY_MS = 86_400_000;
/** Two days before today, and the day after it; both have ended. */
const FIRST_MS = (Math.floor(Date.now() / DAY_MS) - 3) * DAY_MS;
const FIRST = dayOf(FIRST_MS);
const SECOND = dayOf(FIRST_MS + DAY_MS);

function dayOf(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10);
}

/** Real servers and the service, which closes nothing by itself. */
class Scene implements AsyncDisposable {
  readonly random = new Random(3);
  #landed = 0;

  private constructor(readonly stack: Stack, readonly service: ServiceProcess) {}

  static async start(): Promise<Scene> {
    const stack = await Stack.start({ duplicateWindowMs: 100 });
    const service = await ServiceProcess.start(stack.workspace, "royalty", {
      httpPort: freePort(),
      reach: [stack.nats.url, `127.0.0.1:${stack.postgres.port}`],
      settings: {
        ...stack.nats.settings("royalty"),
        TWOFOLD_POSTGRES_URL: stack.databaseUrl("royalty"),
        TWOFOLD_CLOSE_SCHEDULE: "off",
      },
    });
    return new Scene(stack, service);
  }

  /** A heartbeat of `titleId` in `region`, an hour into the day that begins at `dayMs`. */
  watched(dayMs: number, titleId: string, region: string, changes: Partial<Heartbeat> = {}) {
    const ts = dayMs + 3_600_000 + this.random.int(0, 3_600_000);
    return aHeartbeat(this.random, ts, { title_id: titleId, region, ...changes });
  }

  /** Lands bodies in this order and waits until they are in the books. */
  async enter(bodies: readonly unknown[]): Promise<void> {
    const js = jetstream(await this.stack.connect("ingest"));
    for (const body of bodies) await js.publish(heartbeatSubject(0, "de"), encode(body));
    this.#landed += bodies.length;
    await waitFor("the books to have everything", async () => {
      const metrics = await this.service.metrics();
      const of = (outcome: string) => sumOf(metrics, "twofold_royalty_books_events", { outcome });
      return of("counted") + of("duplicate") + of("quarantined") === this.#landed;
    });
  }

  async royalty(
    args: string,
    user: NatsUser = "royalty",
  ): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "royalty", ...args.split(" ")],
      cwd: new URL("../../", import.meta.url).pathname,
      env: {
        ...this.stack.nats.settings(user),
        TWOFOLD_POSTGRES_URL: this.stack.databaseUrl("royalty"),
      },
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), error: text(stderr) };
  }

  async corrupt(statement: string): Promise<void> {
    const admin = this.stack.postgres.connect(DATABASE);
    await admin.unsafe(statement);
    await admin.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.stop();
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("a day is audited from its streams to its lines, and a line to its heartbeats", async () => {
  await using scene = await Scene.start();
  const { random } = scene;
  const early = [
    ...Array.from({ length: 12 }, () => scene.watched(FIRST_MS, "title-1", "de")),
    ...Array.from({ length: 5 }, () => scene.watched(FIRST_MS, "title-1", "br")),
    ...Array.from({ length: 4 }, () => scene.watched(FIRST_MS, "title-2", "de")),
  ];
  // Again with a key that nobody reads, so that the stream does not take it for the same bytes.
  const again = (heartbeat: Heartbeat) => ({ ...heartbeat, retry: random.int(1, 1e9) });
  const [first, second] = early;
  assertExists(first);
  assertExists(second);
  await scene.enter([
    ...early,
    again(first),
    { ...second, played_ms: 9_999 },
    "not a heartbeat",
  ]);
  const closed = await scene.royalty(`close --day ${FIRST}`);
  assertEquals(closed.code, 0, closed.error);

  const late = Array.from({ length: 3 }, () => scene.watched(FIRST_MS, "title-1", "de"));
  const next = Array.from({ length: 6 }, () => scene.watched(FIRST_MS + DAY_MS, "title-1", "de"));
  const [repeated] = next;
  assertExists(repeated);
  await scene.enter([...late, again(first), ...next, again(repeated)]);

  const ofFirst = await scene.royalty(`audit --day ${FIRST}`);
  assertEquals(ofFirst.code, 0, ofFirst.out + ofFirst.error);
  assertStringIncludes(ofFirst.out, `${FIRST} is closed: version 1, as of `);
  assert(/^HEARTBEATS +1 +24 +21 +1 +2 +0 +yes$/m.test(ofFirst.out), ofFirst.out);
  assert(/^USAGE +3 +21 +210000 +3\.500$/m.test(ofFirst.out), ofFirst.out);
  assert(/^ADJUSTMENT +0 +0 +0 +0\.000$/m.test(ofFirst.out), ofFirst.out);
  assert(ofFirst.out.endsWith("the account is complete\n"));

  const ofSecond = await scene.royalty(`audit --day ${SECOND}`);
  assertEquals(ofSecond.code, 0, ofSecond.out + ofSecond.error);
  assertStringIncludes(ofSecond.out, `${SECOND} is open: `);
  assert(/^HEARTBEATS +25 +35 +9 +2 +0 +0 +yes$/m.test(ofSecond.out), ofSecond.out);
  assert(/^ADJUSTMENT +1 +3 +30000 +0\.500$/m.test(ofSecond.out), ofSecond.out);

  // An auditor of NATS may read everything that this needs.
  const line = await scene.royalty(`audit --day ${FIRST} --title title-1 --limit 20`, "auditor");
  assertEquals(line.code, 0, line.out + line.error);
  assertStringIncludes(line.out, "counted 17, duplicate 1, conflict 1, earlier 0, missing 0");
  assert(/^USAGE +\S+ +de +12 +12 +120000 +120000 +equal$/m.test(line.out), line.out);
  assert(/^USAGE +\S+ +br +5 +5 +50000 +50000 +equal$/m.test(line.out), line.out);
  for (const [i, { event_id, ts }] of early.slice(0, 17).entries()) {
    const row = `${event_id} +HEARTBEATS +${i + 1} +${
      new Date(ts).toISOString()
    } +10000 .* counted`;
    assert(new RegExp(`^${row}$`, "m").test(line.out), `${row} in ${line.out}`);
  }
  assert(new RegExp(`^${first.event_id} +HEARTBEATS +22 .* duplicate$`, "m").test(line.out));
  assert(
    new RegExp(`^${second.event_id} +HEARTBEATS +23 .* 9999 .* conflict$`, "m").test(line.out),
  );

  const narrowed = await scene.royalty(
    `audit --day ${SECOND} --title title-1 --territory de --event-day ${FIRST} --limit 1`,
  );
  assertEquals(narrowed.code, 0, narrowed.out + narrowed.error);
  assertStringIncludes(narrowed.out, "counted 3, duplicate 2, conflict 1, earlier 12, missing 0");
  assert(/^ADJUSTMENT +\S+ +de +3 +3 +30000 +30000 +equal$/m.test(narrowed.out), narrowed.out);
  assertStringIncludes(narrowed.out, "… and 17 more; --limit N shows N");
});

Deno.test("what does not agree is named and exits with 1; what is not there is said", async () => {
  await using scene = await Scene.start();
  await scene.enter([
    ...Array.from({ length: 4 }, () => scene.watched(FIRST_MS, "title-1", "de")),
    ...Array.from({ length: 4 }, () => scene.watched(FIRST_MS, "title-2", "de")),
  ]);
  const said = async (args: string) => {
    const { code, error } = await scene.royalty(`audit ${args}`);
    return `${code} ${error.split("\n")[0]}`;
  };
  assertEquals(
    await said("--day 2024-02-29"),
    "1 royalty: 2024-02-29 has no statement and no credits; " +
      `the books have days from ${FIRST} to ${FIRST}`,
  );
  assertEquals(
    await said("--day 2023-02-29"),
    "2 royalty: --day 2023-02-29 is not a day; write it YYYY-MM-DD",
  );
  assertEquals(
    await said(`--day ${FIRST} --limit 3`),
    "2 royalty: --title ID is missing; --territory, --event-day and --limit narrow it",
  );
  assertEquals(
    await said(`--day ${FIRST} --title title-1 --territory br --event-day ${FIRST}`),
    `1 royalty: no line of title title-1 in br watched on ${FIRST} is recognised on ${FIRST}`,
  );

  assertEquals((await scene.royalty(`close --day ${FIRST}`)).code, 0);
  await scene.corrupt(
    "update royalty.statement_line set ms_watched = 40001 where title_id = 'title-1'",
  );
  const line = await scene.royalty(`audit --day ${FIRST} --title title-1`);
  assertEquals(line.code, 1, line.out + line.error);
  assertStringIncludes(line.out, "ms in the manifest and in the lines differ: 80000 and 80001");
  assertStringIncludes(line.out, "the account is NOT complete");
  assert(/^USAGE +\S+ +de +4 +4 +40001 +40000 +DIFFERS$/m.test(line.out), line.out);
  assert(line.out.endsWith("the lines are NOT the sum of their heartbeats\n"));
  const other = await scene.royalty(`audit --day ${FIRST} --title title-2`);
  assert(other.out.endsWith("every line is the sum of its heartbeats\n"), other.out);
  assertEquals(other.code, 1, "the day as a whole is still wrong");
  await scene.corrupt("update royalty.statement_line set ms_watched = 40000");

  // The raw heartbeats go; the account stays.
  const jsm = await jetstreamManager(await scene.stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", { max_age: 1_000_000_000 });
  await waitFor("the heartbeats to be dropped", async () => {
    return (await jsm.streams.info("HEARTBEATS")).state.messages === 0;
  });
  assertEquals((await scene.royalty(`audit --day ${FIRST}`)).code, 0);
  const gone = await said(`--day ${FIRST} --title title-1`);
  assert(
    /^1 royalty: HEARTBEATS keeps raw heartbeats since .* only; these lines need/.test(gone),
    gone,
  );
});
