import { assertEquals, assertExists } from "@std/assert";
import { AddressList, forwardedClient, networkOf } from "./addresses.ts";
import { CLOSE_REASONS, Connection, ConnectionTable } from "./connections.ts";

/** A table, and the names of the connections that it has closed. */
class Table {
  readonly closed: string[] = [];
  readonly table;

  constructor(maxConnections: number, maxPerAddress = 0) {
    const limits = { maxConnections, maxPerAddress, headerMs: 50, requestMs: 1_000, idleMs: 200 };
    this.table = new ConnectionTable(limits);
  }

  open(name: string, nowMs = 0, address?: string): Connection {
    const connection = new Connection(address, () => void this.closed.push(name));
    this.table.admit(connection, nowMs);
    return connection;
  }
  answered(name: string, nowMs: number, status = 200): Connection {
    const connection = this.open(name, nowMs);
    this.table.begins(connection, nowMs);
    this.table.ends(connection, status, nowMs);
    return connection;
  }
  closedAt(nowMs: number): string {
    this.table.sweep(nowMs);
    return this.closed.splice(0).join();
  }
}

Deno.test("each state ends after its own limit, and a request starts it anew", () => {
  const t = new Table(100);
  t.open("silent");
  t.table.begins(t.open("asks"), 10);
  t.answered("idle", 20);
  t.answered("refused", 20, 401);
  t.answered("to retry", 20, 503);
  assertEquals(t.closedAt(49), "");
  assertEquals(t.closedAt(50), "silent");
  assertEquals(t.closedAt(70), "to retry");
  assertEquals(t.closedAt(220), "idle");
  assertEquals(t.closedAt(520), "refused");
  assertEquals(t.closedAt(1_009), "");
  assertEquals(t.closedAt(1_010), "asks");
  assertEquals(t.table.open, 0);
  const counts = Object.fromEntries(CLOSE_REASONS.map((each) => [each, t.table.closedFor(each)]));
  const expected = { header: 2, request: 1, idle: 1, answer: 1 };
  assertEquals(counts, { ...expected, crowded: 0, address: 0, descriptors: 0 });
});

Deno.test("pipelined requests keep a connection busy until the last is answered", () => {
  const t = new Table(100);
  const connection = t.open("pipelines");
  t.table.begins(connection, 0);
  t.table.begins(connection, 10);
  t.table.ends(connection, 200, 20);
  assertEquals(t.closedAt(900), "");
  t.table.ends(connection, 200, 900);
  assertEquals(t.closedAt(1_099), "");
  assertEquals(t.closedAt(1_100), "pipelines");
});

Deno.test("a newcomer takes the place of the oldest of those that wait, never of a request", () => {
  const t = new Table(4);
  t.answered("idle", 0);
  t.table.begins(t.open("asks", 1), 1);
  t.open("silent 1", 2);
  t.open("silent 2", 3);
  t.table.begins(t.open("newcomer", 4), 4);
  assertEquals(t.closed, ["silent 1"]);
  t.table.begins(t.open("another", 5), 5);
  t.table.begins(t.open("a third", 6), 6);
  assertEquals(t.closed, ["silent 1", "silent 2", "idle"]);
  t.open("too many", 7);
  assertEquals(t.closed.at(-1), "too many");
  assertEquals([t.table.open, t.table.closedFor("crowded")], [4, 4]);
});

Deno.test("an address has its limit, gets its places back, and takes none of others", () => {
  const t = new Table(100, 2);
  const first = t.open("a1", 0, "a");
  t.open("a2", 0, "a");
  t.open("a3", 0, "a");
  t.open("b1", 0, "b");
  assertEquals(t.closed, ["a3"]);
  t.table.remove(first);
  t.table.remove(first);
  t.open("a4", 0, "a");
  t.open("a5", 0, "a");
  assertEquals(t.closed, ["a3", "a5"]);
  assertEquals(t.table.closedFor("address"), 2);
});

Deno.test("in a flood, an address with many silent connections is refused, and no other", () => {
  const limits = { maxConnections: 1_000, maxPerAddress: 100, requestMs: 9e9, idleMs: 9e9 };
  const table = new ConnectionTable({ ...limits, headerMs: 9e9 });
  const open = (address: string, nowMs: number): Connection | undefined => {
    const connection = new Connection(address, () => {});
    return table.admit(connection, nowMs) ? connection : undefined;
  };
  const flood = (nowMs: number) => {
    for (let i = 0; i < 251; i++) table.remove(open(`flood ${i}`, nowMs) as Connection);
    table.sweep(nowMs + 250);
  };
  for (let i = 0; i < 10; i++) open("silent", 0);
  for (let i = 0; i < 9; i++) open("few", 0);
  // As a carrier's address: all of them ask, and are told to come again.
  for (let i = 0; i < 50; i++) {
    const asking = open("busy", 0) as Connection;
    table.begins(asking, 0);
    table.ends(asking, 503, 0);
  }
  table.sweep(249);
  assertExists(open("silent", 249));
  flood(250);
  assertEquals(open("silent", 500), undefined);
  for (const address of ["busy", "few", "new"]) assertExists(open(address, 500));
  assertEquals(table.closedFor("address"), 1);
  table.sweep(750);
  assertExists(open("silent", 750));
});

Deno.test("without descriptors a tenth gives way, and no more are admitted until restored", () => {
  const t = new Table(1_000);
  for (let i = 0; i < 100; i++) t.open(String(i));
  t.table.shrink();
  assertEquals([t.table.open, t.closed.length, t.table.closedFor("descriptors")], [90, 10, 10]);
  t.open("newcomer");
  assertEquals([t.table.open, t.closed.at(-1)], [90, "10"]);
  t.table.restore();
  t.open("another");
  assertEquals(t.table.open, 91);
});

Deno.test("an address of version 6 counts for its block, a mapped one for version 4", () => {
  assertEquals(networkOf("192.0.2.7"), "192.0.2.7");
  assertEquals(networkOf("::ffff:192.0.2.7"), "192.0.2.7");
  assertEquals(networkOf("2001:db8:0:a::1"), networkOf("2001:0db8::a:1:2:3:4"));
  assertEquals(networkOf("::1"), "0:0:0:0::/64");
});

Deno.test("the client is the last address that is no trusted proxy", () => {
  const proxies = new AddressList(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]);
  const of = (header: string | null) => forwardedClient(header, proxies);
  assertEquals(of("198.51.100.1"), "198.51.100.1");
  assertEquals(of("6.6.6.6, 198.51.100.1, 10.1.2.3, 192.0.2.1"), "198.51.100.1");
  assertEquals(of("198.51.100.1,fd00::1,::ffff:10.0.0.1"), "198.51.100.1");
  for (const none of [null, "", "unknown", "10.0.0.1", "198.51.100.1, <script>"]) {
    assertEquals(of(none), undefined, String(none));
  }
});
