-- The index by user cost the import more than it gave: no query of reeve's needs it. Who
-- asks for people often makes one of their own, see docs/operate/database.md.

-- +goose Up
/*postgres: DROP INDEX IF EXISTS audit_events_user; */
SELECT 1; -- SQLite never had it

-- +goose Down
SELECT 1;
