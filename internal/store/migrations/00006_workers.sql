-- +goose Up

-- The processes that import into this database. What a worker holds in the ledger is its
-- own for as long as it says in time that it is alive. A name is never used again.
CREATE TABLE workers (
  tenant_id  INTEGER NOT NULL,
  name       TEXT NOT NULL,          -- host, process, and a random part
  role       TEXT NOT NULL,          -- what the process does: all, worker, import, …
  started_at TIMESTAMP NOT NULL,
  seen_at    TIMESTAMP NOT NULL,     -- when it last said that it is alive
  until_at   TIMESTAMP NOT NULL,     -- it counts as dead from then on
  PRIMARY KEY (tenant_id, name)
);

-- How often a source lets itself be asked, by all workers together.
CREATE TABLE source_paces (
  tenant_id  INTEGER NOT NULL,
  source     TEXT NOT NULL,          -- a feed
  per_minute INTEGER NOT NULL,
  changed_at TIMESTAMP NOT NULL,
  not_before TIMESTAMP,              -- it asked to be left alone until then
  PRIMARY KEY (tenant_id, source)
);

-- Who is at it; NULL: nobody. Without an index: a row changes its holder more often than
-- anything else, and is found by what is due.
ALTER TABLE ledger_windows ADD COLUMN holder TEXT;
ALTER TABLE ledger_blobs ADD COLUMN holder TEXT;
