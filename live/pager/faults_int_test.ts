import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { garbageServer, ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { sumOf } from "../../shared/dev/servers/service_process.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { ALERT_EXAMPLES } from "../../shared/contract/alert_examples.ts";
import { pause } from "../../shared/process/retry.ts";

const ENV = { TWOFOLD_PAGER_SECRET: "a-secret-of-the-test" };
const TIMEOUT = { timeoutMs: 40_000 };

function webhook(name: string, url: string) {
  return { name, kind: "webhook", url, secret_env: "TWOFOLD_PAGER_SECRET" };
}

/** Step and incident of each request that was accepted. */
function told(server: ReceiverServer): string[] {
  return server.accepted.map(({ headers }) =>
    `${headers.get("twofold-step")} ${headers.get("twofold-delivery")}`
  );
}

Deno.test("a receiver that hangs, refuses connections or answers garbage delays no other", async () => {
  await using good = new ReceiverServer();
  await using hanging = new ReceiverServer();
  using garbage = garbageServer();
  hanging.behaviour = { delayMs: 60_000 };
  const closed = `127.0.0.1:${freePort()}`;
  await using rig = await PagerRig.start(
    [
      webhook("hanging", hanging.url),
      webhook("garbage", garbage.url),
      webhook("closed", `http://${closed}`),
      webhook("good", good.url),
    ],
    [good.host, hanging.host, garbage.host, closed],
    ENV,
  );
  const pager = await rig.pager();
  await rig.leads(pager);
  const incidents = Array.from({ length: 20 }, (_, i) => anIncident(`title-${i}`, Date.now()));
  const startMs = Date.now();
  for (const { open } of incidents) await rig.publish(open);
  await waitFor("all pages", () => good.accepted.length === 20);
  assert(Date.now() - startMs < 5_000, "as fast as if it were alone");

  // What hangs is asked again, and gets page and end once it answers, in that order.
  hanging.behaviour = {};
  const [first] = incidents;
  assert(first);
  await rig.publish(first.end);
  await waitFor("what hung to have everything", () => told(hanging).length >= 21, TIMEOUT);
  const id = first.open.incident_id;
  assertEquals(told(hanging).filter((each) => each.includes(id)), [
    `page ${id}.1`,
    `end ${id}.3`,
  ]);
  const metrics = await pager.metrics();
  assert(sumOf(metrics, "twofold_pager_attempts_total", { receiver: "closed" }) > 20);
  assertEquals(sumOf(metrics, "twofold_pager_waiting_messages", { receiver: "closed" }), 20);
  assertEquals(pager.exitCode, null);
});

Deno.test("429 is asked again when Retry-After says so, and with back-off when it says nothing", async () => {
  await using asks = new ReceiverServer();
  await using silent = new ReceiverServer();
  asks.behaviour = { status: 429, headers: { "retry-after": "3" } };
  silent.behaviour = { status: 429 };
  await using rig = await PagerRig.start(
    [webhook("asks", asks.url), webhook("silent", silent.url)],
    [asks.host, silent.host],
    ENV,
  );
  await rig.pager();
  await rig.publish(anIncident("premiere", Date.now()).open);
  await waitFor("a request to each", () => asks.requests.length > 0 && silent.requests.length > 0);
  asks.behaviour = {};
  await rig.publish(anIncident("finale", Date.now()).open);
  await waitFor("both pages", () => asks.accepted.length === 2);
  const [before, ...after] = asks.requests.map(({ atMs }) => atMs);
  for (const atMs of after) assert(atMs - (before ?? 0) >= 2_900, "nothing before Retry-After");
  await waitFor("three requests", () => silent.requests.length >= 4);
  silent.behaviour = {};
  await waitFor("the pages", () => silent.accepted.length === 2, TIMEOUT);
});

Deno.test("a receiver that refuses gets nothing more, until it is repaired", async () => {
  await using refusing = new ReceiverServer();
  await using good = new ReceiverServer();
  refusing.behaviour = { status: 400, body: "no such channel" };
  await using rig = await PagerRig.start(
    [webhook("refusing", refusing.url), webhook("good", good.url)],
    [refusing.host, good.host],
    ENV,
  );
  const pager = await rig.pager();
  const { open, update, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  await waitFor("the page", () => good.accepted.length === 1);
  await waitFor("the refusal", async () => {
    const metrics = await pager.metrics();
    return sumOf(metrics, "twofold_pager_messages_total", { outcome: "refused" }) === 1;
  });
  refusing.behaviour = {};
  // Somebody has repaired it, and starts the pager anew.
  await pager.stop("SIGKILL");
  await pager.restart();
  await waitFor("the page", () => refusing.accepted.length === 1, TIMEOUT);
  await rig.publish(update);
  await waitFor("the news", () => refusing.accepted.length === 2);

  const unseen = anIncident("finale", Date.now());
  refusing.behaviour = { status: 400 };
  await rig.publish(unseen.open);
  await waitFor("the second refusal", () => refusing.requests.length === 4);
  await rig.publish(unseen.end);
  const ends = (server: ReceiverServer) =>
    told(server).filter((each) => each.startsWith("end")).length;
  await waitFor("the end", () => ends(good) === 1);
  // An end that is refused is not lost.
  await rig.publish(end);
  await waitFor("the third refusal", () => refusing.requests.length === 5);
  refusing.behaviour = {};
  await pager.stop("SIGKILL");
  await pager.restart();
  await waitFor("the end of what it has seen", () => ends(refusing) === 1, TIMEOUT);
  // Who has not seen the page gets no end either.
  assert(!told(refusing).some((each) => each.includes(unseen.open.incident_id)));
});

Deno.test("only pages page: no info, no ticket, nothing that is silenced", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook("ops", hook.url)], [hook.host], ENV);
  await rig.pager();
  const nowMs = Date.now();
  const { buildIsSilenced, noHeartbeats, quarantineGrows } = ALERT_EXAMPLES;
  const unpaged = anIncident("blip", nowMs, { severity: "info", page: false });
  const { paged_at: _, ...blip } = unpaged.open;
  await rig.publish(blip);
  await rig.publish({ ...blip, update: 2, status: "resolved" });
  await rig.publish({ ...buildIsSilenced, at: nowMs });
  const ticket = { ...noHeartbeats, incident_id: "lag.1", severity: "ticket" } as const;
  await rig.publish({ ...ticket, at: nowMs });
  // A silence that ends while the incident goes on makes a later message page.
  const late = anIncident("late", nowMs);
  await rig.publish({ ...late.open, update: 1, page: false, paged_at: nowMs, status: "open" });
  await rig.publish({ ...noHeartbeats, at: nowMs });
  await waitFor("two pages", () => hook.requests.length === 2);
  await rig.publish({ ...noHeartbeats, at: nowMs, status: "resolved" });
  await waitFor("an end", () => hook.requests.length === 3);
  assertEquals(told(hook).map((each) => each.split(" ")[0]), ["page", "page", "end"]);
  assertEquals(quarantineGrows.severity, "page");
});

