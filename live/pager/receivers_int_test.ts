import { assert, assertEquals } from "@std/assert";
import { Ajv } from "ajv";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../shared/dev/receivers/receiver_server.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";

const TEXT = { type: "string" } as const;
const TEXTS = { type: "object", additionalProperties: { ...TEXT, minLength: 1 } } as const;
const INSTANT = {
  ...TEXT,
  pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$",
} as const;

/** `postableAlerts` of Alertmanager's published `api/v2/openapi.yaml`. */
const POSTABLE_ALERTS = {
  type: "array",
  minItems: 1,
  items: {
    type: "object",
    required: ["labels"],
    additionalProperties: false,
    properties: {
      labels: { ...TEXTS, required: ["alertname"] },
      annotations: TEXTS,
      startsAt: INSTANT,
      endsAt: INSTANT,
      generatorURL: TEXT,
    },
  },
};

/** An event of PagerDuty's Events API v2, as its documentation describes it. */
const EVENT = {
  type: "object",
  required: ["routing_key", "event_action", "dedup_key"],
  additionalProperties: false,
  properties: {
    routing_key: { const: "R".repeat(32) },
    event_action: { enum: ["trigger", "resolve"] },
    dedup_key: { ...TEXT, minLength: 1, maxLength: 255 },
    client: TEXT,
    payload: {
      type: "object",
      required: ["summary", "source", "severity"],
      additionalProperties: false,
      properties: {
        summary: { ...TEXT, minLength: 1, maxLength: 1_024 },
        source: { ...TEXT, minLength: 1 },
        severity: { enum: ["critical", "error", "warning", "info"] },
        timestamp: INSTANT,
        component: TEXT,
        group: TEXT,
        class: TEXT,
        custom_details: { type: "object" },
      },
    },
  },
  if: { properties: { event_action: { const: "trigger" } } },
  then: { required: ["payload"] },
};

const SLACK_TEXT = {
  type: "object",
  required: ["text", "parse", "link_names"],
  properties: { text: { ...TEXT, minLength: 1, maxLength: 40_000 }, parse: { const: "none" } },
};

/** Why the bodies that `server` got do not follow `schema`. */
function misfits(server: ReceiverServer, schema: object): string[] {
  const follows = new Ajv({ strict: true, strictRequired: false, strictTypes: false })
    .compile(schema);
  return server.requests.filter(({ body }) => !follows(JSON.parse(body)))
    .map(({ body }) => `${JSON.stringify(follows.errors)} ${body}`);
}

Deno.test("Alertmanager, PagerDuty and Slack get page, news and end in their own formats", async () => {
  await using alertmanager = new ReceiverServer();
  await using pagerduty = new ReceiverServer();
  await using slack = new ReceiverServer();
  pagerduty.behaviour = { status: 202, body: '{"status":"success"}' };
  const closed = `127.0.0.1:${freePort()}`;
  await using rig = await PagerRig.start(
    [
      { name: "away", kind: "slack", url_env: "TWOFOLD_AWAY" },
      {
        name: "am",
        kind: "alertmanager",
        url: alertmanager.url,
        resolve_timeout_ms: 3_000,
        authorization_env: "TWOFOLD_AM",
      },
      { name: "pd", kind: "pagerduty", url: pagerduty.url, routing_key_env: "TWOFOLD_PD" },
      { name: "chat", kind: "slack", url_env: "TWOFOLD_CHAT" },
    ],
    [alertmanager.host, pagerduty.host, slack.host, closed],
    {
      TWOFOLD_AWAY: `http://${closed}/services/T/B/secret`,
      TWOFOLD_AM: "Bearer of-alertmanager",
      TWOFOLD_PD: "R".repeat(32),
      TWOFOLD_CHAT: `${slack.url}/services/T/B/secret`,
    },
  );
  const pager = await rig.pager();
  const summary = "<!channel> https://evil `x` @here: 9 of 10 viewers stall";
  const { open, update, end } = anIncident("<!channel> https://evil", Date.now(), { summary });
  await rig.publish(open);
  await waitFor(
    "all pages",
    () => [alertmanager, pagerduty, slack].every(({ requests }) => requests.length > 0),
  );
  // Alertmanager forgets what is not repeated.
  await waitFor("repeats", () => alertmanager.requests.length >= 4);
  assertEquals([pagerduty.requests.length, slack.requests.length], [1, 1]);
  await rig.publish(update);
  await waitFor("news", () => pagerduty.requests.length === 2 && slack.requests.length === 2);
  await rig.publish(end);
  await waitFor("ends", () => pagerduty.requests.length === 3 && slack.requests.length === 3);
  const endsAt = ({ body }: { readonly body: string }) => Date.parse(JSON.parse(body)[0].endsAt);
  await waitFor("the end of the alert", () => {
    const last = alertmanager.requests.at(-1);
    return last !== undefined && endsAt(last) === end.at;
  });
  const waiting = 'twofold_pager_waiting_messages{receiver="am"}';
  await waitFor("nothing left", async () => (await pager.metrics()).get(waiting) === 0);

  assertEquals(misfits(alertmanager, POSTABLE_ALERTS), []);
  assertEquals(misfits(pagerduty, EVENT), []);
  assertEquals(misfits(slack, SLACK_TEXT), []);
  const identities = alertmanager.requests.map(({ path, headers, body }) =>
    JSON.stringify([path, headers.get("authorization"), JSON.parse(body)[0].labels])
  );
  assertEquals(new Set(identities).size, 1, "one alert");
  for (const request of alertmanager.requests.slice(0, -1)) {
    assert(endsAt(request) > request.atMs, "open until it has to be repeated");
  }
  const events = pagerduty.requests.map(({ body }) => JSON.parse(body));
  assertEquals(events.map(({ event_action }) => event_action), ["trigger", "trigger", "resolve"]);
  assertEquals(new Set(events.map(({ dedup_key }) => dedup_key)), new Set([open.incident_id]));
  for (const { path, body } of slack.requests) {
    assertEquals(path, "/services/T/B/secret");
    const { text } = JSON.parse(body);
    assert(!/<|>|:\/\/|@/.test(text), text);
  }
  // Secrets are in no log.
  const log = await Deno.readTextFile(`${rig.stack.workspace.folder}/pager.log`);
  assert(log.includes(`http://${closed})`), "but which receiver is away, and why");
  assert(!/of-alertmanager|RRRR|services\/T/.test(log), "the log shows no secret");
});

Deno.test("a pager that cannot start names every secret that is missing", async () => {
  await using rig = await PagerRig.start([
    { name: "w", kind: "webhook", url: "http://127.0.0.1:1/", secret_env: "TWOFOLD_NO_SECRET" },
    { name: "c", kind: "slack", url_env: "TWOFOLD_NO_URL" },
  ], []);
  const error = await rig.pager().then(() => "", String);
  assert(error.includes("TWOFOLD_NO_SECRET (of the receiver w) is not set"), error);
  assert(error.includes("TWOFOLD_NO_URL (of the receiver c) is not set"), error);
});
