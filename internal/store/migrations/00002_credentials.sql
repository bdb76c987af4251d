-- Applications whose certificates reeve looks after. No private key is in any of
-- these tables: keys are in a certificate store, under the id of the credential.

-- +goose Up
CREATE TABLE applications (
  tenant_id    INTEGER NOT NULL,
  object_id    TEXT NOT NULL,        -- of the application; not its client id
  client_id    TEXT NOT NULL,
  name         TEXT NOT NULL,
  mode         TEXT NOT NULL,        -- on, observe, off
  policy       TEXT NOT NULL,        -- JSON: credential.Policy
  adopted_at   TIMESTAMP NOT NULL,
  touched      BIGINT NOT NULL DEFAULT 0, -- counts the changes by people: wishes, policy, mode
  data         TEXT NOT NULL,        -- JSON: the rest of credential.Application; written under a lease
  due_at       TIMESTAMP,            -- when to look at it next; NULL: never
  lease_holder TEXT,
  lease_until  TIMESTAMP,
  fence        BIGINT NOT NULL DEFAULT 0, -- counts the leases: a write with an older number is refused
  PRIMARY KEY (tenant_id, object_id)
);
CREATE INDEX applications_due ON applications (tenant_id, due_at);
CREATE INDEX applications_client ON applications (tenant_id, client_id);

-- Certificates of these applications, from the first plan to the end.
CREATE TABLE credentials (
  tenant_id INTEGER NOT NULL,
  id        TEXT NOT NULL,           -- a UUID; also the entry's name in the certificate store
  object_id TEXT NOT NULL,
  state     TEXT NOT NULL,           -- see docs/rotation.md
  sha256    TEXT,                    -- of the certificate
  not_after TIMESTAMP,
  data      TEXT NOT NULL,           -- JSON: credential.Credential
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX credentials_application ON credentials (tenant_id, object_id);

-- What a person asked for, until it is fulfilled.
CREATE TABLE credential_wishes (
  tenant_id     INTEGER NOT NULL,
  object_id     TEXT NOT NULL,
  kind          TEXT NOT NULL,       -- renew, promote, rollback, retire, revoke
  credential_id TEXT NOT NULL,       -- empty: the one that the kind suggests
  asked_by      TEXT NOT NULL,
  why           TEXT NOT NULL,
  asked_at      TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, object_id, kind, credential_id)
);

-- Who did what, when and why: each intent before its effect, each outcome after it.
-- Rows are added and read, never changed; each holds a digest over itself and the one
-- before, so that a change by other means shows.
CREATE TABLE credential_journal (
  tenant_id     INTEGER NOT NULL,
  object_id     TEXT NOT NULL,
  seq           BIGINT NOT NULL,     -- 1, 2, 3, … for each application
  at            TIMESTAMP NOT NULL,
  actor         TEXT NOT NULL,
  credential_id TEXT NOT NULL,
  step          TEXT NOT NULL,
  outcome       TEXT NOT NULL,       -- intent, done, failed, seen, wish
  text          TEXT NOT NULL,
  data          TEXT NOT NULL,       -- JSON
  fence         BIGINT NOT NULL,
  digest        TEXT NOT NULL,       -- SHA-256, hexadecimal
  PRIMARY KEY (tenant_id, object_id, seq)
);
CREATE INDEX credential_journal_credential ON credential_journal (tenant_id, credential_id);

-- Programs that take their certificate from reeve's own feed, and what they have.
CREATE TABLE credential_consumers (
  tenant_id  INTEGER NOT NULL,
  object_id  TEXT NOT NULL,
  consumer   TEXT NOT NULL,
  generation BIGINT NOT NULL,
  sha256     TEXT NOT NULL,
  at         TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, object_id, consumer)
);

-- Commands and webhooks to be run for a certificate that has become the active one.
CREATE TABLE credential_deploys (
  tenant_id     INTEGER NOT NULL,
  object_id     TEXT NOT NULL,
  credential_id TEXT NOT NULL,
  hook          TEXT NOT NULL,
  attempts      INTEGER NOT NULL DEFAULT 0,
  due_at        TIMESTAMP,           -- NULL: done, or given up
  error         TEXT NOT NULL,
  done_at       TIMESTAMP,
  PRIMARY KEY (tenant_id, object_id, credential_id, hook)
);

-- +goose Down
SELECT 1;
