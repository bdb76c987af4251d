-- What coverage is told from: sums kept with each window and each day, in the
-- transactions that change what they count, so that nobody has to count it again;
-- times without a subscription; how fast blobs are read; seals.

-- +goose Up
ALTER TABLE ledger_windows ADD COLUMN blobs_read    INTEGER NOT NULL DEFAULT 0; -- of blobs: done
ALTER TABLE ledger_windows ADD COLUMN blobs_late    INTEGER NOT NULL DEFAULT 0; -- of blobs: listed after a listing of the whole window had not shown them
ALTER TABLE ledger_windows ADD COLUMN blobs_empty   INTEGER NOT NULL DEFAULT 0; -- of those read: had no record
ALTER TABLE ledger_windows ADD COLUMN blobs_partial INTEGER NOT NULL DEFAULT 0; -- of those read: could be read in part only
ALTER TABLE ledger_windows ADD COLUMN newest_at     TIMESTAMP;                  -- creation of the newest of those read
ALTER TABLE ledger_windows ADD COLUMN bytes         BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_windows ADD COLUMN records       BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_windows ADD COLUMN stored        BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_windows ADD COLUMN duplicate     BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_windows ADD COLUMN out_of_scope  BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_windows ADD COLUMN quarantined   BIGINT NOT NULL DEFAULT 0;

-- The window whose listing has shown the blob first. A blob that is done and has an
-- error was read in part.
ALTER TABLE ledger_blobs ADD COLUMN window_at TIMESTAMP;
UPDATE ledger_blobs SET window_at = coalesce(
  (SELECT max(w.start_at) FROM ledger_windows w WHERE w.tenant_id = ledger_blobs.tenant_id AND w.feed = ledger_blobs.feed
    AND w.part = ledger_blobs.part AND w.start_at <= ledger_blobs.created_at),
  (SELECT min(w.start_at) FROM ledger_windows w WHERE w.tenant_id = ledger_blobs.tenant_id AND w.feed = ledger_blobs.feed
    AND w.part = ledger_blobs.part));
UPDATE ledger_windows SET blobs_read = b.n, blobs_empty = b.e, newest_at = b.newest, bytes = b.bytes, records = b.records, stored = b.stored,
  duplicate = b.duplicate, out_of_scope = b.out_of_scope, quarantined = b.quarantined
FROM (SELECT tenant_id, feed, part, window_at, count(*) AS n, max(created_at) AS newest, sum(CASE WHEN records = 0 THEN 1 ELSE 0 END) AS e, sum(bytes) AS bytes,
    sum(records) AS records, sum(stored) AS stored, sum(duplicate) AS duplicate, sum(out_of_scope) AS out_of_scope, sum(quarantined) AS quarantined
  FROM ledger_blobs WHERE state = 'done' GROUP BY tenant_id, feed, part, window_at) AS b
WHERE ledger_windows.tenant_id = b.tenant_id AND ledger_windows.feed = b.feed AND ledger_windows.part = b.part AND ledger_windows.start_at = b.window_at;
CREATE INDEX ledger_blobs_trouble ON ledger_blobs (tenant_id, feed, part, window_at, state) WHERE error IS NOT NULL;
CREATE INDEX ledger_blobs_part ON ledger_blobs (tenant_id, feed, part, state, forget_at) WHERE state <> 'done';
-- These two were of all rows. While a table has no statistics yet, PostgreSQL took them for
-- what is looked up by its key, and went through all rows of the feed each time.
DROP INDEX ledger_blobs_due;
CREATE INDEX ledger_blobs_due ON ledger_blobs (tenant_id, feed, state, forget_at) WHERE state <> 'done';
DROP INDEX ledger_windows_due;
CREATE INDEX ledger_windows_due ON ledger_windows (tenant_id, feed, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX quarantine_reason ON quarantine (tenant_id, reason);

-- When a content type was not collected, as far as is known: found stopped at to_at, it
-- was last seen running at from_at. The first row of a part has 1970 there.
CREATE TABLE ledger_gaps (
  tenant_id INTEGER NOT NULL,
  feed      TEXT NOT NULL,
  part      TEXT NOT NULL,
  from_at   TIMESTAMP NOT NULL,
  to_at     TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, feed, part, from_at)
);
INSERT INTO ledger_gaps (tenant_id, feed, part, from_at, to_at)
  SELECT tenant_id, feed, part, '1970-01-01 00:00:00.000', started_at FROM feed_parts WHERE started_at IS NOT NULL;

-- How fast each process has read blobs in each hour of its own clock. Rows of the last
-- days are kept.
CREATE TABLE ledger_rates (
  tenant_id INTEGER NOT NULL,
  feed      TEXT NOT NULL,
  hour_at   TIMESTAMP NOT NULL,
  worker    TEXT NOT NULL,           -- made up when the process opened the database
  first_at  TIMESTAMP NOT NULL,
  last_at   TIMESTAMP NOT NULL,
  blobs     BIGINT NOT NULL,
  busy_ms   BIGINT NOT NULL,         -- time spent with downloading and storing
  PRIMARY KEY (tenant_id, feed, hour_at, worker)
);

-- How many rows the import has put into a table, by day.
CREATE TABLE row_counts (
  tenant_id   INTEGER NOT NULL,
  table_name  TEXT NOT NULL,
  day         INTEGER NOT NULL,
  workload_id BIGINT NOT NULL,       -- 0 for none
  records     BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, table_name, day, workload_id)
);
INSERT INTO row_counts SELECT tenant_id, 'audit_events', day, coalesce(workload_id, 0), count(*) FROM audit_events GROUP BY tenant_id, day, coalesce(workload_id, 0);
INSERT INTO row_counts SELECT tenant_id, 'ignored_audit_events', day, 0, count(*) FROM ignored_audit_events GROUP BY tenant_id, day;

-- Records that were imported long after their day, and are in no seal of it yet.
CREATE TABLE late_events (
  tenant_id INTEGER NOT NULL,
  day       INTEGER NOT NULL,
  event_id  UUID NOT NULL,
  PRIMARY KEY (tenant_id, day, event_id)
);

-- What a table held of a day when that was settled. Rows are added and read, never
-- changed; each holds a digest over itself and the one before.
CREATE TABLE seals (
  tenant_id  INTEGER NOT NULL,
  seq        BIGINT NOT NULL,        -- 1, 2, 3, …
  table_name TEXT NOT NULL,
  day        INTEGER NOT NULL,
  version    INTEGER NOT NULL,       -- 1, 2, 3, … of this day of this table
  records    BIGINT NOT NULL,
  columns    TEXT NOT NULL,          -- those that are sealed, with commas
  hash       TEXT NOT NULL,          -- SHA-256 over the rows in the order of their keys, hexadecimal; empty: nothing is sealed, since rows were changed on purpose
  coverage   TEXT NOT NULL,          -- what was known of the day
  reason     TEXT NOT NULL,          -- why there is this version
  sealed_at  TIMESTAMP NOT NULL,
  digest     TEXT NOT NULL,          -- SHA-256, hexadecimal
  PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX seals_day ON seals (tenant_id, day, table_name, version);

-- The last seal, in a second place: without it the removal of the last one would not show.
CREATE TABLE seal_heads (
  tenant_id INTEGER NOT NULL PRIMARY KEY,
  seq       BIGINT NOT NULL,
  digest    TEXT NOT NULL
);

-- +goose Down
-- Data is never dropped by going back: restore the backup that was made before.
SELECT 1;
