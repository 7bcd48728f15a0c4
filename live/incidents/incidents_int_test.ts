/** Tests of incidents on a real server: order, message ids, recovery, silences, roles. */
import { assert, assertEquals, assertExists } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { NatsStack } from "../../shared/dev/servers/stack.ts";
import { captureIo } from "../../shared/process/cli/io.ts";
import { runCommandLine } from "../../shared/process/cli/run.ts";
import { Log } from "../../shared/process/log.ts";
import type { LogEvent } from "../../shared/process/log_events.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { ALERTS, silenceSubject } from "../../shared/contract/topology.ts";
import { liveTask } from "../cli.ts";
import type { Finding, Measurement } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { Incidents, subjectOf } from "./incidents.ts";
import { Outbox } from "./outbox.ts";
import { toldAlerts } from "./recovery.ts";
import type { Silence } from "./silence.ts";
import { followSilences, readSilences, writeSilence } from "./silences.ts";

const OPTIONS = { pagesPerMinute: 10, silenceMs: 30_000 };
const NOW_MS = 1_795_694_408_000;
const log = new Log("live-test", "error");
const STALLING: Measurement = {
  watching: 100,
  impaired: 40,
  spanMs: 20_000,
  share: 0.4,
  baseline: 0.004,
  bound: 5,
  rebufferMs: 1,
  playedMs: 9,
};

function finding(change: Finding["change"], cell: CellName, atMs: number): Finding {
  return {
    change,
    signal: "rebuffer",
    cell,
    atMs,
    onsetMs: atMs - 8_000,
    receivedAtMs: atMs,
    now: STALLING,
    peak: STALLING,
    evidence: 20,
    worst: [],
    folded: 0,
  };
}

const CELLS: readonly CellName[] = [
  { kind: "title_region", title: "a\u202eb.*", region: "de" },
  { kind: "region_build", region: "de", build: "9.2" },
  { kind: "title", title: "_" },
];

Deno.test("what live publishes is recovered: open incidents with their id, others not", async () => {
  await using stack = await NatsStack.start();
  const nc = await stack.connect("live");
  const alerts = await stack.receiveAlerts("alerts.rebuffer.>");
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const outbox = new Outbox(jetstream(nc), 100, log, () => {});
  const incidents = new Incidents(OPTIONS);
  const publish = async (change: Finding["change"], cells: readonly CellName[], atMs: number) => {
    const findings = cells.map((cell) => finding(change, cell, atMs));
    const made = incidents.decide(findings, { nowMs: atMs, coverage: 1 });
    for (const alert of made) outbox.add(alert);
    await outbox.flush();
    return made;
  };
  const opened = await publish("open", CELLS, NOW_MS);
  await publish("resolve", CELLS.slice(1, 2), NOW_MS + 1_000);
  const ops = await jetstreamManager(await stack.connect("ops"));
  const stored = async () => (await ops.streams.info(ALERTS)).state.messages;
  assertEquals(await stored(), 4);
  // Nothing that is published again is stored again.
  for (const alert of opened) outbox.add(alert);
  await outbox.flush();
  assertEquals(await stored(), 4);
  await waitFor("on-call to hear them", () => alerts.length >= 2);
  assertEquals(alerts.slice(0, 2).map(({ alert }) => alert), opened.filter((_, i) => i !== 1));

  // A message on a subject that is not its own, and one that is no alert.
  const js = jetstream(nc);
  await js.publish("alerts.start.de.odd", "not an alert");
  await js.publish("alerts.start.de.forged", JSON.stringify(opened[0]));
  const { open } = await toldAlerts(jsm, log);
  const left = opened.filter((_, i) => i !== 1);
  assertEquals([...open.keys()].sort(), left.map(subjectOf).sort());
  const next = new Incidents(OPTIONS, open);
  const [resolved] = next.decide(
    [finding("resolve", { kind: "title", title: "_" }, NOW_MS + 9_000)],
    { nowMs: NOW_MS + 9_000, coverage: 1 },
  );
  assertEquals([resolved?.incident_id, resolved?.update], [opened[2]?.incident_id, 2]);
});

/** A log that keeps the events of its warnings. */
class Warnings extends Log {
  readonly events: LogEvent[] = [];

  override warn(event: LogEvent): void {
    this.events.push(event);
  }
}

Deno.test("operators write silences, live follows them and may not write", async () => {
  await using stack = await NatsStack.start();
  const ops = await jetstreamManager(await stack.connect("ops"));
  const live = await jetstreamManager(await stack.connect("live"), { checkAPI: false });
  assertEquals(await readSilences(live), { silences: [], unreadable: [] });
  const silence: Silence = {
    v: 1,
    id: "a1",
    subject: "alerts.>",
    from: 1,
    until: 2,
    by: "ada",
    reason: "x\u202e",
    created_at: 1,
  };
  const seen: (readonly Silence[])[] = [];
  const abort = new AbortController();
  const warnings = new Warnings("live-test");
  const following = followSilences(
    { jsm: live, log: warnings, everyMs: 20, onChange: (silences) => void seen.push(silences) },
    abort.signal,
  );
  await waitFor("none", () => seen.length === 1);
  await writeSilence(ops, silence);
  await waitFor("the silence", () => seen.length === 2);
  await writeSilence(ops, { ...silence, until: 3 });
  await waitFor("its change", () => seen.length === 3);
  await ops.jetstream().publish(silenceSubject("b2"), JSON.stringify({ ...silence, v: 2 }));
  await waitFor("what is unreadable", () => seen.length === 4);
  await ops.jetstream().publish(silenceSubject("c3"), JSON.stringify(silence));
  await waitFor("what is under another key", () => seen.length === 5);
  // A stream that is away leaves what is known in force.
  await ops.streams.delete("KV_SILENCES");
  await waitFor("a read to fail", () => warnings.events.includes("live.silences.retry"));
  abort.abort();
  await following;
  const changed = { ...silence, until: 3 };
  assertEquals(seen, [[], [silence], [changed], [changed], [changed]]);
});

Deno.test("a silence is added, listed and ended by commands", async () => {
  await using stack = await NatsStack.start();
  const env = stack.settings("ops");
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    const run = async (...args: string[]) => {
      const { io, out, err } = captureIo();
      assertEquals(await runCommandLine(liveTask, args, io), 0, err());
      return out();
    };
    assert((await run("silences")).includes("nothing is silenced"));
    const who = ["--by", "ada", "--reason", "CDN upgrade"];
    const json = await run(
      "silence",
      "--subject",
      "alerts.*.de.>",
      "--for",
      "2h",
      ...who,
      "--json",
    );
    const { id } = JSON.parse(json);
    const listed = await run("silences");
    assert(listed.includes(`${id}  active  alerts.*.de.>`), listed);
    assert((await run("unsilence", id, "--by", "bob")).includes("is over"));
    assert((await run("silences")).includes("nothing is silenced"));
    const [ended] = JSON.parse(await run("silences", "--all", "--json"));
    assertExists(ended);
    assertEquals([ended.state, ended.by, ended.ended_by], ["over", "ada", "bob"]);
    const { io, err } = captureIo();
    assertEquals(await runCommandLine(liveTask, ["unsilence", id, "--by", "bob"], io), 1);
    assert(err().includes("no silence"), err());
  } finally {
    for (const name of Object.keys(env)) Deno.env.delete(name);
  }
});
