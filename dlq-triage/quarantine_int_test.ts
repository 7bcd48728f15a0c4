import { assert, assertEquals, assertExists, assertRejects } from "@std/assert";
import { RetryAfter, Stop } from "../shared/process/errors.ts";
import { propertyRandom } from "../shared/dev/testing/random.ts";
import { DATABASE, PostgresStack, roleUrl } from "../shared/dev/servers/stack.ts";
import { type Entry, groupOf, overflowOf } from "./classify.ts";
import { alertOf, type Incident, type Limit } from "./limits.ts";
import { Quarantine } from "./quarantine.ts";

const NOW = 1_700_000_000_000;
const DAY_MS = 86_400_000;
const MAX_GROUPS = 20;

/** A Postgres server, and the stores of two workers. */
class QuarantineRig implements AsyncDisposable {
  private constructor(
    readonly stack: PostgresStack,
    readonly store: Quarantine,
    readonly other: Quarantine,
  ) {}

  static async start(): Promise<QuarantineRig> {
    const stack = await PostgresStack.start();
    const url = stack.databaseUrl("triage");
    const options = { maxGroups: MAX_GROUPS };
    const stores = [new Quarantine(url, options), new Quarantine(url, options)] as const;
    await Promise.all(stores.map((store) => store.migrate()));
    return new QuarantineRig(stack, ...stores);
  }

  /** Deletes all data, because a new server per test would take seconds. */
  async clear(): Promise<void> {
    const admin = this.stack.postgres.connect(DATABASE);
    await admin`truncate triage.entry, triage.entry_group, triage.tally, triage.incident, triage.outbox`;
    await admin.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.store, this.other].map((store) => store[Symbol.asyncDispose]()));
    await this.stack[Symbol.asyncDispose]();
  }
}

function anEntry(sequence: number, changes: Partial<Entry> = {}): Entry {
  return {
    group: groupOf("malformed", "$.played_ms", "9.2"),
    detail: "expected int; found string",
    sourceStream: "HEARTBEATS",
    sourceSequence: sequence,
    sourceIndex: 0,
    rejectedBy: "royalty",
    receivedAtMs: NOW,
    quarantinedAt: NOW,
    subject: "quarantine.malformed",
    deviceId: "d-1",
    bytes: new TextEncoder().encode(`body ${sequence}`),
    ...changes,
  };
}

const guarantees: { name: string; check: (rig: QuarantineRig) => Promise<void> }[] = [];
function guarantee(name: string, check: (rig: QuarantineRig) => Promise<void>): void {
  guarantees.push({ name, check });
}

guarantee("a redelivered entry is stored once and counted once", async (rig) => {
  const { store, other } = rig;
  const batch = [1, 2, 3].map((sequence) => anEntry(sequence));
  assertEquals(await store.store(batch), { added: 3, known: 0 });
  assertEquals(await store.store([...batch, anEntry(4)]), { added: 1, known: 3 });
  // Twice in one batch: live and royalty rejected it more than the duplicate window apart.
  assertEquals(await store.store([anEntry(5), anEntry(5, { rejectedBy: "live" })]), {
    added: 1,
    known: 1,
  });
  // Two workers with the same entries at the same time.
  const many = Array.from({ length: 500 }, (_, i) => anEntry(100 + i));
  const stored = await Promise.all([store.store(many), other.store(many.toReversed())]);
  assertEquals(stored[0].added + stored[1].added, 500);

  const [group] = await store.groups(NOW, 10);
  assertEquals(group?.entries, 505);
  assertEquals(await store.measure(NOW, 86_400_000), {
    depth: 505,
    growthPerMinute: 505,
    groups: 1,
  });
});

guarantee("the original bytes are returned exactly", async (rig) => {
  const bodies = [
    new Uint8Array(0),
    Uint8Array.from({ length: 256 }, (_, i) => i),
    new Uint8Array(1024 * 1024).fill(0xff),
    new TextEncoder().encode('{"a":"\\u0000 \u{1f600}"}'),
  ];
  await rig.store.store(
    bodies.map((bytes, i) => anEntry(i, { bytes, quarantinedAt: NOW + i })),
  );
  // A recreated stream counts from 1 again: same source, different bytes, another entry.
  await rig.store.store([anEntry(0, { bytes: new Uint8Array([7]), quarantinedAt: NOW + 9 })]);

  const entries = await rig.store.entries(anEntry(0).group.groupId, 10);
  const back = entries.toReversed().map(({ bytes }) => new Uint8Array(bytes));
  assertEquals(back, [...bodies, new Uint8Array([7])]);
  assertEquals(entries.map(({ entryId: _, bytes: __, ...entry }) => entry)[4], {
    detail: "expected int; found string",
    sourceStream: "HEARTBEATS",
    sourceSequence: 0,
    sourceIndex: 0,
    rejectedBy: "royalty",
    receivedAtMs: NOW,
    quarantinedAt: NOW,
    subject: "quarantine.malformed",
    deviceId: "d-1",
  });
});

