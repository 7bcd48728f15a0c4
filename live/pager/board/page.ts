/**
 * The board as HTML: landmarks, headings and empty places, which the script fills. Until it does,
 * the page says that nothing is known.
 *
 * Pure.
 *
 * @module
 */
import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import { SCRIPT } from "./page_script.ts";

/** The page. */
export function boardPage(): HtmlEscapedString | Promise<HtmlEscapedString> {
  return html`
    <!DOCTYPE html>
    <html lang="en" data-level="stale">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Not known yet · What is open now</title>
        <style>${raw(BOARD_STYLE)}</style>
      </head>
      <body>
        <a class="skip" href="#open">To the incidents</a>
        <header>
          <h1>What is open now</h1>
          <div class="verdict">
            <p id="verdict" role="status">Not known yet</p>
            <p id="detail">The pager has not answered. Nothing on this page says that all is well.</p>
            <p id="as-of"></p>
          </div>
          <noscript>
            <p>This page needs its script. Without it: npx -y deno@2.9.6 task alerts</p>
          </noscript>
        </header>
        <main>
          <section aria-labelledby="open">
            <h2 id="open" tabindex="-1">Incidents</h2>
            <ol id="incidents"></ol>
            <p id="more"></p>
          </section>
          <section aria-labelledby="pipeline">
            <h2 id="pipeline">Pipeline</h2>
            <ul id="services"></ul>
          </section>
        </main>
        <footer>
          <p>Twofold pager · <a href="/openapi.json">read API</a></p>
        </footer>
        <script>${raw(SCRIPT)}</script>
      </body>
    </html>
  `;
}

/** The style sheet; the content security policy allows it by its hash. */
export const BOARD_STYLE = `
:root { color-scheme: light dark; --line: #8886; --accent: light-dark(#0b57d0, #a8c7fa);
  --bad: light-dark(#b3261e, #f2b8b5); --warn: light-dark(#8a5000, #ffb95c);
  --good: light-dark(#146c2e, #6dd58c); --quiet: light-dark(#57606a, #9198a1); }
* { box-sizing: border-box; }
body { font: 1rem/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
  overflow-wrap: anywhere; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
summary:focus-visible { outline-offset: -3px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: Canvas; padding: .5rem 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 1.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0; font-weight: 600; }
h4 { font-size: .95rem; margin: .75rem 0 .25rem; }
.verdict { border: 1px solid var(--line); border-left: .5rem solid var(--bad); padding: .6rem .9rem;
  border-radius: .4rem; }
.verdict p { margin: 0; }
#verdict { font-size: 1.25rem; font-weight: 700; color: var(--bad); }
#as-of { color: var(--quiet); font-size: .9rem; }
[data-level=ok] .verdict { border-left-color: var(--good); }
[data-level=ok] #verdict { color: var(--good); }
[data-level=blind] .verdict { border-left-color: var(--warn); }
[data-level=blind] #verdict { color: var(--warn); }
[data-level=stale] main { filter: grayscale(1); }
[data-level=stale] :is(.incident, .card) { border-style: dashed; }
[data-level=stale] .verdict { border-style: dashed; border-left-style: solid; }
ol#incidents, ul#services { list-style: none; margin: 0; padding: 0; }
.incident { border: 1px solid var(--line); border-left: .5rem solid var(--quiet);
  border-radius: .4rem; margin-bottom: .5rem; }
.critical, .incident.page { border-left-color: var(--bad); }
.warning, .ticket { border-left-color: var(--warn); }
summary { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: .15rem 1rem;
  padding: .6rem .8rem; cursor: pointer; border-radius: .3rem; }
summary::marker { content: ""; }
summary::after { content: "Details"; grid-area: 3 / 1; padding-left: 1rem; color: var(--accent);
  font-size: .9rem; }
summary::before { content: ""; grid-area: 3 / 1; place-self: center start; width: .6rem;
  height: .6rem; background: var(--accent); clip-path: polygon(15% 0, 85% 50%, 15% 100%); }
details[open] > summary::before { clip-path: polygon(0 15%, 100% 15%, 50% 85%); }
summary h3, .line { grid-column: 1; }
.sparks { grid-column: 2; grid-row: 1 / span 3; align-self: center; }
.badge { border: 1px solid currentColor; border-radius: .3rem; padding: 0 .4rem; font-size: .85rem; }
.critical .badge, .incident.page .badge { color: var(--bad); }
.warning .badge, .ticket .badge { color: var(--warn); }
.line { color: var(--quiet); font-variant-numeric: tabular-nums; }
.spark { width: 9rem; height: 2.3rem; display: block; }
.body { padding: .3rem .8rem .8rem; }
svg path { fill: none; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
path.share { stroke: var(--accent); stroke-width: 2; }
path.baseline { stroke: var(--quiet); stroke-dasharray: 2 4; }
svg path.dots { stroke-width: 6; stroke-dasharray: none; }
.grid { stroke: var(--line); vector-effect: non-scaling-stroke; }
svg text { fill: var(--quiet); font-size: 10px; }
figure { margin: 0 0 .5rem; max-width: 36rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; color: var(--quiet); }
.key::before { content: ""; display: inline-block; width: 1.6rem; margin-right: .35rem;
  vertical-align: middle; border-top: 2px solid var(--accent); }
.key { margin-right: 1rem; }
.key.baseline::before { border-top: 2px dotted var(--quiet); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1rem;
  margin: .5rem 0; font-variant-numeric: tabular-nums; }
dt { color: var(--quiet); }
dd { margin: 0; }
.body ol { margin: 0; padding-left: 1.5rem; }
pre { white-space: pre-wrap; margin: .25rem 0; padding: .4rem .6rem; border: 1px solid var(--line);
  border-radius: .3rem; font-size: .85rem; }
#services { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.card { border: 1px solid var(--line); border-left: .35rem solid var(--good); border-radius: .4rem;
  padding: .5rem .8rem; }
.card.ill { border-left-color: var(--bad); }
.card dl { font-size: .9rem; }
.state { color: var(--good); font-weight: 400; }
.ill .state { color: var(--bad); font-weight: 700; }
footer { margin-top: 2rem; color: var(--quiet); font-size: .9rem; }
@media (max-width: 34rem) {
  body { padding: .75rem; }
  summary { grid-template-columns: minmax(0, 1fr); }
  .sparks { grid-area: 3 / 1; justify-self: stretch; }
  .spark { width: 100%; }
  summary::before, summary::after { grid-row: 4; }
  svg text { font-size: 14px; }
  .body dl { grid-template-columns: minmax(0, 1fr); }
  .body dd { margin-bottom: .35rem; }
}
`;
