import { assertEquals } from "@std/assert";
import { millisecondsOf, storedMessage } from "./stored_message.ts";

const encoder = new TextEncoder();
const BODY = '{"v":1}';
const OWN = [
  "Nats-Stream: HEARTBEATS",
  "Nats-Sequence: 812",
  "Nats-Time-Stamp: 2026-11-25T02:42:07.583104895Z",
  "Nats-Num-Pending: 3",
  "Nats-Last-Sequence: 810",
];
const READ = { sequence: 812, receivedAtMs: Date.UTC(2026, 10, 25, 2, 42, 7, 583), previous: 810 };

/** The data of a message with its header in front of it in one buffer, as the client keeps it. */
function dataBehind(lines: readonly string[]): Uint8Array {
  const header = `NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;
  const received = encoder.encode(`HMSG x 1 2\r\nNATS/1.0\r\nNats-Sequence: 1\r\n${header}${BODY}`);
  return received.subarray(received.length - BODY.length);
}

function read(data: Uint8Array, headers: Readonly<Record<string, string>> = {}) {
  // Like the client: an empty string for a missing header.
  const last = (name: string) => headers[name] ?? "";
  const { bytes, ...rest } = storedMessage({ data, headers: { last } });
  assertEquals(new TextDecoder().decode(bytes), BODY);
  return rest;
}

Deno.test("the server's headers are read from the buffer in front of the data", () => {
  assertEquals(read(dataBehind(OWN)), READ);
  assertEquals(read(dataBehind(["Nats-Msg-Id: 01a2.0f", ...OWN])), READ);
});

Deno.test("headers of the publisher are not taken for the server's", () => {
  assertEquals(read(dataBehind(["Nats-Sequence: 9", "Nats-Last-Sequence: 8", ...OWN])), READ);
  assertEquals(read(dataBehind(["x: NATS/1.0", "Nats-Sequence: 9", ...OWN])), READ);
});

Deno.test("without the header in the buffer, the parsed headers of the client are used", () => {
  const headers = Object.fromEntries(OWN.map((line) => line.split(": ")));
  assertEquals(read(encoder.encode(BODY), headers), READ);
  assertEquals(read(dataBehind(OWN.slice(0, 3)), headers), READ);
});

Deno.test("timestamps with any number of decimals are truncated to the millisecond", () => {
  const second = Date.UTC(2026, 10, 25, 2, 42, 7);
  for (
    const [decimals, ms] of [["", 0], [".5", 500], [".04", 40], [".583", 583], [".583999999", 583]]
  ) {
    assertEquals(millisecondsOf(`2026-11-25T02:42:07${decimals}Z`), second + Number(ms));
    assertEquals(millisecondsOf(`1999-12-31T23:59:59${decimals}Z`), 946684799_000 + Number(ms));
  }
  for (const wrong of ["", "now", "2026-11-25T02:42:07", "2026-11-25T02:42:07.5+01:00"]) {
    assertEquals([wrong, millisecondsOf(wrong)], [wrong, NaN]);
  }
});
