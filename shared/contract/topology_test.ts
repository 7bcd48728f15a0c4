import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../dev/testing/random.ts";
import { REJECTION_REASONS } from "./event.ts";
import {
  alertSubject,
  DEFAULT_TOPOLOGY,
  desiredTopology,
  heartbeatStreams,
  heartbeatSubject,
  partitionOf,
  quarantineSubject,
  token,
} from "./topology.ts";

/** Whether a NATS subscription to `filter` receives `subject`; a naive implementation. */
function receives(filter: string, subject: string): boolean {
  const wanted = filter.split(".");
  const tokens = subject.split(".");
  const isTail = wanted.at(-1) === ">";
  if (isTail ? tokens.length < wanted.length : tokens.length !== wanted.length) return false;
  return wanted.every((each, i) => each === ">" || each === "*" || each === tokens[i]);
}

Deno.test("any text becomes one valid and unique subject token", () => {
  const random = propertyRandom("subject tokens");
  const letters = [
    " ",
    ".",
    "*",
    ">",
    "\t",
    "\0",
    "%",
    "'",
    "(",
    "!",
    "~",
    "a",
    "ü",
    "\u{1f3ac}",
    "\ud800",
  ];
  const seen = new Map<string, string>();
  for (let i = 0; i < 2_000; i++) {
    const text = Array.from({ length: random.int(1, 64) }, () => random.pick(letters)).join("");
    const made = token(text);
    assert(/^[\w%-]+$/.test(made), `${JSON.stringify(text)} became ${made}`);
    const other = seen.get(made);
    assert(
      other === undefined || other.toWellFormed() === text.toWellFormed(),
      "two texts, one token",
    );
    seen.set(made, text);
    assert(receives("alerts.rebuffer.*.*", alertSubject.rebuffer("de", text)));
    assert(receives("alerts.quarantine.*", alertSubject.quarantine(text)));
    assert(receives("alerts.pipeline.*", alertSubject.pipeline(text)));
  }
  assertEquals(token("title-42_a"), "title-42_a");
  assertEquals(token("a.b c"), "a%2Eb%20c");
});

Deno.test("sessions are spread evenly over partitions, and each is always in the same one", () => {
  for (const partitions of [1, 2, 3, 16, 64]) {
    const counts = new Array<number>(partitions).fill(0);
    for (let i = 0; i < 20_000; i++) {
      const partition = partitionOf(`session-${i}`, partitions);
      counts[partition] = (counts[partition] ?? 0) + 1;
    }
    const fair = 20_000 / partitions;
    for (const count of counts) {
      assert(count > fair * 0.7 && count < fair * 1.3, `${partitions} partitions: ${counts}`);
    }
  }
  assertEquals(partitionOf("session-1", 16), partitionOf("session-1", 16));
});

for (const partitions of [1, 2, 64]) {
  Deno.test(`with ${partitions} partitions every heartbeat is stored in exactly one stream`, () => {
    const { streams, consumers } = desiredTopology({ ...DEFAULT_TOPOLOGY, partitions });
    const names = heartbeatStreams(partitions);
    assertEquals(names.length, partitions);
    for (let partition = 0; partition < partitions; partition++) {
      const subject = heartbeatSubject(partition, "us-east");
      const receiving = streams.filter(({ subjects }) =>
        subjects?.some((each) => receives(each, subject))
      );
      assertEquals(receiving.map(({ name }) => name), [names[partition]]);
      for (const durable of ["live", "royalty"]) {
        const own = consumers.filter(({ stream, config }) =>
          stream === names[partition] && config.durable_name === durable
        );
        assertEquals(own.length, 1, `${durable} of ${names[partition]}`);
      }
    }
  });
}

Deno.test("every rejection reason has a subject that only QUARANTINE stores", () => {
  const { streams } = desiredTopology(DEFAULT_TOPOLOGY);
  for (const reason of REJECTION_REASONS) {
    const subject = quarantineSubject(reason);
    const keeping = streams.filter(({ subjects }) =>
      subjects?.some((each) => receives(each, subject))
    );
    assertEquals(keeping.map(({ name }) => name), ["QUARANTINE"]);
  }
});

Deno.test("no raw or quarantined heartbeat can be dropped silently", () => {
  const { streams, consumers } = desiredTopology({
    ...DEFAULT_TOPOLOGY,
    partitions: 2,
    replicas: 3,
  });
  for (const stream of streams.filter(({ name }) => name !== "ALERTS")) {
    assertEquals(
      [stream.discard, stream.retention, stream.deny_delete, stream.deny_purge],
      ["new", "limits", true, true],
      stream.name,
    );
  }
  for (const stream of streams) {
    assertEquals([stream.num_replicas, stream.storage], [3, "file"], stream.name);
    assert((stream.max_bytes ?? 0) > 0 && (stream.max_age ?? 0) > 0, `${stream.name} has no bound`);
  }
  for (const { config } of consumers) {
    assertEquals(
      config.max_deliver,
      -1,
      `${config.durable_name} would skip a message after some deliveries`,
    );
  }
});
