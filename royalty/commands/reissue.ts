/**
 * `deno task royalty reissue`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import type { Io } from "../../shared/process/cli/io.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { Misuse } from "../../shared/process/cli/misuse.ts";
import { day, matching } from "../../shared/process/cli/parsers.ts";
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import type { Closer, ReissueDeed, ReissuePreview } from "../closing/closer.ts";
import { BY_OPTION, REASON_OPTION } from "./deed_options.ts";
import { runWithCloser, withCloser } from "./with_closer.ts";

const { required: _, ...by } = BY_OPTION;

/** `deno task royalty reissue`: issues a new version of a statement. */
export const reissueCommand = command({
  name: "reissue",
  summary: "reissue the statement of a closed day with the current catalogue",
  details:
    "First --dry-run: it prints what would change for each studio and day, and a hash. Then " +
    "--accept with that hash, --by and --reason: it issues exactly that, or nothing. It becomes a " +
    "new version; the earlier versions are not changed. Postgres refuses a version whose events or " +
    "milliseconds differ from version 1 in any line.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    dryRun: { type: "boolean", about: "only print what would change" },
    accept: {
      type: "string",
      value: "HASH",
      about: "the hash that --dry-run printed",
      parser: matching(/^[0-9a-f]{64}$/, "a SHA-256 in lower-case hex"),
    },
    by,
    reason: REASON_OPTION,
    json: JSON_OPTION,
  },
  examples: [
    { args: ["--day", "2026-11-22", "--dry-run"] },
    {
      args: [
        ...["--day", "2026-11-22", "--accept", "0".repeat(64)],
        ...["--by", "A. Person", "--reason", "studio of title-7 corrected"],
      ],
    },
  ],
  async run({ day, dryRun, accept, by, reason, json }, io) {
    if (dryRun) {
      if ([accept, by, reason].some((each) => each !== undefined)) {
        throw new Misuse("--dry-run changes nothing: --accept, --by and --reason come afterwards");
      }
      return await runWithCloser(io, (closer) => preview(closer, day, json, io));
    }
    const deed = deedOf(accept, by, reason);
    return await withCloser((closer) => closer.reissue(day, deed), { json, io });
  },
});

function deedOf(
  accept: string | undefined,
  by: string | undefined,
  reason: string | undefined,
): ReissueDeed {
  if (accept === undefined || by === undefined || reason === undefined) {
    throw new Misuse(
      "--accept HASH, --by PERSON and --reason TEXT are needed; --dry-run prints the hash",
    );
  }
  return { accept, by, reason };
}

async function preview(closer: Closer, day: string, json: boolean, io: Io): Promise<number> {
  const found = await closer.previewReissue(day);
  if (json) io.out.write(toJson(found));
  else io.out.line(previewText(found));
  return 0;
}

const COLUMNS = [
  left("event day"),
  left("studio"),
  right("events before"),
  right("events after"),
  right("ms before"),
  right("ms after"),
  right("ms more"),
];

function previewText(
  { day, version, sha256, isSame, movedLines, changes }: ReissuePreview,
): string {
  if (isSame) return `${day}: a reissue would be the same as version ${version}`;
  return [
    renderTable(
      COLUMNS,
      changes.map((each) => [
        ...[each.eventDay, each.studio, String(each.eventsBefore), String(each.eventsAfter)],
        ...[each.msBefore, each.msAfter, each.msAfter - each.msBefore].map(String),
      ]),
    ),
    `${day}: ${movedLines} lines change their studio; version ${version + 1} would be`,
    sha256,
    "nothing is issued; if this is right: deno task royalty reissue " +
    `--day ${day} --accept ${sha256} --by PERSON --reason TEXT`,
  ].join("\n");
}
