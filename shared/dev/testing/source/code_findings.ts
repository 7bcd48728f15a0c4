/**
 * What the rules look for in one file: links that are no import statement, exports, queries, waits.
 *
 * @module
 */
import {
  isMemberName,
  lastName,
  lineOf,
  literalText,
  type Source,
  type SyntaxNode,
  visitSyntax,
} from "./syntax.ts";

/** What a file starts or reads by a path relative to itself. */
export interface Links {
  /** Paths from the root, of files and of folders. */
  readonly targets: readonly string[];
  /** Complaints about links whose target is computed, which no rule can see. */
  readonly computed: readonly string[];
}

/** Links by `new URL("…", import.meta.url)` and `import.meta.resolve("…")`; computed imports. */
export function linksOf(source: Source): Links {
  const [targets, computed]: [string[], string[]] = [[], []];
  const add = (node: SyntaxNode, target: SyntaxNode | undefined) => {
    const text = literalText(target);
    if (text === undefined) {
      computed.push(`${source.path}:${lineOf(source, node)} computes what it loads`);
    } else {
      targets.push(new URL(text, `file:///${source.path}`).pathname.slice(1));
    }
  };
  visitSyntax(source, () => ({
    NewExpression: (node) => {
      const [target, base] = node.arguments;
      if (base && isImportMeta(base, "url")) add(node, target);
      // A thread runs a file: only as `new Worker(new URL("…", import.meta.url)…)`.
      if (lastName(node.callee) === "Worker" && !startsByUrl(target)) add(node, undefined);
    },
    CallExpression: (node) => {
      if (isImportMeta(node.callee, "resolve")) add(node, node.arguments[0]);
    },
    // The graph has the imports whose specifier is text.
    ImportExpression: (node) => {
      if (literalText(node.source) === undefined) add(node, undefined);
    },
    ImportDeclaration: (node) => {
      if (/^(node:)?module$/.test(node.source.value)) add(node, undefined);
    },
  }));
  return { targets, computed };
}

function isImportMeta(node: SyntaxNode, member: string): boolean {
  return node.type === "MemberExpression" && node.object.type === "MetaProperty" &&
    lastName(node.property) === member;
}

function startsByUrl(target: SyntaxNode | undefined): boolean {
  if (target?.type === "MemberExpression") return startsByUrl(target.object);
  return target?.type === "NewExpression" && lastName(target.callee) === "URL" &&
    target.arguments[1] !== undefined && isImportMeta(target.arguments[1], "url");
}

/** One name that a file exports. */
export interface ExportedName {
  readonly name: string;
  readonly isDescribed: boolean;
  /** Why it must not be exported in this way. */
  readonly problem?: string;
}

/** All that `source` exports, in any spelling. */
export function exportsOf(source: Source): ExportedName[] {
  const found: ExportedName[] = [];
  visitSyntax(source, ({ sourceCode }) => {
    const isDescribed = (node: SyntaxNode) => {
      const comment = sourceCode.getCommentsBefore(node).at(-1);
      return comment?.type === "Block" && comment.value.startsWith("*") &&
        !comment.value.includes("@module") &&
        /^\s*$/.test(source.text.slice(comment.range[1], node.range[0]));
    };
    const add = (node: SyntaxNode, names: readonly string[], problem?: string) => {
      for (const name of names) {
        const described = isDescribed(node) || found.some((each) => each.name === name);
        found.push({ name, isDescribed: described, ...(problem === undefined ? {} : { problem }) });
      }
    };
    return {
      ExportNamedDeclaration: (node) => {
        const { declaration, specifiers, source: from } = node;
        const isVariable = declaration?.type === "VariableDeclaration" &&
          declaration.kind !== "const";
        if (declaration) {
          add(node, declaredNames(declaration), isVariable ? "can change" : undefined);
        }
        const names = specifiers.map(({ exported }) => lastName(exported) ?? "a string");
        add(node, names, from ? "is of another file" : undefined);
      },
      ExportAllDeclaration: (node) => add(node, ["*"], "is of another file"),
      ExportDefaultDeclaration: (node) => add(node, ["default"], "has no name of its own"),
    };
  });
  return found;
}

function declaredNames(declaration: SyntaxNode): string[] {
  if (declaration.type === "VariableDeclaration") {
    return declaration.declarations.flatMap(({ id }) => boundNames(id));
  }
  return "id" in declaration && declaration.id?.type === "Identifier" ? [declaration.id.name] : [];
}

