-- The ids counted: only what deduplication needs. royalty/event_key.ts says where a key belongs and
-- when it may be forgotten; royalty/key_partitions.ts makes and drops the days.
alter table royalty.event_key rename to event_key_before;

-- UUIDv7, by the day they were made. Days that have no partition are in the default one.
create table royalty.event_key_v7 (
  event_id uuid primary key,
  fingerprint integer not null
) partition by range (event_id);
create table royalty.event_key_v7_stray partition of royalty.event_key_v7 default;

-- Other UUIDs. The day takes no space: without it the row would be padded to the same size.
create table royalty.event_key_other (
  event_id uuid primary key,
  fingerprint integer not null,
  received_day date not null
);
create index event_key_other_received on royalty.event_key_other using brin (received_day);

insert into royalty.event_key_v7
select event_id, fingerprint from royalty.event_key_before
where uuid_extract_version(event_id) = 7;
insert into royalty.event_key_other
select event_id, fingerprint, (now() at time zone 'UTC')::date from royalty.event_key_before
where uuid_extract_version(event_id) is distinct from 7;
drop table royalty.event_key_before;

-- All of them, for people.
create view royalty.event_key as
select event_id, fingerprint from royalty.event_key_v7
union all
select event_id, fingerprint from royalty.event_key_other;

-- How far keys were forgotten: ids made before this day may have been counted without a trace left.
create table royalty.keys_forgotten (
  one boolean primary key default true check (one),
  before_day date not null
);
