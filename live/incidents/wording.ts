/**
 * Alerts in words: text of devices made harmless, cells and commands as people read and type them.
 *
 * Titles, builds and the like are whatever a device says. In an alert they are bounded; in a
 * sentence what is not visible is escaped; in a command they are one quoted word.
 *
 * Pure.
 *
 * @module
 */
import type { AlertCell, IncidentAlert } from "../../shared/contract/alert.ts";
import { safeText } from "../../shared/process/cli/table.ts";

/** Maximum length of a name, in code points. */
const MAX_NAME_CHARS = 64;
/** Maximum length of a sentence, in UTF-16 units. */
const MAX_SENTENCE_UNITS = 1_000;
/** Control and format characters (of direction, too), line separators, private use, unassigned. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** `text` well-formed and at most 64 code points long. */
export function boundedName(text: string): string {
  // At most two units a code point, so that the cost is bounded too.
  const start = text.slice(0, 2 * MAX_NAME_CHARS).toWellFormed();
  return [...start].slice(0, MAX_NAME_CHARS).join("");
}

/** `text` as one word of a POSIX shell; with `$'…'` of bash and zsh if some of it is invisible. */
export function quotedWord(text: string): string {
  if (/^[\w.,:@%+/][\w.,:@%+/-]*$/.test(text)) return text;
  const wellFormed = text.toWellFormed();
  if (!wellFormed.match(INVISIBLE)) return `'${wellFormed.replaceAll("'", "'\\''")}'`;
  const escaped = wellFormed.replace(/[\\']/g, "\\$&").replace(INVISIBLE, (char) => {
    const hex = (char.codePointAt(0) ?? 0).toString(16);
    return hex.length <= 4 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  });
  return `$'${escaped}'`;
}

/** `text` cut to what an alert's sentence may have. */
export function sentence(text: string): string {
  return text.length <= MAX_SENTENCE_UNITS
    ? text
    : `${text.slice(0, MAX_SENTENCE_UNITS - 1).toWellFormed()}…`;
}

/** A cell as a phrase: `premiere in de`, `build 9.2 in de`, `every title in de`. */
export function cellPhrase(cell: AlertCell): string {
  const { region, title, cdn, isp, build, model } = cell;
  const what = cdn !== undefined
    ? `CDN ${safeText(cdn)}`
    : isp !== undefined
    ? `ISP ${safeText(isp)}`
    : build !== undefined
    ? `build ${safeText(build)}`
    : model !== undefined
    ? `device model ${safeText(model)}`
    : title !== undefined
    ? safeText(title)
    : "every title";
  return `${what} in ${region === undefined ? "every region" : safeText(region)}`;
}

/** Options of `deno task live explain` in their order, by field of a cell. */
const EXPLAIN_OPTIONS = ["title", "region", "cdn", "isp", "build", "model"] as const;

/** The commands to run next about `cell` at `atMs`, ms since the epoch. */
export function nextCommands(
  signal: IncidentAlert["signal"],
  cell: AlertCell,
  atMs: number,
): string[] {
  const named = EXPLAIN_OPTIONS.flatMap((option) => {
    const value = cell[option];
    if (value === undefined) return [];
    // A value that begins with a dash would be read as an option.
    return [`--${option}${value.startsWith("-") ? "=" : " "}${quotedWord(value)}`];
  });
  const explain = [
    "npx -y deno@2.9.6 task live explain",
    ...named,
    `--at ${new Date(atMs).toISOString()}`,
  ];
  // Heartbeats that nobody can read look like an audience that has vanished.
  const quarantine = signal === "silent" || cell.build !== undefined
    ? ["npx -y deno@2.9.6 task triage list"]
    : [];
  return [explain.join(" "), ...quarantine];
}

/** A share in percent, with a decimal below 10 %. */
export function percent(share: number): string {
  const value = share * 100;
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}
