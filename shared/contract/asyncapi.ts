/**
 * The published documents of `alerts.>`, made from the schemas in `alert.ts`: an AsyncAPI 3 document
 * and a JSON Schema (draft 7) of any alert.
 *
 * `deno task contract` writes them to `asyncapi.json` and `alert.schema.json`; a test compares.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";
import {
  alertSchema,
  incidentAlertSchema,
  pipelineAlertSchema,
  quarantineAlertSchema,
} from "./alert.ts";
import { ALERT_EXAMPLES } from "./alert_examples.ts";

const VERSION = "2.0.0";

const PARAMETERS = {
  region: "a region, or _ for all",
  title: "a title as one token (bytes other than letters, digits, - and _ are %XX), or _ for all",
  dimension: "cdn, isp, build or model",
  value: "the CDN, ISP, build or device model as one token",
  reason: "a rejection reason, or all",
  what: "the problem",
} as const;

type Parameter = keyof typeof PARAMETERS;
type MessageName = "incident" | "quarantine" | "pipeline";

interface ChannelSpec {
  readonly address: string;
  readonly title: string;
  readonly message: MessageName;
}

const CHANNELS: Readonly<Record<string, ChannelSpec>> = {
  rebuffer: {
    address: "alerts.rebuffer.{region}.{title}",
    title: "Viewers stall: of a title in a region, of a region, of a title, or of everything",
    message: "incident",
  },
  cohort: {
    address: "alerts.cohort.{region}.{dimension}.{value}",
    title: "Viewers of a CDN, ISP, build or device model stall",
    message: "incident",
  },
  start: {
    address: "alerts.start.{region}.{title}",
    title: "Players show no first frame",
    message: "incident",
  },
  startCohort: {
    address: "alerts.start.{region}.{dimension}.{value}",
    title: "Players of a CDN, ISP, build or device model show no first frame",
    message: "incident",
  },
  silent: {
    address: "alerts.silent.{region}.{title}",
    title: "An audience has vanished while others go on",
    message: "incident",
  },
  silentCohort: {
    address: "alerts.silent.{region}.{dimension}.{value}",
    title: "The audience of a CDN, ISP, build or device model has vanished",
    message: "incident",
  },
  quarantine: {
    address: "alerts.quarantine.{reason}",
    title: "Rejected heartbeats are too many or grow too fast",
    message: "quarantine",
  },
  pipeline: {
    address: "alerts.pipeline.{what}",
    title: "Twofold itself has a problem",
    message: "pipeline",
  },
};

const SCHEMAS: Readonly<Record<MessageName, z.ZodType>> = {
  incident: incidentAlertSchema,
  quarantine: quarantineAlertSchema,
  pipeline: pipelineAlertSchema,
};

// Readers ignore keys that they do not know, so a document must not forbid them.
function jsonSchemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, "~standard": _standard, ...rest } = z.toJSONSchema(schema, {
    target: "draft-7",
    io: "input",
  });
  return rest;
}

/** The JSON Schema of any alert. */
export function alertJsonSchema(): Record<string, unknown> {
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "An alert of Twofold",
    description: "The body of every message on alerts.>; times are ms since the epoch",
    ...jsonSchemaOf(alertSchema),
  };
}

/** The AsyncAPI 3 document of `alerts.>`. */
export function asyncApiDocument(): Record<string, unknown> {
  const names = Object.keys(CHANNELS);
  return {
    asyncapi: "3.0.0",
    info: {
      title: "Twofold alerts",
      version: VERSION,
      description: "What on-call receives. The stream ALERTS keeps every message for 7 days; the " +
        "last message of a subject tells whether its incident is open. The message id is " +
        "<incident_id>.<update>; an alert whose acknowledgement was lost comes again with the same.",
      license: { name: "MIT" },
    },
    defaultContentType: "application/json",
    channels: Object.fromEntries(names.map((name) => [name, channelOf(name)])),
    operations: Object.fromEntries(names.map((name) => [`send_${name}`, operationOf(name)])),
    components: {
      messages: Object.fromEntries(
        (["incident", "quarantine", "pipeline"] as const).map((name) => [name, messageOf(name)]),
      ),
      schemas: Object.fromEntries(
        Object.entries(SCHEMAS).map(([name, schema]) => [name, jsonSchemaOf(schema)]),
      ),
    },
  };
}

function channelOf(name: string) {
  const { address, title, message } = CHANNELS[name] ?? unknownChannel(name);
  const parameters = [...address.matchAll(/\{(\w+)\}/g)].map(([, parameter = ""]) => parameter);
  return {
    address,
    title,
    messages: { [message]: { $ref: `#/components/messages/${message}` } },
    parameters: Object.fromEntries(
      parameters.filter(isParameter).map((parameter) => [
        parameter,
        { description: PARAMETERS[parameter] },
      ]),
    ),
  };
}

function operationOf(name: string) {
  const { title, message } = CHANNELS[name] ?? unknownChannel(name);
  return {
    action: "send",
    title,
    channel: { $ref: `#/channels/${name}` },
    messages: [{ $ref: `#/channels/${name}/messages/${message}` }],
  };
}

function unknownChannel(name: string): never {
  throw new RangeError(`no channel ${name}`);
}

function isParameter(name: string): name is Parameter {
  return name in PARAMETERS;
}

function messageOf(name: MessageName) {
  const examples = Object.entries(ALERT_EXAMPLES).filter(([, { kind }]) => kind === name);
  return {
    name,
    contentType: "application/json",
    payload: { $ref: `#/components/schemas/${name}` },
    examples: examples.map(([example, payload]) => ({ name: example, payload })),
  };
}

/** The published files of the contract by name, as text. */
export function contractFiles(): ReadonlyMap<string, string> {
  const text = (document: unknown) => `${JSON.stringify(document, undefined, 2)}\n`;
  return new Map([
    ["asyncapi.json", text(asyncApiDocument())],
    ["alert.schema.json", text(alertJsonSchema())],
  ]);
}