guarantee("groups equal a naive count of the entries stored", async (rig) => {
  const random = propertyRandom("groups against a naive model");
  const model = new Map<string, Entry>();
  for (let batch = 0; batch < 20; batch++) {
    const entries = Array.from({ length: random.int(1, 60) }, () => {
      const sequence = random.int(1, 400);
      const group = groupOf(
        random.pick(["malformed", "not_json"]),
        "$",
        random.pick(["1", "2", "3"]),
      );
      const deviceId = random.pick([undefined, "d-1", "d-2", "d-3"]);
      const receivedAtMs = NOW - random.int(0, 1_000_000);
      return anEntry(sequence, { group, deviceId, receivedAtMs, quarantinedAt: receivedAtMs + 5 });
    });
    for (const entry of entries) {
      const key = `${entry.sourceSequence}`;
      if (!model.has(key)) model.set(key, entry);
    }
    await rig.store.store(entries);
  }

  const rows = await rig.store.groups(NOW, 100);
  const kept = [...model.values()];
  for (const row of rows) {
    const own = kept.filter((entry) => entry.group.groupId === row.groupId);
    const [one] = own;
    assertExists(one, `group ${row.groupId} is not in the model`);
    const times = own.map((entry) => entry.receivedAtMs);
    const devices = new Set(own.map((entry) => entry.deviceId).filter(Boolean));
    const recent = own.filter((entry) => entry.quarantinedAt > NOW - 300_000);
    assertEquals({ ...row }, {
      ...one.group,
      firstSeenMs: Math.min(...times),
      lastSeenMs: Math.max(...times),
      entries: own.length,
      perMinute: recent.length / 5,
      devices: devices.size,
    });
  }
  assertEquals(rows.reduce((sum, row) => sum + row.entries, 0), kept.length);
  assertEquals(rows, rows.toSorted((a, b) => b.lastSeenMs - a.lastSeenMs), "newest first");
  const [first] = rows;
  assertExists(first);
  assertEquals(await rig.store.groupsLike(NOW, first.groupId.slice(0, 6), 2), [first]);
  assertEquals(await rig.store.groupsLike(NOW, "ffffffffffff", 2), []);
});

guarantee(
  "a reason has a limited number of groups, and a group of all that is beyond",
  async (rig) => {
    const { store } = rig;
    const ofBuild = (sequence: number, reason = "malformed") =>
      anEntry(sequence, { group: groupOf(reason, "$.v", `build ${sequence}`) });
    const attack = Array.from({ length: 500 }, (_, i) => ofBuild(i));
    assertEquals(
      await store.store([...attack, anEntry(900, { group: groupOf("not_json", "$", "1") })]),
      {
        added: 501,
        known: 0,
      },
    );
    assertEquals(
      await store.store([...attack, ofBuild(600), ofBuild(3), ofBuild(700, "conflict")]),
      {
        added: 2,
        known: 501,
      },
    );
    // A group that is there takes more, whatever is full.
    assertEquals((await store.store([{ ...ofBuild(3), sourceSequence: 901 }])).added, 1);

    const groups = await store.groups(NOW, 100);
    const ofReason = (reason: string) => groups.filter((group) => group.reason === reason);
    assertEquals(ofReason("malformed").length, MAX_GROUPS + 1);
    assertEquals([ofReason("not_json").length, ofReason("conflict").length], [1, 1]);
    const { groupId } = overflowOf("malformed");
    const overflow = groups.find((group) => group.groupId === groupId);
    assertEquals([overflow?.path, overflow?.build, overflow?.entries], [
      "*",
      "*",
      501 - MAX_GROUPS,
    ]);
    assertEquals(groups.reduce((sum, { entries }) => sum + entries, 0), 504);
    assertEquals((await store.entries(groupId, 1_000)).length, 501 - MAX_GROUPS);
  },
);

