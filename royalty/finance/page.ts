/**
 * The HTML pages: the list of statements with totals and states, one statement, a problem. They need
 * no script and work with keyboards, screen readers, small screens and on paper.
 *
 * Pure.
 *
 * @module
 */
import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import { minutesOf } from "../statement/statement_csv.ts";
import type { Issued, OpenDay, StudioTotals, Totals } from "./store.ts";

/** HTML as hono makes it; a promise only when a value in a template is one. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** An open day and when it closes. */
export interface OpenDayState extends OpenDay {
  /** The earliest instant at which it closes, ms since the epoch. */
  readonly closesAt: number;
  /** It takes no more events, and its statement is not issued yet. */
  readonly isSealed: boolean;
}

/** A day that has a statement. */
export interface ClosedDay {
  readonly newest: Issued;
  /** The earlier versions, newest first. */
  readonly older: readonly Issued[];
}

/** What the page of all statements shows. */
export interface ListView {
  readonly zone: string;
  /** Ms since the epoch. */
  readonly now: number;
  /** Newest first; empty on any page but the first. */
  readonly open: readonly OpenDayState[];
  /** Newest first. */
  readonly closed: readonly ClosedDay[];
  /** Path of the page with older statements; undefined on the last page. */
  readonly older: string | undefined;
  /** Whether this is the page of the newest statements. */
  readonly isFirst: boolean;
}

/** The page of all statements. */
export function listPage(view: ListView): Html {
  return page(
    "Statements",
    html`
      <h1>Royalty statements</h1>
      <p>
        Minutes watched by business day, ${view.zone}. A statement is final: it never changes. A
        correction is a new version, and every version stays here.
      </p>
      ${view.isFirst ? openTable(view) : html`<p><a href="/">Newest statements</a></p>`}
      ${closedTable(view)}
      ${view.older === undefined ? "" : html`
        <nav aria-label="Pages">
          <a href="${view.older}" rel="next">Older statements</a>
        </nav>
      `}
    `,
  );
}

function openTable({ open, now }: ListView): Html {
  if (open.length === 0) return html`<p>No open day has anything watched on it yet.</p>`;
  const row = (day: OpenDayState) =>
    html`
      <tr>
        <th scope="row">${day.day}</th>
        <td><strong>Provisional</strong>, ${stateOf(day, now)}</td>
        ${totalCells(day)}
        <td><a href="/v1/provisional/${day.day}.csv"
          aria-label="Provisional CSV of ${day.day}">Provisional CSV</a></td>
      </tr>
    `;
  return html`
    <section aria-labelledby="open">
      <h2 id="open">Open days</h2>
      ${table(
        "Open days: figures so far, which will change",
        html`
          <th scope="col">Business day</th><th scope="col">State</th>${TOTAL_HEADERS}
          <th scope="col">File</th>
        `,
        open.map(row),
      )}
    </section>
  `;
}

function stateOf({ isSealed, closesAt }: OpenDayState, now: number): Html {
  if (isSealed) return html`being closed`;
  return html`${closesAt > now ? "closes after" : "due since"} ${time(closesAt)}`;
}

function closedTable({ closed }: ListView): Html {
  const row = ({ newest, older }: ClosedDay) =>
    html`
      <tr>
        <th scope="row"><a href="/statements/${newest.day}"
          aria-label="Statement of ${newest.day}">${newest.day}</a></th>
        <td>${older.length === 0 ? "Closed" : `Closed, ${older.length + 1} versions`}</td>
        ${totalCells(newest)}
        <td>${time(newest.closedAtMs)}</td>
        <td class="files">${fileLinks(newest)}</td>
      </tr>
    `;
  return html`
    <section aria-labelledby="closed">
      <h2 id="closed">Closed days</h2>
      ${closed.length === 0 ? html`<p>No statement has been issued yet.</p>` : table(
        "Statements, the newest day first",
        html`
          <th scope="col">Business day</th><th scope="col">State</th>${TOTAL_HEADERS}
          <th scope="col">Closed as of</th><th scope="col">Files</th>
        `,
        closed.map(row),
      )}
    </section>
  `;
}

/** What the page of one statement shows. */
export interface StatementView {
  readonly zone: string;
  /** The version shown. */
  readonly shown: Issued;
  /** All versions, newest first. */
  readonly versions: readonly Issued[];
  readonly studios: readonly StudioTotals[];
}

/** The page of one version of a statement. */
export function statementPage({ zone, shown, versions, studios }: StatementView): Html {
  const isNewest = shown.version === versions[0]?.version;
  return page(
    `Statement ${shown.day}`,
    html`
      <p><a href="/">All statements</a></p>
      <h1>Statement of ${shown.day}</h1>
      ${isNewest ? "" : html`<p role="note"><strong>Superseded.</strong>
      <a href="/statements/${shown.day}">See the newest version</a>.</p>`}
      <dl>
        <dt>State</dt><dd>Closed as of ${time(shown.closedAtMs)}, version ${shown.version}</dd>
        ${shown.reason === undefined ? "" : html`
          <dt>Reason</dt>
          <dd>${shown.reason}</dd>
        `}
        <dt>Business day</dt><dd>${shown.day}, ${zone}</dd>
        <dt>Lines</dt><dd>${grouped(shown.rows)}</dd>
        <dt>Events</dt><dd>${grouped(shown.events)}</dd>
        <dt>Minutes</dt><dd>${grouped(minutesOf(shown.msWatched))}</dd>
        <dt>Milliseconds</dt><dd>${grouped(shown.msWatched)}</dd>
        <dt>Files</dt><dd>${fileLinks(shown)}</dd>
        <dt>SHA-256 of the CSV</dt><dd><code>${shown.csvSha256}</code></dd>
        <dt>SHA-256 of the manifest</dt><dd><code>${shown.manifestSha256}</code></dd>
      </dl>
      ${studioTable(shown, studios)}
      ${versions.length === 1 ? "" : versionTable(shown, versions)}
    `,
  );
}

