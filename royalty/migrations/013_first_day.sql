-- The first day that gets a statement is a decision: what a device with a wrong clock sends first would
-- make one of each day since. What was watched before it is recognised on it.
alter table royalty.act drop constraint act_kind_check;
alter table royalty.act add constraint act_kind_check check (kind in
  ('close', 'early-close', 'waiver', 'reissue', 'settle-gap', 'catalogue', 'open'));

create function royalty.open_first_day(day date) returns void language plpgsql security definer
  set search_path = pg_catalog as $$
begin
  lock table royalty.books in exclusive mode;
  if (select oldest_open_day from royalty.books) is not null then
    raise exception 'the books are open already' using errcode = 'restrict_violation';
  end if;
  update royalty.accrual set recognised_day = day where recognised_day < day;
  update royalty.books set oldest_open_day = day;
end $$;
revoke execute on function royalty.open_first_day(date) from public;
