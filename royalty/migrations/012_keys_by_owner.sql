-- Days of keys are made and dropped by functions of the owner, so that the role that posts owns
-- nothing.
create function royalty.first_key_of(day date) returns uuid language sql immutable
  set search_path = pg_catalog as $$
  select (substr(hex, 1, 8) || '-' || substr(hex, 9) || '-0000-0000-000000000000')::uuid
  from (select lpad(to_hex((day - date '1970-01-01')::bigint * 86400000), 12, '0') as hex) made
$$;

create function royalty.key_day_name(day date) returns text language sql immutable
  set search_path = pg_catalog as $$
  select 'event_key_v7_' || to_char(day, 'YYYYMMDD')
$$;

-- Its keys are moved out of the default partition first, because Postgres refuses an overlap.
create function royalty.make_key_day(day date) returns void language plpgsql security definer
  set search_path = pg_catalog as $$
declare
  name text := royalty.key_day_name(day);
  first_key uuid := royalty.first_key_of(day);
  next_key uuid := royalty.first_key_of(day + 1);
begin
  execute format('create table royalty.%I (like royalty.event_key_v7 including all)', name);
  execute format('insert into royalty.%I select event_id, fingerprint
    from royalty.event_key_v7_stray where event_id >= %L and event_id < %L',
    name, first_key, next_key);
  delete from royalty.event_key_v7_stray where event_id >= first_key and event_id < next_key;
  execute format('alter table royalty.event_key_v7 attach partition royalty.%I
    for values from (%L) to (%L)', name, first_key, next_key);
end $$;

-- Drops the keys of a day and of those before it that have no partition.
create function royalty.drop_key_day(day date) returns void language plpgsql security definer
  set search_path = pg_catalog as $$
begin
  execute format('drop table if exists royalty.%I', royalty.key_day_name(day));
  -- Ids made before the first books (royalty/posting/event_key.ts) are kept.
  delete from royalty.event_key_v7_stray
    where event_id >= royalty.first_key_of('2026-11-01')
      and event_id < royalty.first_key_of(day + 1);
  update royalty.keys_forgotten set before_day = greatest(before_day, day + 1);
end $$;
revoke execute on function royalty.make_key_day(date) from public;
revoke execute on function royalty.drop_key_day(date) from public;
