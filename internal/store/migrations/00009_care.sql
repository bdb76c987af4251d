-- Looking after the database itself: views, and what was deleted on purpose.

-- +goose Up
/*postgres: CREATE INDEX audit_events_time ON audit_events USING brin (time_stamp); */
-- What reeve keeps in mind about the database, by name.
CREATE TABLE schema_state (
  name  TEXT PRIMARY KEY,            -- views: the digest of their text; drops: counts the months dropped; texts given up, texts due: that text was deleted, or is to be; rows changed: counts changes on purpose of rows that may be sealed; rows made: a replay has made rows that were lost
  value TEXT NOT NULL
);

-- Days whose records were deleted on purpose, since they were older than
-- retention.audit-days. They are not missing.
CREATE TABLE dropped_days (
  tenant_id  INTEGER NOT NULL,
  feed       TEXT NOT NULL,
  day        INTEGER NOT NULL,       -- YYYYMMDD, of the records' time
  records    BIGINT NOT NULL,        -- that the import had stored of it, all in all
  dropped_at TIMESTAMP NOT NULL,     -- when, the last time
  PRIMARY KEY (tenant_id, feed, day)
);

-- +goose Down
SELECT 1;
