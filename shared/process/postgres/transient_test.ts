import { assertEquals, assertStrictEquals } from "@std/assert";
import postgres from "postgres";
import { Refused, RetryAfter, Stop } from "../errors.ts";
import { isSchemaMissing, isTransient, retryable, stateOf } from "./transient.ts";

// The driver's declaration says a string; its code takes the fields of an answer.
function answer(code: string): Error {
  return Object.assign(new postgres.PostgresError(code), { code });
}

function withCode(code: string): Error {
  return Object.assign(new Error("no way to the server"), { code });
}

Deno.test("errors of connection, resources, shutdown and conflicts are transient", () => {
  const states = ["08006", "25006", "25P03", "28P01", "3D000", "40001", "40P01", "53300", "55P03"];
  for (const state of [...states, "57014", "57P01", "57P03", "57P05"]) {
    assertEquals(isTransient(answer(state)), true, state);
  }
  for (const code of ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOTFOUND", "CONNECTION_ENDED"]) {
    assertEquals(isTransient(withCode(code)), true, code);
  }
  assertEquals(isTransient(new RetryAfter("later", 1)), true);
});

Deno.test("errors in statements, in data and in our code are not transient", () => {
  for (const state of ["22P02", "23505", "25P02", "42601", "42501", "42P01", "55006", "XX000"]) {
    assertEquals(isTransient(answer(state)), false, state);
  }
  const own = [new TypeError("x is null"), new Stop("no"), new Refused("no"), new Error("no")];
  for (const error of [...own, withCode("UNSAFE_TRANSACTION"), withCode("ENOENT"), "text", null]) {
    assertEquals(isTransient(error), false, String(error));
  }
});

Deno.test("retryable makes transient errors RetryAfter and returns others unchanged", () => {
  const refused = withCode("ECONNREFUSED");
  const outcome = retryable(refused, 70);
  assertEquals(outcome instanceof RetryAfter && [outcome.retryAfterMs, outcome.cause], [
    70,
    refused,
  ]);
  for (const error of [new RetryAfter("later", 1), answer("23505"), new TypeError("no")]) {
    assertStrictEquals(retryable(error), error);
  }
});

Deno.test("isSchemaMissing recognises missing tables, columns and schemas", () => {
  assertEquals(
    ["42P01", "42703", "3F000", "42601"].map((state) => isSchemaMissing(answer(state))),
    [
      true,
      true,
      true,
      false,
    ],
  );
});

Deno.test("only errors that Postgres returned have a SQLSTATE", () => {
  const errors = [answer("23505"), withCode("ECONNRESET"), new RetryAfter("later", 1), "57P01"];
  assertEquals(errors.map(stateOf), ["23505", undefined, undefined, undefined]);
});
