-- The outbox: what is to be told to people and programs outside. A row is written
-- in the transaction of what it tells about, and sent afterwards.

-- +goose Up
CREATE TABLE outbox_events (
  tenant_id    INTEGER NOT NULL,
  event        TEXT NOT NULL,        -- chosen by who tells it: the same is told once
  event_at     TIMESTAMP NOT NULL,   -- when it happened
  posted_at    TIMESTAMP NOT NULL,
  addressed_at TIMESTAMP,            -- when it was given its deliveries; NULL: not yet
  content      TEXT NOT NULL,        -- JSON: see notify.Event
  PRIMARY KEY (tenant_id, event)
);
CREATE INDEX outbox_events_addressed ON outbox_events (tenant_id, addressed_at);

-- An event on its way to one target.
CREATE TABLE outbox_deliveries (
  tenant_id INTEGER NOT NULL,
  event     TEXT NOT NULL,
  target    TEXT NOT NULL,
  state     TEXT NOT NULL,           -- due, sent, given-up
  since     TIMESTAMP NOT NULL,      -- when it was addressed
  due_at    TIMESTAMP NOT NULL,      -- when to try it next; while it is tried, when that counts as lost
  attempts  INTEGER NOT NULL DEFAULT 0, -- begun ones; the last one alone may record how it failed
  error     TEXT,                    -- of the last attempt that failed
  ended_at  TIMESTAMP,               -- when it was sent or given up
  PRIMARY KEY (tenant_id, event, target)
);
CREATE INDEX outbox_deliveries_due ON outbox_deliveries (tenant_id, state, target, due_at);

-- +goose Down
-- Data is never dropped by going back: restore the backup that was made before.
SELECT 1;
