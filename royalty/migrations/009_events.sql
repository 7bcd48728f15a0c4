-- A message may hold several heartbeats: the identity counts heartbeats, and gaps count messages that
-- nobody read. Before, a message was one heartbeat.
alter table royalty.stream_position add column events bigint not null default 0;
alter table royalty.stream_position drop constraint accounting_identity;
update royalty.stream_position set events = last_seq - gaps;
alter table royalty.stream_position add constraint accounting_identity check (
  events = counted + duplicates + quarantined + canaries and events >= last_seq - gaps);
alter table royalty.seal_position add column events bigint;
update royalty.seal_position set events = last_seq - gaps;
alter table royalty.seal_position alter column events set not null;

-- The address of a reject is stream, sequence and its place in the message, from 0.
alter table royalty.reject add column place smallint not null default 0;
alter table royalty.reject drop constraint reject_pkey;
alter table royalty.reject add primary key (stream, seq, place);
alter table royalty.reject alter column place drop default;
alter table royalty.reject_copy add column through_place smallint not null default 0;
