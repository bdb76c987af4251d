-- One text for SQLite and PostgreSQL. Times are UTC, written as
-- 'YYYY-MM-DD HH:MM:SS.mmm'. A day is the number YYYYMMDD, computed when a row
-- is made, so that no query needs a date function. A name's id is a hash of the
-- name (store.NameTable), the same on every worker. No foreign key leads from a
-- fact anywhere: rows may be spread over shards and dropped by the month. What a
-- comment /*postgres: ... */ holds is run by PostgreSQL: a partition for each month is
-- made when its first row comes.

-- +goose Up
-- Tenants, and the number under which the rows of each are kept.
CREATE TABLE tenants (
  id          INTEGER PRIMARY KEY,
  tenant_guid TEXT NOT NULL UNIQUE
);

-- What an operator's feeds consist of: for the audit log, its content types.
CREATE TABLE feed_parts (
  tenant_id  INTEGER NOT NULL,
  feed       TEXT NOT NULL,
  part       TEXT NOT NULL,
  state      TEXT NOT NULL,          -- enabled, refused
  started_at TIMESTAMP,              -- when reeve started the subscription; NULL: it ran before
  checked_at TIMESTAMP NOT NULL,
  error      TEXT,
  PRIMARY KEY (tenant_id, feed, part)
);

-- The ledger, first half: an interval of the source's own time, listed until it
-- is forgotten there, because content may appear late.
CREATE TABLE ledger_windows (
  tenant_id INTEGER NOT NULL,
  feed      TEXT NOT NULL,
  part      TEXT NOT NULL,
  start_at  TIMESTAMP NOT NULL,      -- inclusive
  end_at    TIMESTAMP NOT NULL,      -- exclusive
  state     TEXT NOT NULL,           -- open, settled, lost
  due_at    TIMESTAMP,               -- when to list it next; NULL: never again
  forget_at TIMESTAMP NOT NULL,      -- when the source begins to forget what it holds
  listed_at TIMESTAMP,               -- last complete listing; NULL: never listed
  listed_to TIMESTAMP,               -- how far into the window listings have reached
  listings  INTEGER NOT NULL DEFAULT 0,
  blobs     INTEGER NOT NULL DEFAULT 0,
  attempts  INTEGER NOT NULL DEFAULT 0, -- failed listings since the last good one
  error     TEXT,
  PRIMARY KEY (tenant_id, feed, part, start_at)
);
CREATE INDEX ledger_windows_due ON ledger_windows (tenant_id, feed, due_at);

-- The ledger, second half: one content blob.
CREATE TABLE ledger_blobs (
  tenant_id    INTEGER NOT NULL,
  feed         TEXT NOT NULL,
  part         TEXT NOT NULL,
  blob         TEXT NOT NULL,        -- the source's contentId
  uri          TEXT NOT NULL,
  created_at   TIMESTAMP NOT NULL,
  forget_at    TIMESTAMP NOT NULL,
  listed_at    TIMESTAMP NOT NULL,   -- first seen in a listing
  state        TEXT NOT NULL,        -- due, done, lost
  due_at       TIMESTAMP NOT NULL,
  attempts     INTEGER NOT NULL DEFAULT 0,
  error        TEXT,
  done_at      TIMESTAMP,
  bytes        BIGINT NOT NULL DEFAULT 0,
  records      BIGINT NOT NULL DEFAULT 0,
  stored       BIGINT NOT NULL DEFAULT 0,
  duplicate    BIGINT NOT NULL DEFAULT 0,
  out_of_scope BIGINT NOT NULL DEFAULT 0,
  quarantined  BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, feed, part, blob)
);
CREATE INDEX ledger_blobs_due ON ledger_blobs (tenant_id, feed, state, forget_at);

-- Records as the source sent them: some hundred together, one JSON text a line,
-- compressed with zstd. Rows name their piece, offset and length.
CREATE TABLE contents (
  id        BIGINT PRIMARY KEY,      -- hash of (tenant, feed, part, blob, number of the piece)
  tenant_id INTEGER NOT NULL,
  feed      TEXT NOT NULL,
  part      TEXT NOT NULL,
  blob      TEXT NOT NULL,
  bytes     INTEGER NOT NULL,        -- before compression
  data      BYTEA NOT NULL
);

