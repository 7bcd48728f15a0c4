-- Always one row, which postings share and the drop of a day changes: so a posting never enters an id
-- whose key is being dropped. No key is older than the first books (see royalty/posting/event_key.ts).
insert into royalty.keys_forgotten (before_day) values ('2026-11-01') on conflict do nothing;

-- The same for ids other than UUIDv7: events with a ts before this day may have been counted.
alter table royalty.keys_forgotten add column other_before_day date not null default '2026-11-01';