function studioTable(shown: Issued, studios: readonly StudioTotals[]): Html {
  const path = `/v1/statements/${shown.day}.csv?version=${shown.version}`;
  const row = (each: StudioTotals) =>
    html`
      <tr>
        <th scope="row">${each.studio}</th>
        ${totalCells(each)}
        <td class="number">${grouped(minutesOf(each.adjustmentMs))}</td>
        <td><a href="${path}&amp;studio=${encodeURIComponent(each.studio)}"
          aria-label="CSV of ${each.studio}">CSV</a></td>
      </tr>
    `;
  return html`
    <section aria-labelledby="studios">
      <h2 id="studios">Studios</h2>
      ${studios.length === 0
        ? html`<p>Nothing was watched: the statement has no lines.</p>`
        : table(
          `What each studio has in the statement of ${shown.day}`,
          html`
            <th scope="col">Studio</th>${TOTAL_HEADERS}
            <th scope="col" class="number">Minutes of earlier days</th>
            <th scope="col">File</th>
          `,
          studios.map(row),
        )}
    </section>
  `;
}

function versionTable(shown: Issued, versions: readonly Issued[]): Html {
  const row = (each: Issued) =>
    html`
      <tr>
        <th scope="row">${each.version === shown.version ? `${each.version} (shown)` : html`
          <a href="/statements/${each.day}?version=${each.version}"
            aria-label="Version ${each.version}">${each.version}</a>
        `}</th>
        <td>${time(each.closedAtMs)}</td>
        <td>${each.reason ?? ""}</td>
        ${totalCells(each)}
        <td class="files">${fileLinks(each)}</td>
      </tr>
    `;
  return html`
    <section aria-labelledby="versions">
      <h2 id="versions">Versions</h2>
      ${table(
        `Versions of the statement of ${shown.day}, the newest first`,
        html`
          <th scope="col">Version</th><th scope="col">As of</th><th scope="col">Reason</th>
          ${TOTAL_HEADERS}<th scope="col">Files</th>
        `,
        versions.map(row),
      )}
    </section>
  `;
}

/** The page of a problem: what is wrong, what to do, and a link to what exists instead. */
export function problemPage(
  { title, detail, link }: {
    readonly title: string;
    readonly detail: string;
    readonly link: { readonly path: string; readonly text: string } | undefined;
  },
): Html {
  return page(
    title,
    html`
      <h1>${title}</h1>
      <p>${detail}</p>
      ${link === undefined ? "" : html`<p><a href="${link.path}">${link.text}</a></p>`}
      <p><a href="/">All statements</a></p>
    `,
  );
}

const TOTAL_HEADERS = html`
  <th scope="col" class="number">Lines</th>
  <th scope="col" class="number">Events</th>
  <th scope="col" class="number">Minutes</th>
  <th scope="col" class="number">Milliseconds</th>
`;

function totalCells({ rows, events, msWatched }: Totals): Html {
  const cells = [grouped(rows), grouped(events), grouped(minutesOf(msWatched)), grouped(msWatched)];
  return html`${cells.map((text) => html`<td class="number">${text}</td>`)}`;
}

function fileLinks({ day, version }: Issued): Html {
  const name = `of ${day}, version ${version}`;
  return html`
    <a href="/v1/statements/${day}.csv?version=${version}"
      aria-label="CSV ${name}">CSV</a>
    <a href="/v1/statements/${day}.json?version=${version}"
      aria-label="Manifest ${name}">Manifest</a>
  `;
}

// A wide table scrolls within its region, which has a tab stop so that the keyboard reaches it.
function table(caption: string, headers: Html, rows: readonly Html[]): Html {
  return html`
    <div class="scroll" role="region" aria-label="${caption}" tabindex="0">
      <table>
        <caption>${caption}</caption>
        <thead>
          <tr>${headers}</tr>
        </thead>
        <tbody>${rows}</tbody>
      </table>
    </div>
  `;
}

function time(instant: number): Html {
  const iso = new Date(instant).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace("T", " ")} UTC</time>`;
}

function grouped(number: bigint | number | string): string {
  const [whole = "", fraction] = String(number).split(".");
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? groups : `${groups}.${fraction}`;
}

/** The style sheet of every page; the content security policy allows it by its hash. */
export const STYLE = `
:root { color-scheme: light dark; --line: #8886; --accent: light-dark(#0b57d0, #a8c7fa); }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: Canvas; padding: .5rem 1rem; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0; opacity: .8; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .75rem; text-align: left;
  vertical-align: baseline; }
th { white-space: nowrap; }
tbody th { font-weight: 600; }
.number { text-align: right; }
.number, .files, time { white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1.5rem; }
dt { opacity: .8; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  dl { grid-template-columns: minmax(0, 1fr); }
  dd { margin-bottom: .5rem; }
}
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  .skip, nav { display: none; }
  .scroll { overflow: visible; }
  a { color: inherit; text-decoration: none; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  th, td { padding: .2rem .4rem; }
}
`;

function page(title: string, body: Html): Html {
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${title} · Twofold</title>
        <style>${raw(STYLE)}</style>
      </head>
      <body>
        <a class="skip" href="#main">Skip to the content</a>
        <main id="main">${body}</main>
      </body>
    </html>
  `;
}
