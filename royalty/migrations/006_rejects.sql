-- What was refused, entered in the transaction that accounts for it. The bytes are in the raw stream;
-- their copy to QUARANTINE follows.
create table royalty.reject (
  stream text not null,
  seq bigint not null,
  received_ms bigint not null,
  reason text not null,
  path text not null,
  detail text not null,
  build text,
  ms_at_risk bigint,               -- null: it cannot be read
  rejected_at timestamptz not null default now(),
  primary key (stream, seq)
);
-- How far the rejects of a stream are in QUARANTINE. A stream without a row has no copies.
create table royalty.reject_copy (
  stream text primary key references royalty.stream_position,
  through_seq bigint not null default 0,
  copied bigint not null default 0, -- rows of royalty.reject up to through_seq
  into_made text                    -- when the QUARANTINE that has them was made
);
-- Entries that have a row in royalty.reject. The others were counted before it was there, by a version
-- that copied before it counted, or are older than QUARANTINE keeps.
alter table royalty.quarantined add column listed bigint not null default 0;
alter table royalty.quarantined add constraint listed_counted check (listed between 0 and entries);
