import { assert, assertEquals } from "@std/assert";
import { createHmac } from "node:crypto";
import type { Alert } from "../../../shared/contract/alert.ts";
import { ALERT_EXAMPLES } from "../../../shared/contract/alert_examples.ts";
import { type Answer, judgeAnswer } from "./answer.ts";
import { postOf } from "./post_of.ts";
import {
  type Message,
  type Receiver,
  type ReceiverConfig,
  receiversSetting,
  withSecrets,
} from "./receiver.ts";
import { codeSpan } from "./slack.ts";

const { regionOpens, regionDoubles, regionRecovers, noHeartbeats } = ALERT_EXAMPLES;
const SUBJECT = "alerts.rebuffer.de._";
const NOW_MS = regionOpens.at + 120_000;

const WEBHOOK = { kind: "webhook", name: "w", url: "http://w/", secret: "s" } as const;
const SLACK = { kind: "slack", name: "s", url: "http://s/" } as const;
const PAGERDUTY = { kind: "pagerduty", name: "p", url: "http://p/", routingKey: "R" } as const;
const ALERTMANAGER = {
  kind: "alertmanager",
  name: "a",
  url: "http://a/prefix/",
  resolveTimeoutMs: 300_000,
  authorization: "Bearer x",
} as const;

function message(step: Message["step"], alert: Alert, page: Alert = regionOpens): Message {
  return { step, subject: SUBJECT, page, alert, order: 7 };
}

function bodyOf(receiver: Receiver, of: Message) {
  return JSON.parse(postOf(receiver, of, NOW_MS).body);
}

Deno.test("the setting of receivers is validated as a whole", () => {
  const problems = (text: string) =>
    receiversSetting.safeParse(text).error?.issues.map(({ message }) => message) ?? [];
  const hook = { name: "w", kind: "webhook", url: "http://x/", secret_env: "TWOFOLD_S" };
  assertEquals(problems("[]"), []);
  assertEquals(problems(JSON.stringify([hook])), []);
  assertEquals(problems("nonsense"), ["expected JSON"]);
  assertEquals(problems(JSON.stringify([hook, hook])), ["two receivers have the same name"]);
  for (
    const wrong of [
      { ...hook, url: "ftp://x/" },
      { ...hook, secret_env: "HOME" },
      { ...hook, secret: "in the open" },
      { ...hook, name: "A b" },
      { ...hook, kind: "pigeon" },
    ]
  ) {
    assertEquals(problems(JSON.stringify([wrong])).length, 1, JSON.stringify(wrong));
  }
});

Deno.test("secrets come from the variables that the setting names; all missing ones are named", () => {
  const configs = receiversSetting.parse(JSON.stringify([
    { name: "w", kind: "webhook", url: "http://x/", secret_env: "TWOFOLD_W" },
    { name: "p", kind: "pagerduty", routing_key_env: "TWOFOLD_P" },
    { name: "s", kind: "slack", url_env: "TWOFOLD_S" },
    { name: "a", kind: "alertmanager", url: "http://a/", authorization_env: "TWOFOLD_A" },
  ]));
  assertEquals(withSecrets(configs, { TWOFOLD_S: "no url" }), {
    missing: [
      "TWOFOLD_W (of the receiver w) is not set",
      "TWOFOLD_P (of the receiver p) is not set",
      "TWOFOLD_S (of the receiver s) is not an http:// or https:// URL",
      "TWOFOLD_A (of the receiver a) is not set",
    ],
  });
  const secrets = { TWOFOLD_W: "w", TWOFOLD_P: "p", TWOFOLD_S: "https://s/", TWOFOLD_A: "a" };
  const found = withSecrets(configs, secrets);
  assert("receivers" in found);
  assertEquals(found.receivers.map(({ kind, url }) => [kind, url]), [
    ["webhook", "http://x/"],
    ["pagerduty", "https://events.pagerduty.com/v2/enqueue"],
    ["slack", "https://s/"],
    ["alertmanager", "http://a/"],
  ]);
  assertEquals(withSecrets([] as ReceiverConfig[], {}), { receivers: [] });
});

Deno.test("a webhook gets the alert, signed over time and body", () => {
  const { url, headers, body } = postOf(WEBHOOK, message("page", regionOpens), NOW_MS);
  assertEquals(url, "http://w/");
  assertEquals(JSON.parse(body), JSON.parse(JSON.stringify(regionOpens)));
  const timestamp = String(NOW_MS / 1_000);
  assertEquals(headers["twofold-timestamp"], timestamp);
  const expected = createHmac("sha256", "s").update(`${timestamp}.${body}`).digest("hex");
  assertEquals(headers["twofold-signature"], `v1=${expected}`);
  assertEquals(headers["twofold-delivery"], `${regionOpens.incident_id}.7`);
  // Every header is one that HTTP can carry, whatever an incident is called.
  const odd = { ...regionOpens, incident_id: "a\r\nb ü \ud800", summary: "x" };
  new Headers(postOf(WEBHOOK, { ...message("page", odd), subject: "a.ü\r\n" }, NOW_MS).headers);
});

