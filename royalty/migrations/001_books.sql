-- One row: how the books are kept. Days before oldest_open_day are closed; null until the first close.
create table royalty.books (
  one boolean primary key default true check (one),
  zone text not null,
  oldest_open_day date
);

-- How far each stream is accounted for. The identity is a constraint: no transaction can break it.
create table royalty.stream_position (
  stream text primary key,
  last_seq bigint not null default 0,
  last_received_ms bigint not null default 0,
  counted bigint not null default 0,
  duplicates bigint not null default 0,
  quarantined bigint not null default 0,
  gaps bigint not null default 0,
  credited_ms bigint not null default 0,
  constraint accounting_identity check (last_seq = counted + duplicates + quarantined + gaps)
);

-- Sequences that a stream lost before royalty read them.
create table royalty.gap (
  stream text not null references royalty.stream_position,
  first_seq bigint not null,
  last_seq bigint not null check (last_seq >= first_seq),
  detected_at timestamptz not null default now(),
  alerted_at timestamptz,
  primary key (stream, first_seq)
);

-- Every id counted, for ever: only what deduplication needs.
create table royalty.event_key (
  event_id uuid primary key,
  fingerprint integer not null
);

-- The credits. Space in each page lets an addition stay on it, without touching the index.
create table royalty.accrual (
  recognised_day date not null,
  event_day date not null,
  title_id text not null,
  region text not null,
  events bigint not null check (events > 0),
  ms_watched bigint not null check (ms_watched >= 0),
  primary key (recognised_day, event_day, title_id, region),
  check (recognised_day >= event_day)
) with (fillfactor = 50);

-- Which studio is paid for a title.
create table royalty.title (
  title_id text primary key,
  studio text not null,
  title_name text
);
