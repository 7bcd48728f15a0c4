/**
 * Reads a folder of recordings: `traces/*.ndjson` (or `*.ndjson` in the folder itself) and
 * `sessions.csv.gz` or `sessions.csv`.
 *
 * @module
 */
import { messageOf, Stop } from "../../process/errors.ts";
import { parseSessions, parseTrace, type PlaybackTrace, type Recordings } from "./recordings.ts";

/**
 * The recordings, and one line for each file that cannot be read (`<file>: line <n>: <reason>`).
 * Throws {@link Stop} when the folder cannot be read or has no recording.
 */
export async function readRecordings(
  folder: string,
): Promise<{ recordings: Recordings; problems: string[] }> {
  const files = [...await list(folder), ...await list(`${folder}/traces`, true)];
  const problems: string[] = [];
  const traces = new Map<string, { trace: PlaybackTrace; file: string }>();
  const attempt = async (file: string, read: () => Promise<void>) => {
    try {
      await read();
    } catch (error) {
      problems.push(`${file}: ${messageOf(error)}`);
    }
  };
  for (const file of files.filter((name) => name.endsWith(".ndjson"))) {
    await attempt(file, async () => {
      const trace = parseTrace(await Deno.readTextFile(file));
      const same = traces.get(trace.name);
      if (same) throw new Error(`line 1: trace ${trace.name} is in ${same.file} already`);
      traces.set(trace.name, { trace, file });
    });
  }
  const sessions: Recordings["sessions"][number][] = [];
  for (const file of files.filter((name) => /\/sessions\.csv(\.gz)?$/.test(name))) {
    await attempt(file, async () => void sessions.push(...parseSessions(await textOf(file))));
  }
  if (traces.size + sessions.length === 0) {
    throw new Stop([`${folder} has no usable recording`, ...problems].join("\n"));
  }
  return {
    recordings: { traces: [...traces.values()].map(({ trace }) => trace), sessions },
    problems,
  };
}

async function list(folder: string, optional = false): Promise<string[]> {
  try {
    const names: string[] = [];
    for await (const entry of Deno.readDir(folder)) names.push(`${folder}/${entry.name}`);
    return names.sort();
  } catch (error) {
    if (optional && error instanceof Deno.errors.NotFound) return [];
    throw new Stop(`${folder} cannot be read: ${messageOf(error)}`);
  }
}

async function textOf(file: string): Promise<string> {
  if (!file.endsWith(".gz")) return await Deno.readTextFile(file);
  using input = await Deno.open(file);
  try {
    return await new Response(input.readable.pipeThrough(new DecompressionStream("gzip"))).text();
  } catch (error) {
    throw new Error(`line 1: this is not a complete gzip file: ${messageOf(error)}`);
  }
}
