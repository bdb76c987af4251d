-- What is kept of records as the source sent them: by the day on which it came, so that
-- old text can be given up; and which kinds of quarantined records are no alarm.

-- +goose Up
ALTER TABLE contents RENAME TO contents_before;
/*postgres: ALTER INDEX contents_pkey RENAME TO contents_before_pkey; */

-- Records as the source sent them: some hundred together, one JSON text after another,
-- a line feed after each, compressed with zstd. Rows name their piece, offset and length.
CREATE TABLE contents (
  tenant_id INTEGER NOT NULL,
  day       INTEGER NOT NULL,        -- on which it came
  id        BIGINT NOT NULL,         -- hash of (tenant, day, feed, part, blob, number of the piece)
  feed      TEXT NOT NULL,
  part      TEXT NOT NULL,
  blob      TEXT NOT NULL,
  bytes     INTEGER NOT NULL,        -- before compression
  data      BYTEA NOT NULL,
  PRIMARY KEY (tenant_id, day, id)
) /*postgres: PARTITION BY RANGE (day) */;
CREATE INDEX contents_id ON contents (tenant_id, id);

-- What is there came on the day on which its blob was read.
-- +goose StatementBegin
/*postgres:
DO $$
DECLARE month integer;
BEGIN
  FOR month IN
    SELECT DISTINCT CAST(replace(substr(CAST(coalesce(b.done_at, CURRENT_TIMESTAMP) AS TEXT), 1, 7), '-', '') AS INTEGER)
    FROM contents_before c LEFT JOIN ledger_blobs b
      ON b.tenant_id = c.tenant_id AND b.feed = c.feed AND b.part = c.part AND b.blob = c.blob
  LOOP
    EXECUTE format('CREATE TABLE contents_%s PARTITION OF contents FOR VALUES FROM (%s01) TO (%s01)',
      month, month, CASE WHEN month % 100 = 12 THEN month + 89 ELSE month + 1 END);
  END LOOP;
END $$;
*/
-- +goose StatementEnd
INSERT INTO contents (tenant_id, day, id, feed, part, blob, bytes, data)
SELECT c.tenant_id, CAST(replace(substr(CAST(coalesce(b.done_at, CURRENT_TIMESTAMP) AS TEXT), 1, 10), '-', '') AS INTEGER),
  c.id, c.feed, c.part, c.blob, c.bytes, c.data
FROM contents_before c LEFT JOIN ledger_blobs b
  ON b.tenant_id = c.tenant_id AND b.feed = c.feed AND b.part = c.part AND b.blob = c.blob;
DROP TABLE contents_before;

-- Of a record whose text is not kept: the first 63 bits of the SHA-256 of its canonical
-- form, by which the same record is known when it comes again.
ALTER TABLE audit_events ADD COLUMN content_hash BIGINT;

CREATE INDEX quarantine_seen ON quarantine (tenant_id, seen_at, digest);

-- Kinds of quarantined records that somebody has looked at and that are no alarm.
CREATE TABLE quarantine_ignored (
  tenant_id  INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  detail_has TEXT NOT NULL,          -- what stands in the detail; empty: whatever it is
  why        TEXT NOT NULL,
  since      TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, reason, detail_has)
);

-- +goose Down
-- Data is never dropped by going back: restore the backup that was made before.
SELECT 1;
