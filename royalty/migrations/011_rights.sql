-- Who is paid for a title, by territory and event day.
create table royalty.title_right (
  title_id text not null,
  territory text not null,         -- '*': every territory
  from_day date not null,          -- first and last day
  to_day date not null check (to_day >= from_day),
  studio text not null,
  title_name text,
  primary key (title_id, territory, from_day)
);
insert into royalty.title_right
select title_id, '*', '-infinity', 'infinity', studio, title_name from royalty.title;
drop table royalty.title;

-- No two studios have a right to the same title, territory and day.
create function royalty.guard_rights() returns trigger language plpgsql as $$
declare
  twice record;
begin
  select a.title_id, a.territory, greatest(a.from_day, b.from_day) as day into twice
    from royalty.title_right a join royalty.title_right b on a.title_id = b.title_id
      and (a.territory, a.from_day) < (b.territory, b.from_day)
      and (a.territory = b.territory or '*' in (a.territory, b.territory))
      and a.from_day <= b.to_day and b.from_day <= a.to_day
    where a.title_id in (select title_id from added)
    limit 1;
  if found then
    raise exception 'two rights to % in % on %', twice.title_id, twice.territory, twice.day
      using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
create trigger guard_insert after insert on royalty.title_right
  referencing new table as added
  for each statement execute function royalty.guard_rights();
create trigger guard_update after update on royalty.title_right
  referencing new table as added
  for each statement execute function royalty.guard_rights();

-- The studio of each line of a day; null: nobody has a right.
create view royalty.day_line as
select a.recognised_day, a.event_day, coalesce(own.studio, every.studio) as studio, a.title_id,
  a.region, a.events, a.ms_watched
from royalty.accrual a
  left join royalty.title_right own on own.title_id = a.title_id and own.territory = a.region
    and a.event_day between own.from_day and own.to_day
  left join royalty.title_right every on every.title_id = a.title_id and every.territory = '*'
    and a.event_day between every.from_day and every.to_day;
