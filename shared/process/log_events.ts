/**
 * Every log event of a Twofold process, by its stable name: `<service>.<part>.<what happened>`.
 * Write alert rules and searches against the names; the texts may change.
 *
 * @module
 */

/** The text of each event. */
export const LOG_EVENTS = {
  "service.listening": "The HTTP server is listening",
  "service.ready": "The service is ready",
  "service.not_ready": "The service is not ready",
  "service.clocks_differ": "The clock of this process or of a server is wrong",
  "service.clocks_agree": "The clocks agree again",
  "service.retry": "A dependency of the service is not available; retrying",
  "service.failed": "The service failed and stops",
  "service.draining": "A stop signal was received; requests are served for the drain time",
  "service.stop_step_failed": "A step of the stop failed; the other steps continue",
  "service.stop_deadline": "The stop exceeded its deadline; the process exits",
  "service.stopped": "The service has stopped; the process exits",
  "service.request_failed": "A request failed with an unexpected error",
  "service.accept_failed": "A connection could not be accepted; accepting goes on",
  "service.connections_refused":
    "Connections were refused or gave way: too many, or of one address",
  "service.descriptors_exhausted":
    "There are no file descriptors left; idle connections were ended",
  "service.descriptors_restored": "There were file descriptors for a minute; the limit is as set",
  "nats.disconnected": "The connection to NATS is lost; the client reconnects",
  "nats.reconnected": "The connection to NATS is restored",
  "nats.server_left":
    "A NATS server stored nothing; the connection is opened anew, to another one if there is one",
  "nats.error": "NATS reported an error on the connection",

  "ingest.landing.way_changed":
    "Events are now stored in another way: fast ingest or single publishes",
  "ingest.landing.refuses": "A stream stores no events; devices are told to send them again",
  "ingest.landing.stores_again": "A stream stores events again",
  "ingest.refusing": "Events were refused; devices are told to send them again",

  "live.reading.interrupted": "Reading a stream was interrupted; retrying",
  "live.reading.skipped": "A reader was too far behind and has jumped to now",
  "live.reading.not_skipped": "A reader is too far behind and could not jump to now; retrying",
  "live.partition.taken": "This process reads the stream from now on",
  "live.partition.left": "This process no longer reads the stream",
  "live.leader.leading": "This process decides; others stand by",
  "live.leader.standby": "Another process decides; this one stands by",
  "live.leader.lease_retry": "A lease cannot be taken or renewed; retrying",
  "live.leader.retry": "What was told cannot be read, so nothing is decided; retrying",
  "live.observations.retry": "Observations could not be stored; retrying",
  "live.observations.reading": "Observations are read again",
  "live.observations.not_read": "Observations cannot be read; retrying",
  "live.copies.given_up": "Copies of rejected heartbeats were not stored in time and were given up",
  "live.alerts.retry": "An alert could not be published; retrying",
  "live.alerts.published": "An alert was published",
  "live.alerts.overtaken": "Another process has told something else: what it told is learned first",
  "live.alerts.unreadable": "An alert in ALERTS cannot be read and is skipped",
  "live.silences.retry": "Silences cannot be read; those known stay in force; retrying",
  "live.silences.unreadable": "Messages in KV_SILENCES are not silences and are skipped",
  "live.baselines.loaded": "The baselines of an earlier process are in force",
  "live.baselines.unreadable": "There are no baselines of use in KV_LIVE; live learns anew",
  "live.baselines.not_saved": "The baselines could not be stored; the next minute tries again",
  "live.incidents.recovered": "Open incidents of an earlier process were recovered",

  "live.pager.leading": "This pager delivers; others stand by",
  "live.pager.standby": "Another pager delivers; this one stands by",
  "live.pager.lease_retry": "The lease cannot be taken or renewed; retrying",
  "live.pager.reading_retry": "ALERTS or KV_PAGER could not be used; retrying",
  "live.pager.unreadable": "A message cannot be read and is skipped",
  "live.pager.full": "There are more open incidents than fit; alerts wait in ALERTS",
  "live.pager.delivered": "A receiver has accepted a message",
  "live.pager.retry": "A receiver did not accept a message; it is sent again",
  "live.pager.refused": "A receiver refuses a message; a page or an end is sent again in a minute",
  "live.pager.given_up": "A receiver did not accept a message in time; it is not sent again",
  "live.pager.alert_published": "An alert about a service that is silent or stalled was published",
  "live.pager.alert_retry": "An alert about a service could not be published; retrying",
  "live.pager.canary_off": "No edge is configured: no canaries are sent",
  "live.pager.canary_not_accepted": "The edge did not accept a canary; the next one follows",
  "live.pager.no_receivers": "No receiver is configured: nobody is paged",

  "royalty.posting.standby": "Another process leads this stream; this process stands by",
  "royalty.posting.leading": "This process leads this stream",
  "royalty.posting.rewind": "The durable was reset to the position in the books",
  "royalty.posting.ack_unanswered": "An acknowledgement was not confirmed; the next one covers it",
  "royalty.posting.gap": "The stream lost messages before they were counted",
  "royalty.posting.retry": "Posting was interrupted; retrying",
  "royalty.posting.batches_reduced":
    "Postgres did not take a batch in time; batches are smaller until it does",
  "royalty.posting.batches_whole": "Batches are as large as their setting again",
  "royalty.posting.lag_unknown": "NATS does not answer about the lag of the durable",
  "royalty.rejects.retry": "Rejects could not be copied to QUARANTINE; retrying",
  "royalty.rejects.copied_again": "QUARANTINE was made again; rejects are copied to it again",
  "royalty.rejects.bytes_gone": "Rejects were not copied: their bytes are no longer kept",
  "royalty.rejects.too_large":
    "Rejects were not copied: they are larger than NATS or QUARANTINE takes",
  "royalty.rejects.alert_published": "An alert about copies of rejects was published",
  "royalty.rejects.alert_retry": "An alert about copies could not be published; retrying",
  "royalty.keys.changed": "Partitions of the key table were created or dropped",
  "royalty.keys.retry": "Partitions of the key table could not be changed; retrying",
  "royalty.closing.by_command_only": "Days are closed by command only",
  "royalty.closing.closed": "A day was closed",
  "royalty.closing.closed_elsewhere": "A day was closed by another process",
  "royalty.closing.retry": "A day could not be closed; retrying",
  "royalty.closing.files_written": "Missing statement files were written",
  "royalty.closing.files_retry": "Statement files could not be written; retrying",
  "royalty.closing.alert_retry": "An alert about closing could not be published; retrying",
  "royalty.drift.not_compared": "Totals of live could not be compared with royalty's",
  "royalty.drift.alert_retry": "An alert about drift could not be published; retrying",
  "royalty.drift.alert_published": "An alert about drift was published",
  "royalty.finance.read": "A reader requested statements",
  "royalty.finance.retry": "Statements could not be read; the client may retry",
  "royalty.finance.download_failed": "A download failed before its end",

  "triage.schema.migrated": "The schema of the quarantine is up to date",
  "triage.reading.retry": "QUARANTINE could not be read; retrying",
  "triage.pager.alert_published": "An alert about the pager was published",
  "triage.pager.alert_retry": "An alert about the pager could not be published; retrying",
  "triage.limits.retry": "The limits could not be evaluated; retrying",
} as const satisfies Readonly<Record<string, string>>;

/** The name of a log event. */
export type LogEvent = keyof typeof LOG_EVENTS;
