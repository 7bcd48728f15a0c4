-- Why a reject has no copy in QUARANTINE and gets none; null: it has one, or it waits.
alter table royalty.reject add column not_copied text;