-- What could not be stored, whole, with the reason.
CREATE TABLE quarantine (
  tenant_id INTEGER NOT NULL,
  feed      TEXT NOT NULL,
  digest    BYTEA NOT NULL,          -- first 16 bytes of the SHA-256 of the record
  part      TEXT NOT NULL,
  blob      TEXT NOT NULL,
  record_id TEXT,                    -- the record's own Id, if it could be read
  reason    TEXT NOT NULL,           -- a word: see docs/operate/quarantine.md
  detail    TEXT NOT NULL,
  bytes     BIGINT NOT NULL,         -- length of the record; more than data holds if it was too long to keep
  seen_at   TIMESTAMP NOT NULL,
  data      BYTEA NOT NULL,          -- zstd
  PRIMARY KEY (tenant_id, feed, digest)
);
CREATE INDEX quarantine_record ON quarantine (tenant_id, record_id);

-- One row for each import run.
CREATE TABLE import_runs (
  tenant_id  INTEGER NOT NULL,
  feed       TEXT NOT NULL,
  started_at TIMESTAMP NOT NULL,
  ended_at   TIMESTAMP,              -- NULL: still running, or killed; its worker is alive, or not
  outcome    TEXT,                   -- complete, partial, stopped, failed
  stored     BIGINT NOT NULL DEFAULT 0,
  detail     TEXT,                   -- until it has ended, the name of its worker
  PRIMARY KEY (tenant_id, feed, started_at)
);

-- Findings: what an operator ought to know, until it is no longer so.
CREATE TABLE findings (
  tenant_id INTEGER NOT NULL,
  rule      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  message   TEXT NOT NULL,
  remedy    TEXT NOT NULL,
  since     TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, rule, subject)
);

-- The scope of the audit log, as configured (the original engine's org_urls).
CREATE TABLE org_urls (
  tenant_id   INTEGER NOT NULL,
  url_base    TEXT NOT NULL,
  exact_match BOOLEAN NOT NULL,
  PRIMARY KEY (tenant_id, url_base)
);

-- People and programs that records name, as they are named there; letter case does not count.
CREATE TABLE users            (id BIGINT PRIMARY KEY, user_name TEXT NOT NULL);
-- What was done: FileAccessed, UserLoggedIn, …
CREATE TABLE event_operations (id BIGINT PRIMARY KEY, operation_name TEXT NOT NULL);
-- Where it was done: SharePoint, Exchange, …
CREATE TABLE event_workloads  (id BIGINT PRIMARY KEY, workload_name TEXT NOT NULL);
-- What it was done to: File, Folder, Page, …
CREATE TABLE event_types      (id BIGINT PRIMARY KEY, type_name TEXT NOT NULL);
-- Extensions of file names.
CREATE TABLE event_file_ext   (id BIGINT PRIMARY KEY, extension_name TEXT NOT NULL);

-- Audit records: who, what, when, from where. The record itself is in contents.
CREATE TABLE audit_events (
  tenant_id    INTEGER NOT NULL,
  day          INTEGER NOT NULL,
  id           UUID NOT NULL,        -- the record's Id; one that is no GUID is hashed to one
  time_stamp   TIMESTAMP NOT NULL,   -- CreationTime
  record_type  INTEGER,
  operation_id BIGINT,
  workload_id  BIGINT,
  user_id      BIGINT,
  user_type    INTEGER,
  user_key     TEXT,
  result       TEXT,                 -- ResultStatus, as sent: its words differ between workloads
  client_ip    TEXT,                 -- without port; an IPv4 address in IPv6 clothes is written as IPv4
  object_id    TEXT,
  record_id    TEXT,                 -- the Id as sent, where it is not a GUID
  defects      TEXT,                 -- what had to be left out or put right, member by member
  content_id   BIGINT NOT NULL,      -- contents.id
  content_at   INTEGER NOT NULL,     -- offset of the record in it
  content_len  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, day, id)
) /*postgres: PARTITION BY RANGE (day) */;

-- Records that the scope left out: their ids alone, so that they can be accounted for.
CREATE TABLE ignored_audit_events (
  tenant_id INTEGER NOT NULL,
  day       INTEGER NOT NULL,
  event_id  UUID NOT NULL,
  PRIMARY KEY (tenant_id, day, event_id)
) /*postgres: PARTITION BY RANGE (day) */;

