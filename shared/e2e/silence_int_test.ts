import { assert, assertEquals } from "@std/assert";
import { jetstream } from "nats/jetstream";
import { ReceiverServer } from "../dev/receivers/receiver_server.ts";
import { Pipeline } from "../dev/servers/pipeline.ts";
import { Workspace } from "../dev/servers/workspace.ts";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { propertyRandom } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

const MAX_PAGE_MS = 20_000;
const WATCHED = ["ingest", "live", "royalty", "triage"] as const;

async function toldAll(hook: ReceiverServer, wanted: readonly string[]): Promise<void> {
  await Promise.all(wanted.map((each) => hook.toldIs(each)));
}

Deno.test("every service that freezes, and a royalty that cannot post, pages within 20 s", async () => {
  await using hook = new ReceiverServer();
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace, {
    receivers: [hook.host],
    services: {
      pager: {
        TWOFOLD_PAGER_RECEIVERS: JSON.stringify([
          { name: "ops", kind: "webhook", url: hook.url, secret_env: "TWOFOLD_PAGER_SECRET" },
        ]),
        TWOFOLD_PAGER_SECRET: "a-secret-of-the-test",
      },
    },
  });
  const { pager } = pipeline.services;
  await waitFor("all pulses", async () => {
    const metrics = await pager.metrics();
    return WATCHED.every((service) =>
      metrics.has(`twofold_pager_pulse_age_seconds{service="${service}"}`)
    );
  });

  for (const service of WATCHED) Deno.kill(pipeline.services[service].pid, "SIGSTOP");
  const frozenMs = Date.now();
  await toldAll(hook, WATCHED.map((service) => `page alerts.pipeline.${service}-silent`));
  assert(Date.now() - frozenMs < MAX_PAGE_MS, `${Date.now() - frozenMs} ms`);
  for (const service of WATCHED) Deno.kill(pipeline.services[service].pid, "SIGCONT");
  await toldAll(hook, WATCHED.map((service) => `end alerts.pipeline.${service}-silent`));
  // A live that was frozen may page its lag, too.
  assertEquals(
    hook.told.filter((each) => each.endsWith("-silent")).toSorted(),
    [
      ...WATCHED.map((service) => `end alerts.pipeline.${service}-silent`),
      ...WATCHED.map((service) => `page alerts.pipeline.${service}-silent`),
    ].toSorted(),
  );

  await pipeline.postgres.stop("SIGQUIT");
  const js = jetstream(await pipeline.connect("ingest"));
  const random = propertyRandom("silence");
  await js.publish("hb.0.de", encode(aHeartbeat(random, Date.now())));
  const waitingMs = Date.now();
  await toldAll(hook, ["page alerts.pipeline.royalty-stalled"]);
  assert(Date.now() - waitingMs < MAX_PAGE_MS, `${Date.now() - waitingMs} ms`);
  await pipeline.postgres.start();
  await toldAll(hook, ["end alerts.pipeline.royalty-stalled"]);
});