Deno.test("two pagers deliver once; when one is killed, the other goes on where it was", async () => {
  await using hook = new ReceiverServer();
  await using slow = new ReceiverServer();
  slow.behaviour = { status: 503 };
  await using rig = await PagerRig.start(
    [webhook("ops", hook.url), webhook("slow", slow.url)],
    [hook.host, slow.host],
    ENV,
  );
  const first = await rig.pager();
  await rig.leads(first);
  const second = await rig.pager();
  const nowMs = Date.now();
  const incidents = Array.from({ length: 10 }, (_, i) => anIncident(`t${i}`, nowMs));
  for (const { open } of incidents) await rig.publish(open);
  await waitFor("all pages", () => hook.accepted.length === 10);
  await waitFor("all outcomes to be stored", async () => await storedPages(rig) === 10);

  await first.stop("SIGKILL");
  const killedMs = Date.now();
  for (const { end } of incidents) await rig.publish(end);
  slow.behaviour = {};
  await waitFor("all ends", () => hook.accepted.length === 20, TIMEOUT);
  assert(Date.now() - killedMs < 15_000, `${Date.now() - killedMs} ms`);
  await waitFor("the slow one", () => slow.accepted.length === 20, TIMEOUT);
  for (const server of [hook, slow]) {
    assertEquals(new Set(told(server)).size, 20, "nothing came twice");
    for (const { open } of incidents) {
      const steps = told(server).filter((each) => each.includes(open.incident_id));
      assertEquals(steps.map((each) => each.split(" ")[0]), ["page", "end"]);
    }
  }
  assertEquals((await second.metrics()).get("twofold_pager_leader"), 1);
  await waitFor(
    "nothing left",
    async () => (await second.metrics()).get("twofold_pager_incidents") === 0,
  );
});

/** Incidents whose page is stored as delivered to `ops`. */
async function storedPages(rig: PagerRig): Promise<number> {
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const { state } = await jsm.streams.info("KV_PAGER", { subjects_filter: "$KV.PAGER.incident.*" });
  let pages = 0;
  for (const subject of Object.keys(state.subjects ?? {})) {
    const record = await jsm.streams.getMessage("KV_PAGER", { last_by_subj: subject });
    if (record?.json<{ receivers: Record<string, unknown> }>().receivers.ops) pages += 1;
  }
  return pages;
}

Deno.test("a pager killed between answer and store delivers again under the same key", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook("ops", hook.url)], [hook.host], ENV);
  const pager = await rig.pager();
  await rig.leads(pager);
  // The receiver has the page, and the pager never sees the answer.
  hook.behaviour = { delayMs: 4_000 };
  const { open, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  await waitFor("the page to arrive", () => hook.requests.length === 1);
  await pager.stop("SIGKILL");
  hook.behaviour = {};
  await pager.restart();
  await waitFor("the page again", () => hook.requests.length === 2, TIMEOUT);
  await rig.publish(end);
  await waitFor("the end", () => hook.requests.length === 3, TIMEOUT);
  const keys = hook.requests.map(({ headers }) => headers.get("twofold-incident"));
  assertEquals(new Set(keys), new Set([open.incident_id]));
  assertEquals(told(hook), [
    `page ${open.incident_id}.1`,
    `page ${open.incident_id}.1`,
    `end ${open.incident_id}.3`,
  ]);
});