-- Records of SharePoint and OneDrive: site, file, sharing.
CREATE TABLE event_meta_sharepoint (
  tenant_id         INTEGER NOT NULL,
  day               INTEGER NOT NULL,
  event_id          UUID NOT NULL,
  site_url          TEXT,
  relative_url      TEXT,
  file_name         TEXT,
  file_extension_id BIGINT,
  item_type_id      BIGINT,
  event_source      TEXT,
  application       TEXT,
  user_agent        TEXT,
  target_user       TEXT,            -- TargetUserOrGroupName or UserSharedWith
  destination_url   TEXT,            -- DestinationRelativeUrl
  destination_file  TEXT,
  event_data        TEXT,
  PRIMARY KEY (tenant_id, day, event_id)
) /*postgres: PARTITION BY RANGE (day) */;

-- Records of Exchange: mailbox, folder, parameters.
CREATE TABLE event_meta_exchange (
  tenant_id       INTEGER NOT NULL,
  day             INTEGER NOT NULL,
  event_id        UUID NOT NULL,
  mailbox_owner   TEXT,
  logon_type      INTEGER,
  external_access BOOLEAN,
  client_info     TEXT,
  subject         TEXT,
  folder          TEXT,
  message_id      TEXT,
  item_count      INTEGER,           -- OperationCount, or the length of AffectedItems
  parameters      TEXT,              -- JSON, as sent
  PRIMARY KEY (tenant_id, day, event_id)
) /*postgres: PARTITION BY RANGE (day) */;

-- Records of Entra ID: actor, target, error of a sign-in.
CREATE TABLE event_meta_azure_ad (
  tenant_id           INTEGER NOT NULL,
  day                 INTEGER NOT NULL,
  event_id            UUID NOT NULL,
  event_type          INTEGER,
  actor               TEXT,          -- UPN, else application or object id
  actor_ip            TEXT,
  target              TEXT,
  application_id      TEXT,
  error_code          TEXT,          -- the AADSTS number of a sign-in
  logon_error         TEXT,
  extended_properties TEXT,          -- JSON, as sent
  modified_properties TEXT,          -- JSON, as sent
  PRIMARY KEY (tenant_id, day, event_id)
) /*postgres: PARTITION BY RANGE (day) */;

-- Records of Teams.
CREATE TABLE event_meta_teams (
  tenant_id          INTEGER NOT NULL,
  day                INTEGER NOT NULL,
  event_id           UUID NOT NULL,
  team_id            TEXT,           -- AADGroupId, else TeamGuid
  team_name          TEXT,
  channel_id         TEXT,
  channel_name       TEXT,
  chat_id            TEXT,
  meeting_id         TEXT,
  message_id         TEXT,
  communication_type TEXT,
  item_name          TEXT,           -- add-on, tab or setting
  members            TEXT,           -- JSON, as sent
  PRIMARY KEY (tenant_id, day, event_id)
) /*postgres: PARTITION BY RANGE (day) */;

-- Exchanges with Copilot.
CREATE TABLE event_copilot_chats (
  tenant_id     INTEGER NOT NULL,
  day           INTEGER NOT NULL,
  event_id      UUID NOT NULL,
  app_host      TEXT,
  thread_id     TEXT,
  client_region TEXT,
  prompts       INTEGER NOT NULL,
  answers       INTEGER NOT NULL,
  model         TEXT,
  plugins       TEXT,
  PRIMARY KEY (tenant_id, day, event_id)
) /*postgres: PARTITION BY RANGE (day) */;

-- The files, meetings, chats and pages that a Copilot exchange had open or read:
-- all of them, unlike the original's one per chat.
CREATE TABLE event_copilot_resources (
  tenant_id     INTEGER NOT NULL,
  day           INTEGER NOT NULL,
  event_id      UUID NOT NULL,
  position      INTEGER NOT NULL,
  role          TEXT NOT NULL,       -- context: it was open; accessed: it was read
  resource_id   TEXT,
  resource_type TEXT,
  name          TEXT,
  site_url      TEXT,
  PRIMARY KEY (tenant_id, day, event_id, position)
) /*postgres: PARTITION BY RANGE (day) */;

-- +goose Down
-- Data is never dropped by going back: restore the backup that was made before.
SELECT 1;
