/**
 * The page at `/` of `deno task up`: where everything is and how it is.
 *
 * It has no script, shows no secret and answers only requests that name the loopback address, so
 * that no page of another site can read it.
 *
 * @module
 */
import { Hono } from "hono";
import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import { createHash } from "node:crypto";

/** A part of the pipeline as the page shows it. */
export interface PageRow {
  readonly name: string;
  /** In a few words. */
  readonly state: string;
  readonly isWell: boolean;
  readonly restarts: number;
  /** Pages of that part. */
  readonly links: readonly PageLink[];
}

/** A link with its text. */
export interface PageLink {
  readonly text: string;
  readonly href: string;
}

/** What the page shows. */
export interface PageContent {
  readonly board: string;
  readonly statements: string;
  readonly rows: readonly PageRow[];
  /** Names of documents, below `/docs/`. */
  readonly documents: readonly string[];
}

/** What {@link startPageApp} stands on. */
export interface StartPageOptions {
  readonly port: number;
  readonly content: () => Promise<PageContent>;
  /** The documents, by name: their texts. */
  readonly documents: ReadonlyMap<string, () => Promise<string>>;
}

const STYLE = `
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
tbody tr { border-top: 1px solid GrayText; }
a:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
`;
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Makes the HTTP app. */
export function startPageApp({ port, content, documents }: StartPageOptions): Hono {
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
  const app = new Hono();
  app.use(async (c, next) => {
    // A name of another site that leads here would make this page part of that site.
    if (!hosts.includes(new URL(c.req.url).host)) return c.text("this host is not served\n", 421);
    await next();
    c.header("content-security-policy", POLICY);
    c.header("x-content-type-options", "nosniff");
    c.header("referrer-policy", "no-referrer");
    c.header("cross-origin-resource-policy", "same-origin");
    c.header("cache-control", "no-store");
  });
  app.get("/", async (c) => c.html(await pageOf(await content())));
  app.get("/docs/:name", async (c) => {
    const read = documents.get(c.req.param("name"));
    return read === undefined ? c.notFound() : c.text(await read());
  });
  return app;
}

function pageOf(content: PageContent): HtmlEscapedString | Promise<HtmlEscapedString> {
  const unwell = content.rows.filter(({ isWell }) => !isWell).map(({ name }) => name);
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Twofold</title>
        <style>${STYLE}</style>
      </head>
      <body>
        <main>
          <h1>Twofold</h1>
          <ul>
            <li><a href="${content.board}">Board</a>: what is open now</li>
            <li><a href="${content
              .statements}">Statements</a>: user demo; the terminal shows the password</li>
          </ul>
          <h2 id="status">Status</h2>
          <p>${unwell.length === 0 ? "All parts work." : `Not well: ${unwell.join(", ")}.`}</p>
          <table aria-labelledby="status">
            <thead>
              <tr>
                <th scope="col">part</th>
                <th scope="col">state</th>
                <th scope="col">restarts</th>
                <th scope="col">more</th>
              </tr>
            </thead>
            <tbody>${content.rows.map(rowOf)}</tbody>
          </table>
          <h2>Documents</h2>
          <ul>${content.documents.map((name) =>
            html`
              <li><a href="/docs/${name}">${name}</a></li>
            `
          )}
          </ul>
        </main>
      </body>
    </html>
  `;
}

function rowOf({ name, state, restarts, links }: PageRow) {
  return html`
    <tr>
      <th scope="row">${name}</th>
      <td>${state}</td>
      <td>${restarts}</td>
      <td>${links.map(({ text, href }) =>
        html`
          <a href="${href}"
            aria-label="${name} ${text}">${text}</a>
        `
      )}</td>
    </tr>
  `;
}
