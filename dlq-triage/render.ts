/**
 * Groups and entries as text for a terminal.
 *
 * Devices choose the bytes shown here, so nothing that a terminal would obey gets through: see
 * `table.ts`; bytes that are not UTF-8 are shown in hex.
 *
 * Pure.
 *
 * @module
 */
import { left, renderPairs, renderTable, right, safeText } from "../shared/process/cli/table.ts";
import type { EntryRow, GroupRow } from "./quarantine.ts";

/** Bytes of a sample shown before it is cut. */
const SAMPLE_BYTES = 2_000;

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

/** The table of `deno task triage list`. */
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
    isoTime(group.firstSeen),
    isoTime(group.lastSeen),
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
    ["first seen", isoTime(group.firstSeen)],
    ["last seen", isoTime(group.lastSeen)],
  ]);
  return [facts, ...samples.map(renderSample)].join("\n\n");
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

/** A sample for a program; `toJson` takes it: `text` when the body is UTF-8, `base64` always. */
export function sampleFacts(entry: EntryRow) {
  const { bytes, ...facts } = entry;
  return { ...facts, text: utf8OrNull(bytes), base64: bytes.toBase64() };
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
