import { assertEquals } from "@std/assert";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { signatureOf } from "./receivers/webhook.ts";

const SECRET = "a-secret-of-the-test";
const ENV = { TWOFOLD_PAGER_SECRET: SECRET };

function webhook(name: string, url: string) {
  return { name, kind: "webhook", url, secret_env: "TWOFOLD_PAGER_SECRET" };
}

/** What a webhook got: step and update of each request. */
function told(server: ReceiverServer): string[] {
  return server.accepted.map(({ headers, body }) =>
    `${headers.get("twofold-step")} ${JSON.parse(body).update}`
  );
}

Deno.test("a page, its news and its end go to a webhook, signed, under one key", async () => {
  await using hook = new ReceiverServer();
  await using rig = await PagerRig.start([webhook("ops", `${hook.url}/hook`)], [hook.host], ENV);
  await rig.pager();
  const { open, update, end } = anIncident("premiere", Date.now());
  await rig.publish(open);
  await waitFor("the page", () => told(hook).length === 1);
  await rig.publish(update);
  await waitFor("the update", () => told(hook).length === 2);
  await rig.publish(end);
  await waitFor("the end", () => told(hook).length === 3);
  assertEquals(told(hook), ["page 1", "update 2", "end 3"]);
  for (const [at, { path, headers, body }] of hook.requests.entries()) {
    assertEquals(path, "/hook");
    assertEquals(JSON.parse(body), JSON.parse(JSON.stringify([open, update, end][at])));
    const timestamp = headers.get("twofold-timestamp") ?? "";
    assertEquals(headers.get("twofold-signature"), `v1=${signatureOf(SECRET, timestamp, body)}`);
    assertEquals(headers.get("twofold-incident"), open.incident_id);
  }
});
