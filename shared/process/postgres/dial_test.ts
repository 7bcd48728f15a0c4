import { assertEquals, assertThrows } from "@std/assert";
import { Stop } from "../errors.ts";
import { serverOf } from "./dial.ts";

Deno.test("a URL with parameters other than a known sslmode is refused", () => {
  for (const parameter of ["search_path=public", "sslmode=prefer", "DateStyle=SQL"]) {
    const url = `postgres://u:p@127.0.0.1/d?${parameter}`;
    assertThrows(() => serverOf(url), Stop, "sslmode");
  }
});

Deno.test("serverOf parses host, port and sslmode", () => {
  const { host, port, tls, driverUrl } = serverOf(
    "postgres://u:p@[::1]:5433/d?sslmode=verify-full",
  );
  assertEquals([host, port, tls], ["::1", 5433, "verified"]);
  assertEquals(driverUrl, "postgres://u:p@[::1]:5433/d");
  assertEquals(serverOf("postgres://u@db/d").port, 5432);
  assertEquals(serverOf("postgres://u@db/d").tls, "off");
});
