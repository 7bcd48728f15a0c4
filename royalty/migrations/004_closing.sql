-- The moment a day takes no more credits, made before its recount and its statement: from here on
-- the next day is the oldest open one. A day with a seal and no statement is still being closed.
create table royalty.seal (
  recognised_day date primary key,
  as_of timestamptz not null,
  sealed_at timestamptz not null default now()
);
-- Where each stream stood at the seal. The difference to the seal before is what a statement covers.
create table royalty.seal_position (
  recognised_day date not null references royalty.seal,
  stream text not null,
  last_seq bigint not null,
  counted bigint not null,
  duplicates bigint not null,
  quarantined bigint not null,
  gaps bigint not null,
  primary key (recognised_day, stream)
);
-- What is in quarantine by reason, with the minutes that could be read: minutes at risk.
-- By stream, so that no two streams ever wait for one row.
create table royalty.quarantined (
  stream text not null references royalty.stream_position,
  reason text not null,
  entries bigint not null,
  readable bigint not null check (readable between 0 and entries),
  ms_at_risk bigint not null,
  primary key (stream, reason)
);
create table royalty.seal_quarantined (
  recognised_day date not null references royalty.seal,
  stream text not null,
  reason text not null,
  entries bigint not null,
  readable bigint not null,
  ms_at_risk bigint not null,
  primary key (recognised_day, stream, reason)
);
-- Counted before reasons were kept.
insert into royalty.quarantined
select stream, 'unknown', quarantined, 0, 0 from royalty.stream_position where quarantined > 0;
