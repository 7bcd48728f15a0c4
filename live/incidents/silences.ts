/**
 * Silences in the stream `KV_SILENCES`: operators write them, live reads them.
 *
 * @module
 */
import type { JetStreamManager } from "nats/jetstream";
import { SILENCES, silenceSubject } from "../../shared/contract/topology.ts";
import { messageOf } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { pause } from "../../shared/process/retry.ts";
import { jsonOf, keptMessages } from "../../shared/process/kept/kept_messages.ts";
import { type Silence, silenceSchema } from "./silence.ts";
import { safeJson } from "../../shared/process/cli/json_output.ts";

/** What was found in the stream. */
export interface StoredSilences {
  readonly silences: readonly Silence[];
  /** Subjects of messages that are not silences. */
  readonly unreadable: readonly string[];
}

/** Every silence that is kept, also those that are over, oldest change first. */
export async function readSilences(jsm: JetStreamManager): Promise<StoredSilences> {
  // By subject: a silence that is changed while they are read comes twice, and the last one counts.
  const read = new Map<string, Silence | undefined>();
  for await (const { subject, data } of keptMessages(jsm, SILENCES, "$KV.SILENCES.>")) {
    read.set(subject, readSilence(subject, data));
  }
  return {
    silences: [...read.values()].filter((silence) => silence !== undefined),
    unreadable: [...read].flatMap(([subject, silence]) => silence ? [] : [subject]),
  };
}

// The key of a silence is its id, so that a change replaces it.
function readSilence(subject: string, data: Uint8Array): Silence | undefined {
  const { data: silence } = silenceSchema.safeParse(jsonOf(data));
  return silence && silenceSubject(silence.id) === subject ? silence : undefined;
}

/** Stores `silence` in place of one with the same id; resolves once it is acknowledged. */
export async function writeSilence(jsm: JetStreamManager, silence: Silence): Promise<void> {
  await jsm.jetstream().publish(silenceSubject(silence.id), safeJson(silenceSchema.parse(silence)));
}

/** What {@link followSilences} needs. */
export interface FollowOptions {
  readonly jsm: JetStreamManager;
  readonly log: Log;
  readonly everyMs: number;
  /** Called at first and whenever they have changed. */
  readonly onChange: (silences: readonly Silence[]) => void;
}

/**
 * Reads the silences again and again until `signal` aborts. While they cannot be read those known
 * stay in force; before the first read there are none.
 */
export async function followSilences(options: FollowOptions, signal: AbortSignal): Promise<void> {
  const { jsm, log, everyMs, onChange } = options;
  let known = "";
  let isReadable = true;
  while (!signal.aborted) {
    try {
      const { silences, unreadable } = await readSilences(jsm);
      const found = JSON.stringify([silences, unreadable]);
      if (found !== known) {
        onChange(silences);
        if (unreadable.length > 0) log.warn("live.silences.unreadable", { subjects: unreadable });
      }
      known = found;
      isReadable = true;
    } catch (error) {
      // Only the message: an answer that does not come is no bug.
      if (isReadable) log.warn("live.silences.retry", { error: messageOf(error) });
      isReadable = false;
    }
    await pause(everyMs, signal);
  }
}
