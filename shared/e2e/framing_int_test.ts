/** Hostile messages of several heartbeats: every event is judged once, by its bytes, by every reader. */
import { assertEquals } from "@std/assert";
import { headers } from "nats";
import { jetstreamManager, type PubAck } from "nats/jetstream";
import { frameOf, MAX_FRAME_EVENTS } from "../contract/delivery/frame.ts";
import {
  ENDS_HEADER,
  heartbeatSubject,
  QUARANTINE,
  QUARANTINE_HEADER,
} from "../contract/topology.ts";
import { RoyaltyRig } from "../dev/servers/royalty_rig.ts";
import { sumOf } from "../dev/servers/service_process.ts";
import { aHeartbeat, encode } from "../dev/testing/heartbeats.ts";
import { propertyRandom, type Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

const TIMEOUT = { timeoutMs: 60_000 };
const text = (value: string) => new TextEncoder().encode(value);

/** Events that hold what the framing uses, or are none. */
const POISON: readonly ((random: Random) => Uint8Array)[] = [
  () => text("\n"),
  () => text("\n\n\n"),
  () => text("{}\n{}"),
  () => text(" "),
  () => text(`{"v":1,"Twofold-Ends":"1,2"}`),
  () => text("x".repeat(16 * 1_024)),
  (random) => Uint8Array.from({ length: random.int(1, 60) }, () => random.int(0, 255)),
];

/** A rig that keeps what it published, by what has to become of it. */
class FramingRig {
  readonly rejected: string[] = [];
  usable = 0;
  events = 0;

  constructor(readonly rig: RoyaltyRig) {}

  good(changes = {}): Uint8Array {
    const { random } = this.rig;
    const heartbeat = aHeartbeat(random, Date.now(), { played_ms: 1_000, ...changes });
    this.rig.expect(heartbeat);
    this.usable += 1;
    // Some are spelled over several lines.
    return random.chance(0.3) ? text(JSON.stringify(heartbeat, null, 1)) : encode(heartbeat);
  }

  poison(): Uint8Array {
    const { random } = this.rig;
    const bytes = random.pick(POISON)(random);
    this.rejected.push(bytes.toHex());
    return bytes;
  }

  /** Publishes events in one message. */
  async publish(events: readonly Uint8Array[], msgID?: string): Promise<PubAck> {
    const { body, ends } = frameOf(events);
    const ack = await this.#publish(body, ends, msgID);
    if (!ack.duplicate) this.events += events.length;
    return ack;
  }

  /** Publishes a body whose ends do not fit: one event, which is rejected. */
  async publishMisfit(body: Uint8Array, ends: string): Promise<void> {
    await this.#publish(body, ends);
    this.events += 1;
    this.rejected.push(body.toHex());
  }

  async #publish(body: Uint8Array, ends: string, msgID?: string): Promise<PubAck> {
    const framing = headers();
    framing.set(ENDS_HEADER, ends);
    const options = { headers: framing, ...(msgID === undefined ? {} : { msgID }) };
    const ack = await this.rig.js.publish(heartbeatSubject(0, "de"), body, options);
    this.rig.lastSeqs.set(ack.stream, ack.seq);
    return ack;
  }

  /** The bodies in QUARANTINE as hex, in any order; asserts that no address is there twice. */
  async quarantined(): Promise<string[]> {
    const jsm = await jetstreamManager(await this.rig.stack.connect("ops"));
    const { state } = await jsm.streams.info(QUARANTINE);
    const entries = await Promise.all(Array.from({ length: state.messages }, async (_, i) => {
      const entry = await jsm.streams.getMessage(QUARANTINE, { seq: state.first_seq + i });
      const header = (name: keyof typeof QUARANTINE_HEADER) =>
        entry?.header.get(QUARANTINE_HEADER[name]);
      return { address: `${header("sequence")}:${header("index")}`, body: entry?.data.toHex() };
    }));
    assertEquals(new Set(entries.map(({ address }) => address)).size, entries.length);
    return entries.map(({ body = "" }) => body);
  }
}

Deno.test("poison at any index, line feeds, wrong ends and halves sent again: each event is judged once, by its bytes", async () => {
  const random = propertyRandom("framing");
  await using rig = await RoyaltyRig.start({ random });
  const live = await rig.stack.service("live");
  await rig.process();
  const framing = new FramingRig(rig);
  for (const size of [1, 2, 7, 40, MAX_FRAME_EVENTS]) {
    for (const at of new Set([0, Math.floor(size / 2), size - 1])) {
      const events = Array.from(
        { length: size },
        (_, i) => i === at ? framing.poison() : framing.good(),
      );
      await framing.publish(events);
    }
  }
  // A publisher dies in the middle of a batch, and sends all of it again.
  const batch = Array.from({ length: 6 }, () => [framing.good(), framing.poison(), framing.good()]);
  for (const [i, events] of batch.slice(0, 3).entries()) {
    await framing.publish(events, `batch-${i}`);
  }
  for (const [i, events] of batch.entries()) await framing.publish(events, `batch-${i}`);
  // The same heartbeats in other company are duplicates of what is counted.
  const again = [framing.good(), framing.good()];
  await framing.publish([...again, ...again]);
  await framing.publish([framing.good(), ...again]);
  const { body } = frameOf([encode(aHeartbeat(random, Date.now())), text("{}")]);
  for (
    const ends of ["1", "0,1", `${body.length + 1}`, "x", `5,${body.length}`, "1,1", "9".repeat(7)]
  ) {
    await framing.publishMisfit(body, ends);
  }

  await rig.accountedFor();
  const { events, counted, duplicates, quarantined } = await rig.position();
  assertEquals({ events, counted, duplicates, quarantined }, {
    events: framing.events,
    counted: framing.usable,
    duplicates: 4,
    quarantined: framing.rejected.length,
  });
  assertEquals(await rig.creditedMs(), rig.expectedMs);
  await waitFor("every copy", async () => {
    return (await framing.quarantined()).length === framing.rejected.length;
  }, TIMEOUT);
  assertEquals((await framing.quarantined()).sort(), framing.rejected.toSorted());
  const liveSum = async (name: string) => sumOf(await live.metrics(), name);
  await waitFor("live to have read all", async () => {
    return await liveSum("twofold_live_events_total") === framing.events;
  }, TIMEOUT);
  const today = new Date().toISOString().slice(0, 10);
  const recounted = await rig.command("recount", "--day", today);
  assertEquals([recounted.code, recounted.err], [0, ""], recounted.out);
});
