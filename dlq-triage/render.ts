/**
 * Renders groups and entries as text for a terminal.
 *
 * Devices choose the bytes shown here, so control characters are escaped (see `table.ts`), and
 * bytes that are not UTF-8 are shown in hex.
 *
 * Pure.
 *
 * @module
 */
import { left, renderPairs, renderTable, right, safeText } from "../shared/process/cli/table.ts";
import type { EntryRow, GroupRow } from "./quarantine.ts";

/** Maximum bytes of a sample that are shown. */
const MAX_SAMPLE_BYTES = 2_000;

/**
 * A body as one line: its text when it is UTF-8, else `hex:` and the bytes; at most `limit` bytes.
 */
export function safeBody(bytes: Uint8Array, limit = MAX_SAMPLE_BYTES): string {
  const moreBytes = bytes.length - limit;
  const suffix = moreBytes > 0 ? ` … ${moreBytes} more bytes` : "";
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return `hex:${bytes.slice(0, limit).toHex()}${suffix}`;
  }
  // With `stream`, a character that the limit divides is left out.
  const text = new TextDecoder("utf-8", { ignoreBOM: true })
    .decode(bytes.subarray(0, limit), { stream: true });
  return safeText(text) + suffix;
}

const COLUMNS = [
  left("GROUP"),
  left("REASON"),
  left("PATH"),
  left("BUILD"),
  right("ENTRIES"),
  right("PER MIN"),
  right("DEVICES"),
  left("FIRST SEEN"),
  left("LAST SEEN"),
];

/** The table that `deno task triage list` prints. */
export function renderGroups(groups: readonly GroupRow[]): string {
  return renderTable(COLUMNS, groups.map(groupRow), "the quarantine is empty");
}

function groupRow(group: GroupRow): string[] {
  return [
    group.groupId,
    group.reason,
    group.path,
    group.build,
    String(group.entries),
    group.perMinute.toFixed(1),
    String(group.devices),
    isoTime(group.firstSeenMs),
    isoTime(group.lastSeenMs),
  ];
}

/** A group and its samples, as `deno task triage show` prints them. */
export function renderGroup(group: GroupRow, samples: readonly EntryRow[]): string {
  const facts = renderPairs([
    ["group", group.groupId],
    ["reason", group.reason],
    ["path", group.path],
    ["build", group.build],
    ["entries", `${group.entries}, ${group.perMinute.toFixed(1)} per minute now`],
    ["devices", String(group.devices)],
    ["first seen", isoTime(group.firstSeenMs)],
    ["last seen", isoTime(group.lastSeenMs)],
  ]);
  return [facts, ...samples.map(renderSample)].join("\n\n");
}

function renderSample(entry: EntryRow): string {
  const { sourceStream, sourceSequence, sourceIndex, rejectedBy, deviceId, bytes } = entry;
  const device = deviceId === null || deviceId === undefined ? "" : `  device ${deviceId}`;
  return [
    `${sourceStream}:${sourceSequence}:${sourceIndex}  received ${isoTime(entry.receivedAtMs)}` +
    `  rejected by ${safeText(rejectedBy)}${safeText(device)}`,
    `  ${safeText(entry.detail)}`,
    `  ${safeBody(bytes)}`,
  ].join("\n");
}

/**
 * A sample for `toJson`, with the body as `base64` and, when it is UTF-8, as `text` (else null).
 */
export function sampleFields(entry: EntryRow) {
  const { bytes, ...fields } = entry;
  return { ...fields, text: utf8OrNull(bytes), base64: bytes.toBase64() };
}

function utf8OrNull(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

// A header may have any number; the range of Date ends at 8.64e15.
function isoTime(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`;
}
