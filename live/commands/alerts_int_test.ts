import { assert, assertEquals } from "@std/assert";
import { jetstream } from "nats/jetstream";
import { ALERT_EXAMPLES } from "../../shared/contract/alert_examples.ts";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { runTask } from "../../shared/dev/testing/child_process.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";

Deno.test("on-call lists what is open with its own user, what pages first", async () => {
  await using rig = await PagerRig.start([], []);
  const env = rig.stack.settings("oncall");
  const empty = await runTask("alerts", [], env);
  assertEquals([empty.code, empty.out], [0, "nothing is open\n"]);

  const nowMs = Date.now();
  const over = anIncident("over", nowMs);
  await rig.publish(over.open);
  await rig.publish(over.end);
  await rig.publish({ ...ALERT_EXAMPLES.buildIsSilenced, opened_at: nowMs - 60_000 });
  await rig.publish({ ...ALERT_EXAMPLES.noHeartbeats, opened_at: nowMs - 3 * 86_400_000 });
  const hostile = anIncident("\u001b[31mred\u202e", nowMs, { summary: "a\u001b[31m\u202eb" });
  await rig.publish(hostile.open);
  rig.live.publish("alerts.rebuffer.de.odd", "not json");
  await rig.live.flush();

  const { code, out, err } = await runTask("alerts", [], env);
  assertEquals([code, err], [0, ""]);
  const [heading = "", ...rows] = out.trimEnd().split("\n");
  assert(heading.startsWith("pages  "), heading);
  assertEquals(rows.map((row) => row.split(/ {2,}/).slice(0, 2)), [
    ["yes", "critical"],
    ["yes", "page"],
    ["silenced", "warning"],
  ]);
  assert(rows[1]?.includes("3 d"), out);
  // deno-lint-ignore no-control-regex
  assert(!/[\u001b\u202e]/.test(out), "nothing that a terminal acts on");

  const json = await runTask("alerts", ["--json"], env);
  assertEquals(JSON.parse(json.out).map(({ subject }: { subject: string }) => subject).slice(1), [
    "alerts.pipeline.no-data",
    "alerts.cohort._.build.9%2E2",
  ]);
});

Deno.test("more subjects than one request may ask for are all read", async () => {
  await using rig = await PagerRig.start([], []);
  const js = jetstream(rig.live);
  const { open } = anIncident("t", Date.now());
  const payload = JSON.stringify(open);
  await Promise.all(
    Array.from({ length: 1_100 }, (_, i) => js.publish(`alerts.rebuffer.de.t${i}`, payload)),
  );
  const { out } = await runTask("alerts", ["--json"], rig.stack.settings("oncall"));
  assertEquals(JSON.parse(out).length, 1_100);
});

Deno.test("with --follow, what is open comes first, then every alert once", async () => {
  await using rig = await PagerRig.start([], []);
  const { open, update, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  const lines: string[] = [];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "alerts", "--follow", "--json"],
    env: rig.stack.settings("oncall"),
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reading = (async () => {
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      lines.push(...chunk.split("\n").filter((line) => line !== ""));
    }
  })();
  await waitFor("what is open", () => lines.length === 1);
  await rig.publish(update);
  await rig.publish(end);
  await waitFor("what happens", () => lines.length === 3);
  assertEquals(lines.map((line) => JSON.parse(line).update), [1, 2, 3]);
  child.kill("SIGTERM");
  await Promise.all([reading, child.status]);
});
