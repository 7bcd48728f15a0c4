import { assert, assertEquals, assertThrows } from "@std/assert";
import { readSettings } from "../config.ts";
import { Stop } from "../errors.ts";
import { postgresSettings, serverOf } from "./server_url.ts";

Deno.test("a URL names host, port, database, user, password and sslmode", () => {
  assertEquals(serverOf("postgres://u%40x:p%2Fw@[::1]:5433/my%20books?sslmode=verify-full"), {
    host: "::1",
    port: 5433,
    database: "my books",
    user: "u@x",
    password: "p/w",
    tls: "verified",
  });
  const { port, password, tls } = serverOf("postgresql://u@db/d");
  assertEquals([port, password, tls], [5432, "", "off"]);
});

Deno.test("a URL that can never work is refused as a setting and as an address, without showing it", () => {
  const wrong = {
    "mysql://root:secret-2@db/d": "a postgres:// URL",
    "postgres://": "a user",
    "postgres://u:secret-2@db:notaport/d": "a port from 1 to 65535",
    "postgres://u:secret-2@db:65536/d": "a port from 1 to 65535",
    "postgres://u:secret-2@db:0/d": "a port from 1 to 65535",
    "postgres://u:secret-2#x@db/d": "special characters of user and password",
    "postgres://u:secret-2@db:5432,c:5432/d": "a port from 1 to 65535",
    "postgres://u:secret-2@b,c/d": "one host",
    "postgres://u:secret-2@/d": "a host",
    "postgres:///d": "a user",
    "postgres://db/d": "a user",
    "postgres://u:secret-2%ZZ@db/d": "begin an escape",
    "postgres://u:secret-2@db/%ff": "begin an escape",
    "postgres://u:secret-2@db": "one database",
    "postgres://u:secret-2@db/": "one database",
    "postgres://u:secret-2@db/a/b": "one database",
    "postgres://u:secret-2@db/d#x": "no #",
    "postgres://u:secret-2@db/d?search_path=secret-2": "sslmode: disable, require",
    "postgres://u:secret-2@db/d?sslmode=prefer": "sslmode: disable, require",
  };
  for (const [url, problem] of Object.entries(wrong)) {
    const setting = assertThrows(
      () => readSettings(postgresSettings, { TWOFOLD_POSTGRES_URL: url }),
      Stop,
      "TWOFOLD_POSTGRES_URL: expected",
    );
    const address = assertThrows(() => serverOf(url), Stop, "wrong Postgres URL: expected");
    for (const { message } of [setting, address]) {
      assert(message.includes(problem), `${url}: ${message}`);
      assert(!message.includes("secret"), message);
    }
  }
});
