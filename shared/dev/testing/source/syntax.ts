/**
 * Source files as the parser of `deno lint` reads them, so that neither comments nor strings nor
 * another spelling change what a rule sees. Only within `deno test`.
 *
 * @module
 */
import { ROOT } from "../module_graph.ts";

/** One file of the checkout. */
export interface Source {
  /** Path from the root. */
  readonly path: string;
  readonly text: string;
}

/** Reads the files at `paths`, which are from the root. */
export async function readSources(paths: readonly string[]): Promise<Source[]> {
  return await Promise.all(
    paths.map(async (path) => ({ path, text: await Deno.readTextFile(new URL(path, ROOT)) })),
  );
}

/** A node of the syntax tree; which fields it has depends on its `type`. */
export type SyntaxNode = Deno.lint.Node;

/** Calls the functions of `visitor`, named by types of nodes, in the order of the text. */
export function visitSyntax(
  { path, text }: Source,
  visitor: (context: Deno.lint.RuleContext) => Deno.lint.LintVisitor,
): void {
  Deno.lint.runPlugin({ name: "rules", rules: { visit: { create: visitor } } }, path, text);
}

/** The number of the line on which `node` begins, from 1. */
export function lineOf({ text }: Source, node: SyntaxNode): number {
  return text.slice(0, node.range[0]).split("\n").length;
}

/** `text` with blanks in place of its comments, so that every line keeps its number. */
export function withoutComments(source: Source): string {
  let { text } = source;
  visitSyntax(source, ({ sourceCode }) => ({
    Program: () => {
      for (const { range: [start, end] } of sourceCode.getAllComments()) {
        const blank = text.slice(start, end).replaceAll(/[^\n]/g, " ");
        text = text.slice(0, start) + blank + text.slice(end);
      }
    },
  }));
  return text;
}

/** The text of a string or of a template without expressions; undefined for what is computed. */
export function literalText(node: SyntaxNode | undefined): string | undefined {
  if (node?.type === "Literal" && typeof node.value === "string") return node.value;
  if (node?.type === "TemplateLiteral" && node.expressions.length === 0) {
    return node.quasis[0]?.cooked;
  }
  return undefined;
}

/** The last name of `a`, `a.b` and `this.#b`; undefined for other expressions. */
export function lastName(node: SyntaxNode): string | undefined {
  if (node.type === "Identifier" || node.type === "PrivateIdentifier") return node.name;
  if (node.type === "MemberExpression" && !node.computed) return lastName(node.property);
  return undefined;
}

/** Whether an identifier only names a member, as in `a.name`, `{ name: 1 }` or `name() {}`. */
export function isMemberName(node: Deno.lint.Identifier): boolean {
  const { parent } = node;
  if (parent.type === "MemberExpression") return parent.property === node && !parent.computed;
  if (parent.type === "TSQualifiedName") return parent.right === node;
  if (parent.type === "TSEnumMember" || parent.type === "MetaProperty") return true;
  if (parent.type === "ImportSpecifier") return parent.local !== node;
  return "key" in parent && parent.key === node && !("computed" in parent && parent.computed);
}
