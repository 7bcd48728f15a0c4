import { assert, assertEquals } from "@std/assert";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { DeviceLoss } from "./device_loss.ts";

/** Naive count: every number between the first and the last is either received or missing. */
function naive(arrived: readonly (readonly [string, number])[]) {
  const sessions = new Map<string, Set<number>>();
  for (const [id, seq] of arrived) {
    sessions.set(id, (sessions.get(id) ?? new Set()).add(seq));
  }
  let [received, missing] = [0, 0];
  for (const seqs of sessions.values()) {
    received += seqs.size;
    missing += Math.max(...seqs) - Math.min(...seqs) + 1 - seqs.size;
  }
  return { sessions: sessions.size, sampled: 1, received, missing };
}

function lossOf(arrived: readonly (readonly [string, number])[], maxSessions?: number) {
  const loss = new DeviceLoss(maxSessions);
  for (const [id, seq] of arrived) loss.add(id, seq);
  return loss.estimate();
}

Deno.test("missing numbers are counted once, whatever the order of arrival", () => {
  const random = propertyRandom("device loss against a naive count");
  for (let run = 0; run < 100; run++) {
    const sent = Array.from({ length: random.int(1, 12) }, (_, session) => {
      const first = random.int(0, 50);
      return Array.from(
        { length: random.int(1, 60) },
        (_, i) => [`s-${session}`, first + i] as const,
      );
    }).flat();
    const arrived = sent.filter(() => random.chance(0.8));
    const repeated = arrived.filter(() => random.chance(0.1));
    const shuffled = random.shuffle([...arrived, ...repeated]);
    assertEquals(lossOf(shuffled), naive(shuffled));
  }
});

Deno.test("a session that restarts its count has lost nothing", () => {
  const missing = (seq: number) => lossOf([["a", 0], ["a", seq]]).missing;
  assertEquals(missing(1), 0);
  assertEquals(missing(8_641), 8_640);
  assertEquals(missing(8_642), 0);
  assertEquals(missing(Number.MAX_SAFE_INTEGER), 0);
  assertEquals(lossOf([]), { sessions: 0, sampled: 1, received: 0, missing: 0 });
});

Deno.test("with more sessions than are kept, a sample estimates the total", () => {
  const random = new Random(5);
  const arrived = Array.from(
    { length: 20_000 },
    (_, session) =>
      Array.from({ length: 10 }, (_, seq) => [`s-${session}`, seq] as const)
        // The first and last always arrive, so that the naive count knows every loss.
        .filter(([, seq]) => seq === 0 || seq === 9 || random.chance(0.9)),
  ).flat();
  const truth = naive(arrived);
  const { sessions, sampled, received, missing } = lossOf(random.shuffle(arrived), 1_000);
  assert(sessions <= 1_000 && sessions > 400, `${sessions} sessions`);
  assertEquals(Math.log2(1 / sampled) % 1, 0);
  assert(Math.abs(received / truth.received - 1) < 0.1, `${received} of ${truth.received}`);
  assert(Math.abs(missing / truth.missing - 1) < 0.15, `${missing} of ${truth.missing}`);
});