Deno.test("PagerDuty gets a trigger and a resolve under one key, cut to its limits", () => {
  const page = bodyOf(PAGERDUTY, message("page", { ...regionOpens, summary: "ü".repeat(2_000) }));
  assertEquals([page.routing_key, page.event_action], ["R", "trigger"]);
  assertEquals(page.dedup_key, regionOpens.incident_id);
  assertEquals([page.payload.severity, page.payload.source], ["critical", SUBJECT]);
  assertEquals([...page.payload.summary].length, 1_024);
  assertEquals(page.payload.timestamp, "2026-11-25T12:00:08.000Z");
  assertEquals(page.payload.custom_details.incident_id, regionOpens.incident_id);
  assertEquals(bodyOf(PAGERDUTY, message("update", regionDoubles)).event_action, "trigger");
  assertEquals(bodyOf(PAGERDUTY, message("end", regionRecovers)), {
    routing_key: "R",
    dedup_key: regionOpens.incident_id,
    event_action: "resolve",
  });
  const severity = (alert: Alert) => bodyOf(PAGERDUTY, message("page", alert)).payload.severity;
  assertEquals(severity({ ...regionOpens, severity: "warning" }), "warning");
  assertEquals(severity(noHeartbeats), "critical");
});

Deno.test("Alertmanager gets the same labels all the time, and an end", () => {
  const { url, headers } = postOf(ALERTMANAGER, message("page", regionOpens), NOW_MS);
  assertEquals(url, "http://a/prefix/api/v2/alerts");
  assertEquals(headers.authorization, "Bearer x");
  const warning = { ...regionOpens, severity: "warning" } as const;
  const [first] = bodyOf(ALERTMANAGER, message("page", warning, warning));
  const [risen] = bodyOf(ALERTMANAGER, message("update", regionDoubles, warning));
  const [end] = bodyOf(ALERTMANAGER, message("end", regionRecovers, warning));
  assertEquals([risen.labels, end.labels], [first.labels, first.labels]);
  assertEquals([first.startsAt, end.startsAt], Array(2).fill("2026-11-25T12:00:08.000Z"));
  assertEquals(Date.parse(first.endsAt), NOW_MS + 300_000);
  assertEquals(Date.parse(end.endsAt), regionRecovers.at);
  assertEquals(risen.annotations.current_severity, "critical");
  const [pipeline] = bodyOf(ALERTMANAGER, message("page", noHeartbeats, noHeartbeats));
  assertEquals(pipeline.labels.alertname, "Twofold_pipeline");
  for (const text of [...Object.values(first.labels), ...Object.values(first.annotations)]) {
    assert(typeof text === "string" && text !== "");
  }
});

Deno.test("hostile text makes no link, mention or formatting in Slack and what is like it", () => {
  const hostile =
    "<!channel> <@U1> <http://evil|ok> @here [x](https://evil) `*b*` &lt; \u202e\r\n#x";
  const text = codeSpan(hostile);
  assert(text.startsWith("`") && text.endsWith("`"));
  const inside = text.slice(1, -1);
  assert(!/[<>`@\r\n\u202e]/.test(inside), inside);
  assert(!inside.includes("://"), inside);
  assertEquals(codeSpan("a & b"), "`a &amp; b`");
  const post = bodyOf(SLACK, message("page", { ...regionOpens, summary: hostile }));
  assertEquals([post.parse, post.link_names], ["none", false]);
  assert(post.text.startsWith("*CRITICAL* `"), post.text);
  assert(bodyOf(SLACK, message("update", regionDoubles)).text.startsWith("*CRITICAL* (update)"));
  assert(bodyOf(SLACK, message("end", regionRecovers)).text.startsWith("*RESOLVED*"));
  assert(codeSpan("x".repeat(5_000)).length < 1_100);
});

Deno.test("an answer means delivered, refused for ever, or later", () => {
  const answer = (status: number, retryAfter: string | null = null): Answer => ({
    status,
    retryAfter,
    text: "",
  });
  const outcome = (status: number, kind: Receiver["kind"] = "webhook") =>
    judgeAnswer(kind, answer(status), NOW_MS).outcome;
  assertEquals([200, 202, 204].map((status) => outcome(status)), Array(3).fill("delivered"));
  assertEquals([400, 401, 403, 404, 410, 413, 301].map((status) => outcome(status)), [
    ...Array(7).fill("refused"),
  ]);
  assertEquals([408, 425, 429, 500, 502, 503].map((status) => outcome(status)), [
    ...Array(6).fill("retry"),
  ]);
  assertEquals([outcome(202, "pagerduty"), outcome(200, "pagerduty")], ["delivered", "retry"]);
  const wait = (header: string | null) => {
    const verdict = judgeAnswer("slack", answer(429, header), NOW_MS);
    return verdict.outcome === "retry" ? verdict.waitMs : undefined;
  };
  assertEquals(wait(null), undefined);
  assertEquals(wait("30"), 30_000);
  assertEquals(wait(new Date(NOW_MS + 60_000).toUTCString()), 60_000);
  assertEquals(wait("soon"), undefined);
  assertEquals(wait("999999"), 600_000);
  assertEquals(wait("-5"), undefined);
});
