/**
 * Rights that change at midnight, and a reissue: what finance does after days are closed.
 *
 * @module
 */
import { messageOf } from "../../process/errors.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { parseCsv } from "../testing/csv.ts";
import { check, type CheckLine, equal } from "./check_line.ts";

const STUDIOS = ["Aurora", "Blue Door", '"Harbour, Lights & Sons"'] as const;
/** Who gets a title in the reissue. */
const CORRECTED = "Corrected";
const BY = ["--by", "the simulation"];

/**
 * A catalogue of `titles` as CSV. The first title is one studio's up to `lastDay` (`YYYY-MM-DD`) and
 * another one's from the day after. The last is not in it: its minutes are counted, without a studio.
 */
export function datedCatalogue(titles: readonly string[], lastDay: string): string {
  const [changing = "", ...rest] = titles.slice(0, -1);
  const rows = [
    `${changing},*,${STUDIOS[0]},,${lastDay}`,
    `${changing},*,${STUDIOS[1]},${dayAfter(lastDay)},`,
    ...rest.map((title, i) => `${title},*,${STUDIOS[i % STUDIOS.length]},,`),
  ];
  return `title_id,territory,studio,from,to\n${rows.join("\n")}\n`;
}

function dayAfter(day: string): string {
  return new Date(Date.parse(day) + 86_400_000).toISOString().slice(0, 10);
}

/** What is to be checked: the first title of a {@link datedCatalogue}, and its closed days. */
export interface ChangingRight {
  readonly titleId: string;
  readonly lastDay: string;
  readonly days: readonly string[];
}

/**
 * Checks who is paid for the title whose right changes at midnight, late heartbeats included; then
 * corrects its studio and reissues its first day, once without the consent of a person and once with.
 */
export async function rightsChecks(pipeline: Pipeline, right: ChangingRight): Promise<CheckLine[]> {
  const lines = await changingLines(pipeline, right);
  const paid = lines.filter(({ event_day = "", studio }) =>
    studio === (event_day <= right.lastDay ? STUDIOS[0] : STUDIOS[1])
  );
  return [
    equal("lines paid by the right of their day", lines.length, paid.length),
    ...await reissueChecks(pipeline, right),
  ];
}

type Line = Readonly<Record<string, string | undefined>>;

async function changingLines(
  pipeline: Pipeline,
  { titleId, days }: ChangingRight,
): Promise<readonly Line[]> {
  const statements = await Promise.all(
    days.map((day) => pipeline.cli("royalty", ["export", "--day", day])),
  );
  return statements.flatMap(parseCsv).map(({ values }) => values)
    .filter(({ title_id }) => title_id === titleId);
}

async function reissueChecks(
  pipeline: Pipeline,
  { titleId, days: [day = ""] }: ChangingRight,
): Promise<CheckLine[]> {
  const first = ["export", "--day", day, "--version", "1"];
  const before = await pipeline.cli("royalty", first);
  const file = `${pipeline.workspace.folder}/corrected.csv`;
  await Deno.writeTextFile(file, `title_id,studio\n${titleId},${CORRECTED}\n`);
  await pipeline.cli("royalty", ["catalogue", file, ...BY]);
  const reissue = ["reissue", "--day", day];
  const why = [...BY, "--reason", "the studio was wrong"];
  const unseen = await pipeline.cli("royalty", [...reissue, "--accept", "0".repeat(64), ...why])
    .then(() => "issued", messageOf);
  const preview = JSON.parse(await pipeline.cli("royalty", [...reissue, "--dry-run", "--json"]));
  await pipeline.cli("royalty", [...reissue, "--accept", preview.sha256, ...why]);
  const versions = [before, await pipeline.cli("royalty", first)];
  const newest = await pipeline.cli("royalty", ["export", "--day", day]);
  const isNew = newest.includes(`,${CORRECTED},`) && versions[0] === versions[1];
  return [
    check(
      "reissue that nobody accepted",
      "refused",
      unseen.includes("nothing is issued") ? "refused" : unseen,
      unseen.includes("nothing is issued"),
    ),
    check(
      "reissue that was accepted",
      "version 2, version 1 as it was",
      isNew ? "version 2, version 1 as it was" : `version 1 changed, or no ${CORRECTED}`,
      isNew,
    ),
  ];
}
