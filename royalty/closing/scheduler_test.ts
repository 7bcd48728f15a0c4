import { assertEquals, assertExists } from "@std/assert";
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { Refused, RetryAfter } from "../../shared/process/errors.ts";
import { Log } from "../../shared/process/log.ts";
import type { StoredStatement } from "../statement/chain.ts";
import type { Closed, NextClose } from "./closer.ts";
import { Scheduler } from "./scheduler.ts";

const HOUR_MS = 3_600_000;

/** A closer in memory with days of an hour, and the ordered list of its effects. */
class Rig {
  now = 0;
  readonly effects: string[] = [];
  next: NextClose | undefined;
  failure: Error | undefined;
  filesMissing: string | undefined;
  natsIsDown = false;
  overdueSeconds = 0;
  closedAtMs: number | undefined;
  readonly closedAtSeconds: number[] = [];
  readonly scheduler: Scheduler;

  constructor() {
    this.scheduler = new Scheduler({
      next: () => Promise.resolve(this.next),
      close: (day) => this.#close(day),
      lastCloseMs: () => Promise.resolve(this.closedAtMs),
      restoreFiles: () => {
        this.effects.push("restore files");
        return Promise.resolve(0);
      },
    }, {
      alert: (alert) => this.#alert(alert),
      log: new Log("scheduler", "error"),
      now: () => this.now,
      report: {
        overdue: (seconds) => void (this.overdueSeconds = seconds),
        closed: (atSeconds) => void this.closedAtSeconds.push(atSeconds),
      },
    });
  }

  #alert({ status, incident_id }: PipelineAlert): Promise<void> {
    if (this.natsIsDown) return Promise.reject(new RetryAfter("NATS is down", 1));
    this.effects.push(`${status} ${incident_id}`);
    return Promise.resolve();
  }

  #close(day: string): Promise<Closed> {
    this.effects.push(`close ${day}`);
    if (this.failure) return Promise.reject(this.failure);
    assertExists(this.next);
    this.next = { day: `${day}+`, due: this.next.due + HOUR_MS, isOpened: true };
    const statement = anEmptyStatement(day);
    return Promise.resolve({ outcome: "closed", statement, filesMissing: this.filesMissing });
  }
}

function anEmptyStatement(day: string): StoredStatement {
  return {
    day,
    version: 1,
    csv: new Uint8Array(),
    manifest: new TextEncoder().encode('{ "recount": null }'),
    sha256: "",
    manifestSha256: "",
    previousSha256: undefined,
    rows: 0,
    events: 0n,
    ms: 0n,
  };
}

Deno.test("days close in order when they are due, not earlier", async () => {
  const rig = new Rig();
  assertEquals(await rig.scheduler.step(), 10_000);
  rig.next = { day: "d", due: 10_000, isOpened: true };
  assertEquals(await rig.scheduler.step(), 10_000);
  rig.now = 9_999;
  assertEquals(await rig.scheduler.step(), 1);
  assertEquals(rig.effects, ["restore files"]);
  rig.now = 10_000 + HOUR_MS;
  assertEquals([await rig.scheduler.step(), await rig.scheduler.step()], [0, 0]);
  assertEquals(await rig.scheduler.step(), 10_000);
  assertEquals(rig.effects, ["restore files", "close d", "close d+"]);
});

Deno.test("a refused close is retried with backoff and alerts on-call once", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0, isOpened: true };
  rig.failure = new Refused("d cannot be closed: a gap");
  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    const waitMs = await rig.scheduler.step();
    waits.push(waitMs);
    rig.now += waitMs;
  }
  assertEquals(waits.slice(0, 4), [5_000, 10_000, 20_000, 40_000]);
  assertEquals(waits.at(-1), 600_000);
  assertEquals(rig.effects.filter((each) => each.startsWith("open")), ["open royalty-close:d"]);
  assertEquals(rig.overdueSeconds > 900, true);
  rig.failure = undefined;
  await rig.scheduler.step();
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(-2), ["close d", "resolved royalty-close:d"]);
  assertEquals(rig.overdueSeconds, 0);
});

Deno.test("a RetryAfter does not alert, and days close while NATS is down", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0, isOpened: true };
  rig.now = HOUR_MS - 1;
  rig.failure = new RetryAfter("Postgres: restarting", 500);
  await rig.scheduler.step();
  rig.failure = new Refused("no");
  rig.natsIsDown = true;
  await rig.scheduler.step();
  rig.natsIsDown = false;
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(-2), ["close d", "open royalty-close:d"]);
  rig.natsIsDown = true;
  rig.failure = undefined;
  await rig.scheduler.step();
  rig.now = 2 * HOUR_MS - 1;
  await rig.scheduler.step();
  rig.natsIsDown = false;
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(-2), ["close d+", "resolved royalty-close:d"]);
});

Deno.test("files that could not be written are retried in a later step", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0, isOpened: true };
  rig.filesMissing = "the disk is full";
  await rig.scheduler.step();
  await rig.scheduler.step();
  await rig.scheduler.step();
  assertEquals(rig.effects, ["restore files", "close d", "restore files"]);
});

Deno.test("the time of the last close is reported from the first look on", async () => {
  const rig = new Rig();
  await rig.scheduler.step();
  assertEquals(rig.closedAtSeconds, []);
  rig.closedAtMs = 1_700_000_000_000;
  await rig.scheduler.step();
  assertEquals(rig.closedAtSeconds, [1_700_000_000]);
});

Deno.test("before the first day is decided nothing closes, on-call is told, and then it goes on", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0, isOpened: false };
  rig.now = 1_000;
  assertEquals(await rig.scheduler.step(), 10_000);
  rig.now = HOUR_MS;
  await rig.scheduler.step();
  assertEquals(rig.effects, ["restore files", "open royalty-close:d"]);
  rig.next = { day: "e", due: 0, isOpened: true };
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(2), ["resolved royalty-close:d", "close e"]);
});
