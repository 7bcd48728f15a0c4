import { assertEquals } from "@std/assert";
import { captureIo } from "../../process/cli/io.ts";
import type { Snapshot } from "./observer.ts";
import { Terminal } from "./terminal.ts";

const FIRST: Snapshot = {
  atMs: 5_000,
  accepted: 1_000,
  messages: 1_100,
  lag: { live: 1, royalty: 20, triage: 0 },
  openAlerts: 2,
  quarantined: 3,
  creditedMs: 120_000,
  counted: 900,
  duplicates: 4,
};

Deno.test("on a terminal the view is redrawn in place, below the notes", () => {
  const { io, out } = captureIo(true);
  const terminal = new Terminal(0, io.out);
  terminal.show(FIRST);
  terminal.note(6_000, "a fault");
  assertEquals(out().split("\n"), [
    "events/s  accepted  messages  counted  duplicates  minutes",
    "       0     1,000     1,100      900           4        2",
    "lag of live  of royalty  of triage  open alerts  quarantined",
    "          1          20          0            2            3",
    "\x1b[4A\x1b[J   6.0 s  a fault",
    "",
  ]);
});

Deno.test("without a terminal the view is a line at intervals", () => {
  const { io, out } = captureIo();
  const terminal = new Terminal(0, io.out);
  terminal.show(FIRST);
  terminal.show({ ...FIRST, atMs: 6_000 });
  terminal.show({ ...FIRST, atMs: 10_000, accepted: 1_400 });
  assertEquals(out().split("\n"), [
    "   5.0 s  events/s 0 | accepted 1,000 | messages 1,100 | counted 900 | duplicates 4 | " +
    "minutes 2 | lag of live 1 | of royalty 20 | of triage 0 | open alerts 2 | quarantined 3",
    "  10.0 s  events/s 100 | accepted 1,400 | messages 1,100 | counted 900 | duplicates 4 | " +
    "minutes 2 | lag of live 1 | of royalty 20 | of triage 0 | open alerts 2 | quarantined 3",
    "",
  ]);
});
