/**
 * Generates the recordings in `samples/`: a simulated player whose network fails at scripted times,
 * and a list of counted sessions. They contain no data of a real session.
 *
 * Pure, except the command at the end; the same seed gives the same bytes.
 *
 * @module
 */
import { Random } from "../testing/random.ts";

/** The seed of `samples/`. */
export const SAMPLES_SEED = 2026;

/** One file of a folder of recordings. */
export interface RecordingFile {
  /** Path below the folder. A name that ends in `.gz` means that the file is compressed. */
  readonly path: string;
  readonly text: string;
}

/** When the first session began, ms since the epoch. */
const FIRST_START_MS = Date.UTC(2026, 0, 5, 18);

/** Step of the player, ms. All its times are multiples of it. */
const STEP_MS = 10;
/** Length of a media segment, ms. */
const PIECE_MS = 5_000;
/** Above this buffer the player stops downloading, until it is below `LOW_MS`. */
const HIGH_MS = 30_000;
const LOW_MS = 20_000;

/** An outage of the network, which ends when the stall that it causes has lasted `stallMs`. */
interface Outage {
  readonly fromMs: number;
  readonly stallMs: number;
}

/** An action of the viewer. */
type Act =
  & { readonly atMs: number }
  & (
    | { readonly does: "pause" | "resume" }
    | { readonly does: "seek"; readonly byMs: number }
    | { readonly does: "choose"; readonly quality: string }
  );

/** One session. */
interface Script {
  readonly name: string;
  readonly lengthMs: number;
  /** Media downloaded per step, ms; {@link STEP_MS} is the speed of playback. */
  readonly paceMs: number;
  readonly outages: readonly Outage[];
  readonly acts: readonly Act[];
}

/** The recordings of `seed`. */
export function makeRecordings(seed: number): RecordingFile[] {
  const random = new Random(seed);
  const traces = scripts(random).map((script, index): RecordingFile => ({
    path: `traces/${script.name}.ndjson`,
    text: traceText(script, FIRST_START_MS + index * 3_600_000, random),
  }));
  return [...traces, { path: "sessions.csv.gz", text: sessionsText(random) }];
}

function scripts(random: Random): Script[] {
  const calm = (name: string, otherwise: Partial<Script> = {}): Script => ({
    name: `made-${name}`,
    lengthMs: random.int(230, 250) * 1000,
    // The first segment, and with it the first frame, arrives after 1.3 to 2.5 s.
    paceMs: random.int(20, 39),
    outages: [],
    acts: [],
    ...otherwise,
  });
  const outages = [70, 160, 260, 370, 480].map((second) => ({
    fromMs: second * 1000 + random.int(0, 5_000),
    stallMs: random.int(18_500, 20_500),
  }));
  return [
    calm("calm-1"),
    calm("calm-2"),
    calm("calm-3"),
    calm("calm-4"),
    calm("one-short-stall", { paceMs: 40, outages: [{ fromMs: 60_000, stallMs: 200 }] }),
    calm("short", { lengthMs: 40_000 }),
    calm("pauses-and-seeks", { lengthMs: 300_000, paceMs: 40, acts: busyViewer(random) }),
    calm("many-stalls", { lengthMs: 598_000, paceMs: 12, outages }),
  ];
}

function busyViewer(random: Random): Act[] {
  const about = (second: number) => (second * 100 + random.int(0, 500)) * STEP_MS;
  return [
    { atMs: about(30), does: "pause" },
    { atMs: about(55), does: "resume" },
    // Inside the buffer; then beyond it and back, where the player must wait.
    { atMs: about(80), does: "seek", byMs: 10_000 },
    { atMs: about(120), does: "choose", quality: "large" },
    { atMs: about(150), does: "seek", byMs: 120_000 },
    { atMs: about(200), does: "pause" },
    { atMs: about(210), does: "resume" },
    { atMs: about(250), does: "seek", byMs: -60_000 },
  ];
}

/** One line of a trace; undefined fields are omitted. */
interface Sample {
  readonly t_ms: number;
  readonly position_s: number;
  readonly buffer_s: number;
  /** Present when it changes. */
  readonly quality?: string | undefined;
  readonly event?: "buffering" | "playing" | "paused" | undefined;
}

function traceText(script: Script, startedMs: number, random: Random): string {
  const header = { trace: script.name, started_epoch_ms: startedMs };
  const lines = [header, ...samplesOf(script, random)].map((line) => JSON.stringify(line));
  return `${lines.join("\n")}\n`;
}

/** A sample about once a second and at every change. */
function* samplesOf(script: Script, random: Random): Generator<Sample> {
  const player = new PaperPlayer(script);
  let dueMs = 0;
  for (let atMs = 0; atMs <= script.lengthMs; atMs += STEP_MS) {
    const change = player.changeAt(atMs);
    if (change || atMs >= dueMs) yield { ...player.sampleAt(atMs), ...change };
    // A timer of one second is never early and sometimes a little late.
    if (atMs >= dueMs) dueMs = (Math.floor(atMs / 1000) + 1) * 1000 + random.int(0, 3) * STEP_MS;
    player.step(atMs);
  }
}

/** A simulated player. For each moment call {@link change}, then {@link step}. */
class PaperPlayer {
  #event: Sample["event"];
  #positionMs = 0;
  #bufferMs = 0;
  /** The part of the next segment that is downloaded, ms. */
  #pieceMs = 0;
  #filling = true;
  #paused = false;
  /** Duration of the current stall, ms. */
  #stalledMs = 0;
  readonly #outages: Outage[];
  readonly #acts: Act[];

