/**
 * What makes a file impure: reads of a clock, randomness, timers, I/O and SQL.
 *
 * @module
 */
import {
  isMemberName,
  lastName,
  lineOf,
  type Source,
  type SyntaxNode,
  visitSyntax,
} from "./syntax.ts";

/** Globals, and types of NATS, of which a pure file has no use at all. */
const IMPURE_NAMES = new Set([
  ...["Deno", "process", "navigator", "performance", "console", "globalThis", "self"],
  ...["fetch", "WebSocket", "WebSocketStream", "EventSource", "Worker", "BroadcastChannel"],
  ...["localStorage", "sessionStorage", "caches", "eval", "Function", "reportError"],
  ...["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval"],
  ...["NatsConnection", "JetStreamClient", "JetStreamManager", "JsMsg", "Consumer"],
]);
/** Globals of which a pure file may use some members, and by name only. */
const PURE_MEMBERS: Readonly<Record<string, (member: string) => boolean>> = {
  AbortSignal: (member) => member !== "timeout",
  Atomics: (member) => !member.startsWith("wait"),
  Math: (member) => member !== "random",
  Temporal: (member) => member !== "Now",
  crypto: (member) => member === "subtle",
};
const PURE_CRYPTO = ["createHash", "createHmac", "timingSafeEqual"];
/** Tags of templates that only make text. */
const PURE_TAGS = ["html", "raw"];

/** What `source` does that a pure file does not, with the line. */
export function impurities(source: Source): string[] {
  const found: string[] = [];
  const lines = source.text.split("\n");
  const report = (node: SyntaxNode, what: string) =>
    found.push(`${source.path}:${lineOf(source, node)} uses ${what}`);
  visitSyntax(source, () => ({
    Identifier: (node) => {
      if (isMemberName(node)) return;
      if (IMPURE_NAMES.has(node.name)) report(node, node.name);
      const isPureMember = Object.hasOwn(PURE_MEMBERS, node.name) && PURE_MEMBERS[node.name];
      if (isPureMember && !isPureUse(node, isPureMember)) report(node, node.name);
      if (readsClock(node)) report(node, "the clock");
    },
    ImportDeclaration: ({ source: { value }, specifiers, importKind }) => {
      if (value !== "node:crypto" || importKind === "type") return;
      for (const each of specifiers) {
        const name = each.type === "ImportSpecifier" ? lastName(each.imported) ?? "" : "*";
        const isTypeOnly = each.type === "ImportSpecifier" && each.importKind === "type";
        if (!isTypeOnly && !PURE_CRYPTO.includes(name)) report(each, `${name} of node:crypto`);
      }
    },
    TaggedTemplateExpression: ({ tag }) => {
      if (!PURE_TAGS.includes(lastName(tag) ?? "")) report(tag, "SQL");
    },
    CallExpression: ({ callee }) => {
      if (lastName(callee) === "unsafe") report(callee, "SQL");
    },
    // What a module remembers between two calls must change no result.
    VariableDeclaration: (node) => {
      const isOfModule = ["Program", "ExportNamedDeclaration"].includes(node.parent.type);
      const isCache = /^\/\/ Cache: \w/.test(lines[lineOf(source, node) - 2] ?? "");
      if (isOfModule && node.kind !== "const" && !isCache) report(node, "a variable of the module");
    },
  }));
  return found;
}

/** The lines of `source` that read the time of day. */
export function clockReads(source: Source): number[] {
  const found: number[] = [];
  visitSyntax(source, () => ({
    Identifier: (node) => {
      if (!isMemberName(node) && readsClock(node)) found.push(lineOf(source, node));
    },
  }));
  return found;
}

/**
 * Whether `node` is a way to the time of day: `Temporal.Now`, `performance.timeOrigin`, and `Date`
 * in all but `new Date(x)`, `Date.UTC(…)`, `Date.parse(x)` and types.
 */
function readsClock(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  if (node.name === "Temporal") return !isPureUse(node, (member) => member !== "Now");
  if (node.name === "performance") return !isPureUse(node, (member) => member !== "timeOrigin");
  // `globalThis["Date"]`, or another name for all globals.
  if (node.name === "globalThis") return !isPureUse(node, (member) => member !== "Date");
  if (node.name !== "Date" || isType(node)) return false;
  if (parent.type === "NewExpression") return parent.arguments.length === 0;
  if (parent.type === "BinaryExpression") return parent.operator !== "instanceof";
  return !isPureUse(node, (member) => ["UTC", "parse"].includes(member));
}

/** Whether `node` is a type, or the object of `node.member` with a member that is pure. */
function isPureUse(
  node: Deno.lint.Identifier,
  isPureMember: (member: string) => boolean,
): boolean {
  const { parent } = node;
  if (isType(node)) return true;
  return parent.type === "MemberExpression" && parent.object === node && !parent.computed &&
    isPureMember(lastName(parent.property) ?? "");
}

function isType({ parent }: Deno.lint.Identifier): boolean {
  return parent.type === "TSTypeReference" || parent.type === "TSQualifiedName";
}
