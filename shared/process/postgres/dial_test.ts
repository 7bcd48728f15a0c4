import { assertEquals, assertThrows } from "@std/assert";
import { Stop } from "../errors.ts";
import { serverOf } from "./dial.ts";

Deno.test("a URL cannot change the settings", () => {
  for (const parameter of ["search_path=public", "sslmode=prefer", "DateStyle=SQL"]) {
    const url = `postgres://u:p@127.0.0.1/d?${parameter}`;
    assertThrows(() => serverOf(url), Stop, "sslmode");
  }
});

Deno.test("what a URL says", () => {
  const { host, port, tls, driverUrl } = serverOf(
    "postgres://u:p@[::1]:5433/d?sslmode=verify-full",
  );
  assertEquals([host, port, tls], ["::1", 5433, "verified"]);
  assertEquals(driverUrl, "postgres://u:p@[::1]:5433/d");
  assertEquals(serverOf("postgres://u@db/d").port, 5432);
  assertEquals(serverOf("postgres://u@db/d").tls, "off");
});
