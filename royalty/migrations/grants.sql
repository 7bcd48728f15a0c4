-- What each role may do in the schema royalty. Provisioning runs it as the owner after the
-- migrations; nobody else has a right to any table.
revoke all on all tables in schema royalty from royalty, issuer;
revoke all on all functions in schema royalty from royalty, issuer;
grant usage on schema royalty to royalty, issuer;
grant select on all tables in schema royalty to royalty, issuer;

-- The role of the service posts: it adds, and changes sums that are open.
grant insert, update on royalty.stream_position, royalty.accrual, royalty.quarantined,
  royalty.reject_copy to royalty;
grant insert on royalty.event_key_v7, royalty.books to royalty;
grant insert, delete on royalty.event_key_other to royalty;
grant insert, delete, update (not_copied) on royalty.reject to royalty;
grant insert, update (alerted_at) on royalty.gap to royalty;
grant update on royalty.keys_forgotten to royalty;
-- To lock: the row of the books for a posting, and the keys while a day is made or dropped.
grant update (one) on royalty.books to royalty;
grant maintain on royalty.event_key_v7 to royalty;
grant execute on function royalty.make_key_day(date), royalty.drop_key_day(date) to royalty;

-- Who closes days and decides: it issues, and changes nothing that was issued.
grant insert on royalty.seal, royalty.seal_position, royalty.seal_quarantined, royalty.statement,
  royalty.statement_line, royalty.act to issuer;
grant insert, delete, maintain on royalty.title_right to issuer;
grant update (oldest_open_day) on royalty.books to issuer;
grant update (settled_by, settled_reason, settled_at) on royalty.gap to issuer;
grant execute on function royalty.open_first_day(date) to issuer;
-- To lock them while a day is sealed, and while a statement is issued.
grant maintain on royalty.books, royalty.statement, royalty.act to issuer;

-- Finance reads statements, and what provisional lines are made of.
do $$
begin
  if exists (select from pg_roles where rolname = 'finance') then
    revoke all on all tables in schema royalty from finance;
    grant usage on schema royalty to finance;
    grant select on royalty.statement, royalty.statement_line, royalty.seal, royalty.books,
      royalty.accrual, royalty.title_right, royalty.day_line to finance;
  end if;
end $$;
