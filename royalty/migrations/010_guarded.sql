-- What is closed stays as it is: every role, the owner of these tables included, is refused, unless
-- it first switches a trigger off. royalty/README.md, "Closed is closed", has the list.

-- What people decided, and what was issued: who, when by the clock of the database, what, why.
create table royalty.act (
  ordinal bigint generated always as identity primary key,
  at timestamptz not null,
  role text not null,              -- of the session
  kind text not null check (kind in
    ('close', 'early-close', 'waiver', 'reissue', 'settle-gap', 'catalogue')),
  by text not null check (by ~ '\S'),
  subject text not null,           -- a day, a stream and sequence, a file
  reason text check (reason ~ '\S'),
  before_sha256 text,              -- of what it changed; null: there was nothing, or it has no hash
  after_sha256 text
);
create function royalty.stamp_act() returns trigger language plpgsql as $$
begin
  new.at := clock_timestamp();
  new.role := session_user;
  return new;
end $$;
create trigger stamp before insert on royalty.act
  for each row execute function royalty.stamp_act();

-- The acts after this one were not in the manifest of an earlier statement.
alter table royalty.statement add column last_act bigint not null default 0;

create function royalty.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'royalty.% is only added to: % is refused', tg_table_name, lower(tg_op)
    using errcode = 'restrict_violation';
end $$;
create trigger only_added before update or delete or truncate on royalty.act
  for each statement execute function royalty.refuse_change();
create trigger only_added before update or delete or truncate on royalty.statement
  for each statement execute function royalty.refuse_change();
create trigger only_added before update or delete or truncate on royalty.statement_line
  for each statement execute function royalty.refuse_change();
create trigger only_added before update or delete or truncate on royalty.seal
  for each statement execute function royalty.refuse_change();
create trigger only_added before update or delete or truncate on royalty.seal_position
  for each statement execute function royalty.refuse_change();
create trigger only_added before update or delete or truncate on royalty.seal_quarantined
  for each statement execute function royalty.refuse_change();
create trigger never_deleted before delete or truncate on royalty.accrual
  for each statement execute function royalty.refuse_change();
create trigger never_deleted before delete or truncate on royalty.gap
  for each statement execute function royalty.refuse_change();
create trigger never_deleted before delete or truncate on royalty.books
  for each statement execute function royalty.refuse_change();

-- Days only close, and the zone stays.
create function royalty.guard_books() returns trigger language plpgsql as $$
begin
  if new.zone <> old.zone or coalesce(new.oldest_open_day < old.oldest_open_day,
    old.oldest_open_day is not null) then
    raise exception 'days before % are closed, in zone %', old.oldest_open_day, old.zone
      using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger guard before update on royalty.books
  for each row execute function royalty.guard_books();

-- No credit of a closed day is added or changed. A statement of SQL at a time, so that a batch pays
-- once. The lock is that of postings: no day is sealed before they commit.
create function royalty.guard_credits() returns trigger language plpgsql as $$
declare
  touched date := (select min(recognised_day) from added);
  open_day date := (select oldest_open_day from royalty.books for share);
begin
  if tg_op = 'UPDATE' then
    touched := least(touched, (select min(recognised_day) from replaced));
  end if;
  if touched < open_day then
    raise exception '% is closed: its credits do not change', touched
      using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
create trigger guard_insert after insert on royalty.accrual
  referencing new table as added
  for each statement execute function royalty.guard_credits();
create trigger guard_update after update on royalty.accrual
  referencing new table as added old table as replaced
  for each statement execute function royalty.guard_credits();

-- A gap is settled once, and stays what it is.
create function royalty.guard_gap() returns trigger language plpgsql as $$
begin
  if (new.stream, new.first_seq, new.last_seq, new.detected_at)
      is distinct from (old.stream, old.first_seq, old.last_seq, old.detected_at)
    or old.settled_at is not null and (new.settled_by, new.settled_reason, new.settled_at)
      is distinct from (old.settled_by, old.settled_reason, old.settled_at) then
    raise exception 'the gap of % at % stays as it is', old.stream, old.first_seq
      using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger guard before update on royalty.gap
  for each row execute function royalty.guard_gap();

