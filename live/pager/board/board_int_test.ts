import { assert, assertEquals } from "@std/assert";
import type { NatsConnection } from "nats";
import type { Pulse } from "../../../shared/contract/pulse.ts";
import { LIVE_VIEW_SUBJECT, pulseSubject } from "../../../shared/contract/topology.ts";
import type { LiveView } from "../../../shared/contract/view/live_view.ts";
import { type BrowserPage, Chromium } from "../../../shared/dev/browser/chromium.ts";
import { anIncident, PagerRig } from "../../../shared/dev/receivers/pager_rig.ts";
import { ReceiverServer } from "../../../shared/dev/receivers/receiver_server.ts";
import { waitFor } from "../../../shared/dev/testing/wait_for.ts";

const TIMEOUT = { timeoutMs: 40_000 };
/** What the page says, without its script. */
const SHOWN = "[...document.body.children].filter((e) => e.localName !== 'script')" +
  ".map((e) => e.textContent).join(' ')";
/** The lowest contrast of text with the page, by the formula of WCAG 2.2, and that text. */
const LOWEST_CONTRAST = `(() => {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.setProperty("background-color", "Canvas");
  const paper = getComputedStyle(probe).backgroundColor;
  probe.remove();
  const light = (color) => {
    const [r, g, b] = color.match(/[0-9.]+/g).map((n) => n / 255)
      .map((n) => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const all = [...document.querySelectorAll("body *:not(script)")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== ""))
    .map((e) => {
      const style = getComputedStyle(e);
      const of = [light(e.localName === "text" ? style.fill : style.color), light(paper)];
      let opacity = 1;
      for (let at = e; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
      return [(Math.max(...of) + 0.05) / (Math.min(...of) + 0.05) * opacity, e.textContent];
    });
  return all.sort((a, b) => a[0] - b[0])[0];
})()`;
const SETTINGS = { TWOFOLD_PAGER_SERVICES: "live" };
/** As a device may send it: markup, a right-to-left override, and 64 code points in all. */
const HOSTILE = `<img src=x onerror="document.title='taken'">\u202e\u{e0041}${"𝒳".repeat(18)}`;

/** Live, as far as a pager hears it: its pulse and what it sees. */
class HeardLive implements Disposable {
  view: LiveView = {
    v: 1,
    at: Date.now(),
    instance: "live-1",
    coverage: 1,
    lag_ms: 40,
    streams: [{ stream: "HEARTBEATS", lag_ms: 40 }],
    incidents: [],
  };
  readonly #timer: ReturnType<typeof setInterval>;
  #progress = 0;

  constructor(readonly nc: NatsConnection) {
    // No sleep: live speaks at intervals.
    this.#timer = setInterval(() => this.say(), 500);
    this.say();
  }