/** The names that a pattern binds, as in `{ a, b: [c] }`. */
function boundNames(node: SyntaxNode | null): string[] {
  if (node?.type === "Identifier") return [node.name];
  if (node?.type === "ArrayPattern") return node.elements.flatMap((each) => boundNames(each));
  if (node?.type === "AssignmentPattern") return boundNames(node.left);
  if (node?.type === "RestElement") return boundNames(node.argument);
  if (node?.type === "ObjectPattern") {
    return node.properties.flatMap((each) =>
      boundNames(each.type === "Property" ? each.value : each)
    );
  }
  return [];
}

/** Tags of templates that are no SQL. */
const TEXT_TAGS = ["html", "raw"];

/**
 * Queries that are no `sql` or `tx` template, and those that return rows whose type has no name:
 * none, `any`, a `Record`, an object.
 */
export function queryProblems(source: Source): string[] {
  const found: string[] = [];
  const report = (node: SyntaxNode, what: string) =>
    found.push(`${source.path}:${lineOf(source, node)} ${what}`);
  visitSyntax(source, () => ({
    TaggedTemplateExpression: (node) => {
      const tag = lastName(node.tag) ?? "";
      if (TEXT_TAGS.includes(tag)) return;
      if (tag !== "sql" && tag !== "tx") {
        return report(node, "names its connection neither sql nor tx");
      }
      const text = node.quasi.quasis.map(({ raw }) => raw).join("?").replaceAll(/--.*$/gm, "")
        .trim();
      const row = node.typeArguments?.params[0];
      const returnsRows = /^(with|select|values|table|show)\b|\breturning\b/i.test(text) &&
        !/^select pg_advisory_xact_lock/i.test(text);
      if (row ? !isNamedRow(row) : returnsRows) report(node, "has rows without a named type");
    },
    CallExpression: (node) => {
      const isUnsafe = lastName(node.callee) === "unsafe";
      if (isUnsafe && !source.path.startsWith("shared/process/postgres/")) {
        report(node, "sends SQL that is no template");
      }
    },
  }));
  return found;
}

function isNamedRow(type: SyntaxNode): boolean {
  const row = type.type === "TSArrayType" ? type.elementType : type;
  return row.type === "TSTypeReference" && row.typeName.type === "Identifier" &&
    !/^(Record|Array|ReadonlyArray|Partial|Object|Pick|Omit)$/.test(row.typeName.name);
}

/** The lines of `source` that have the type `any`. */
export function anyLines(source: Source): number[] {
  const found: number[] = [];
  visitSyntax(source, () => ({ TSAnyKeyword: (node) => void found.push(lineOf(source, node)) }));
  return found;
}

/** The lines that set a timer or `pause` without a comment `No sleep: <reason>` above them. */
export function sleepLines(source: Source): number[] {
  const lines = source.text.split("\n");
  const found = new Set<number>();
  const add = (node: SyntaxNode) => {
    const line = lineOf(source, node);
    if (!/^\s*\/\/ No sleep: \w/.test(lines[line - 2] ?? "")) found.add(line);
  };
  visitSyntax(source, () => ({
    Identifier: (node) => {
      const { type } = node.parent;
      const isTimer = /^set(Timeout|Interval)$/.test(node.name) && type !== "TSTypeQuery";
      const isPause = node.name === "pause" && !isMemberName(node) && type !== "ImportSpecifier";
      if (isTimer || isPause) add(node);
    },
    MemberExpression: (node) => {
      const isWait = /^wait(Async)?$/.test(lastName(node.property) ?? "");
      if (lastName(node.object) === "Atomics" && (isWait || node.computed)) add(node);
      if (lastName(node.object) === "globalThis" && node.computed) add(node);
    },
    ImportDeclaration: (node) => {
      if (/^(node:)?timers\b/.test(node.source.value)) add(node);
    },
  }));
  return [...found];
}

/** The lines that leave a test out, or all others. */
export function skipLines(source: Source): number[] {
  const found: number[] = [];
  const skips = (name: string | undefined) => /^(ignore|only|skip)$/.test(name ?? "");
  visitSyntax(source, () => ({
    Property: (node) => {
      const name = literalText(node.key) ?? lastName(node.key);
      if (node.parent.type === "ObjectExpression" && skips(name)) found.push(lineOf(source, node));
    },
    CallExpression: ({ callee }) => {
      if (callee.type !== "MemberExpression") return;
      const name = callee.computed ? literalText(callee.property) : lastName(callee.property);
      if (skips(name)) found.push(lineOf(source, callee));
    },
  }));
  return found;
}
