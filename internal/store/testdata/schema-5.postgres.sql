SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.applications (
    tenant_id integer NOT NULL,
    object_id text NOT NULL,
    client_id text NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    policy text NOT NULL,
    adopted_at timestamp without time zone NOT NULL,
    touched bigint DEFAULT 0 NOT NULL,
    data text NOT NULL,
    due_at timestamp without time zone,
    lease_holder text,
    lease_until timestamp without time zone,
    fence bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.audit_events (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    id uuid NOT NULL,
    time_stamp timestamp without time zone NOT NULL,
    record_type integer,
    operation_id bigint,
    workload_id bigint,
    user_id bigint,
    user_type integer,
    user_key text,
    result text,
    client_ip text,
    object_id text,
    record_id text,
    defects text,
    content_id bigint NOT NULL,
    content_at integer NOT NULL,
    content_len integer NOT NULL
)
PARTITION BY RANGE (day);
CREATE TABLE public.audit_events_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    id uuid NOT NULL,
    time_stamp timestamp without time zone NOT NULL,
    record_type integer,
    operation_id bigint,
    workload_id bigint,
    user_id bigint,
    user_type integer,
    user_key text,
    result text,
    client_ip text,
    object_id text,
    record_id text,
    defects text,
    content_id bigint NOT NULL,
    content_at integer NOT NULL,
    content_len integer NOT NULL
);
CREATE TABLE public.contents (
    id bigint NOT NULL,
    tenant_id integer NOT NULL,
    feed text NOT NULL,
    part text NOT NULL,
    blob text NOT NULL,
    bytes integer NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.credential_consumer_tokens (
    tenant_id integer NOT NULL,
    object_id text NOT NULL,
    consumer text NOT NULL,
    hash text NOT NULL,
    made_by text NOT NULL,
    made_at timestamp without time zone NOT NULL
);
CREATE TABLE public.credential_consumers (
    tenant_id integer NOT NULL,
    object_id text NOT NULL,
    consumer text NOT NULL,
    generation bigint NOT NULL,
    sha256 text NOT NULL,
    at timestamp without time zone NOT NULL
);
CREATE TABLE public.credential_deploys (
    tenant_id integer NOT NULL,
    object_id text NOT NULL,
    credential_id text NOT NULL,
    hook text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp without time zone,
    error text NOT NULL,
    done_at timestamp without time zone
);
CREATE TABLE public.credential_journal (
    tenant_id integer NOT NULL,
    object_id text NOT NULL,
    seq bigint NOT NULL,
    at timestamp without time zone NOT NULL,
    actor text NOT NULL,
    credential_id text NOT NULL,
    step text NOT NULL,
    outcome text NOT NULL,
    text text NOT NULL,
    data text NOT NULL,
    fence bigint NOT NULL,
    digest text NOT NULL
);
CREATE TABLE public.credential_wishes (
    tenant_id integer NOT NULL,
    object_id text NOT NULL,
    kind text NOT NULL,
    credential_id text NOT NULL,
    asked_by text NOT NULL,
    why text NOT NULL,
    asked_at timestamp without time zone NOT NULL
);
CREATE TABLE public.credentials (
    tenant_id integer NOT NULL,
    id text NOT NULL,
    object_id text NOT NULL,
    state text NOT NULL,
    sha256 text,
    not_after timestamp without time zone,
    data text NOT NULL
);
CREATE TABLE public.event_copilot_chats (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    app_host text,
    thread_id text,
    client_region text,
    prompts integer NOT NULL,
    answers integer NOT NULL,
    model text,
    plugins text
)
PARTITION BY RANGE (day);
CREATE TABLE public.event_copilot_chats_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    app_host text,
    thread_id text,
    client_region text,
    prompts integer NOT NULL,
    answers integer NOT NULL,
    model text,
    plugins text
);
CREATE TABLE public.event_copilot_resources (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    "position" integer NOT NULL,
    role text NOT NULL,
    resource_id text,
    resource_type text,
    name text,
    site_url text
)
PARTITION BY RANGE (day);
CREATE TABLE public.event_copilot_resources_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    "position" integer NOT NULL,
    role text NOT NULL,
    resource_id text,
    resource_type text,
    name text,
    site_url text
);
CREATE TABLE public.event_file_ext (
    id bigint NOT NULL,
    extension_name text NOT NULL
);
CREATE TABLE public.event_meta_azure_ad (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    event_type integer,
    actor text,
    actor_ip text,
    target text,
    application_id text,
    error_code text,
    logon_error text,
    extended_properties text,
    modified_properties text
)
PARTITION BY RANGE (day);
CREATE TABLE public.event_meta_azure_ad_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    event_type integer,
    actor text,
    actor_ip text,
    target text,
    application_id text,
    error_code text,
    logon_error text,
    extended_properties text,
    modified_properties text
);
CREATE TABLE public.event_meta_exchange (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    mailbox_owner text,
    logon_type integer,
    external_access boolean,
    client_info text,
    subject text,
    folder text,
    message_id text,
    item_count integer,
    parameters text
)
PARTITION BY RANGE (day);
CREATE TABLE public.event_meta_exchange_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    mailbox_owner text,
    logon_type integer,
    external_access boolean,
    client_info text,
    subject text,
    folder text,
    message_id text,
    item_count integer,
    parameters text
);
CREATE TABLE public.event_meta_sharepoint (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    site_url text,
    relative_url text,
    file_name text,
    file_extension_id bigint,
    item_type_id bigint,
    event_source text,
    application text,
    user_agent text,
    target_user text,
    destination_url text,
    destination_file text,
    event_data text
)
PARTITION BY RANGE (day);
CREATE TABLE public.event_meta_sharepoint_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    site_url text,
    relative_url text,
    file_name text,
    file_extension_id bigint,
    item_type_id bigint,
    event_source text,
    application text,
    user_agent text,
    target_user text,
    destination_url text,
    destination_file text,
    event_data text
);
CREATE TABLE public.event_meta_teams (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    team_id text,
    team_name text,
    channel_id text,
    channel_name text,
    chat_id text,
    meeting_id text,
    message_id text,
    communication_type text,
    item_name text,
    members text
)
PARTITION BY RANGE (day);
CREATE TABLE public.event_meta_teams_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL,
    team_id text,
    team_name text,
    channel_id text,
    channel_name text,
    chat_id text,
    meeting_id text,
    message_id text,
    communication_type text,
    item_name text,
    members text
);
CREATE TABLE public.event_operations (
    id bigint NOT NULL,
    operation_name text NOT NULL
);
CREATE TABLE public.event_types (
    id bigint NOT NULL,
    type_name text NOT NULL
);
CREATE TABLE public.event_workloads (
    id bigint NOT NULL,
    workload_name text NOT NULL
);
CREATE TABLE public.feed_parts (
    tenant_id integer NOT NULL,
    feed text NOT NULL,
    part text NOT NULL,
    state text NOT NULL,
    started_at timestamp without time zone,
    checked_at timestamp without time zone NOT NULL,
    error text
);
CREATE TABLE public.findings (
    tenant_id integer NOT NULL,
    rule text NOT NULL,
    subject text NOT NULL,
    message text NOT NULL,
    remedy text NOT NULL,
    since timestamp without time zone NOT NULL
);
CREATE TABLE public.goose_db_version (
    id integer NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.goose_db_version ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.goose_db_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.ignored_audit_events (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL
)
PARTITION BY RANGE (day);
CREATE TABLE public.ignored_audit_events_202611 (
    tenant_id integer NOT NULL,
    day integer NOT NULL,
    event_id uuid NOT NULL
);
CREATE TABLE public.import_runs (
    tenant_id integer NOT NULL,
    feed text NOT NULL,
    started_at timestamp without time zone NOT NULL,
    ended_at timestamp without time zone,
    outcome text,
    stored bigint DEFAULT 0 NOT NULL,
    detail text
);
CREATE TABLE public.ledger_blobs (
    tenant_id integer NOT NULL,
    feed text NOT NULL,
    part text NOT NULL,
    blob text NOT NULL,
    uri text NOT NULL,
    created_at timestamp without time zone NOT NULL,
    forget_at timestamp without time zone NOT NULL,
    listed_at timestamp without time zone NOT NULL,
    state text NOT NULL,
    due_at timestamp without time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    error text,
    done_at timestamp without time zone,
    bytes bigint DEFAULT 0 NOT NULL,
    records bigint DEFAULT 0 NOT NULL,
    stored bigint DEFAULT 0 NOT NULL,
    duplicate bigint DEFAULT 0 NOT NULL,
    out_of_scope bigint DEFAULT 0 NOT NULL,
    quarantined bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.ledger_windows (
    tenant_id integer NOT NULL,
    feed text NOT NULL,
    part text NOT NULL,
    start_at timestamp without time zone NOT NULL,
    end_at timestamp without time zone NOT NULL,
    state text NOT NULL,
    due_at timestamp without time zone,
    forget_at timestamp without time zone NOT NULL,
    listed_at timestamp without time zone,
    listed_to timestamp without time zone,
    listings integer DEFAULT 0 NOT NULL,
    blobs integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    error text
);
CREATE TABLE public.org_urls (
    tenant_id integer NOT NULL,
    url_base text NOT NULL,
    exact_match boolean NOT NULL
);
CREATE TABLE public.outbox_deliveries (
    tenant_id integer NOT NULL,
    event text NOT NULL,
    target text NOT NULL,
    state text NOT NULL,
    since timestamp without time zone NOT NULL,
    due_at timestamp without time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    error text,
    ended_at timestamp without time zone
);
CREATE TABLE public.outbox_events (
    tenant_id integer NOT NULL,
    event text NOT NULL,
    event_at timestamp without time zone NOT NULL,
    posted_at timestamp without time zone NOT NULL,
    addressed_at timestamp without time zone,
    content text NOT NULL
);
CREATE TABLE public.quarantine (
    tenant_id integer NOT NULL,
    feed text NOT NULL,
    digest bytea NOT NULL,
    part text NOT NULL,
    blob text NOT NULL,
    record_id text,
    reason text NOT NULL,
    detail text NOT NULL,
    bytes bigint NOT NULL,
    seen_at timestamp without time zone NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.registrations (
    tenant_id integer NOT NULL,
    name text NOT NULL,
    client_id text NOT NULL,
    saved_at timestamp without time zone NOT NULL,
    data text NOT NULL
);
CREATE TABLE public.tenants (
    id integer NOT NULL,
    tenant_guid text NOT NULL
);
CREATE TABLE public.users (
    id bigint NOT NULL,
    user_name text NOT NULL
);
ALTER TABLE ONLY public.audit_events ATTACH PARTITION public.audit_events_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.event_copilot_chats ATTACH PARTITION public.event_copilot_chats_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.event_copilot_resources ATTACH PARTITION public.event_copilot_resources_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.event_meta_azure_ad ATTACH PARTITION public.event_meta_azure_ad_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.event_meta_exchange ATTACH PARTITION public.event_meta_exchange_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.event_meta_sharepoint ATTACH PARTITION public.event_meta_sharepoint_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.event_meta_teams ATTACH PARTITION public.event_meta_teams_202611 FOR VALUES FROM (20261101) TO (20261201);
ALTER TABLE ONLY public.ignored_audit_events ATTACH PARTITION public.ignored_audit_events_202611 FOR VALUES FROM (20261101) TO (20261201);
INSERT INTO public.applications VALUES (1, 'object_id 1', 'client_id 1', 'name 1', 'mode 1', '{}', '2026-11-01 08:00:00', 1, '{}', '2026-11-01 08:00:00', 'lease_holder 1', '2026-11-01 08:00:00', 1);
INSERT INTO public.applications VALUES (1, 'object_id 2', 'client_id 2', 'name 2', 'mode 2', '{}', '2026-11-02 08:00:00', 2, '{}', '2026-11-02 08:00:00', 'lease_holder 2', '2026-11-02 08:00:00', 2);
INSERT INTO public.applications VALUES (1, 'object_id 3', 'client_id 3', 'name 3', 'mode 3', '{}', '2026-11-03 08:00:00', 3, '{}', NULL, NULL, NULL, 3);
INSERT INTO public.audit_events_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', '2026-11-01 08:00:00', 1, 1, 1, 1, 1, 'user_key 1', 'result 1', 'client_ip 1', 'object_id 1', 'record_id 1', 'defects 1', 1, 0, 2);
INSERT INTO public.audit_events_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', '2026-11-02 08:00:00', 2, 2, 2, 2, 2, 'user_key 2', 'result 2', 'client_ip 2', 'object_id 2', 'record_id 2', 'defects 2', 1, 0, 2);
INSERT INTO public.audit_events_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', '2026-11-03 08:00:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 0, 2);
INSERT INTO public.contents VALUES (1, 1, 'audit', 'part 1', 'blob 1', 3, '\x28b52ffd04001900007b7d0abad3119c');
INSERT INTO public.credential_consumer_tokens VALUES (1, 'object_id 1', 'consumer 1', 'hash 1', 'made_by 1', '2026-11-01 08:00:00');
INSERT INTO public.credential_consumer_tokens VALUES (1, 'object_id 2', 'consumer 2', 'hash 2', 'made_by 2', '2026-11-02 08:00:00');
INSERT INTO public.credential_consumer_tokens VALUES (1, 'object_id 3', 'consumer 3', 'hash 3', 'made_by 3', '2026-11-03 08:00:00');
INSERT INTO public.credential_consumers VALUES (1, 'object_id 1', 'consumer 1', 1, 'sha256 1', '2026-11-01 08:00:00');
INSERT INTO public.credential_consumers VALUES (1, 'object_id 2', 'consumer 2', 2, 'sha256 2', '2026-11-02 08:00:00');
INSERT INTO public.credential_consumers VALUES (1, 'object_id 3', 'consumer 3', 3, 'sha256 3', '2026-11-03 08:00:00');
INSERT INTO public.credential_deploys VALUES (1, 'object_id 1', 'credential_id 1', 'hook 1', 1, '2026-11-01 08:00:00', 'error 1', '2026-11-01 08:00:00');
INSERT INTO public.credential_deploys VALUES (1, 'object_id 2', 'credential_id 2', 'hook 2', 2, '2026-11-02 08:00:00', 'error 2', '2026-11-02 08:00:00');
INSERT INTO public.credential_deploys VALUES (1, 'object_id 3', 'credential_id 3', 'hook 3', 3, NULL, 'error 3', NULL);
INSERT INTO public.credential_journal VALUES (1, 'object', 1, '2026-11-01 08:00:00', 'actor 1', 'credential_id 1', 'step 1', 'outcome 1', 'text 1', '{}', 1, '9423e5a7e4b46d3300ebdecd9fc27232088005b4ce8cf3b4d003bf9e2e04b348');
INSERT INTO public.credential_journal VALUES (1, 'object', 2, '2026-11-02 08:00:00', 'actor 2', 'credential_id 2', 'step 2', 'outcome 2', 'text 2', '{}', 2, '39f4f531280435b9034c8f97b8fb6602e61b9aeb05b8dc844be5cb3c2766acb2');
INSERT INTO public.credential_journal VALUES (1, 'object', 3, '2026-11-03 08:00:00', 'actor 3', 'credential_id 3', 'step 3', 'outcome 3', 'text 3', '{}', 3, '4f125b3c3662c5db17e61e170fcb2a48108d977ceeb6af9e9053e566978abf0f');
INSERT INTO public.credential_wishes VALUES (1, 'object_id 1', 'kind 1', 'credential_id 1', 'asked_by 1', 'why 1', '2026-11-01 08:00:00');
INSERT INTO public.credential_wishes VALUES (1, 'object_id 2', 'kind 2', 'credential_id 2', 'asked_by 2', 'why 2', '2026-11-02 08:00:00');
INSERT INTO public.credential_wishes VALUES (1, 'object_id 3', 'kind 3', 'credential_id 3', 'asked_by 3', 'why 3', '2026-11-03 08:00:00');
INSERT INTO public.credentials VALUES (1, 'id 1', 'object_id 1', 'state 1', 'sha256 1', '2026-11-01 08:00:00', '{}');
INSERT INTO public.credentials VALUES (1, 'id 2', 'object_id 2', 'state 2', 'sha256 2', '2026-11-02 08:00:00', '{}');
INSERT INTO public.credentials VALUES (1, 'id 3', 'object_id 3', 'state 3', NULL, NULL, '{}');
INSERT INTO public.event_copilot_chats_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', 'app_host 1', 'thread_id 1', 'client_region 1', 1, 1, 'model 1', 'plugins 1');
INSERT INTO public.event_copilot_chats_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', 'app_host 2', 'thread_id 2', 'client_region 2', 2, 2, 'model 2', 'plugins 2');
INSERT INTO public.event_copilot_chats_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', NULL, NULL, NULL, 3, 3, NULL, NULL);
INSERT INTO public.event_copilot_resources_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', 1, 'role 1', 'resource_id 1', 'resource_type 1', 'name 1', 'site_url 1');
INSERT INTO public.event_copilot_resources_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', 2, 'role 2', 'resource_id 2', 'resource_type 2', 'name 2', 'site_url 2');
INSERT INTO public.event_copilot_resources_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', 3, 'role 3', NULL, NULL, NULL, NULL);
INSERT INTO public.event_file_ext VALUES (1, 'Größe ''1''');
INSERT INTO public.event_file_ext VALUES (2, 'Größe ''2''');
INSERT INTO public.event_file_ext VALUES (3, 'Größe ''3''');
INSERT INTO public.event_meta_azure_ad_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', 1, 'actor 1', 'actor_ip 1', 'target 1', 'application_id 1', 'error_code 1', 'logon_error 1', 'extended_properties 1', 'modified_properties 1');
INSERT INTO public.event_meta_azure_ad_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', 2, 'actor 2', 'actor_ip 2', 'target 2', 'application_id 2', 'error_code 2', 'logon_error 2', 'extended_properties 2', 'modified_properties 2');
INSERT INTO public.event_meta_azure_ad_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.event_meta_exchange_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', 'mailbox_owner 1', 1, true, 'client_info 1', 'subject 1', 'folder 1', 'message_id 1', 1, 'parameters 1');
INSERT INTO public.event_meta_exchange_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', 'mailbox_owner 2', 2, false, 'client_info 2', 'subject 2', 'folder 2', 'message_id 2', 2, 'parameters 2');
INSERT INTO public.event_meta_exchange_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.event_meta_sharepoint_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', 'site_url 1', 'relative_url 1', 'file_name 1', 1, 1, 'event_source 1', 'application 1', 'user_agent 1', 'target_user 1', 'destination_url 1', 'destination_file 1', 'event_data 1');
INSERT INTO public.event_meta_sharepoint_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', 'site_url 2', 'relative_url 2', 'file_name 2', 2, 2, 'event_source 2', 'application 2', 'user_agent 2', 'target_user 2', 'destination_url 2', 'destination_file 2', 'event_data 2');
INSERT INTO public.event_meta_sharepoint_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.event_meta_teams_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001', 'team_id 1', 'team_name 1', 'channel_id 1', 'channel_name 1', 'chat_id 1', 'meeting_id 1', 'message_id 1', 'communication_type 1', 'item_name 1', 'members 1');
INSERT INTO public.event_meta_teams_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002', 'team_id 2', 'team_name 2', 'channel_id 2', 'channel_name 2', 'chat_id 2', 'meeting_id 2', 'message_id 2', 'communication_type 2', 'item_name 2', 'members 2');
INSERT INTO public.event_meta_teams_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.event_operations VALUES (1, 'Größe ''1''');
INSERT INTO public.event_operations VALUES (2, 'Größe ''2''');
INSERT INTO public.event_operations VALUES (3, 'Größe ''3''');
INSERT INTO public.event_types VALUES (1, 'Größe ''1''');
INSERT INTO public.event_types VALUES (2, 'Größe ''2''');
INSERT INTO public.event_types VALUES (3, 'Größe ''3''');
INSERT INTO public.event_workloads VALUES (1, 'Größe ''1''');
INSERT INTO public.event_workloads VALUES (2, 'Größe ''2''');
INSERT INTO public.event_workloads VALUES (3, 'Größe ''3''');
INSERT INTO public.feed_parts VALUES (1, 'audit', 'part 1', 'state 1', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 'error 1');
INSERT INTO public.feed_parts VALUES (1, 'audit', 'part 2', 'state 2', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 'error 2');
INSERT INTO public.feed_parts VALUES (1, 'audit', 'part 3', 'state 3', NULL, '2026-11-03 08:00:00', NULL);
INSERT INTO public.findings VALUES (1, 'rule 1', 'subject 1', 'message 1', 'remedy 1', '2026-11-01 08:00:00');
INSERT INTO public.findings VALUES (1, 'rule 2', 'subject 2', 'message 2', 'remedy 2', '2026-11-02 08:00:00');
INSERT INTO public.findings VALUES (1, 'rule 3', 'subject 3', 'message 3', 'remedy 3', '2026-11-03 08:00:00');
INSERT INTO public.goose_db_version VALUES (1, 0, true, '2026-11-22 00:18:46.481549');
INSERT INTO public.goose_db_version VALUES (2, 1, true, '2026-11-22 00:18:46.514119');
INSERT INTO public.goose_db_version VALUES (3, 2, true, '2026-11-22 00:18:46.746703');
INSERT INTO public.goose_db_version VALUES (4, 3, true, '2026-11-22 00:18:46.791654');
INSERT INTO public.goose_db_version VALUES (5, 4, true, '2026-11-22 00:18:46.834377');
INSERT INTO public.goose_db_version VALUES (6, 5, true, '2026-11-22 00:18:46.837787');
INSERT INTO public.ignored_audit_events_202611 VALUES (1, 20261101, '10200000-0000-0000-0000-000000000001');
INSERT INTO public.ignored_audit_events_202611 VALUES (1, 20261102, '10200000-0000-0000-0000-000000000002');
INSERT INTO public.ignored_audit_events_202611 VALUES (1, 20261103, '10200000-0000-0000-0000-000000000003');
INSERT INTO public.import_runs VALUES (1, 'audit', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 'outcome 1', 1, 'detail 1');
INSERT INTO public.import_runs VALUES (1, 'audit', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 'outcome 2', 2, 'detail 2');
INSERT INTO public.import_runs VALUES (1, 'audit', '2026-11-03 08:00:00', NULL, NULL, 3, NULL);
INSERT INTO public.ledger_blobs VALUES (1, 'audit', 'part 1', 'blob 1', 'uri 1', '2026-11-01 08:00:00', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 'done', '2026-11-01 08:00:00', 1, 'error 1', '2026-11-01 08:00:00', 1, 1, 1, 1, 1, 1);
INSERT INTO public.ledger_blobs VALUES (1, 'audit', 'part 2', 'blob 2', 'uri 2', '2026-11-02 08:00:00', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 'done', '2026-11-02 08:00:00', 2, 'error 2', '2026-11-02 08:00:00', 2, 1, 1, 2, 2, 2);
INSERT INTO public.ledger_blobs VALUES (1, 'audit', 'part 3', 'blob 3', 'uri 3', '2026-11-03 08:00:00', '2026-11-03 08:00:00', '2026-11-03 08:00:00', 'done', '2026-11-03 08:00:00', 3, NULL, NULL, 3, 1, 1, 3, 3, 3);
INSERT INTO public.ledger_windows VALUES (1, 'audit', 'part 1', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 'state 1', '2026-11-01 08:00:00', '2026-11-01 08:00:00', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 1, 1, 1, 'error 1');
INSERT INTO public.ledger_windows VALUES (1, 'audit', 'part 2', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 'state 2', '2026-11-02 08:00:00', '2026-11-02 08:00:00', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 2, 2, 2, 'error 2');
INSERT INTO public.ledger_windows VALUES (1, 'audit', 'part 3', '2026-11-03 08:00:00', '2026-11-03 08:00:00', 'state 3', NULL, '2026-11-03 08:00:00', NULL, NULL, 3, 3, 3, NULL);
INSERT INTO public.org_urls VALUES (1, 'url_base 1', true);
INSERT INTO public.org_urls VALUES (1, 'url_base 2', false);
INSERT INTO public.org_urls VALUES (1, 'url_base 3', true);
INSERT INTO public.outbox_deliveries VALUES (1, 'event 1', 'target 1', 'state 1', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 1, 'error 1', '2026-11-01 08:00:00');
INSERT INTO public.outbox_deliveries VALUES (1, 'event 2', 'target 2', 'state 2', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 2, 'error 2', '2026-11-02 08:00:00');
INSERT INTO public.outbox_deliveries VALUES (1, 'event 3', 'target 3', 'state 3', '2026-11-03 08:00:00', '2026-11-03 08:00:00', 3, NULL, NULL);
INSERT INTO public.outbox_events VALUES (1, 'event 1', '2026-11-01 08:00:00', '2026-11-01 08:00:00', '2026-11-01 08:00:00', 'content 1');
INSERT INTO public.outbox_events VALUES (1, 'event 2', '2026-11-02 08:00:00', '2026-11-02 08:00:00', '2026-11-02 08:00:00', 'content 2');
INSERT INTO public.outbox_events VALUES (1, 'event 3', '2026-11-03 08:00:00', '2026-11-03 08:00:00', NULL, 'content 3');
INSERT INTO public.quarantine VALUES (1, 'audit', '\x00000000000000000000000000000001', 'part 1', 'blob 1', 'record_id 1', 'reason 1', 'detail 1', 1, '2026-11-01 08:00:00', '\x00000000000000000000000000000001');
INSERT INTO public.quarantine VALUES (1, 'audit', '\x00000000000000000000000000000002', 'part 2', 'blob 2', 'record_id 2', 'reason 2', 'detail 2', 2, '2026-11-02 08:00:00', '\x00000000000000000000000000000002');
INSERT INTO public.quarantine VALUES (1, 'audit', '\x00000000000000000000000000000003', 'part 3', 'blob 3', NULL, 'reason 3', 'detail 3', 3, '2026-11-03 08:00:00', '\x00000000000000000000000000000003');
INSERT INTO public.registrations VALUES (1, 'name 1', 'client_id 1', '2026-11-01 08:00:00', '{}');
INSERT INTO public.registrations VALUES (1, 'name 2', 'client_id 2', '2026-11-02 08:00:00', '{}');
INSERT INTO public.registrations VALUES (1, 'name 3', 'client_id 3', '2026-11-03 08:00:00', '{}');
INSERT INTO public.tenants VALUES (1, 'tenant_guid 1');
INSERT INTO public.users VALUES (1, 'Größe ''1''');
INSERT INTO public.users VALUES (2, 'Größe ''2''');
INSERT INTO public.users VALUES (3, 'Größe ''3''');
SELECT pg_catalog.setval('public.goose_db_version_id_seq', 6, true);
ALTER TABLE ONLY public.applications
    ADD CONSTRAINT applications_pkey PRIMARY KEY (tenant_id, object_id);
ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY (tenant_id, day, id);
ALTER TABLE ONLY public.audit_events_202611
    ADD CONSTRAINT audit_events_202611_pkey PRIMARY KEY (tenant_id, day, id);
ALTER TABLE ONLY public.contents
    ADD CONSTRAINT contents_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.credential_consumer_tokens
    ADD CONSTRAINT credential_consumer_tokens_pkey PRIMARY KEY (tenant_id, object_id, consumer);
ALTER TABLE ONLY public.credential_consumers
    ADD CONSTRAINT credential_consumers_pkey PRIMARY KEY (tenant_id, object_id, consumer);
ALTER TABLE ONLY public.credential_deploys
    ADD CONSTRAINT credential_deploys_pkey PRIMARY KEY (tenant_id, object_id, credential_id, hook);
ALTER TABLE ONLY public.credential_journal
    ADD CONSTRAINT credential_journal_pkey PRIMARY KEY (tenant_id, object_id, seq);
ALTER TABLE ONLY public.credential_wishes
    ADD CONSTRAINT credential_wishes_pkey PRIMARY KEY (tenant_id, object_id, kind, credential_id);
ALTER TABLE ONLY public.credentials
    ADD CONSTRAINT credentials_pkey PRIMARY KEY (tenant_id, id);
ALTER TABLE ONLY public.event_copilot_chats
    ADD CONSTRAINT event_copilot_chats_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_copilot_chats_202611
    ADD CONSTRAINT event_copilot_chats_202611_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_copilot_resources
    ADD CONSTRAINT event_copilot_resources_pkey PRIMARY KEY (tenant_id, day, event_id, "position");
ALTER TABLE ONLY public.event_copilot_resources_202611
    ADD CONSTRAINT event_copilot_resources_202611_pkey PRIMARY KEY (tenant_id, day, event_id, "position");
ALTER TABLE ONLY public.event_file_ext
    ADD CONSTRAINT event_file_ext_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.event_meta_azure_ad
    ADD CONSTRAINT event_meta_azure_ad_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_azure_ad_202611
    ADD CONSTRAINT event_meta_azure_ad_202611_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_exchange
    ADD CONSTRAINT event_meta_exchange_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_exchange_202611
    ADD CONSTRAINT event_meta_exchange_202611_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_sharepoint
    ADD CONSTRAINT event_meta_sharepoint_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_sharepoint_202611
    ADD CONSTRAINT event_meta_sharepoint_202611_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_teams
    ADD CONSTRAINT event_meta_teams_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_meta_teams_202611
    ADD CONSTRAINT event_meta_teams_202611_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.event_operations
    ADD CONSTRAINT event_operations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.event_types
    ADD CONSTRAINT event_types_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.event_workloads
    ADD CONSTRAINT event_workloads_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.feed_parts
    ADD CONSTRAINT feed_parts_pkey PRIMARY KEY (tenant_id, feed, part);
ALTER TABLE ONLY public.findings
    ADD CONSTRAINT findings_pkey PRIMARY KEY (tenant_id, rule, subject);
ALTER TABLE ONLY public.goose_db_version
    ADD CONSTRAINT goose_db_version_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.ignored_audit_events
    ADD CONSTRAINT ignored_audit_events_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.ignored_audit_events_202611
    ADD CONSTRAINT ignored_audit_events_202611_pkey PRIMARY KEY (tenant_id, day, event_id);
ALTER TABLE ONLY public.import_runs
    ADD CONSTRAINT import_runs_pkey PRIMARY KEY (tenant_id, feed, started_at);
ALTER TABLE ONLY public.ledger_blobs
    ADD CONSTRAINT ledger_blobs_pkey PRIMARY KEY (tenant_id, feed, part, blob);
ALTER TABLE ONLY public.ledger_windows
    ADD CONSTRAINT ledger_windows_pkey PRIMARY KEY (tenant_id, feed, part, start_at);
ALTER TABLE ONLY public.org_urls
    ADD CONSTRAINT org_urls_pkey PRIMARY KEY (tenant_id, url_base);
ALTER TABLE ONLY public.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_pkey PRIMARY KEY (tenant_id, event, target);
ALTER TABLE ONLY public.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (tenant_id, event);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (tenant_id, feed, digest);
ALTER TABLE ONLY public.registrations
    ADD CONSTRAINT registrations_pkey PRIMARY KEY (tenant_id, name);
ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_tenant_guid_key UNIQUE (tenant_guid);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
CREATE INDEX applications_client ON public.applications USING btree (tenant_id, client_id);
CREATE INDEX applications_due ON public.applications USING btree (tenant_id, due_at);
CREATE INDEX credential_journal_credential ON public.credential_journal USING btree (tenant_id, credential_id);
CREATE INDEX credentials_application ON public.credentials USING btree (tenant_id, object_id);
CREATE INDEX ledger_blobs_due ON public.ledger_blobs USING btree (tenant_id, feed, state, forget_at);
CREATE INDEX ledger_windows_due ON public.ledger_windows USING btree (tenant_id, feed, due_at);
CREATE INDEX outbox_deliveries_due ON public.outbox_deliveries USING btree (tenant_id, state, target, due_at);
CREATE INDEX outbox_events_addressed ON public.outbox_events USING btree (tenant_id, addressed_at);
CREATE INDEX quarantine_record ON public.quarantine USING btree (tenant_id, record_id);
ALTER INDEX public.audit_events_pkey ATTACH PARTITION public.audit_events_202611_pkey;
ALTER INDEX public.event_copilot_chats_pkey ATTACH PARTITION public.event_copilot_chats_202611_pkey;
ALTER INDEX public.event_copilot_resources_pkey ATTACH PARTITION public.event_copilot_resources_202611_pkey;
ALTER INDEX public.event_meta_azure_ad_pkey ATTACH PARTITION public.event_meta_azure_ad_202611_pkey;
ALTER INDEX public.event_meta_exchange_pkey ATTACH PARTITION public.event_meta_exchange_202611_pkey;
ALTER INDEX public.event_meta_sharepoint_pkey ATTACH PARTITION public.event_meta_sharepoint_202611_pkey;
ALTER INDEX public.event_meta_teams_pkey ATTACH PARTITION public.event_meta_teams_202611_pkey;
ALTER INDEX public.ignored_audit_events_pkey ATTACH PARTITION public.ignored_audit_events_202611_pkey;
