import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { propertyRandom } from "../shared/dev/testing/random.ts";
import { toJson } from "../shared/process/cli/json_output.ts";
import type { EntryRow, GroupRow } from "./quarantine.ts";
import { renderGroup, renderGroups, safeBody, sampleFields } from "./render.ts";

const GROUP: GroupRow = {
  groupId: "0123456789ab",
  reason: "malformed",
  path: "$.ts",
  build: "9.2\u001b[2J",
  firstSeenMs: 1_700_000_000_000,
  lastSeenMs: 1_700_000_060_000,
  entries: 12,
  perMinute: 2.4,
  devices: 3,
};

const ENTRY: EntryRow = {
  entryId: 1,
  detail: "expected int",
  sourceStream: "HEARTBEATS",
  sourceSequence: 42,
  sourceIndex: 3,
  rejectedBy: "live",
  receivedAtMs: 1_700_000_000_000,
  quarantinedAt: 1_700_000_001_000,
  subject: "quarantine.malformed",
  deviceId: "d-1",
  bytes: new TextEncoder().encode('{"ts":"now"}\u0007'),
};

Deno.test("a body is text when it is UTF-8 and hex when it is not", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assertEquals(safeBody(bytes('{"a":1}')), '{"a":1}');
  assertEquals(safeBody(bytes("")), "");
  assertEquals(safeBody(bytes("\ufeff{}")), "\\u{feff}{}");
  assertEquals(safeBody(new Uint8Array([0xff, 0x00, 0x1b])), "hex:ff001b");
  assertEquals(safeBody(bytes("aé"), 2), "a … 1 more bytes");
  assertEquals(safeBody(bytes("x".repeat(10)), 4), "xxxx … 6 more bytes");
});

Deno.test("any bytes are printed as printable text", () => {
  const random = propertyRandom("safe bodies");
  for (let i = 0; i < 2_000; i++) {
    const high = random.pick([127, 255]);
    const bytes = Uint8Array.from({ length: random.int(0, 60) }, () => random.int(0, high));
    const shown = safeBody(bytes) + toJson(sampleFields({ ...ENTRY, bytes })).replaceAll("\n", "");
    assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(shown), JSON.stringify(shown));
  }
});

Deno.test("the list is a table; a group shows its fields and samples", () => {
  assertEquals(renderGroups([]), "the quarantine is empty");
  const [head, row] = renderGroups([GROUP]).split("\n");
  assertEquals(head?.split(/\s{2,}/).length, 9);
  assertEquals(row?.split(/\s{2,}/), [
    "0123456789ab",
    "malformed",
    "$.ts",
    "9.2\\u{1b}[2J",
    "12",
    "2.4",
    "3",
    "2023-11-14T22:13:20.000Z",
    "2023-11-14T22:14:20.000Z",
  ]);
  const shown = renderGroup(GROUP, [ENTRY, { ...ENTRY, receivedAtMs: 9e15 }]);
  assertStringIncludes(shown, "entries     12, 2.4 per minute now");
  assertStringIncludes(
    shown,
    "HEARTBEATS:42:3  received 2023-11-14T22:13:20.000Z  rejected by live",
  );
  assertStringIncludes(shown, '{"ts":"now"}\\u{7}');
  assertStringIncludes(shown, "received 9000000000000000 ms");
});
