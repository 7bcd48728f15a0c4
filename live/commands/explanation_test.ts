import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../shared/dev/testing/random.ts";
import { Misuse } from "../../shared/process/cli/misuse.ts";
import { Detector } from "../detect/detector.ts";
import type { Finding } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { cellOf } from "./explain.ts";
import { Explanation } from "./explanation.ts";
import { explanationJson } from "./explanation_json.ts";
import { explanationPlot } from "./explanation_plot.ts";
import { explanationTable, signalToShow, verdictSentence } from "./explanation_text.ts";
import { plotSvg } from "./plot.ts";

const START_MS = Date.parse("2026-11-25T12:00:00Z");
const STEP_S = 240;
const PREMIERE = "<premiere> & \u202e\u0007\"'";
const CELL: CellName = { kind: "title_region", title: PREMIERE, region: "de" };

interface Received {
  readonly heartbeat: WatchedHeartbeat;
  readonly atMs: number;
}

/** `viewers` of each title and region, of whom those chosen stall from {@link STEP_S} on. */
function traffic(
  viewers: number,
  seconds: number,
  isStalling: (title: string, region: string, i: number) => boolean,
): Received[] {
  const random = new Random(9);
  const all: Received[] = [];
  for (const title of [PREMIERE, "other", "third"]) {
    for (const region of ["de", "br", "us", "jp"]) {
      for (let i = 0; i < viewers; i++) {
        let seq = 100;
        for (let s = random.next() * 10; s < seconds; s += 10) {
          const stalls = s > STEP_S + 1 && isStalling(title, region, i);
          all.push({
            atMs: START_MS + Math.round(s * 1_000),
            heartbeat: {
              session_id: `${title}${region}${i}`,
              title_id: title,
              region,
              seq: seq++,
              ts: START_MS + Math.round(s * 1_000) - 1_500,
              interval_ms: 10_000,
              state: "playing",
              played_ms: stalls ? 2_000 : 10_000,
              rebuffer_ms: stalls ? 8_000 : 0,
              device: { model: "tv", os: "os", build: "9.1" },
            },
          });
        }
      }
    }
  }
  return all.sort((a, b) => a.atMs - b.atMs);
}

function explained(received: readonly Received[], cell: CellName = CELL): Explanation {
  const span = { cell, fromMs: START_MS + 200_000, toMs: START_MS + 300_000 };
  const explanation = new Explanation(new Detector(), span);
  for (const { heartbeat, atMs } of received) explanation.heartbeat(heartbeat, atMs);
  explanation.advance(span.toMs);
  return explanation;
}

/** What a detector finds that is ticked as live ticks it. */
function foundLive(received: readonly Received[]): Finding[] {
  const detector = new Detector();
  let nextMs = START_MS;
  return received.flatMap(({ heartbeat, atMs }) => {
    const found: Finding[] = [];
    for (; nextMs <= atMs; nextMs += 1_000) found.push(...detector.tick(nextMs));
    detector.heartbeat(heartbeat, atMs);
    return found;
  });
}

const clockOf = (ms = 0) => new Date(ms).toISOString().slice(11, 19);

Deno.test("it says the second and the figures with which the detector opened", () => {
  const received = traffic(
    40,
    320,
    (title, region, i) => title === PREMIERE && region === "de" && i < 20,
  );
  const explanation = explained(received);
  const open = foundLive(received).find(({ change }) => change === "open");
  assertEquals(open?.cell.kind, "title_region");
  const { now } = open ?? { now: undefined };
  const sentence = verdictSentence(explanation, "rebuffer");
  const start = `rebuffer: it opened at ${clockOf(open?.atMs)}: ${now?.impaired} of ` +
    `${now?.watching} viewers`;
  assert(sentence.startsWith(start), `${sentence}\n${start}`);
  assertEquals(signalToShow(explanation), "rebuffer");
  const table = explanationTable(explanation, "rebuffer", false).split("\n");
  const line = table.find((each) => each.startsWith(clockOf(open?.atMs)));
  assert(line?.includes(" ≥ ") && line.includes("open ") && line.endsWith("opens"), line);
  assert(table[1]?.includes("normal"), table[1]);
  assert(table.length < 80, "equal seconds are one line");
  assertEquals(explanationTable(explanation, "rebuffer", true).split("\n").length, 102);
});

