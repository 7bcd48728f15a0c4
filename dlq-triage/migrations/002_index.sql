-- A message of a stream may hold several heartbeats: the place of each, from 0.
alter table triage.entry add column source_index smallint not null default 0;
alter table triage.entry alter column source_index drop default;
drop index triage.entry_source;
create unique index entry_source
  on triage.entry (source_stream, source_sequence, source_index, sha256(body));