  say(): void {
    const at = Date.now();
    const pulse: Pulse = {
      v: 1,
      service: "live",
      instance: "1",
      at,
      progress: ++this.#progress,
      waiting: 0,
    };
    this.nc.publish(pulseSubject("live", "1"), JSON.stringify(pulse));
    this.nc.publish(LIVE_VIEW_SUBJECT, JSON.stringify({ ...this.view, at }));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

async function shows(page: BrowserPage, text: string): Promise<void> {
  await waitFor(`the page to show ${text}`, async () => {
    const shown = await page.read<string>(SHOWN);
    if (shown.includes(text)) return true;
    throw new Error(shown.slice(0, 400));
  }, TIMEOUT);
}

/** Pagers that deliver to `webhook`: one without a receiver does not look well. */
async function rigWith(webhook: ReceiverServer): Promise<PagerRig> {
  const receiver = { name: "ops", kind: "slack", url_env: "TWOFOLD_OPS_URL" };
  const settings = { ...SETTINGS, TWOFOLD_OPS_URL: webhook.url };
  return await PagerRig.start([receiver], [webhook.host], settings);
}

async function level(page: BrowserPage): Promise<string> {
  return await page.read("document.documentElement.dataset.level");
}

Deno.test("nothing open looks well only while everything is heard and nothing is old", async () => {
  await using webhook = new ReceiverServer();
  await using rig = await rigWith(webhook);
  await using browser = await Chromium.start(rig.stack.workspace);
  const pager = await rig.pager();
  using page = await browser.open(pager.url);
  await shows(page, "Nothing is open, but it may be unseen");
  assertEquals(await level(page), "blind");
  {
    using live = new HeardLive(await rig.stack.connect("ops"));
    await waitFor("all to be well", async () => await level(page) === "ok", TIMEOUT);
    await shows(page, "Nothing is open");
    live.view = { ...live.view, lag_ms: 9_000, coverage: 0.4 };
    await shows(page, "live is 9 s behind; live sees 40 %");
    assertEquals(await level(page), "blind");
  }
  await shows(page, "live is silent");
  await rig.stack.nats.stop("SIGKILL");
  await shows(page, "Stale: the pager cannot read ALERTS");
  assertEquals(await level(page), "stale");
  await rig.stack.nats.start();
  // Blind, or with the alert open that live is silent.
  await waitFor("the page to recover", async () => await level(page) !== "stale", TIMEOUT);
  await pager.stop("SIGKILL");
  await shows(page, "Disconnected: the pager does not answer");
  assertEquals(await level(page), "stale");
  const [contrast, text] = await page.read<[number, string]>(LOWEST_CONTRAST);
  assert(contrast >= 4.5, `${contrast} of ${text}`);
});

Deno.test("hostile titles are text, the keyboard opens incidents, a phone needs no sideways scrolling", async () => {
  await using webhook = new ReceiverServer();
  await using rig = await rigWith(webhook);
  await using browser = await Chromium.start(rig.stack.workspace);
  const pager = await rig.pager();
  using live = new HeardLive(await rig.stack.connect("ops"));
  const nowMs = Date.now();
  assertEquals([...HOSTILE].length, 64);
  const dimensions = [{
    cell: { kind: "title", title: HOSTILE } as const,
    watching: 5,
    impaired: 4,
    share: 0.8,
    baseline: 0.01,
  }];
  const hostile = anIncident(HOSTILE, nowMs, { summary: `${HOSTILE} in de`, dimensions });
  await rig.publish(hostile.open);
  using page = await browser.open(pager.url, 360, 740);
  await shows(page, "\\u{202e}");
  const calm = anIncident("premiere", nowMs - 60_000, { severity: "warning", summary: "calm" });
  // It appears by itself.
  await rig.publish(calm.open);
  await shows(page, "2 incidents are open");

  await page.read("document.activeElement.blur()");
  const focused: string[] = [];
  for (let i = 0; i < 4; i++) {
    await page.press("Tab");
    focused.push(await page.read("document.activeElement.textContent.slice(0, 80)"));
    const isIncident = await page.read("document.activeElement.localName === 'summary'");
    const width = await page.read<string>("getComputedStyle(document.activeElement).outlineWidth");
    assertEquals(width, "3px", "focus is visible");
    if (isIncident) await page.press("Enter");
  }
  assert(focused[0]?.includes("To the incidents"), focused.join("\n"));
  assert(focused[1]?.includes("<img src=x"), focused.join("\n"));
  assert(focused[2]?.includes("title premiere"), focused.join("\n"));
  assert(focused[3]?.includes("read API"), focused.join("\n"));
  await waitFor(
    "the plots",
    async () =>
      await page.read("document.querySelectorAll('details[open] figure svg').length") === 2,
  );

  const [point] = [{ share: 0.5, baseline: 0.004, watching: 800, impaired: 400, bound: 12 }];
  const { incident_id } = hostile.open;
  live.view = {
    ...live.view,
    incidents: [{ incident_id, subject: "alerts.rebuffer.de.x", ...point }],
  };
  await shows(page, "400 of 800 viewers impaired");
  for (const width of [320, 360, 1_200]) {
    await page.resize(width, 740);
    const [needs, has] = await page.read<[number, number]>(
      "[document.documentElement.scrollWidth, innerWidth]",
    );
    assert(needs <= has, `${needs} of ${has} pixels`);
  }
  for (const scheme of ["dark", "light"] as const) {
    await page.scheme(scheme);
    const [contrast, text] = await page.read<[number, string]>(LOWEST_CONTRAST);
    assert(contrast >= 4.5, `${scheme}: ${contrast} of ${text}`);
  }
  assertEquals(await page.read("document.querySelectorAll('img, bdi *').length"), 0);
  const shown = await page.read<string>("document.body.textContent");
  assert(!/[\u202e\u{e0041}]/u.test(shown.replace(/\n/g, "")), "nothing is invisible");
  assert(!(await page.read<string>("document.title")).includes("taken"));
  assertEquals(page.complaints, []);
  const elsewhere = page.requested.filter((url) => !url.startsWith(pager.url));
  assertEquals(elsewhere, []);

  await rig.publish(hostile.end);
  await shows(page, "1 incident is open");
  const isOpen = "document.querySelector('details').open && " +
    "document.activeElement !== document.body";
  assertEquals(await page.read(isOpen), true, "what was opened stays open, focus is somewhere");
});
