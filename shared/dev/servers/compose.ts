/**
 * Reads compose.yaml and .env.example as compose does, for their tests.
 *
 * @module
 */
import { ROOT } from "../testing/module_graph.ts";
import { parse } from "yaml";

/** A service of compose.yaml. */
export interface ComposeService {
  readonly image: string;
  readonly build?: string;
  readonly command: readonly string[];
  /** As written, with variables as `${NAME:?...}`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly read_only?: boolean;
}

/** compose.yaml, with the variables of .env.example. */
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

/** Reads both files. */
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

/** A service. Throws when compose.yaml has no service of that name. */
export function serviceOf(compose: Compose, name: string): ComposeService {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`compose.yaml has no service ${name}`);
  return service;
}

/** The value of a variable. Throws when .env.example does not have it. */
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
