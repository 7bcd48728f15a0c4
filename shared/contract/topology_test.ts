import { assert, assertEquals } from "@std/assert";
import { anAlertCell } from "../dev/fleet/alert_cells.ts";
import { propertyRandom } from "../dev/testing/random.ts";
import type { AlertCell, IncidentAlert } from "./alert.ts";
import { REJECTION_REASONS } from "./event.ts";
import {
  alertSubject,
  DEFAULT_TOPOLOGY,
  desiredTopology,
  heartbeatStreams,
  heartbeatSubject,
  INCIDENT_SUBJECTS,
  isSubjectPattern,
  partitionOf,
  quarantineSubject,
  silenceSubject,
  subjectMatches,
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
  assertEquals([token("_"), token("__"), token("")], ["%5F", "__", "%"]);
});

const SIGNALS: readonly IncidentAlert["signal"][] = ["rebuffer", "start", "silent"];

Deno.test("property: every incident has a subject of its own, that ALERTS stores", () => {
  const random = propertyRandom("incident subjects");
  const texts = ["_", "", "a", "build", "cdn", "cohort", ".", "*", ">", "%5F", "de", "ü"];
  const seen = new Map<string, string>();
  for (let i = 0; i < 5_000; i++) {
    const cell = anAlertCell(random, () => random.pick(texts));
    const signal = random.pick(SIGNALS);
    const subject = alertSubject.incident(signal, cell);
    const what = JSON.stringify([signal, cell]);
    assertEquals(seen.get(subject) ?? what, what, subject);
    seen.set(subject, what);
    assertEquals(INCIDENT_SUBJECTS.filter((each) => receives(each, subject)).length, 1, subject);
    assert(isSubjectPattern(subject), subject);
  }
});

Deno.test("parents have the subjects that the documents promise", () => {
  const subjects: [IncidentAlert["signal"], AlertCell, string][] = [
    ["rebuffer", { kind: "title_region", title: "t", region: "de" }, "alerts.rebuffer.de.t"],
    ["rebuffer", { kind: "region", region: "de" }, "alerts.rebuffer.de._"],
    ["rebuffer", { kind: "title", title: "t" }, "alerts.rebuffer._.t"],
    ["rebuffer", { kind: "all" }, "alerts.rebuffer._._"],
    ["rebuffer", { kind: "build", build: "9.2" }, "alerts.cohort._.build.9%2E2"],
    ["rebuffer", { kind: "region_isp", region: "de", isp: "a" }, "alerts.cohort.de.isp.a"],
    ["start", { kind: "region", region: "de" }, "alerts.start.de._"],
    ["silent", { kind: "region_model", region: "de", model: "m" }, "alerts.silent.de.model.m"],
  ];
  for (const [signal, cell, expected] of subjects) {
    assertEquals(alertSubject.incident(signal, cell), expected);
  }
});

Deno.test("property: a pattern matches what a subscription receives", () => {
  const random = propertyRandom("subject patterns");
  const tokens = (parts: readonly string[]) =>
    Array.from({ length: random.int(1, 4) }, () => random.pick(parts)).join(".");
  let matching = 0;
  for (let i = 0; i < 5_000; i++) {
    const pattern = tokens(["a", "b", "*", ">"]);
    if (!isSubjectPattern(pattern)) continue;
    const subject = tokens(["a", "b"]);
    assertEquals(
      subjectMatches(pattern, subject),
      receives(pattern, subject),
      `${pattern} ${subject}`,
    );
    if (receives(pattern, subject)) matching++;
  }
  assert(matching > 100);
  for (const bad of ["", ".", "a.", ".a", "a..b", "a b", ">.a", "a*", "*a", "a.>b", "a\n"]) {
    assert(!isSubjectPattern(bad), JSON.stringify(bad));
  }
});

Deno.test("a silence has one subject that only KV_SILENCES stores", () => {
  const { streams } = desiredTopology(DEFAULT_TOPOLOGY);
  const subject = silenceSubject("1a2b3c4d");
  const keeping = streams.filter(({ subjects }) =>
    subjects?.some((each) => receives(each, subject))
  );
  assertEquals(keeping.map(({ name }) => name), ["KV_SILENCES"]);
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
  for (const stream of streams.filter(({ name }) => !["ALERTS", "OBSERVATIONS"].includes(name))) {
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
