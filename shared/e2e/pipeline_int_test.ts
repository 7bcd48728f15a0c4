import { assert, assertEquals } from "@std/assert";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { Observer } from "../dev/demo/observer.ts";
import { Pipeline } from "../dev/servers/pipeline.ts";
import { Random } from "../dev/testing/random.ts";
import { parseStatement } from "../dev/demo/verdict.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { Workspace } from "../dev/servers/workspace.ts";
import type { Heartbeat } from "../contract/event.ts";

Deno.test("every minute is counted once despite retries, malformed events and killed processes", async () => {
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace, {
    provision: { TWOFOLD_DUPLICATE_WINDOW_MS: "500" },
  });
  const observer = await Observer.start(pipeline);
  const random = new Random(7);
  const some = (count: number, changes: Partial<Heartbeat> = {}) =>
    Array.from({ length: count }, () => aHeartbeat(random, Date.now(), changes));

  const first = some(300);
  await deliver(pipeline, encode(first));
  await waitFor("the stream to take copies of what it has forgotten", async () => {
    const before = await observer.snapshot();
    await deliver(pipeline, encode(first.slice(0, 20)));
    return (await observer.snapshot()).messages > before.messages;
  });
  const garbage = ['{"v":1', '"text"', '{"v":2}', "\u0000", '{"played_ms":NaN}'];
  await deliver(pipeline, new TextEncoder().encode(garbage.join("\n")), "application/x-ndjson");

  await pipeline.services.royalty.stop("SIGKILL");
  const second = some(200);
  await deliver(pipeline, encode(second));
  await pipeline.nats.stop("SIGKILL");
  await pipeline.nats.start();
  await pipeline.services.royalty.restart();
  const third = some(100);
  await deliver(pipeline, encode(third));
  await pipeline.services.live.stop("SIGKILL");
  await pipeline.services.live.restart();

  const all = [...first, ...second, ...third];
  const { streams: [account] } = await waitFor("royalty to have counted all", async () => {
    const status = JSON.parse(await pipeline.cli("royalty", ["status", "--json"]));
    return status.streams[0].counted === all.length && status.streams[0].lag === 0 && status;
  }, { timeoutMs: 60_000 });
  assert(account.identity_holds);
  assertEquals(account.gaps, 0);
  assertEquals(account.quarantined, garbage.length);
  assertEquals(await statement(pipeline), totalsOf(all));
  await waitFor("every rejected event in triage", async () => {
    const groups = JSON.parse(await pipeline.cli("triage", ["list", "--json"]));
    const entries = groups.map(({ entries }: { entries: number }) => entries);
    return entries.reduce((sum: number, count: number) => sum + count, 0) === garbage.length;
  });
  assertEquals(observer.unreadable, []);
});

Deno.test("on-call is alerted about the title that stalls and about no other", async () => {
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace);
  const observer = await Observer.start(pipeline);
  const random = new Random(8);
  const cohort = (changes: Partial<Heartbeat>) =>
    Array.from({ length: 80 }, () => aHeartbeat(random, Date.now(), changes));
  const stalled = { played_ms: 5_000, rebuffer_ms: 5_000, rebuffer_count: 2 };
  await deliver(pipeline, encode(cohort({ title_id: "well", region: "de" })));
  await deliver(pipeline, encode(cohort({ title_id: "ill", region: "de", ...stalled })));
  await waitFor("the alert", () => observer.alerts.length > 0);
  await waitFor("live to be done", async () => (await observer.snapshot()).lag.live === 0);
  assertEquals(observer.alerts.map(({ subject }) => subject), ["alerts.rebuffer.de.ill"]);
});

// As a device does: the same bytes again until the edge has them.
async function deliver(
  { services, fleetKey }: Pipeline,
  body: Uint8Array<ArrayBuffer>,
  type = "application/json",
): Promise<void> {
  await waitFor("the edge to accept", async () => {
    const response = await fetch(`${services.ingest.url}/v1/heartbeats`, {
      method: "POST",
      headers: { authorization: `Bearer ${fleetKey}`, "content-type": type },
      body,
    });
    const text = await response.text();
    return response.status === 202 || Promise.reject(new Error(`${response.status} ${text}`));
  }, { timeoutMs: 30_000 });
}

async function statement(pipeline: Pipeline) {
  // The run may have crossed midnight.
  const days = new Set([Date.now() - 300_000, Date.now()].map((ms) => dayOf(ms)));
  const totals = new Map<string, { ms: number; events: number }>();
  for (const day of days) {
    for (
      const [title, found] of parseStatement(
        await pipeline.cli("royalty", ["export", "--day", day]),
      )
    ) {
      add(totals, title, found);
    }
  }
  return sorted(totals);
}

function totalsOf(heartbeats: readonly Heartbeat[]) {
  const totals = new Map<string, { ms: number; events: number }>();
  for (const { title_id, played_ms } of heartbeats) {
    add(totals, title_id, { ms: played_ms, events: 1 });
  }
  return sorted(totals);
}

function add(
  totals: Map<string, { ms: number; events: number }>,
  title: string,
  more: { readonly ms: number; readonly events: number },
): void {
  const sum = totals.get(title) ?? { ms: 0, events: 0 };
  totals.set(title, { ms: sum.ms + more.ms, events: sum.events + more.events });
}

function sorted(totals: ReadonlyMap<string, { ms: number; events: number }>) {
  return [...totals].sort(([a], [b]) => (a < b ? -1 : 1));
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
