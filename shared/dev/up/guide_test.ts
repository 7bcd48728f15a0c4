import { assertEquals, assertMatch } from "@std/assert";
import { guide } from "./guide.ts";

Deno.test("deno task up prints where each service and the board are", () => {
  const service = (port: number) => ({
    url: `http://127.0.0.1:${port}`,
    statusUrl: `http://127.0.0.1:${port + 10}`,
  });
  const services = {
    ingest: service(1),
    live: service(2),
    royalty: service(3),
    triage: service(4),
    pager: service(5),
  };
  const pipeline = {
    services,
    fleetKey: "fleet",
    financeKey: "finance",
    nats: { url: "127.0.0.1:6", monitorPort: 7 },
    ports: { page: 10, finance: 8 },
    postgres: { port: 9 },
  };
  const text = guide(pipeline, ".twofold/nats-cli");
  for (const { statusUrl } of Object.values(services)) {
    assertEquals(text.includes(`${statusUrl}\n`), true, statusUrl);
  }
  assertMatch(text, /^ {2}board {5}http:\/\/127\.0\.0\.1:5\/ {3}\(what is open now/m);
  assertMatch(text, /^ {2}start {5}http:\/\/127\.0\.0\.1:10\/ /m);
});
