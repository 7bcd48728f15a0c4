import { assertEquals, assertExists } from "@std/assert";
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { Refused, RetryAfter } from "../../shared/process/errors.ts";
import { Log } from "../../shared/process/log.ts";
import type { StoredStatement } from "../statement/chain.ts";
import type { Closed, NextClose } from "./closer.ts";
import { Scheduler } from "./scheduler.ts";

const HOUR_MS = 3_600_000;

/** A closer in memory, whose days are an hour long, and the ordered list of what it was asked. */
class Rig {
  now = 0;
  readonly effects: string[] = [];
  next: NextClose | undefined;
  trouble: Error | undefined;
  filesMissing: string | undefined;
  natsIsDown = false;
  overdueSeconds = 0;
  readonly closedAtSeconds: number[] = [];
  readonly scheduler: Scheduler;

  constructor() {
    this.scheduler = new Scheduler({
      next: () => Promise.resolve(this.next),
      close: (day) => this.#close(day),
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
    if (this.trouble) return Promise.reject(this.trouble);
    assertExists(this.next);
    this.next = { day: `${day}+`, due: this.next.due + HOUR_MS };
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

Deno.test("days close in their time, one after the other, and none early", async () => {
  const rig = new Rig();
  assertEquals(await rig.scheduler.step(), 10_000);
  rig.next = { day: "d", due: 10_000 };
  assertEquals(await rig.scheduler.step(), 10_000);
  rig.now = 9_999;
  assertEquals(await rig.scheduler.step(), 1);
  assertEquals(rig.effects, ["restore files"]);
  rig.now = 10_000 + HOUR_MS;
  assertEquals([await rig.scheduler.step(), await rig.scheduler.step()], [0, 0]);
  assertEquals(await rig.scheduler.step(), 10_000);
  assertEquals(rig.effects, ["restore files", "close d", "close d+"]);
});

Deno.test("a refused close is tried again less and less often, and on-call hears once", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0 };
  rig.trouble = new Refused("d cannot be closed: a gap");
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
  rig.trouble = undefined;
  await rig.scheduler.step();
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(-2), ["close d", "resolved royalty-close:d"]);
  assertEquals(rig.overdueSeconds, 0);
});

Deno.test("what passes is not on-call's business, and silence of NATS stops nothing", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0 };
  rig.now = HOUR_MS - 1;
  rig.trouble = new RetryAfter("Postgres: restarting", 500);
  await rig.scheduler.step();
  rig.trouble = new Refused("no");
  rig.natsIsDown = true;
  await rig.scheduler.step();
  rig.natsIsDown = false;
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(-2), ["close d", "open royalty-close:d"]);
  rig.natsIsDown = true;
  rig.trouble = undefined;
  await rig.scheduler.step();
  rig.now = 2 * HOUR_MS - 1;
  await rig.scheduler.step();
  rig.natsIsDown = false;
  await rig.scheduler.step();
  assertEquals(rig.effects.slice(-2), ["close d+", "resolved royalty-close:d"]);
});

Deno.test("files that could not be written are tried again with the next look", async () => {
  const rig = new Rig();
  rig.next = { day: "d", due: 0 };
  rig.filesMissing = "the disk is full";
  await rig.scheduler.step();
  await rig.scheduler.step();
  await rig.scheduler.step();
  assertEquals(rig.effects, ["restore files", "close d", "restore files"]);
});
