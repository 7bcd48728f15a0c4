/**
 * Groups and entries as text for a terminal.
 *
 * Devices choose the bytes shown here, so nothing that a terminal would obey gets through: control,
 * format (bidirectional overrides) and unassigned characters are escaped, and bytes that are not
 * UTF-8 are shown in hex. Pure.
 *
 * @module
 */
import type { EntryRow, GroupRow } from "./quarantine.ts";

/** Bytes of a sample shown before it is cut. */
const SAMPLE_BYTES = 2_000;

/** `text` without anything a terminal would obey. */
export function safeText(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}

/** A body as one line: its text when it is UTF-8, else `hex:` and the bytes. */
export function safeBody(bytes: Uint8Array, limit = SAMPLE_BYTES): string {
  const left = bytes.length - limit;
  const cut = left > 0 ? ` … ${left} more bytes` : "";
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return `hex:${bytes.slice(0, limit).toHex()}${cut}`;
  }
  // The cut may fall inside a character, which is then left out.
  const text = new TextDecoder("utf-8", { ignoreBOM: true })
    .decode(bytes.subarray(0, limit), { stream: true });
  return safeText(text) + cut;
}

/** The table of `deno task triage list`. */
export function renderGroups(groups: readonly GroupRow[]): string {
  if (groups.length === 0) return "the quarantine is empty";
  const rows = groups.map((group) => [
    group.groupId,
    group.reason,
    safeText(group.path),
    safeText(group.build),
    String(group.entries),
    group.perMinute.toFixed(1),
    String(group.devices),
    isoTime(group.firstSeen),
    isoTime(group.lastSeen),
  ]);
  const head = ["GROUP", "REASON", "PATH", "BUILD", "ENTRIES", "PER MIN", "DEVICES"];
  return table([[...head, "FIRST SEEN", "LAST SEEN"], ...rows], new Set([4, 5, 6]));
}

/** A group and its samples, as `deno task triage show` prints them. */
export function renderGroup(group: GroupRow, samples: readonly EntryRow[]): string {
  const facts = [
    `group       ${group.groupId}`,
    `reason      ${group.reason}`,
    `path        ${safeText(group.path)}`,
    `build       ${safeText(group.build)}`,
    `entries     ${group.entries}, ${group.perMinute.toFixed(1)} per minute now`,
    `devices     ${group.devices}`,
    `first seen  ${isoTime(group.firstSeen)}`,
    `last seen   ${isoTime(group.lastSeen)}`,
  ];
  return [facts.join("\n"), ...samples.map(renderSample)].join("\n\n");
}

function renderSample(entry: EntryRow): string {
  const { sourceStream, sourceSequence, rejectedBy, deviceId, bytes } = entry;
  const device = deviceId === null || deviceId === undefined ? "" : `  device ${deviceId}`;
  return [
    `${sourceStream}:${sourceSequence}  received ${isoTime(entry.receivedAt)}` +
    `  rejected by ${safeText(rejectedBy)}${safeText(device)}`,
    `  ${safeText(entry.detail)}`,
    `  ${safeBody(bytes)}`,
  ].join("\n");
}

/** A sample as JSON: `text` when the body is UTF-8, `base64` always. */
export function sampleJson(entry: EntryRow): Record<string, unknown> {
  const { bytes, ...facts } = entry;
  return { ...facts, text: utf8OrNull(bytes), base64: bytes.toBase64() };
}

/** `value` as JSON that is the same for a program and shows a terminal nothing to obey. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /[^\n\P{C}]|[\p{Zl}\p{Zp}]/gu,
    (char) =>
      char.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join(
        "",
      ),
  );
}

function utf8OrNull(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

// A header may claim any number; the range of Date ends at 8.64e15.
function isoTime(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`;
}

function table(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => right.has(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))
      .join("  ").trimEnd();
  return rows.map(line).join("\n");
}
