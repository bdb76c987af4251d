-- What reeve has made at Entra ID when it was set up, so that it can be taken away.

-- +goose Up
CREATE TABLE registrations (
  tenant_id INTEGER NOT NULL,
  name      TEXT NOT NULL,           -- the unique name, or the client id of an application that was there
  client_id TEXT NOT NULL,           -- empty until it is known
  saved_at  TIMESTAMP NOT NULL,
  data      TEXT NOT NULL,           -- JSON: registration.Record
  PRIMARY KEY (tenant_id, name)
);

-- +goose Down
SELECT 1;