Deno.test("a cell that is folded names the incident and its figures", () => {
  const explanation = explained(traffic(40, 320, (_, region, i) => region === "de" && i < 20));
  const open = explanation.findings.find(({ change }) => change === "open");
  assertEquals(open?.cell, { kind: "region", region: "de" });
  const sentence = verdictSentence(explanation, "rebuffer");
  assert(sentence.includes("part of the incident on every title in de, which opened at"), sentence);
  assert(
    explanationTable(explanation, "rebuffer", false).includes("folded into every title in de"),
  );
});

Deno.test("what does not open says how near it came and what was missing", () => {
  const one = (count: number) =>
    verdictSentence(
      explained(
        traffic(40, 320, (title, region, i) => title === PREMIERE && region === "de" && i < count),
      ),
      "rebuffer",
    );
  assert(one(0).endsWith("nobody stalled."), one(0));
  assert(one(3).includes("3 of 40 viewers (7.5 %) stalled in"), one(3));
  assert(one(3).endsWith("fewer than 4 prove nothing."), one(3));
  assert(one(6).endsWith("that is no evidence of more than what is usual."), one(6));
  const unknown = explained(traffic(2, 320, () => false), { kind: "region", region: "xx" });
  assert(verdictSentence(unknown, "rebuffer").includes("no viewer of every title in xx was heard"));
  assertEquals(
    explanationTable(explained([]), "rebuffer", false),
    "no heartbeat was received in that time",
  );
});

Deno.test("the plot is one SVG whose text is text; the JSON has every second", () => {
  const explanation = explained(
    traffic(40, 320, (title, region, i) => title === PREMIERE && region === "de" && i < 20),
  );
  const svg = plotSvg(explanationPlot(explanation, "rebuffer"));
  assert(
    svg.includes("&lt;premiere&gt; &amp; \\u{202e}\\u{7}&quot;&#39; in de"),
    svg.slice(0, 900),
  );
  assert(!/NaN|Infinity|undefined/.test(svg), "every coordinate is a number");
  assert(svg.includes(">opened 12:04:"), "the mark");
  const opened = [...svg.matchAll(/<(\w+)(?:\s[^>]*[^/])?>/g)].map(([, tag]) => tag);
  const closed = [...svg.matchAll(/<\/(\w+)>/g)].map(([, tag]) => tag);
  assertEquals(opened.sort(), closed.sort());
  const empty = plotSvg(explanationPlot(explained([]), "rebuffer"));
  assert(!/NaN|Infinity|undefined/.test(empty), empty);
  const facts = { baselines: { reason: "x" }, readFromMs: 1, readUntilMs: 2 };
  const json = explanationJson(
    { explanation, ...facts, heartbeats: 3, unusable: 0 },
    [{ signal: "rebuffer", sentence: "s" }],
  );
  const { cell, seconds } = JSON.parse(json);
  assertEquals([cell.title, seconds.length], [PREMIERE, 101]);
  assertEquals(seconds[0].signals[0].spans[0].span_ms, 10_000);
});

Deno.test("options name one cell or are refused", () => {
  const none = { title: undefined, region: undefined, cdn: undefined, isp: undefined };
  const names = { ...none, build: undefined, model: undefined };
  assertEquals(cellOf(names), { kind: "all" });
  assertEquals(cellOf({ ...names, region: "de" }), { kind: "region", region: "de" });
  assertEquals(cellOf({ ...names, title: "t" }), { kind: "title", title: "t" });
  assertEquals(cellOf({ ...names, isp: "i", region: "de" }), {
    kind: "region_isp",
    isp: "i",
    region: "de",
  });
  assertThrows(() => cellOf({ ...names, isp: "i" }), Misuse, "--isp needs --region");
  assertThrows(() => cellOf({ ...names, title: "t", cdn: "c" }), Misuse, "--title and --cdn");
});
