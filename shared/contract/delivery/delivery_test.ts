import { assertEquals } from "@std/assert";
import type { JsMsg } from "nats/jetstream";
import { deliveredMessage } from "./delivery.ts";

const NANOS = "1795000000123456789";

/** A message as the client creates it: it reads `info` from `reply`. */
function messageOf(reply: string, deliveries: number): JsMsg {
  const info = {
    streamSequence: 41,
    timestampNanos: Number(NANOS),
    deliverySequence: 7,
    redelivered: deliveries > 1,
  };
  return { data: new Uint8Array(1), reply, info } as unknown as JsMsg;
}

for (const deliveries of [1, 2, 11]) {
  const tail = `${deliveries}.41.7.${NANOS}.12`;
  for (
    const [form, reply] of [
      ["plain", `$JS.ACK.HEARTBEATS.live.${tail}`],
      ["with domain and account", `$JS.ACK._.ACCOUNT.HEARTBEATS.live.${tail}`],
      ["with domain, account and token", `$JS.ACK.hub.ACCOUNT.HEARTBEATS.live.${tail}.x1`],
    ] as const
  ) {
    Deno.test(`a delivery is read from a reply ${form}, delivered ${deliveries} times`, () => {
      assertEquals(deliveredMessage(messageOf(reply, deliveries)), {
        events: [new Uint8Array(1)],
        sequence: 41,
        receivedAtMs: 1_795_000_000_123,
        redelivered: deliveries > 1,
        deliverySequence: 7,
      });
    });
  }
}
