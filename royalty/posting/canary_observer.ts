/**
 * Echoes canaries once they are in the books.
 *
 * @module
 */
import type { CanaryEchoes } from "../../shared/contract/canary/canary_echoes.ts";
import type { PostingObserver } from "./worker.ts";

/** Observes postings, which come after their commit, and echoes the canaries among them. */
export function canaryObserver(echoes: Pick<CanaryEchoes, "echo">): PostingObserver {
  return {
    leadStarted() {},
    posted(stream, { canaries }) {
      for (const { eventId, delivery } of canaries) echoes.echo(stream, eventId, delivery);
    },
  };
}
