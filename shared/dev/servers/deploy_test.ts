/** The manifests, rules and dashboard say only what exists. */
import { assert, assertEquals } from "@std/assert";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { liveSettings } from "../../../live/settings.ts";
import { DURABLE, heartbeatStreams } from "../../contract/topology.ts";
import { readSettings } from "../../process/config.ts";
import { ROOT } from "../testing/module_graph.ts";

const READMES = ["ingest", "live", "live/pager", "royalty", "dlq-triage", "shared"]
  .map((folder) => `${folder}/README.md`);
/** Metrics of prometheus-nats-exporter with `-jsz=all`. */
const EXPORTED = [
  "jetstream_consumer_num_pending",
  "jetstream_stream_limit_bytes",
  "jetstream_stream_total_bytes",
];

const read = (path: string) => Deno.readTextFile(new URL(path, ROOT));
const readmes = new Map(
  await Promise.all(READMES.map(async (path) => [path, await read(path)] as const)),
);
const documented = [...readmes.values()].flatMap((text) =>
  [...text.matchAll(/^\| `((?:twofold|process)_\w+)` /gm)].map(([, name = ""]) => name)
);

const ruleSchema = z.strictObject({
  alert: z.string().regex(/^Twofold\w+$/),
  expr: z.string(),
  for: z.string().regex(/^\d+[sm]$/),
  labels: z.strictObject({ severity: z.enum(["critical", "warning"]) }),
  annotations: z.strictObject({
    summary: z.string().min(10),
    description: z.string().min(40),
    runbook: z.string(),
  }),
});
const rulesSchema = z.strictObject({
  groups: z.array(
    z.strictObject({ name: z.string(), interval: z.string(), rules: z.array(ruleSchema) }),
  ),
});
const rules = rulesSchema.parse(parse(await read("shared/deploy/prometheus/rules.yaml")))
  .groups.flatMap((group) => group.rules);

