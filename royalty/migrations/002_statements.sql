-- A statement: what finance was given for a day. Never changed, only followed by a new version.
create table royalty.statement (
  recognised_day date not null,
  version integer not null check (version >= 1),
  csv bytea not null,              -- the exact bytes of every download
  manifest bytea not null,         -- JSON, the exact bytes of every download
  sha256 text not null,            -- of csv, lower-case hex
  manifest_sha256 text not null,
  previous_sha256 text,            -- manifest_sha256 of the statement before it in the chain (order of `ordinal`), null for the first
  rows bigint not null, events bigint not null, ms_watched numeric not null,
  closed_at timestamptz not null,  -- as of when
  reason text,                     -- why a version beyond the first was issued
  ordinal bigint generated always as identity unique,
  primary key (recognised_day, version)
);
-- Lines, for drill-down and per-studio extracts; the studio as it was when the statement was issued.
create table royalty.statement_line (
  recognised_day date not null, version integer not null,
  line_type text not null, event_day date not null, studio text not null, title_id text not null, territory text not null,
  events bigint not null, ms_watched bigint not null,
  primary key (recognised_day, version, event_day, studio, title_id, territory),
  foreign key (recognised_day, version) references royalty.statement
);
alter table royalty.gap add column settled_by text, add column settled_reason text, add column settled_at timestamptz;
