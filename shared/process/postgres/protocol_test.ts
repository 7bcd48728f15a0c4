import { assertEquals } from "@std/assert";
import { Protocol } from "./protocol.ts";

/** A message of `type` with `body`. */
function message(type: string, body = ""): Uint8Array {
  const bytes = new Uint8Array(5 + body.length);
  new DataView(bytes.buffer).setUint32(1, 4 + body.length);
  bytes[0] = type.charCodeAt(0);
  bytes.set(new TextEncoder().encode(body), 5);
  return bytes;
}

function opened(): Protocol {
  const protocol = new Protocol();
  protocol.received(message("R", "\0\0\0\0"));
  protocol.received(message("Z", "I"));
  return protocol;
}

function stateOf({ isOpening, isResponsePending, isIdle }: Protocol) {
  return { isOpening, isResponsePending, isIdle };
}

Deno.test("a response is pending until the first ReadyForQuery", () => {
  const protocol = new Protocol();
  assertEquals(stateOf(protocol), { isOpening: true, isResponsePending: true, isIdle: false });
  protocol.sent(new Uint8Array([0, 0, 0, 8, 0, 3, 0, 0]));
  protocol.received(message("R", "\0\0\0\0"));
  assertEquals(protocol.isResponsePending, true);
  protocol.received(message("Z", "I"));
  assertEquals(stateOf(protocol), { isOpening: false, isResponsePending: false, isIdle: true });
});

Deno.test("messages may be split across any number of reads", () => {
  const answer = [message("D", "x".repeat(300)), message("C", "SELECT 1\0"), message("Z", "I")];
  const bytes = new Uint8Array(answer.flatMap((each) => [...each]));
  for (const size of [1, 2, 3, 5, 7, 64, bytes.length]) {
    const protocol = opened();
    protocol.sent(message("Q", "select 1\0"));
    for (let at = 0; at < bytes.length; at += size) {
      assertEquals(protocol.isResponsePending, true, `${size}`);
      protocol.received(bytes.subarray(at, at + size));
    }
    assertEquals(
      stateOf(protocol),
      { isOpening: false, isResponsePending: false, isIdle: true },
      `${size}`,
    );
  }
});

Deno.test("pipelined statements are owed until the last answer; an open transaction is not idle", () => {
  const protocol = opened();
  protocol.sent(message("Q", "begin\0"));
  protocol.sent(message("S"));
  protocol.received(message("Z", "T"));
  assertEquals(protocol.isResponsePending, true);
  protocol.received(message("Z", "T"));
  assertEquals(stateOf(protocol), { isOpening: false, isResponsePending: false, isIdle: false });
});

Deno.test("a suspended cursor and a COPY that waits for rows owe nothing", () => {
  const protocol = opened();
  protocol.sent(message("H"));
  assertEquals(protocol.isResponsePending, true);
  protocol.received(message("s"));
  assertEquals(protocol.isResponsePending, false);
  protocol.sent(message("Q", "copy t from stdin\0"));
  protocol.received(message("G", "\0\0\0"));
  assertEquals(protocol.isResponsePending, false);
  protocol.sent(message("c"));
  assertEquals(protocol.isResponsePending, true);
});
