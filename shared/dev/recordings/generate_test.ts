import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../testing/random.ts";
import { makeRecordings, SAMPLES_SEED } from "./generate.ts";
import { readRecordings } from "./folder.ts";
import { pairs, parseSessions, parseTrace, type Recordings, traceSegments } from "./recordings.ts";
import { DEFAULT_REPLAY, Replay } from "./replay.ts";

const SAMPLES = fileURLToPath(new URL("./samples", import.meta.url));
/** A clone carries the samples for ever. */
const MAX_BYTES = 150_000;
/** Nobody waits longer for a first look. */
const LONGEST_RUN_MS = 70_000;
const STALLING = "trace-made-many-stalls";

Deno.test("the samples equal the output of the generator byte for byte", async () => {
  const made = new Map(makeRecordings(SAMPLES_SEED).map(({ path, text }) => [path, text]));
  const kept = await filesIn(SAMPLES);
  assertEquals(kept.filter((path) => path !== "README.md"), [...made.keys()].sort());
  let bytes = 0;
  for (const path of kept) {
    const content = await Deno.readFile(`${SAMPLES}/${path}`);
    bytes += content.length;
    if (path === "README.md") continue;
    // Two versions of a compressor may pack differently, so what is packed is compared.
    const text = path.endsWith(".gz") ? await unzipped(content) : new TextDecoder().decode(content);
    assert(text === made.get(path), `${path} differs; make the samples again as their README says`);
  }
  assert(bytes <= MAX_BYTES, `${bytes} bytes`);
});

Deno.test("the samples are read without problems, and one trace must alert", async () => {
  const { recordings, problems } = await readRecordings(SAMPLES);
  assertEquals(problems, []);
  assertEquals(recordings.traces.length, 8);
  assertEquals(recordings.sessions.length, 200);
  const events = recordings.traces.map(({ samples }) => samples.map(({ event }) => event)).flat();
  for (const event of ["buffering", "playing", "paused"] as const) assert(events.includes(event));
  assertLikeReal(recordings);
  const judged = expectedOf(recordings).filter(({ alert }) => alert !== "must_not");
  assertEquals(judged.map(({ titleId, alert }) => [titleId, alert]), [[STALLING, "must"]]);
});

Deno.test("property: with any seed one trace must alert, and no other title must", () => {
  const random = propertyRandom("made recordings");
  for (let round = 0; round < 10; round++) {
    const recordings = parsed(random.int(0, 2 ** 32 - 1));
    assertLikeReal(recordings);
    const expected = expectedOf(recordings);
    const alerts = expected.filter(({ alert }) => alert === "must").map(({ titleId }) => titleId);
    assertEquals(alerts, [STALLING]);
    // Sessions of a title that few watch may all stall at once, which is not judged.
    const unsure = expected.filter(({ alert }) => alert === "either");
    assertEquals(unsure.filter(({ titleId }) => titleId.startsWith("trace-")), []);
  }
});

Deno.test("the same seed gives the same recordings, another seed others", () => {
  assertEquals(makeRecordings(7), makeRecordings(7));
  const other = new Map(makeRecordings(8).map(({ path, text }) => [path, text]));
  for (const { path, text } of makeRecordings(7)) assert(text !== other.get(path), path);
});

/** What a replay with the default options says must come of the recordings. */
function expectedOf(recordings: Recordings): Replay["expectations"] {
  const replay = new Replay(recordings, { ...DEFAULT_REPLAY, seed: 1, startEpochMs: 0 });
  assert(replay.durationMs <= LONGEST_RUN_MS, `${replay.durationMs} ms`);
  return replay.expectations;
}

/** Holds stalls and holes in the samples against what real recordings have. */
function assertLikeReal(recordings: Recordings): void {
  for (const trace of recordings.traces) {
    const segments = traceSegments(trace);
    const stalledMs = segments.reduce((sum, s) => sum + (s.state === "rebuffering" ? s.ms : 0), 0);
    const isStalling = `trace-${trace.name}` === STALLING;
    const [from, to] = isStalling ? [92_000, 125_000] : [0, 3_000];
    assert(stalledMs >= from && stalledMs <= to, `${trace.name} stalls for ${stalledMs} ms`);
    const longest = pairs(trace.samples).reduce((max, { a, b }) => Math.max(max, b.tMs - a.tMs), 0);
    assert(longest <= 1_030, `${trace.name} has no sample for ${longest} ms`);
  }
}

function parsed(seed: number): Recordings {
  const files = makeRecordings(seed);
  const texts = (end: string) =>
    files.flatMap(({ path, text }) => path.endsWith(end) ? [text] : []);
  return {
    traces: texts(".ndjson").map(parseTrace),
    sessions: texts(".csv.gz").flatMap(parseSessions),
  };
}

async function filesIn(folder: string, below = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${below}`)) {
    if (isDirectory) found.push(...await filesIn(folder, `${below}${name}/`));
    else found.push(`${below}${name}`);
  }
  return found.sort();
}

async function unzipped(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(text).text();
}
