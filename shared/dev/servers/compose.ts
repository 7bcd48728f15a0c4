/**
 * compose.yaml and .env.example, read as compose reads them, for the tests that hold them true.
 *
 * @module
 */
import { ROOT } from "../testing/module_graph.ts";
import { parse } from "yaml";

export interface ComposeService {
  readonly image: string;
  readonly build?: string;
  readonly command: readonly string[];
  /** As written, with `${NAME:?...}` in it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly read_only?: boolean;
}

export interface Compose {
  readonly text: string;
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  /** The variables of .env.example. */
  readonly example: Readonly<Record<string, string>>;
}

/** A committed file of the repository. */
export async function readCommitted(file: string): Promise<string> {
  return await Deno.readTextFile(new URL(file, ROOT));
}

export async function readCompose(): Promise<Compose> {
  const text = await readCommitted("compose.yaml");
  const lines = (await readCommitted(".env.example")).split("\n");
  const example = Object.fromEntries(
    lines.filter((line) => /^[A-Z]/.test(line)).map((line) => {
      const equals = line.indexOf("=");
      return [line.slice(0, equals), line.slice(equals + 1)];
    }),
  );
  return { ...parse(text, { merge: true }), text, example };
}

/** A service; throws when compose has none of that name. */
export function serviceOf(compose: Compose, name: string): ComposeService {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`compose.yaml has no service ${name}`);
  return service;
}

/** A variable; throws when .env.example does not have it. */
export function exampleOf(compose: Compose, variable: string): string {
  const value = compose.example[variable];
  if (value === undefined) throw new Error(`.env.example has no ${variable}`);
  return value;
}

/** The environment of a service whose `.env` is .env.example. */
export function environmentOf(compose: Compose, name: string): Record<string, string> {
  const fill = (value: string) =>
    value.replace(/\$\{(\w+):\?[^}]*\}/g, (_, variable) => compose.example[variable] ?? "");
  return Object.fromEntries(
    Object.entries(serviceOf(compose, name).environment)
      .map(([key, value]) => [key, fill(value)]),
  );
}
