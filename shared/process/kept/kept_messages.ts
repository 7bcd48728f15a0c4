/**
 * Reads what a stream keeps, from the first message on, without a consumer.
 *
 * @module
 */
import type { JetStreamManager, StoredMsg } from "nats/jetstream";

const PAGE_MESSAGES = 1_000;

/**
 * The messages of `stream` whose subjects match `subject`, in their order, from sequence `from` on.
 * Reads in pages.
 * Throws what the client throws while NATS does not answer.
 */
export async function* keptMessages(
  jsm: JetStreamManager,
  stream: string,
  subject: string,
  from = 1,
): AsyncGenerator<StoredMsg> {
  for (let next = from; next > 0;) {
    let last = 0;
    try {
      const page = await jsm.direct.getBatch(stream, {
        seq: next,
        batch: PAGE_MESSAGES,
        next_by_subj: subject,
      });
      for await (const message of page) {
        last = message.seq;
        yield message;
      }
    } catch (error) {
      // 404: no more messages. The client does not export the class of this error.
      if ((error as { code?: unknown }).code !== 404) throw error;
    }
    next = last === 0 ? 0 : last + 1;
  }
}

/**
 * The last message of each subject of `stream` that matches `subject`; for more than 1,024 subjects,
 * for which the server refuses that, all messages in their order, so that the last one counts.
 * Throws what the client throws while NATS does not answer.
 */
export async function* lastMessages(
  jsm: JetStreamManager,
  stream: string,
  subject: string,
): AsyncGenerator<StoredMsg> {
  try {
    yield* await jsm.direct.getLastMessagesFor(stream, { multi_last: [subject] });
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    // 404: there is no message. 413: too many subjects.
    if (code !== 404 && code !== 413) throw error;
    if (code === 413) yield* keptMessages(jsm, stream, subject);
  }
}

/** The JSON value in the payload of a message; undefined if it is none. */
export function jsonOf(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
}