-- A statement is of a day that takes no more credits, continues its versions and the chain, and its
-- hashes are those of its bytes.
create function royalty.guard_statement() returns trigger language plpgsql as $$
declare
  newest integer := (select max(version) from royalty.statement
    where recognised_day = new.recognised_day);
  head text := (select manifest_sha256 from royalty.statement order by ordinal desc limit 1);
begin
  if new.recognised_day >= (select coalesce(oldest_open_day, '-infinity') from royalty.books)
    or new.version <> coalesce(newest, 0) + 1
    or new.previous_sha256 is distinct from head
    or new.sha256 <> encode(sha256(new.csv), 'hex')
    or new.manifest_sha256 <> encode(sha256(new.manifest), 'hex') then
    raise exception 'version % of % does not continue the statements', new.version,
      new.recognised_day using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger guard before insert on royalty.statement
  for each row execute function royalty.guard_statement();

-- Lines are entered with their statement, not later.
create function royalty.guard_lines() returns trigger language plpgsql as $$
declare
  foreign_line record;
begin
  select recognised_day, version into foreign_line from (
      select distinct recognised_day, version from added) lines
    where not exists (select from royalty.statement s
      where s.recognised_day = lines.recognised_day and s.version = lines.version
        and s.xmin = pg_current_xact_id()::xid)
    limit 1;
  if found then
    raise exception 'version % of % has its lines', foreign_line.version,
      foreign_line.recognised_day using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
create trigger guard after insert on royalty.statement_line
  referencing new table as added
  for each statement execute function royalty.guard_lines();

-- At the commit: the lines of a statement are the credits of its day, its sums are theirs, and a later
-- version has what the first one had, whoever is paid for it.
create function royalty.differing_lines(day date, this integer) returns bigint
  language sql stable as $$
  select count(*) from
    (select event_day, title_id, territory, events, ms_watched from royalty.statement_line
      where recognised_day = day and version = this) l
    full join
    (select event_day, title_id, region as territory, events, ms_watched from royalty.accrual
      where recognised_day = day) a using (event_day, title_id, territory)
  where (l.events, l.ms_watched) is distinct from (a.events, a.ms_watched)
$$;
create function royalty.differing_versions(day date, this integer, other integer) returns bigint
  language sql stable as $$
  select count(*) from
    (select event_day, title_id, territory, events, ms_watched from royalty.statement_line
      where recognised_day = day and version = this) l
    full join
    (select event_day, title_id, territory, events, ms_watched from royalty.statement_line
      where recognised_day = day and version = other) o using (event_day, title_id, territory)
  where (l.events, l.ms_watched) is distinct from (o.events, o.ms_watched)
$$;
create function royalty.check_statement() returns trigger language plpgsql as $$
declare
  sums record;
begin
  select count(*) as rows, coalesce(sum(events), 0) as events, coalesce(sum(ms_watched), 0) as ms
    into sums from royalty.statement_line
    where recognised_day = new.recognised_day and version = new.version;
  if (sums.rows, sums.events, sums.ms) is distinct from (new.rows, new.events, new.ms_watched) then
    raise exception 'the sums of version % of % are not those of its lines', new.version,
      new.recognised_day using errcode = 'restrict_violation';
  end if;
  if royalty.differing_lines(new.recognised_day, new.version) > 0 then
    raise exception 'the lines of version % of % are not the credits of the day', new.version,
      new.recognised_day using errcode = 'restrict_violation';
  end if;
  if new.version > 1 and royalty.differing_versions(new.recognised_day, new.version, 1) > 0 then
    raise exception 'the lines of version % of % are not those of version 1', new.version,
      new.recognised_day using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
create constraint trigger complete after insert on royalty.statement
  deferrable initially deferred
  for each row execute function royalty.check_statement();