guarantee("entries past their retention are deleted, and their counts stay", async (rig) => {
  const { store } = rig;
  const at = (sequence: number, ageMs: number, build: string) =>
    anEntry(sequence, {
      group: groupOf("malformed", "$.v", build),
      receivedAtMs: NOW - ageMs,
      quarantinedAt: NOW - ageMs,
    });
  await store.store([at(1, 31 * DAY_MS, "old"), at(2, 31 * DAY_MS, "both"), at(3, 0, "both")]);
  // A clock that is ahead by a year.
  assertEquals(await store.forget(NOW + 365 * DAY_MS, 40 * DAY_MS), 0);
  assertEquals(await store.forget(NOW, 30 * DAY_MS), 2);
  assertEquals(await store.forget(NOW, 30 * DAY_MS), 0);
  const counts = async () =>
    (await store.groups(NOW, 100)).map(({ build, entries }) => `${build} ${entries}`).sort();
  assertEquals(await counts(), ["both 2", "old 1"]);
  assertEquals((await store.entries(at(2, 0, "both").group.groupId, 9)).length, 1);

  // Once a reason has as many groups as it may, those without entries make place.
  await store.store(Array.from({ length: MAX_GROUPS }, (_, i) => at(10 + i, DAY_MS, `new ${i}`)));
  await store.forget(NOW, 30 * DAY_MS);
  assertEquals((await counts()).includes("old 1"), false);
  assertEquals((await store.groups(NOW, 100)).find(({ build }) => build === "*")?.entries, 3);
  await store.store([at(90, 0, "latest")]);
  assertEquals((await counts()).includes("latest 1"), true);
  const sum = (await store.groups(NOW, 100)).reduce((total, { entries }) => total + entries, 0);
  assertEquals(sum, 3 + MAX_GROUPS + 1);
});

guarantee("depth and growth count the entries of their windows", async (rig) => {
  const { store } = rig;
  const at = (ms: number, sequence: number) => anEntry(sequence, { quarantinedAt: NOW + ms });
  const spammy = groupOf("not_json", "$", "6.6");
  await store.store([at(-7_200_000, 1), at(-600_000, 2), at(-30_000, 3)]);
  await store.store([4, 5].map((n) => anEntry(n, { group: spammy, quarantinedAt: NOW - 1_000 })));
  assertEquals(await store.measure(NOW, 3_600_000), { depth: 4, growthPerMinute: 3, groups: 2 });
  assertEquals(await store.largestGroup(NOW), { ...spammy, entries: 2 });
  assertEquals(await store.largestGroup(NOW + 61_000), undefined);

  await store.deleteTally(NOW - 3_600_000);
  assertEquals((await store.measure(NOW, 86_400_000)).depth, 4);
});

guarantee(
  "an alert is decided and queued in one transaction, and only one worker opens it",
  async (rig) => {
    const { store, other } = rig;
    const limit: Limit = { measure: "depth", opensAbove: 1, resolvesBelow: 1 };
    const incidentOf = (incidentId: string): Incident => ({
      incidentId,
      measure: "depth",
      openedAtMs: NOW,
    });
    const outgoingOf = (incidentId: string, status: "open" | "resolved") => ({
      messageId: `${incidentId}.${status}`,
      subject: "alerts.quarantine.all",
      alert: alertOf(incidentOf(incidentId), status, limit, 2, NOW),
    });
    const won = await Promise.all([
      store.open(incidentOf("a"), outgoingOf("a", "open")),
      other.open(incidentOf("b"), outgoingOf("b", "open")),
    ]);
    assertEquals(won.filter(Boolean).length, 1);
    const [open, ...more] = await other.openIncidents();
    assertExists(open);
    assertEquals(more, []);
    assertEquals(await store.outbox(), [outgoingOf(open.incidentId, "open")]);

    const resolved = outgoingOf(open.incidentId, "resolved");
    assert(await other.resolve(open, NOW, resolved));
    assert(!(await store.resolve(open, NOW, resolved)), "resolved twice");
    assertEquals(await store.openIncidents(), []);
    assertEquals((await store.outbox()).map(({ alert }) => alert.status), ["open", "resolved"]);

    // The queued alert cannot be written, so the incident must not be either.
    await assertRejects(() => store.open(incidentOf("c"), resolved));
    assertEquals(await store.openIncidents(), []);

    await store.deleteFromOutbox(`${open.incidentId}.open`);
    assertEquals((await store.outbox()).map(({ alert }) => alert.status), ["resolved"]);
  },
);

guarantee(
  "an unavailable database is RetryAfter, a missing schema is Stop",
  async (rig) => {
    const bare = new Quarantine(roleUrl(rig.stack.postgres, "triage", "postgres"));
    await assertRejects(() => bare.groups(NOW, 1), Stop, "has not run on this database");
    await bare[Symbol.asyncDispose]();

    await rig.stack.postgres.stop("SIGQUIT");
    await assertRejects(() => rig.store.store([anEntry(1)]), RetryAfter, "Postgres");
    await rig.stack.postgres.start();
    assertEquals((await rig.store.store([anEntry(1)])).added, 1);
  },
);

Deno.test("the quarantine in Postgres", async (test) => {
  await using rig = await QuarantineRig.start();
  for (const { name, check } of guarantees) {
    await test.step(name, async () => {
      await rig.clear();
      await check(rig);
    });
  }
});
