import { assertEquals } from "@std/assert";
import { TimeoutError } from "nats";
import { JetStreamError } from "nats/jetstream";
import { messageOf, RetryAfter } from "./errors.ts";
import { durableProblem, natsFailure } from "./nats.ts";

Deno.test("only a durable that does not exist is said to be made by provisioning", () => {
  const problem = (error: Error) => durableProblem("HEARTBEATS", "royalty", error);
  assertEquals(problem(new TimeoutError()), "durable HEARTBEATS/royalty: NATS does not answer");
  assertEquals(
    problem(new Error("consumer not found")),
    "durable HEARTBEATS/royalty: consumer not found (created by deno task provision)",
  );
});

Deno.test("a failure of NATS may pass, and another error stays what it is", () => {
  const silent = natsFailure(new JetStreamError("heartbeats missed"), 500);
  assertEquals(silent instanceof RetryAfter && silent.retryAfterMs, 500);
  assertEquals(messageOf(silent), "consumer idle heartbeats missed");
  const bug = new TypeError("x is undefined");
  assertEquals(natsFailure(bug, 500), bug);
});
