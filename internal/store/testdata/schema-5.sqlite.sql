CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
CREATE TABLE tenants (
  id          INTEGER PRIMARY KEY,
  tenant_guid TEXT NOT NULL UNIQUE
);
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
CREATE TABLE contents (
  id        BIGINT PRIMARY KEY,      -- hash of (tenant, feed, part, blob, number of the piece)
  tenant_id INTEGER NOT NULL,
  feed      TEXT NOT NULL,
  part      TEXT NOT NULL,
  blob      TEXT NOT NULL,
  bytes     INTEGER NOT NULL,        -- before compression
  data      BYTEA NOT NULL
);
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
CREATE TABLE import_runs (
  tenant_id  INTEGER NOT NULL,
  feed       TEXT NOT NULL,
  started_at TIMESTAMP NOT NULL,
  ended_at   TIMESTAMP,              -- NULL: still running, or killed
  outcome    TEXT,                   -- complete, partial, stopped, failed
  stored     BIGINT NOT NULL DEFAULT 0,
  detail     TEXT,
  PRIMARY KEY (tenant_id, feed, started_at)
);
CREATE TABLE findings (
  tenant_id INTEGER NOT NULL,
  rule      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  message   TEXT NOT NULL,
  remedy    TEXT NOT NULL,
  since     TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, rule, subject)
);
CREATE TABLE org_urls (
  tenant_id   INTEGER NOT NULL,
  url_base    TEXT NOT NULL,
  exact_match BOOLEAN NOT NULL,
  PRIMARY KEY (tenant_id, url_base)
);
CREATE TABLE users            (id BIGINT PRIMARY KEY, user_name TEXT NOT NULL);
CREATE TABLE event_operations (id BIGINT PRIMARY KEY, operation_name TEXT NOT NULL);
CREATE TABLE event_workloads  (id BIGINT PRIMARY KEY, workload_name TEXT NOT NULL);
CREATE TABLE event_types      (id BIGINT PRIMARY KEY, type_name TEXT NOT NULL);
CREATE TABLE event_file_ext   (id BIGINT PRIMARY KEY, extension_name TEXT NOT NULL);
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
);
CREATE TABLE ignored_audit_events (
  tenant_id INTEGER NOT NULL,
  day       INTEGER NOT NULL,
  event_id  UUID NOT NULL,
  PRIMARY KEY (tenant_id, day, event_id)
);
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
);
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
);
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
);
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
);
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
);
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
);
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
CREATE TABLE credential_consumers (
  tenant_id  INTEGER NOT NULL,
  object_id  TEXT NOT NULL,
  consumer   TEXT NOT NULL,
  generation BIGINT NOT NULL,
  sha256     TEXT NOT NULL,
  at         TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, object_id, consumer)
);
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
CREATE TABLE outbox_events (
  tenant_id    INTEGER NOT NULL,
  event        TEXT NOT NULL,        -- chosen by who tells it: the same is told once
  event_at     TIMESTAMP NOT NULL,   -- when it happened
  posted_at    TIMESTAMP NOT NULL,
  addressed_at TIMESTAMP,            -- when it was given its deliveries; NULL: not yet
  content      TEXT NOT NULL,        -- JSON: see notify.Event
  PRIMARY KEY (tenant_id, event)
);
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
CREATE TABLE credential_consumer_tokens (
  tenant_id INTEGER NOT NULL,
  object_id TEXT NOT NULL,           -- of the application
  consumer  TEXT NOT NULL,           -- the program's name
  hash      TEXT NOT NULL,           -- SHA-256 of the token, hexadecimal
  made_by   TEXT NOT NULL,
  made_at   TIMESTAMP NOT NULL,
  PRIMARY KEY (tenant_id, object_id, consumer)
);
CREATE TABLE registrations (
  tenant_id INTEGER NOT NULL,
  name      TEXT NOT NULL,           -- the unique name, or the client id of an application that was there
  client_id TEXT NOT NULL,           -- empty until it is known
  saved_at  TIMESTAMP NOT NULL,
  data      TEXT NOT NULL,           -- JSON: registration.Record
  PRIMARY KEY (tenant_id, name)
);
CREATE INDEX ledger_windows_due ON ledger_windows (tenant_id, feed, due_at);
CREATE INDEX ledger_blobs_due ON ledger_blobs (tenant_id, feed, state, forget_at);
CREATE INDEX quarantine_record ON quarantine (tenant_id, record_id);
CREATE INDEX applications_due ON applications (tenant_id, due_at);
CREATE INDEX applications_client ON applications (tenant_id, client_id);
CREATE INDEX credentials_application ON credentials (tenant_id, object_id);
CREATE INDEX credential_journal_credential ON credential_journal (tenant_id, credential_id);
CREATE INDEX outbox_events_addressed ON outbox_events (tenant_id, addressed_at);
CREATE INDEX outbox_deliveries_due ON outbox_deliveries (tenant_id, state, target, due_at);
INSERT INTO goose_db_version VALUES (1, 0, 1, '2026-11-22 00:18:39.000');
INSERT INTO goose_db_version VALUES (2, 1, 1, '2026-11-22 00:18:39.000');
INSERT INTO goose_db_version VALUES (3, 2, 1, '2026-11-22 00:18:39.000');
INSERT INTO goose_db_version VALUES (4, 3, 1, '2026-11-22 00:18:39.000');
INSERT INTO goose_db_version VALUES (5, 4, 1, '2026-11-22 00:18:39.000');
INSERT INTO goose_db_version VALUES (6, 5, 1, '2026-11-22 00:18:39.000');
INSERT INTO tenants VALUES (1, 'tenant_guid 1');
INSERT INTO feed_parts VALUES (1, 'audit', 'part 1', 'state 1', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 'error 1');
INSERT INTO feed_parts VALUES (1, 'audit', 'part 2', 'state 2', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 'error 2');
INSERT INTO feed_parts VALUES (1, 'audit', 'part 3', 'state 3', NULL, '2026-11-03 08:00:00.000', NULL);
INSERT INTO ledger_windows VALUES (1, 'audit', 'part 1', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 'state 1', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 1, 1, 1, 'error 1');
INSERT INTO ledger_windows VALUES (1, 'audit', 'part 2', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 'state 2', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 2, 2, 2, 'error 2');
INSERT INTO ledger_windows VALUES (1, 'audit', 'part 3', '2026-11-03 08:00:00.000', '2026-11-03 08:00:00.000', 'state 3', NULL, '2026-11-03 08:00:00.000', NULL, NULL, 3, 3, 3, NULL);
INSERT INTO ledger_blobs VALUES (1, 'audit', 'part 1', 'blob 1', 'uri 1', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 'done', '2026-11-01 08:00:00.000', 1, 'error 1', '2026-11-01 08:00:00.000', 1, 1, 1, 1, 1, 1);
INSERT INTO ledger_blobs VALUES (1, 'audit', 'part 2', 'blob 2', 'uri 2', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 'done', '2026-11-02 08:00:00.000', 2, 'error 2', '2026-11-02 08:00:00.000', 2, 1, 1, 2, 2, 2);
INSERT INTO ledger_blobs VALUES (1, 'audit', 'part 3', 'blob 3', 'uri 3', '2026-11-03 08:00:00.000', '2026-11-03 08:00:00.000', '2026-11-03 08:00:00.000', 'done', '2026-11-03 08:00:00.000', 3, NULL, NULL, 3, 1, 1, 3, 3, 3);
INSERT INTO contents VALUES (1, 1, 'audit', 'part 1', 'blob 1', 3, x'28b52ffd04001900007b7d0abad3119c');
INSERT INTO quarantine VALUES (1, 'audit', x'00000000000000000000000000000001', 'part 1', 'blob 1', 'record_id 1', 'reason 1', 'detail 1', 1, '2026-11-01 08:00:00.000', x'00000000000000000000000000000001');
INSERT INTO quarantine VALUES (1, 'audit', x'00000000000000000000000000000002', 'part 2', 'blob 2', 'record_id 2', 'reason 2', 'detail 2', 2, '2026-11-02 08:00:00.000', x'00000000000000000000000000000002');
INSERT INTO quarantine VALUES (1, 'audit', x'00000000000000000000000000000003', 'part 3', 'blob 3', NULL, 'reason 3', 'detail 3', 3, '2026-11-03 08:00:00.000', x'00000000000000000000000000000003');
INSERT INTO import_runs VALUES (1, 'audit', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 'outcome 1', 1, 'detail 1');
INSERT INTO import_runs VALUES (1, 'audit', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 'outcome 2', 2, 'detail 2');
INSERT INTO import_runs VALUES (1, 'audit', '2026-11-03 08:00:00.000', NULL, NULL, 3, NULL);
INSERT INTO findings VALUES (1, 'rule 1', 'subject 1', 'message 1', 'remedy 1', '2026-11-01 08:00:00.000');
INSERT INTO findings VALUES (1, 'rule 2', 'subject 2', 'message 2', 'remedy 2', '2026-11-02 08:00:00.000');
INSERT INTO findings VALUES (1, 'rule 3', 'subject 3', 'message 3', 'remedy 3', '2026-11-03 08:00:00.000');
INSERT INTO org_urls VALUES (1, 'url_base 1', 1);
INSERT INTO org_urls VALUES (1, 'url_base 2', 0);
INSERT INTO org_urls VALUES (1, 'url_base 3', 1);
INSERT INTO users VALUES (1, 'Größe ''1''');
INSERT INTO users VALUES (2, 'Größe ''2''');
INSERT INTO users VALUES (3, 'Größe ''3''');
INSERT INTO event_operations VALUES (1, 'Größe ''1''');
INSERT INTO event_operations VALUES (2, 'Größe ''2''');
INSERT INTO event_operations VALUES (3, 'Größe ''3''');
INSERT INTO event_workloads VALUES (1, 'Größe ''1''');
INSERT INTO event_workloads VALUES (2, 'Größe ''2''');
INSERT INTO event_workloads VALUES (3, 'Größe ''3''');
INSERT INTO event_types VALUES (1, 'Größe ''1''');
INSERT INTO event_types VALUES (2, 'Größe ''2''');
INSERT INTO event_types VALUES (3, 'Größe ''3''');
INSERT INTO event_file_ext VALUES (1, 'Größe ''1''');
INSERT INTO event_file_ext VALUES (2, 'Größe ''2''');
INSERT INTO event_file_ext VALUES (3, 'Größe ''3''');
INSERT INTO audit_events VALUES (1, 20261101, x'10200000000000000000000000000001', '2026-11-01 08:00:00.000', 1, 1, 1, 1, 1, 'user_key 1', 'result 1', 'client_ip 1', 'object_id 1', 'record_id 1', 'defects 1', 1, 0, 2);
INSERT INTO audit_events VALUES (1, 20261102, x'10200000000000000000000000000002', '2026-11-02 08:00:00.000', 2, 2, 2, 2, 2, 'user_key 2', 'result 2', 'client_ip 2', 'object_id 2', 'record_id 2', 'defects 2', 1, 0, 2);
INSERT INTO audit_events VALUES (1, 20261103, x'10200000000000000000000000000003', '2026-11-03 08:00:00.000', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 0, 2);
INSERT INTO ignored_audit_events VALUES (1, 20261101, x'10200000000000000000000000000001');
INSERT INTO ignored_audit_events VALUES (1, 20261102, x'10200000000000000000000000000002');
INSERT INTO ignored_audit_events VALUES (1, 20261103, x'10200000000000000000000000000003');
INSERT INTO event_meta_sharepoint VALUES (1, 20261101, x'10200000000000000000000000000001', 'site_url 1', 'relative_url 1', 'file_name 1', 1, 1, 'event_source 1', 'application 1', 'user_agent 1', 'target_user 1', 'destination_url 1', 'destination_file 1', 'event_data 1');
INSERT INTO event_meta_sharepoint VALUES (1, 20261102, x'10200000000000000000000000000002', 'site_url 2', 'relative_url 2', 'file_name 2', 2, 2, 'event_source 2', 'application 2', 'user_agent 2', 'target_user 2', 'destination_url 2', 'destination_file 2', 'event_data 2');
INSERT INTO event_meta_sharepoint VALUES (1, 20261103, x'10200000000000000000000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO event_meta_exchange VALUES (1, 20261101, x'10200000000000000000000000000001', 'mailbox_owner 1', 1, 1, 'client_info 1', 'subject 1', 'folder 1', 'message_id 1', 1, 'parameters 1');
INSERT INTO event_meta_exchange VALUES (1, 20261102, x'10200000000000000000000000000002', 'mailbox_owner 2', 2, 0, 'client_info 2', 'subject 2', 'folder 2', 'message_id 2', 2, 'parameters 2');
INSERT INTO event_meta_exchange VALUES (1, 20261103, x'10200000000000000000000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO event_meta_azure_ad VALUES (1, 20261101, x'10200000000000000000000000000001', 1, 'actor 1', 'actor_ip 1', 'target 1', 'application_id 1', 'error_code 1', 'logon_error 1', 'extended_properties 1', 'modified_properties 1');
INSERT INTO event_meta_azure_ad VALUES (1, 20261102, x'10200000000000000000000000000002', 2, 'actor 2', 'actor_ip 2', 'target 2', 'application_id 2', 'error_code 2', 'logon_error 2', 'extended_properties 2', 'modified_properties 2');
INSERT INTO event_meta_azure_ad VALUES (1, 20261103, x'10200000000000000000000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO event_meta_teams VALUES (1, 20261101, x'10200000000000000000000000000001', 'team_id 1', 'team_name 1', 'channel_id 1', 'channel_name 1', 'chat_id 1', 'meeting_id 1', 'message_id 1', 'communication_type 1', 'item_name 1', 'members 1');
INSERT INTO event_meta_teams VALUES (1, 20261102, x'10200000000000000000000000000002', 'team_id 2', 'team_name 2', 'channel_id 2', 'channel_name 2', 'chat_id 2', 'meeting_id 2', 'message_id 2', 'communication_type 2', 'item_name 2', 'members 2');
INSERT INTO event_meta_teams VALUES (1, 20261103, x'10200000000000000000000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO event_copilot_chats VALUES (1, 20261101, x'10200000000000000000000000000001', 'app_host 1', 'thread_id 1', 'client_region 1', 1, 1, 'model 1', 'plugins 1');
INSERT INTO event_copilot_chats VALUES (1, 20261102, x'10200000000000000000000000000002', 'app_host 2', 'thread_id 2', 'client_region 2', 2, 2, 'model 2', 'plugins 2');
INSERT INTO event_copilot_chats VALUES (1, 20261103, x'10200000000000000000000000000003', NULL, NULL, NULL, 3, 3, NULL, NULL);
INSERT INTO event_copilot_resources VALUES (1, 20261101, x'10200000000000000000000000000001', 1, 'role 1', 'resource_id 1', 'resource_type 1', 'name 1', 'site_url 1');
INSERT INTO event_copilot_resources VALUES (1, 20261102, x'10200000000000000000000000000002', 2, 'role 2', 'resource_id 2', 'resource_type 2', 'name 2', 'site_url 2');
INSERT INTO event_copilot_resources VALUES (1, 20261103, x'10200000000000000000000000000003', 3, 'role 3', NULL, NULL, NULL, NULL);
INSERT INTO applications VALUES (1, 'object_id 1', 'client_id 1', 'name 1', 'mode 1', '{}', '2026-11-01 08:00:00.000', 1, '{}', '2026-11-01 08:00:00.000', 'lease_holder 1', '2026-11-01 08:00:00.000', 1);
INSERT INTO applications VALUES (1, 'object_id 2', 'client_id 2', 'name 2', 'mode 2', '{}', '2026-11-02 08:00:00.000', 2, '{}', '2026-11-02 08:00:00.000', 'lease_holder 2', '2026-11-02 08:00:00.000', 2);
INSERT INTO applications VALUES (1, 'object_id 3', 'client_id 3', 'name 3', 'mode 3', '{}', '2026-11-03 08:00:00.000', 3, '{}', NULL, NULL, NULL, 3);
INSERT INTO credentials VALUES (1, 'id 1', 'object_id 1', 'state 1', 'sha256 1', '2026-11-01 08:00:00.000', '{}');
INSERT INTO credentials VALUES (1, 'id 2', 'object_id 2', 'state 2', 'sha256 2', '2026-11-02 08:00:00.000', '{}');
INSERT INTO credentials VALUES (1, 'id 3', 'object_id 3', 'state 3', NULL, NULL, '{}');
INSERT INTO credential_wishes VALUES (1, 'object_id 1', 'kind 1', 'credential_id 1', 'asked_by 1', 'why 1', '2026-11-01 08:00:00.000');
INSERT INTO credential_wishes VALUES (1, 'object_id 2', 'kind 2', 'credential_id 2', 'asked_by 2', 'why 2', '2026-11-02 08:00:00.000');
INSERT INTO credential_wishes VALUES (1, 'object_id 3', 'kind 3', 'credential_id 3', 'asked_by 3', 'why 3', '2026-11-03 08:00:00.000');
INSERT INTO credential_journal VALUES (1, 'object', 1, '2026-11-01 08:00:00.000', 'actor 1', 'credential_id 1', 'step 1', 'outcome 1', 'text 1', '{}', 1, '9423e5a7e4b46d3300ebdecd9fc27232088005b4ce8cf3b4d003bf9e2e04b348');
INSERT INTO credential_journal VALUES (1, 'object', 2, '2026-11-02 08:00:00.000', 'actor 2', 'credential_id 2', 'step 2', 'outcome 2', 'text 2', '{}', 2, '39f4f531280435b9034c8f97b8fb6602e61b9aeb05b8dc844be5cb3c2766acb2');
INSERT INTO credential_journal VALUES (1, 'object', 3, '2026-11-03 08:00:00.000', 'actor 3', 'credential_id 3', 'step 3', 'outcome 3', 'text 3', '{}', 3, '4f125b3c3662c5db17e61e170fcb2a48108d977ceeb6af9e9053e566978abf0f');
INSERT INTO credential_consumers VALUES (1, 'object_id 1', 'consumer 1', 1, 'sha256 1', '2026-11-01 08:00:00.000');
INSERT INTO credential_consumers VALUES (1, 'object_id 2', 'consumer 2', 2, 'sha256 2', '2026-11-02 08:00:00.000');
INSERT INTO credential_consumers VALUES (1, 'object_id 3', 'consumer 3', 3, 'sha256 3', '2026-11-03 08:00:00.000');
INSERT INTO credential_deploys VALUES (1, 'object_id 1', 'credential_id 1', 'hook 1', 1, '2026-11-01 08:00:00.000', 'error 1', '2026-11-01 08:00:00.000');
INSERT INTO credential_deploys VALUES (1, 'object_id 2', 'credential_id 2', 'hook 2', 2, '2026-11-02 08:00:00.000', 'error 2', '2026-11-02 08:00:00.000');
INSERT INTO credential_deploys VALUES (1, 'object_id 3', 'credential_id 3', 'hook 3', 3, NULL, 'error 3', NULL);
INSERT INTO outbox_events VALUES (1, 'event 1', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 'content 1');
INSERT INTO outbox_events VALUES (1, 'event 2', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 'content 2');
INSERT INTO outbox_events VALUES (1, 'event 3', '2026-11-03 08:00:00.000', '2026-11-03 08:00:00.000', NULL, 'content 3');
INSERT INTO outbox_deliveries VALUES (1, 'event 1', 'target 1', 'state 1', '2026-11-01 08:00:00.000', '2026-11-01 08:00:00.000', 1, 'error 1', '2026-11-01 08:00:00.000');
INSERT INTO outbox_deliveries VALUES (1, 'event 2', 'target 2', 'state 2', '2026-11-02 08:00:00.000', '2026-11-02 08:00:00.000', 2, 'error 2', '2026-11-02 08:00:00.000');
INSERT INTO outbox_deliveries VALUES (1, 'event 3', 'target 3', 'state 3', '2026-11-03 08:00:00.000', '2026-11-03 08:00:00.000', 3, NULL, NULL);
INSERT INTO credential_consumer_tokens VALUES (1, 'object_id 1', 'consumer 1', 'hash 1', 'made_by 1', '2026-11-01 08:00:00.000');
INSERT INTO credential_consumer_tokens VALUES (1, 'object_id 2', 'consumer 2', 'hash 2', 'made_by 2', '2026-11-02 08:00:00.000');
INSERT INTO credential_consumer_tokens VALUES (1, 'object_id 3', 'consumer 3', 'hash 3', 'made_by 3', '2026-11-03 08:00:00.000');
INSERT INTO registrations VALUES (1, 'name 1', 'client_id 1', '2026-11-01 08:00:00.000', '{}');
INSERT INTO registrations VALUES (1, 'name 2', 'client_id 2', '2026-11-02 08:00:00.000', '{}');
INSERT INTO registrations VALUES (1, 'name 3', 'client_id 3', '2026-11-03 08:00:00.000', '{}');
