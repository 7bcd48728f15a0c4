-- Times are ms since the epoch.
create table triage.entry_group (
  group_id text primary key,
  reason text not null,
  path text not null,
  build text not null,
  first_seen_ms bigint not null,
  last_seen_ms bigint not null,
  entries bigint not null
);

create table triage.entry (
  entry_id bigint generated always as identity primary key,
  group_id text not null references triage.entry_group,
  detail text not null,
  source_stream text not null,
  source_sequence bigint not null,
  rejected_by text not null,
  received_at_ms bigint not null,
  quarantined_at_ms bigint not null,
  subject text not null,
  device_id text,
  body bytea not null
);

-- One heartbeat, one entry, however often it is delivered and whoever rejected it. The digest keeps
-- the bytes of a stream that was made anew and counts from 1 again.
create unique index entry_source
  on triage.entry (source_stream, source_sequence, sha256(body));
create index entry_by_group on triage.entry (group_id, quarantined_at_ms);
create index entry_by_time on triage.entry (quarantined_at_ms);

-- Entries per second, so that measuring depth and growth does not count entries.
create table triage.tally (
  second_ms bigint primary key,
  entries bigint not null
);

create table triage.incident (
  incident_id text primary key,
  measure text not null,
  opened_at_ms bigint not null,
  resolved_at_ms bigint
);

create unique index incident_open on triage.incident (measure) where resolved_at_ms is null;

-- Alerts that are decided but not yet known to be in ALERTS.
create table triage.outbox (
  outbox_id bigint generated always as identity primary key,
  message_id text not null unique,
  subject text not null,
  payload json not null
);
