/**
 * Every event that a Twofold process logs, by its stable name: `<service>.<part>.<what happened>`.
 * Alert rules and searches are written against the names; the texts may be worded better.
 *
 * @module
 */
export const LOG_EVENTS = {
  "service.listening": "The HTTP server listens",
  "service.ready": "The service can do its work",
  "service.not_ready": "The service cannot do its work",
  "service.retry": "Something the start needs is not there yet; trying again",
  "service.failed": "The process stops because of an error",
  "service.draining": "A signal came; requests are served until the drain time is over",
  "service.stop_step_failed": "A step of the stop failed; the others go on",
  "service.stop_deadline": "The stop took too long; the process ends where it is",
  "service.stopped": "The process ends",
  "service.request_failed": "A request failed for a reason that nobody foresaw",
  "nats.disconnected": "The connection to NATS is lost; the client reconnects by itself",
  "nats.reconnected": "The connection to NATS is back",
  "nats.error": "NATS reports an error on the connection",

  "ingest.landing.way_changed": "Events are landed in another way from now on",

  "live.reading.interrupted": "Reading a stream was interrupted; it is taken up again",
  "live.copies.given_up": "Copies of rejected heartbeats were not stored in time and are given up",
  "live.alerts.retry": "An alert is not published yet; trying again",
  "live.alerts.published": "An alert is published",
  "live.alerts.unreadable": "An alert in ALERTS cannot be read and is left alone",
  "live.incidents.recovered": "Open incidents of an earlier process are taken over",

  "royalty.posting.standby": "Another process leads this stream; this one stands by",
  "royalty.posting.leading": "This process posts the stream",
  "royalty.posting.rewind": "The durable is set back to the position in the books",
  "royalty.posting.ack_unanswered": "An acknowledgement got no answer; the next one covers it",
  "royalty.posting.gap": "The stream lost messages before they were counted",
  "royalty.posting.retry": "Nothing is counted for now; trying again",
  "royalty.posting.lag_unknown": "NATS does not say how far the durable is behind",
  "royalty.keys.changed": "Partitions of the key table were made or dropped",
  "royalty.keys.retry": "The partitions of the key table stay as they are for now",
  "royalty.closing.by_command_only": "Days close only by command",
  "royalty.closing.closed": "A day is closed",
  "royalty.closing.closed_elsewhere": "A day was closed by another process",
  "royalty.closing.retry": "A day is not closed for now; trying again",
  "royalty.closing.files_written": "Statement files that were missing are written",
  "royalty.closing.files_retry": "Statement files cannot be written for now; trying again",
  "royalty.closing.alert_retry": "An alert about closing is not published yet; trying again",
  "royalty.drift.not_compared": "Live's totals are not compared with royalty's for now",
  "royalty.drift.alert_retry": "An alert about drift is not published yet; trying again",
  "royalty.drift.alert_published": "An alert about drift is published",
  "royalty.finance.read": "A reader asked for statements",
  "royalty.finance.retry": "Statements cannot be read for now",
  "royalty.finance.download_failed": "A download ended before its end",

  "triage.schema.migrated": "The schema of the quarantine is up to date",
  "triage.reading.retry": "QUARANTINE is not read for now; trying again",
  "triage.limits.retry": "The limits are not evaluated for now; trying again",
} as const satisfies Readonly<Record<string, string>>;

/** The name of an event that is logged. */
export type LogEvent = keyof typeof LOG_EVENTS;
