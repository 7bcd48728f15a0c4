import { assert, assertEquals, assertExists, assertRejects } from "@std/assert";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { RetryAfter } from "../../shared/process/errors.ts";
import type { RoutedEvent } from "../admit.ts";
import type { OutgoingMessage } from "./messages.ts";
import { type Landing, Publisher, type PublisherOptions } from "./publisher.ts";
import { NotStored } from "../refusals.ts";

const OPTIONS: PublisherOptions = {
  partitions: 2,
  maxInFlightEvents: 100,
  maxBatchEvents: 4,
  maxBatchBytes: 1_000,
  maxBatchesInFlight: 2,
  lingerMs: 0,
  deadlineMs: 5_000,
};

/** One batch that the landing received; the test decides its outcome. */
interface Attempt {
  readonly partition: number;
  readonly ids: string[];
  readonly acknowledge: () => void;
  readonly fail: (reason: unknown) => void;
}

/** A landing that holds every batch until the test acknowledges or fails it. */
class HeldLanding implements Landing {
  readonly attempts: Attempt[] = [];
  roundTripMs = 0;
  inFlight = 0;
  maxInFlight = 0;

  async land(partition: number, messages: readonly OutgoingMessage[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const ids = messages.map(({ msgId }) => msgId);
    this.attempts.push({ partition, ids, acknowledge: resolve, fail: reject });
    this.maxInFlight = Math.max(this.maxInFlight, ++this.inFlight);
    await promise.finally(() => this.inFlight -= 1);
  }

  /** The attempt with this index, once it has been made. */
  attempt(index: number): Promise<Attempt> {
    return waitFor(`attempt ${index}`, () => this.attempts[index]);
  }
}

/** Events that share no message: each has a subject of its own. */
function someEvents(ids: string, partition = 0, bytes = 10): RoutedEvent[] {
  return [...ids].map((msgId) => {
    const subject = `hb.${partition}.${msgId}`;
    return { bytes: new Uint8Array(bytes), partition, subject, msgId, device: 0 };
  });
}

/** The current state of a promise. */
function followed(promise: Promise<void>): { state: "pending" | "done" | RetryAfter } {
  const seen: { state: "pending" | "done" | RetryAfter } = { state: "pending" };
  promise.then(() => seen.state = "done", (error) => seen.state = error);
  return seen;
}

Deno.test("publish resolves only after every event's batch has been acknowledged", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, OPTIONS);
  const request = followed(publisher.publish(someEvents("abcdef"), "tv"));
  (await landing.attempt(0)).acknowledge();
  const second = await landing.attempt(1);
  assertEquals(landing.attempts.map(({ ids }) => ids.join("")), ["abcd", "ef"]);
  assertEquals(request.state, "pending");
  assertEquals(publisher.eventsInFlight, 6);
  second.acknowledge();
  await waitFor("the request", () => request.state === "done");
  assertEquals(publisher.eventsInFlight, 0);
});

Deno.test("requests share a batch, and each waits for its own events only", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, OPTIONS);
  const first = followed(publisher.publish(someEvents("ab"), "tv"));
  const second = followed(publisher.publish(someEvents("cde"), "tv"));
  const [full, rest] = [await landing.attempt(0), await landing.attempt(1)];
  assertEquals([full.ids.join(""), rest.ids.join("")], ["abcd", "e"]);
  full.acknowledge();
  await waitFor("the first request", () => first.state === "done");
  assertEquals(second.state, "pending");
  rest.acknowledge();
  await waitFor("the second request", () => second.state === "done");
});

Deno.test("batches are bounded in events, in bytes and in number", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, { ...OPTIONS, maxBatchBytes: 25 });
  const request = followed(publisher.publish(someEvents("abcdefgh"), "tv"));
  await landing.attempt(1);
  assertEquals(landing.attempts.map(({ ids }) => ids.join("")), ["ab", "cd"]);
  landing.attempts.forEach(({ acknowledge }) => acknowledge());
  await landing.attempt(3);
  landing.attempts.forEach(({ acknowledge }) => acknowledge());
  await waitFor("the request", () => request.state === "done");
  assertEquals(landing.maxInFlight, 2);
  const large = followed(publisher.publish(someEvents("x", 0, 999), "tv"));
  (await landing.attempt(4)).acknowledge();
  await waitFor("an event larger than a batch", () => large.state === "done");
});

Deno.test("events in flight are bounded; beyond the limit publish refuses at once", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, { ...OPTIONS, maxInFlightEvents: 5 });
  const request = followed(publisher.publish(someEvents("abcd"), "tv"));
  await assertRejects(() => publisher.publish(someEvents("ef"), "tv"), RetryAfter, "in flight");
  const fits = followed(publisher.publish(someEvents("g"), "web"));
  (await landing.attempt(0)).acknowledge();
  (await landing.attempt(1)).acknowledge();
  await waitFor("both", () => request.state === "done" && fits.state === "done");
});