const panelSchema = z.looseObject({
  id: z.int(),
  type: z.enum(["row", "timeseries", "stat"]),
  title: z.string().min(3),
  description: z.string().optional(),
  gridPos: z.strictObject({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  fieldConfig: z.looseObject({ defaults: z.looseObject({ unit: z.string() }) }).optional(),
  targets: z.array(z.looseObject({ expr: z.string(), legendFormat: z.string() })).default([]),
});
const dashboardSchema = z.looseObject({
  title: z.literal("Twofold"),
  uid: z.literal("twofold"),
  schemaVersion: z.literal(39),
  templating: z.strictObject({ list: z.array(z.looseObject({ name: z.string() })) }),
  panels: z.array(panelSchema),
});
const dashboard = dashboardSchema.parse(
  JSON.parse(await read("shared/deploy/grafana/twofold.json")),
);
const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

function metricsIn(expr: string): string[] {
  const names = expr.match(/\b(?:twofold|process|jetstream)_\w+/g) ?? [];
  return names.map((name) => name.replace(/_(bucket|sum|count)$/, ""));
}

/** What is unbalanced in an expression; a cheap reading, promtool does the real one. */
function imbalance(expr: string): string | undefined {
  const text = expr.replace(/"[^"]*"/g, "");
  if (text.includes('"')) return "a quote";
  const open: string[] = [];
  const pairs: Readonly<Record<string, string>> = { ")": "(", "]": "[", "}": "{" };
  for (const char of text) {
    if ("([{".includes(char)) open.push(char);
    else if (char in pairs && open.pop() !== pairs[char]) return char;
  }
  return open.pop();
}

Deno.test("every metric of the rules and the dashboard is documented", () => {
  const known = new Set([...documented, ...EXPORTED]);
  const used = [...rules.map(({ expr }) => expr), ...queries].flatMap(metricsIn);
  assert(used.length > 40, "rules and dashboard use metrics");
  assertEquals([...new Set(used.filter((name) => !known.has(name)))], []);
  assertEquals(EXPORTED.filter((name) => !used.includes(name)), []);
});

Deno.test("every expression is balanced", () => {
  assertEquals(imbalance("sum(rate(a[5m])"), "(");
  assertEquals(imbalance('a{b="("}'), undefined);
  const all = [...rules.map(({ expr }) => expr), ...queries];
  assertEquals(all.filter((expr) => imbalance(expr) !== undefined), []);
});

Deno.test("every rule has a name of its own and a runbook that exists", () => {
  assertEquals(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, annotations: { runbook } } of rules) {
    const [path = "", anchor = ""] = runbook.split("#");
    const headings = [...(readmes.get(path) ?? "").matchAll(/^#+ +(.*)$/gm)]
      .map(([, heading = ""]) => heading.toLowerCase().replaceAll(" ", "-"));
    assert(headings.includes(anchor), `${alert}: ${runbook} does not exist`);
  }
});

Deno.test("every rule is tested to fire and to be quiet", async () => {
  const { tests } = parse(await read("shared/deploy/prometheus/rules_test.yaml"));
  const named = z.array(z.looseObject({ name: z.string() })).parse(tests).map(({ name }) => name);
  const wanted = rules.flatMap(({ alert }) => [`${alert} fires`, `${alert} is quiet`]);
  assertEquals(named, wanted);
});

Deno.test("every panel says what it shows, in a unit, and none covers another", () => {
  const panels = dashboard.panels.filter(({ type }) => type !== "row");
  for (const { title, description = "", fieldConfig, targets, gridPos } of panels) {
    assert(description.length > 30, `${title} has no description`);
    assert(fieldConfig !== undefined && targets.length > 0, `${title} shows nothing`);
    assert(gridPos.x + gridPos.w <= 24, `${title} is too wide`);
  }
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + i % w},${y + Math.floor(i / w)}`)
  );
  assertEquals(new Set(cells).size, cells.length);
  assertEquals(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  const variables = new Set(dashboard.templating.list.map(({ name }) => name));
  const used = queries.flatMap((expr) => expr.match(/\$\w+/g) ?? [])
    .filter((name) => !name.startsWith("$__")).map((name) => name.slice(1));
  assertEquals(used.filter((name) => !variables.has(name)), []);
});

const labels = z.record(z.string(), z.string());
const meta = z.strictObject({ name: z.string(), labels: labels.optional() });
const selector = z.strictObject({ matchLabels: labels });
const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string(), port: z.union([z.string(), z.int()]) }),
  periodSeconds: z.int().min(1),
  timeoutSeconds: z.int().min(1).optional(),
  failureThreshold: z.int().min(1).optional(),
});
const env = z.strictObject({
  name: z.string(),
  value: z.string().optional(),
  valueFrom: z.strictObject({ secretKeyRef: z.strictObject({ name: z.string(), key: z.string() }) })
    .optional(),
});
const quantities = z.strictObject({ cpu: z.string().optional(), memory: z.string() });
const containerSchema = z.strictObject({
  name: z.string(),
  image: z.string().regex(/:\d+\.\d+\.\d+$/),
  args: z.array(z.string()),
  env: z.array(env),
  ports: z.array(z.strictObject({ name: z.string(), containerPort: z.int() })),
  startupProbe: probe,
  readinessProbe: probe,
  livenessProbe: probe,
  resources: z.strictObject({ requests: quantities, limits: quantities }),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal("ALL")]) }),
  }),
  volumeMounts: z.array(z.strictObject({ name: z.string(), mountPath: z.string() })),
});
/**
 * The fields of the published schemas that are used here, strictly: Kubernetes 1.3x OpenAPI
 * (apps/v1, policy/v1, v1), the CRD keda.sh_scaledobjects and the CRD podmonitors of
 * prometheus-operator.
 */
const manifestSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    apiVersion: z.literal("apps/v1"),
    kind: z.literal("Deployment"),
    metadata: meta,
    spec: z.strictObject({
      selector,
      strategy: z.strictObject({
        type: z.literal("RollingUpdate"),
        rollingUpdate: z.strictObject({ maxUnavailable: z.literal(0), maxSurge: z.int().min(1) }),
      }),
      template: z.strictObject({
        metadata: z.strictObject({ labels }),
        spec: z.strictObject({
          automountServiceAccountToken: z.literal(false),
          terminationGracePeriodSeconds: z.int(),
          securityContext: z.strictObject({
            runAsNonRoot: z.literal(true),
            runAsUser: z.int().min(1),
            seccompProfile: z.strictObject({ type: z.literal("RuntimeDefault") }),
          }),
          topologySpreadConstraints: z.array(z.strictObject({
            maxSkew: z.int().min(1),
            topologyKey: z.string(),
            whenUnsatisfiable: z.enum(["ScheduleAnyway", "DoNotSchedule"]),
            labelSelector: selector,
          })),
          containers: z.tuple([containerSchema]),
          volumes: z.array(z.strictObject({
            name: z.string(),
            emptyDir: z.strictObject({ sizeLimit: z.string() }),
          })),
        }),
      }),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal("policy/v1"),
    kind: z.literal("PodDisruptionBudget"),
    metadata: meta,
    spec: z.strictObject({ maxUnavailable: z.int(), selector }),
  }),
  z.strictObject({
    apiVersion: z.literal("v1"),
    kind: z.literal("Service"),
    metadata: meta,
    spec: z.strictObject({
      clusterIP: z.literal("None"),
      publishNotReadyAddresses: z.boolean(),
      selector: labels,
      ports: z.array(
        z.strictObject({ name: z.string(), port: z.int(), targetPort: z.string() }),
      ),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal("monitoring.coreos.com/v1"),
    kind: z.literal("PodMonitor"),
    metadata: meta,
    spec: z.strictObject({
      selector,
      podMetricsEndpoints: z.array(
        z.strictObject({ port: z.string(), path: z.string(), interval: z.string() }),
      ),
    }),
  }),
  z.strictObject({
    apiVersion: z.literal("keda.sh/v1alpha1"),
    kind: z.literal("ScaledObject"),
    metadata: meta,
    spec: z.strictObject({
      scaleTargetRef: z.strictObject({ name: z.string() }),
      minReplicaCount: z.int(),
      maxReplicaCount: z.int(),
      pollingInterval: z.int(),
      cooldownPeriod: z.int(),
      advanced: z.strictObject({
        horizontalPodAutoscalerConfig: z.strictObject({
          behavior: z.strictObject({
            scaleUp: z.strictObject({ stabilizationWindowSeconds: z.int().max(3_600) }),
            scaleDown: z.strictObject({
              stabilizationWindowSeconds: z.int().max(3_600),
              policies: z.array(z.strictObject({
                type: z.enum(["Pods", "Percent"]),
                value: z.int().min(1),
                periodSeconds: z.int().min(1).max(1_800),
              })),
            }),
          }),
        }),
      }),
      triggers: z.array(z.strictObject({
        type: z.literal("nats-jetstream"),
        metadata: z.strictObject({
          natsServerMonitoringEndpoint: z.string(),
          account: z.string(),
          stream: z.string(),
          consumer: z.string(),
          lagThreshold: z.string().regex(/^\d+$/),
          activationLagThreshold: z.string().regex(/^\d+$/),
        }),
      })),
    }),
  }),
]);
const manifests = parseAllDocuments(await read("shared/deploy/kubernetes/live.yaml"))
  .map((document) => manifestSchema.parse(document.toJS()));

function manifestOf<K extends z.infer<typeof manifestSchema>["kind"]>(
  kind: K,
): Extract<z.infer<typeof manifestSchema>, { kind: K }> {
  const isOfKind = (
    each: z.infer<typeof manifestSchema>,
  ): each is Extract<z.infer<typeof manifestSchema>, { kind: K }> => each.kind === kind;
  const found = manifests.find(isOfKind);
  assert(found, `there is a ${kind}`);
  return found;
}

Deno.test("the Deployment runs a task that exists, with settings that live reads", async () => {
  const { template, selector } = manifestOf("Deployment").spec;
  const [container] = template.spec.containers;
  const { tasks, version } = JSON.parse(await read("deno.json"));
  assertEquals(container.args.slice(0, 2), ["deno", "task"]);
  assert(container.args[2] !== undefined && container.args[2] in tasks, "the task exists");
  assertEquals(container.image, `twofold:${version}`);
  const given = Object.fromEntries(
    container.env.map(({ name, value }) => [name, value ?? "from-a-secret"]),
  );
  assertEquals(Object.keys(given).filter((name) => !(name in liveSettings)), []);
  const settings = readSettings(liveSettings, given);
  assertEquals(settings.TWOFOLD_HTTP_PORT, container.ports[0]?.containerPort);
  assertEquals(container.env.filter(({ name, value }) => /PASSWORD/.test(name) && value), []);
  // The stop of a service: draining, then 10 s.
  const stopMs = settings.TWOFOLD_DRAIN_MS + 10_000;
  assert(template.spec.terminationGracePeriodSeconds * 1_000 > stopMs, "a stop has time");
  assertEquals(container.readinessProbe.httpGet.path, "/readyz");
  assertEquals(container.livenessProbe.httpGet.path, "/healthz");
  for (const each of [manifestOf("PodDisruptionBudget"), manifestOf("PodMonitor")]) {
    assertEquals(each.spec.selector, selector);
  }
  assertEquals(template.metadata.labels, { ...template.metadata.labels, ...selector.matchLabels });
  assertEquals(manifestOf("Service").spec.selector, selector.matchLabels);
});

Deno.test("KEDA looks at the durable of live on every partition", async () => {
  const { spec } = manifestOf("ScaledObject");
  const [container] = manifestOf("Deployment").spec.template.spec.containers;
  const partitions = Number(
    container.env.find(({ name }) => name === "TWOFOLD_PARTITIONS")?.value,
  );
  assertEquals(spec.scaleTargetRef.name, manifestOf("Deployment").metadata.name);
  assertEquals(
    spec.triggers.map(({ metadata }) => metadata.stream),
    heartbeatStreams(partitions),
  );
  assertEquals(spec.maxReplicaCount, partitions);
  const accounts = await read("shared/nats/accounts.conf");
  for (const { metadata: { account, consumer } } of spec.triggers) {
    assertEquals(consumer, DURABLE.live);
    assert(new RegExp(`^ {2}${account} \\{`, "m").test(accounts), `there is an account ${account}`);
  }
});