Deno.test("NATS away and a bucket lost: no page is lost, none doubled", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook("ops", hook.url)], [hook.host], ENV);
  const pager = await rig.pager();
  const { open, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  await waitFor("the page", () => hook.accepted.length === 1);
  await rig.stack.nats.stop("SIGKILL");
  await waitFor("the pager to notice", async () => (await pager.readiness()).status === 503);
  await rig.stack.nats.start();
  await pager.ready();
  const second = anIncident("finale", Date.now());
  await rig.publish(second.open);
  await waitFor("the second page", () => hook.accepted.length === 2, TIMEOUT);

  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.delete("KV_PAGER");
  await rig.publish(end);
  // No sleep: the lease has to run out without its bucket.
  await pause(6_000);
  await rig.stack.provision();
  await rig.publish(second.end);
  await waitFor("both ends", () => hook.accepted.length >= 4, TIMEOUT);
  assertEquals(told(hook), [
    `page ${open.incident_id}.1`,
    `page ${second.open.incident_id}.1`,
    ...told(hook).slice(2),
  ]);
  assertEquals(
    told(hook).slice(2).sort(),
    [
      `end ${end.incident_id}.3`,
      `end ${second.end.incident_id}.3`,
    ].sort(),
  );
  assertEquals(pager.exitCode, null);
});

Deno.test("with the bucket lost and the pager that delivered dead, the other one remembers", async () => {
  await using ops = new ReceiverServer();
  await using back = new ReceiverServer();
  back.behaviour = { status: 503 };
  await using rig = await PagerRig.start(
    [webhook("ops", ops.url), webhook("back", back.url)],
    [ops.host, back.host],
    ENV,
  );
  const first = await rig.pager();
  await rig.leads(first);
  const second = await rig.pager();
  const { open, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  await waitFor("the page to be stored", async () => await storedPages(rig) === 1);
  const incidents = async () => (await second.metrics()).get("twofold_pager_incidents");
  await waitFor("the second to know of it", async () => await incidents() === 1);
  await first.stop("SIGKILL");
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.delete("KV_PAGER");
  await rig.stack.provision();
  back.behaviour = {};
  await waitFor("the page that waited", () => back.accepted.length === 1, TIMEOUT);
  await rig.publish(end);
  const all = [`page ${open.incident_id}.1`, `end ${open.incident_id}.3`];
  await waitFor("both ends", () => ops.accepted.length + back.accepted.length === 4, TIMEOUT);
  assertEquals([told(ops), told(back)], [all, all]);

  // Nobody remembers this one: ALERTS does, and it pages again under its key.
  const other = anIncident("finale", Date.now());
  await rig.publish(other.open);
  await waitFor("its page", () => ops.accepted.length === 3, TIMEOUT);
  await second.stop("SIGKILL");
  await jsm.streams.delete("KV_PAGER");
  await rig.stack.provision();
  await second.restart();
  await waitFor("its page again", () => ops.accepted.length === 4, TIMEOUT);
  await rig.publish(other.end);
  await waitFor("its end", () => ops.accepted.length === 5, TIMEOUT);
  assertEquals(told(ops).slice(2), [
    `page ${other.open.incident_id}.1`,
    `page ${other.open.incident_id}.1`,
    `end ${other.open.incident_id}.3`,
  ]);
});

Deno.test("a pager that was frozen does not deliver what another one has", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook("ops", hook.url)], [hook.host], ENV);
  const first = await rig.pager();
  await rig.leads(first);
  const second = await rig.pager();
  Deno.kill(first.pid, "SIGSTOP");
  const { open, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  await rig.leads(second);
  await waitFor("the page", () => hook.accepted.length === 1, TIMEOUT);
  Deno.kill(first.pid, "SIGCONT");
  await waitFor(
    "the first to stand by",
    async () => (await first.metrics()).get("twofold_pager_leader") === 0,
  );
  await rig.publish(end);
  await waitFor("the end", () => hook.accepted.length === 2, TIMEOUT);
  assertEquals(told(hook), [`page ${open.incident_id}.1`, `end ${open.incident_id}.3`]);
  assertEquals(await second.stop(), 0);
  await rig.leads(first);
});

Deno.test("garbage in ALERTS and hostile titles stop nothing", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook("ops", hook.url)], [hook.host], ENV);
  const pager = await rig.pager();
  rig.live.publish("alerts.rebuffer.de.odd", "not json");
  rig.live.publish("alerts.rebuffer.de.odd", '{"v":2,"kind":"incident"}');
  const { open } = anIncident("</script><!channel> \u202e\r\n\0 ünï", Date.now());
  await rig.publish({ ...open, incident_id: "odd \r\n ünï \ud800" });
  await waitFor("the page", () => hook.accepted.length === 1);
  assertEquals(
    sumOf(await pager.metrics(), "twofold_pager_alerts_total", {
      outcome: "unreadable",
    }),
    2,
  );
});