Deno.test("a batch that fails is sent again whole, with the same message ids", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, OPTIONS);
  const request = followed(publisher.publish(someEvents("abc"), "tv"));
  (await landing.attempt(0)).fail(new RetryAfter("unknown", 1));
  const again = await landing.attempt(1);
  assertEquals(again.ids.join(""), "abc");
  again.acknowledge();
  await waitFor("the request", () => request.state === "done");
});

Deno.test("a request is refused after three attempts, or at once when the retry wait is long", async () => {
  for (const [waitMs, attempts] of [[1, 3], [60_000, 1]] as const) {
    const landing = new HeldLanding();
    const publisher = new Publisher(landing, OPTIONS);
    const request = followed(publisher.publish(someEvents("abc"), "tv"));
    for (let i = 0; i < attempts; i++) {
      (await landing.attempt(i)).fail(new RetryAfter(`cause ${i}`, waitMs));
    }
    await waitFor("the refusal", () => request.state instanceof RetryAfter);
    assert(request.state instanceof RetryAfter);
    assertEquals(request.state.message, `cause ${attempts - 1}`);
    assertEquals(request.state.retryAfterMs, waitMs);
    assertEquals(landing.attempts.length, attempts);
    assertEquals(publisher.eventsInFlight, 0);
  }
});

Deno.test("a request refused for one batch is refused whole, and its other events are not sent", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, { ...OPTIONS, maxBatchesInFlight: 1 });
  const refused = followed(publisher.publish(someEvents("abcdef"), "tv"));
  const other = followed(publisher.publish(someEvents("gh"), "tv"));
  (await landing.attempt(0)).fail(new RetryAfter("full", 60_000));
  await waitFor("the refusal", () => refused.state instanceof RetryAfter);
  const next = await landing.attempt(1);
  assertEquals(next.ids.join(""), "gh");
  next.acknowledge();
  await waitFor("the other request", () => other.state === "done");
});

Deno.test("a partition that fails does not block another", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, { ...OPTIONS, maxBatchesInFlight: 1 });
  const mixed = followed(publisher.publish([...someEvents("ab", 0), ...someEvents("cd", 1)], "tv"));
  const other = followed(publisher.publish(someEvents("ef", 1), "tv"));
  await landing.attempt(1);
  const [zero, one] = [0, 1].map((p) => landing.attempts.find(({ partition }) => partition === p));
  assertExists(zero);
  assertExists(one);
  one.acknowledge();
  if (!one.ids.includes("e")) (await landing.attempt(2)).acknowledge();
  await waitFor("the other request", () => other.state === "done");
  assertEquals(mixed.state, "pending");
  zero.fail(new RetryAfter("full", 60_000));
  await waitFor("the refusal", () => mixed.state instanceof RetryAfter);
});

Deno.test("events that wait past their deadline are refused, not sent", async () => {
  let nowMs = 0;
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, { ...OPTIONS, maxBatchesInFlight: 1 }, () => nowMs);
  const first = followed(publisher.publish(someEvents("abcd"), "tv"));
  const waited = followed(publisher.publish(someEvents("ef"), "tv"));
  nowMs = 3_000;
  const young = followed(publisher.publish(someEvents("gh"), "tv"));
  nowMs = 5_000;
  (await landing.attempt(0)).acknowledge();
  await waitFor("the acknowledged one", () => first.state === "done");
  await waitFor("the late one", () => waited.state instanceof RetryAfter);
  const next = await landing.attempt(1);
  assertEquals(next.ids.join(""), "gh");
  next.acknowledge();
  await waitFor("the young one", () => young.state === "done");
});

Deno.test("an error other than RetryAfter is passed to the request unchanged", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, OPTIONS);
  const request = publisher.publish(someEvents("abcd"), "tv");
  (await landing.attempt(0)).fail(new TypeError("a bug"));
  await assertRejects(() => request, TypeError, "a bug");
  assert(landing.attempts.length === 1);
});

Deno.test("fleets share what may be in flight and are stored in turn: none waits for all of another one's", async () => {
  const landing = new HeldLanding();
  const publisher = new Publisher(landing, { ...OPTIONS, maxInFlightEvents: 100, lingerMs: 0 });
  const wide = "abcdefghijklmnopqrstuvwxyz".repeat(3);
  const greedy = followed(publisher.publish(someEvents(wide), "greedy"));
  const error = await assertRejects(
    () => publisher.publish(someEvents("0123456789ABCDEF"), "greedy"),
    NotStored,
  );
  assertEquals(error.reason, "fleet_share");
  const other = followed(publisher.publish(someEvents("01"), "other"));
  // Two batches were under way, and it is the greedy one's turn. Then it is the other one's.
  for (const index of [0, 1]) (await landing.attempt(index)).acknowledge();
  const fourth = await landing.attempt(3);
  assertEquals(fourth.ids.slice(0, 2), ["0", "1"]);
  fourth.acknowledge();
  await waitFor("the other fleet", () => other.state === "done");
  assertEquals(greedy.state, "pending");
  assertEquals(publisher.eventsInFlightOf.map(([fleet]) => fleet), ["greedy", "other"]);
});
