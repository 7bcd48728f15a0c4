-- Heartbeats of the reserved title `_canary`: accounted for, never credited.
alter table royalty.stream_position add column canaries bigint not null default 0;
alter table royalty.stream_position drop constraint accounting_identity;
alter table royalty.stream_position add constraint accounting_identity
  check (last_seq = counted + duplicates + quarantined + canaries + gaps);
alter table royalty.seal_position add column canaries bigint not null default 0;
