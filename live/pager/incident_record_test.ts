import { assertEquals } from "@std/assert";
import type { Alert } from "../../shared/contract/alert.ts";
import { ALERT_EXAMPLES } from "../../shared/contract/alert_examples.ts";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import {
  type IncidentRecord,
  incidentRecordSchema,
  isDone,
  isTooLate,
  isUnheard,
  mergedRecord,
  nextMessage,
  repeatedMessage,
  withAlert,
  withOutcome,
} from "./incident_record.ts";

const { regionOpens, regionDoubles, regionRecovers, buildIsSilenced, noHeartbeats } =
  ALERT_EXAMPLES;
const SUBJECT = "alerts.rebuffer.de._";

/** The record after `alerts` in this order. */
function after(...alerts: readonly Alert[]): IncidentRecord | undefined {
  let record: IncidentRecord | undefined;
  for (const alert of alerts) record = withAlert(record, SUBJECT, alert) ?? record;
  return record;
}

/** What `receiver` gets of `record`, when everything is accepted. */
function everything(record: IncidentRecord | undefined): string[] {
  const steps: string[] = [];
  while (record) {
    const message = nextMessage(record, "w");
    if (message === undefined) break;
    steps.push(`${message.step} ${message.order}`);
    record = withOutcome(record, "w", message.order, "delivered");
  }
  return steps;
}

Deno.test("in any order and number, the same alerts make the same deliveries", () => {
  const random = propertyRandom("records");
  const all: Alert[] = [regionOpens, regionDoubles, regionRecovers];
  for (let round = 0; round < 300; round++) {
    const drawn = Array.from(
      { length: 12 },
      () => all[random.int(0, all.length - 1)] ?? regionOpens,
    );
    const record = after(...drawn, ...all);
    assertEquals(everything(record), ["page 1", "end 3"]);
    assertEquals(record && incidentRecordSchema.parse(record), record);
  }
  assertEquals(everything(after(regionOpens, regionDoubles)), ["page 1", "update 2"]);
});

Deno.test("who has not got the page gets nothing; what is not a page pages nobody", () => {
  const opened = after(regionOpens);
  const refused = opened && withOutcome(opened, "w", 1, "refused");
  const ended = refused && withAlert(refused, SUBJECT, regionRecovers);
  assertEquals(ended && nextMessage(ended, "w"), undefined);
  assertEquals(ended && nextMessage(ended, "other")?.step, "page");
  assertEquals(after(buildIsSilenced), undefined);
  assertEquals(after({ ...noHeartbeats, severity: "ticket" }), undefined);
  const { paged_at: _, ...blip } = { ...regionOpens, page: false, severity: "info" } as const;
  assertEquals(after(blip), undefined);
  assertEquals(after({ ...blip, status: "resolved", update: 2 }), undefined);
});

Deno.test("an incident whose page was missed pages while it is open, and never once it is over", () => {
  assertEquals(everything(after(regionDoubles)), ["page 2"]);
  assertEquals(everything(after(regionRecovers)), []);
  assertEquals(everything(after(regionRecovers, regionOpens)), ["page 1", "end 3"]);
});

Deno.test("a silence after the page keeps news back, not the end", () => {
  const { suppressed_by } = buildIsSilenced;
  const silenced = after(regionOpens, { ...regionDoubles, suppressed_by });
  assertEquals(everything(silenced), ["page 1"]);
  const ended = silenced && withAlert(silenced, SUBJECT, { ...regionRecovers, suppressed_by });
  assertEquals(everything(ended ?? undefined), ["page 1", "end 3"]);
  const told = silenced && withOutcome(silenced, "w", 1, "delivered");
  assertEquals(told && repeatedMessage(told, "w")?.order, 1);
});

Deno.test("what two pagers know of an incident is merged without forgetting", () => {
  const opened = after(regionOpens);
  const ended = after(regionOpens, regionRecovers);
  if (!opened || !ended) throw new Error("both page");
  const a = withOutcome(opened, "x", 1, "delivered");
  const b = withOutcome(withOutcome(ended, "y", 1, "delivered"), "x", 1, "delivered");
  for (const merged of [mergedRecord(a, b), mergedRecord(b, a)]) {
    assertEquals(merged.last.status, "resolved");
    assertEquals(Object.keys(merged.receivers).sort(), ["x", "y"]);
    assertEquals(isDone(merged, ["x", "y"]), false);
    assertEquals(nextMessage(merged, "x")?.step, "end");
  }
});

Deno.test("an incident is done, too late or unheard as its record says", () => {
  const opened = after(regionOpens);
  const ended = after(regionOpens, regionRecovers);
  if (!opened || !ended) throw new Error("both page");
  assertEquals([isDone(opened, []), isDone(ended, []), isDone(ended, ["w"])], [false, true, false]);
  assertEquals(isTooLate(opened, opened.last.at + 9e9), false);
  assertEquals(isTooLate(ended, ended.last.at + 3_600_000), false);
  assertEquals(isTooLate(ended, ended.last.at + 3_600_001), true);
  assertEquals([isUnheard(opened, []), isUnheard(opened, ["w"])], [false, true]);
  assertEquals(isUnheard(withOutcome(opened, "w", 1, "delivered"), ["w", "x"]), false);
  // Refused by all, nobody knows of it for as long as it goes on.
  assertEquals(isUnheard(withOutcome(opened, "w", 1, "refused"), ["w"]), true);
});

Deno.test("a receiver that refused is asked again while the incident is open, then gets its news", () => {
  const opened = after(regionOpens);
  if (!opened) throw new Error("it pages");
  const refused = withOutcome(opened, "w", 1, "refused");
  assertEquals(nextMessage(refused, "w")?.step, "page");
  const doubled = withAlert(refused, SUBJECT, regionDoubles) ?? refused;
  const repaired = withOutcome(doubled, "w", 1, "delivered");
  assertEquals(nextMessage(repaired, "w")?.step, "update");
  assertEquals(mergedRecord(refused, repaired).receivers["w"]?.page, "delivered");
  const ended = withAlert(refused, SUBJECT, regionRecovers);
  assertEquals(ended && [nextMessage(ended, "w"), isDone(ended, ["w"])], [undefined, true]);
});
