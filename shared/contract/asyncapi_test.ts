import asyncapi from "@asyncapi/specs";
import { Ajv } from "ajv";
import { assert, assertEquals } from "@std/assert";
import { propertyRandom, type Random } from "../dev/testing/random.ts";
import { type Alert, alertSchema, isOpen, isPage } from "./alert.ts";
import { ALERT_EXAMPLES } from "./alert_examples.ts";
import { alertJsonSchema, asyncApiDocument, contractFiles } from "./asyncapi.ts";
import { alertSubject, isSubjectPattern, subjectMatches } from "./topology.ts";

const EXAMPLES: readonly Alert[] = Object.values(ALERT_EXAMPLES);
const follows = new Ajv({ strict: true }).compile(alertJsonSchema());

Deno.test("the committed documents are what `deno task contract` writes", async () => {
  for (const [name, text] of contractFiles()) {
    const committed = await Deno.readTextFile(new URL(name, import.meta.url));
    assertEquals(committed, text, `${name}: run deno task contract`);
  }
});

Deno.test("the AsyncAPI document follows AsyncAPI 3", () => {
  // The published schema of AsyncAPI brings the schema of JSON Schema with it.
  const ajv = new Ajv({
    strict: false,
    validateFormats: false,
    meta: false,
    validateSchema: false,
  });
  const isAsyncApi = ajv.compile(Object.fromEntries(Object.entries(asyncapi.schemas["3.0.0"])));
  const document = asyncApiDocument();
  assert(isAsyncApi(document), JSON.stringify(isAsyncApi.errors?.slice(0, 5)));
  assert(!isAsyncApi({ ...document, channels: { x: { address: 1 } } }));
  for (const [from, ref] of references(document)) {
    assert(resolves(document, ref), `${from} refers to ${ref}`);
  }
});

Deno.test("every example follows the schemas, and is on one channel of the document", () => {
  const channels = Object.values(asyncApiDocument().channels as Record<string, Channel>);
  for (const [name, example] of Object.entries(ALERT_EXAMPLES)) {
    assertEquals(alertSchema.parse(example), example, name);
    assert(follows(example), `${name}: ${JSON.stringify(follows.errors)}`);
    const subject = subjectOf(example);
    const own = channels.filter(({ address }) =>
      subjectMatches(address.replace(/\{\w+\}/g, "*"), subject)
    );
    assertEquals(own.map(({ messages }) => Object.keys(messages)), [[example.kind]], subject);
    assert(isSubjectPattern(subject));
  }
});

Deno.test("property: the JSON Schema takes what the schema of the code takes", () => {
  const random = propertyRandom("alert schemas");
  let [taken, refused] = [0, 0];
  for (let i = 0; i < 3_000; i++) {
    const value = mutated(random, random.pick(EXAMPLES));
    const { success } = alertSchema.safeParse(value);
    assertEquals(follows(value), success, JSON.stringify(value));
    if (success) taken++;
    else refused++;
  }
  assert(taken > 100 && refused > 100, `${taken} taken, ${refused} refused`);
});

Deno.test("which alerts are open, and which page", () => {
  const { regionOpens, regionDoubles, regionRecovers, buildIsSilenced, noHeartbeats } =
    ALERT_EXAMPLES;
  const alerts: Alert[] = [regionOpens, regionDoubles, regionRecovers, buildIsSilenced];
  assertEquals([...alerts, noHeartbeats].map(isOpen), [true, true, false, true, true]);
  assertEquals([...alerts, noHeartbeats].map(isPage), [true, false, false, false, true]);
});

interface Channel {
  readonly address: string;
  readonly messages: Readonly<Record<string, unknown>>;
}

function subjectOf(alert: Alert): string {
  if (alert.kind === "incident") return alertSubject.incident(alert.signal, alert.cell);
  return alert.kind === "quarantine"
    ? alertSubject.quarantine(alert.reason)
    : alertSubject.pipeline(alert.what);
}

/** A copy of `alert` in which a field somewhere has another value, is gone, or is new. */
function mutated(random: Random, alert: Alert): unknown {
  const copy: Record<string, unknown> = structuredClone(alert);
  let at = copy;
  for (;;) {
    const key = random.pick([...Object.keys(at), "unknown_key"]);
    const inside = at[key];
    if (isRecord(inside) && random.chance(0.7)) {
      at = inside;
      continue;
    }
    if (random.chance(0.3)) delete at[key];
    else at[key] = random.pick([0, 1, 2, -1, 0.5, 1e9, "", "x", "open", true, null, [], {}]);
    return copy;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Every `$ref` of `value` with its place. */
function references(value: unknown, place = ""): [place: string, ref: string][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inside]): [string, string][] =>
    key === "$ref" && typeof inside === "string"
      ? [[place, inside]]
      : references(inside, `${place}/${key}`)
  );
}

function resolves(document: unknown, ref: string): boolean {
  let at = document;
  for (const key of ref.replace(/^#\//, "").split("/")) {
    at = isRecord(at) ? at[key] : undefined;
    if (isRecord(at) && typeof at.$ref === "string") {
      if (!resolves(document, at.$ref)) return false;
    }
  }
  return at !== undefined;
}
