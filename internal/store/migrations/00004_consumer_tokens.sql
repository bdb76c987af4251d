-- Who may take an application's certificate from reeve's feed. A token itself is
-- nowhere in the database.

-- +goose Up
CREATE TABLE credential_consumer_tokens (
  tenant_id INTEGER NOT NULL,
  object_id TEXT NOT NULL,           -- of the application
  consumer  TEXT NOT NULL,           -- the program's name
  hash      TEXT NOT NULL,           -- SHA-256 of the token, hexadecimal
  made_by   TEXT NOT NULL,
  made_at   TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, object_id, consumer)
);

-- +goose Down
SELECT 1;
