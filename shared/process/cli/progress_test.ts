import { assert, assertEquals } from "@std/assert";
import { captureIo } from "./io.ts";
import { progress, progressLine } from "./progress.ts";

/** Progress on a captured terminal with a clock set by hand. */
function watched(total?: number, isTerminal = true, columns = 60) {
  const { io, err } = captureIo(isTerminal);
  const clock = { ms: 1_000 };
  const shown = progress("recount", total, {
    to: io.err,
    nowMs: () => clock.ms,
    columns: () => columns,
  });
  const at = (ms: number, done: number) => {
    clock.ms = 1_000 + ms;
    shown.at(done);
  };
  return { shown, at, err };
}

Deno.test("one line is updated in place and cleared at the end", () => {
  const { shown, at, err } = watched(10_000);
  at(200, 500);
  at(1_000, 2_500);
  shown.end();
  at(2_000, 5_000);
  shown.end();
  assertEquals(err().split("\r\x1b[K"), [
    "",
    "recount 500/10,000  5%  2,500/s  4 s left",
    "recount 2,500/10,000  25%  2,500/s  3 s left",
    "",
  ]);
});

Deno.test("the line is updated at most five times a second", () => {
  const { at, err } = watched(10_000);
  for (let ms = 0; ms <= 2_000; ms++) at(ms, ms);
  assertEquals(err().split("\r").length - 1, 10);
});

Deno.test("short work and output that is not a terminal show nothing", () => {
  const short = watched(10);
  short.at(0, 1);
  short.at(199, 10);
  short.shown.end();
  assertEquals(short.err(), "");

  const piped = watched(10, false);
  piped.at(5_000, 1);
  piped.shown.end();
  assertEquals(piped.err(), "");
});

Deno.test("a total that becomes known later is shown", () => {
  const { shown, at, err } = watched();
  at(200, 1);
  shown.at(1, 4);
  at(400, 2);
  assertEquals(err().split("\r\x1b[K").slice(1), [
    "recount 1  5.0/s",
    "recount 2/4  50%  5.0/s  1 s left",
  ]);
});

Deno.test("using ends the progress", () => {
  const { shown, at, err } = watched();
  {
    using _ = shown;
    at(200, 1);
  }
  assert(err().endsWith("\r\x1b[K"));
});

Deno.test("the line is shorter than the terminal", () => {
  const { at, err } = watched(10_000, true, 20);
  at(200, 500);
  assertEquals(err(), "\r\x1b[Krecount 500/10,000…");
});

Deno.test("a line has the known values and no control characters", () => {
  assertEquals(progressLine("read", 1_234, undefined, 10), "read 1,234  123/s");
  assertEquals(progressLine("read", 5, 100, 10), "read 5/100  5%  0.5/s  3 min 10 s left");
  assertEquals(progressLine("read", 1, 10_000, 1), "read 1/10,000  0%  1.0/s  2 h 46 min left");
  assertEquals(progressLine("read", 0, 10, 1), "read 0/10  0%  0.0/s");
  assertEquals(progressLine("read", 999, 1_000, 1), "read 999/1,000  99%  999/s  1 s left");
  assertEquals(progressLine("read", 12, 10, 1), "read 12/10  100%  12/s");
  assertEquals(progressLine("read", 0, 0, 1), "read 0/0  100%  0.0/s");
  assertEquals(progressLine("a\x1b[2J", 1, undefined, 1), "a\\u{1b}[2J 1  1.0/s");
});