  constructor(readonly script: Script) {
    this.#outages = [...script.outages];
    this.#acts = [...script.acts];
  }

  /** The change at a moment, if there is one. */
  changeAt(atMs: number): Pick<Sample, "event" | "quality"> | undefined {
    const act = this.#actAt(atMs);
    const quality = atMs === 0 ? "hd720" : act?.does === "choose" ? act.quality : undefined;
    const before = this.#event;
    this.#event = this.#eventNow();
    const event = this.#event === before ? undefined : this.#event;
    return event ?? quality ? { quality, event } : undefined;
  }

  #eventNow(): Sample["event"] {
    if (this.#paused) return "paused";
    return this.#bufferMs > 0 ? "playing" : "buffering";
  }

  #actAt(atMs: number): Act | undefined {
    const [act] = this.#acts;
    if (act === undefined || act.atMs > atMs) return undefined;
    this.#acts.shift();
    if (act.does === "seek") this.#seek(act.byMs);
    else if (act.does !== "choose") this.#paused = act.does === "pause";
    return act;
  }

  // What lies behind the position is thrown away, so only a short way ahead is there already.
  #seek(byMs: number): void {
    this.#positionMs += byMs;
    const kept = byMs >= 0 && byMs < this.#bufferMs;
    this.#bufferMs = kept ? this.#bufferMs - byMs : 0;
    if (!kept) this.#pieceMs = 0;
  }

  /** The sample of a moment. */
  sampleAt(atMs: number): Sample {
    return {
      t_ms: atMs,
      position_s: this.#positionMs / 1000,
      buffer_s: Math.floor(this.#bufferMs / 100) / 10,
    };
  }

  /** Advances by the step that begins at a moment. */
  step(atMs: number): void {
    this.#stalledMs = this.#event === "buffering" ? this.#stalledMs + STEP_MS : 0;
    if (this.#event === "playing") {
      this.#positionMs += STEP_MS;
      this.#bufferMs -= STEP_MS;
    }
    if (this.#bufferMs > HIGH_MS) this.#filling = false;
    if (this.#bufferMs < LOW_MS) this.#filling = true;
    if (this.#filling && !this.#isOut(atMs)) this.#download();
  }

  #download(): void {
    this.#pieceMs += this.script.paceMs;
    if (this.#pieceMs < PIECE_MS) return;
    this.#pieceMs -= PIECE_MS;
    this.#bufferMs += PIECE_MS;
  }

  #isOut(atMs: number): boolean {
    const [outage] = this.#outages;
    if (outage === undefined || atMs < outage.fromMs) return false;
    if (this.#stalledMs < outage.stallMs) return true;
    this.#outages.shift();
    return false;
  }
}

const SESSIONS = 200;
const TITLES = 25;
/** Maximum stalls of a session; this is healthy playback. */
const STALL_EVERY_MS = 100_000;
const CATEGORIES = ["music", "sports", "news", "games"];
const SESSION_COLUMNS =
  "session_id,started_at_epoch_s,title_id,category,title_length_s,watched_s,buffering_events," +
  "avg_quality_level";

function sessionsText(random: Random): string {
  const titles = Array.from({ length: TITLES }, (_, index) => ({
    id: `made-${String(index + 1).padStart(2, "0")}`,
    category: random.pick(CATEGORIES),
    seconds: random.int(120, 540),
  }));
  let startedMs = FIRST_START_MS;
  const rows = Array.from({ length: SESSIONS }, (_, index) => {
    // Few titles have many viewers, and many sessions end early.
    const popular = titles.slice(0, random.int(1, TITLES));
    const { id, category, seconds } = random.pick(popular);
    const watchedMs = random.chance(0.4)
      ? seconds * 1000 - random.int(0, 9_999)
      : random.int(1_000, seconds * 1000);
    startedMs += random.int(1_000, 60_000);
    return [
      `made-session-${index + 1}`,
      (startedMs / 1000).toFixed(2),
      id,
      category,
      seconds.toFixed(1),
      (watchedMs / 1000).toFixed(3),
      random.chance(0.12) ? random.int(0, Math.floor(watchedMs / STALL_EVERY_MS)) : 0,
      (random.int(100, 300) / 100).toFixed(2),
    ].join(",");
  });
  return `${[SESSION_COLUMNS, ...rows].join("\n")}\n`;
}

async function write(folder: string, seed: number): Promise<void> {
  console.log(`seed ${seed}`);
  await Deno.mkdir(`${folder}/traces`, { recursive: true });
  for (const { path, text } of makeRecordings(seed)) {
    const bytes = path.endsWith(".gz") ? await gzip(text) : new TextEncoder().encode(text);
    await Deno.writeFile(`${folder}/${path}`, bytes);
    console.log(`${folder}/${path}: ${bytes.length} bytes`);
  }
}

async function gzip(text: string): Promise<Uint8Array> {
  const packed = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

if (import.meta.main) {
  const [folder = "shared/dev/recordings/samples", seed = String(SAMPLES_SEED)] = Deno.args;
  if (Deno.args.length > 2 || folder.startsWith("-") || !/^\d{1,9}$/.test(seed)) {
    console.error(
      "usage: deno run --allow-write shared/dev/recordings/generate.ts [FOLDER [SEED]]",
    );
    Deno.exit(2);
  }
  await write(folder, Number(seed));
}
