-- Views for people who read by SQL: the names that rows refer to, joined in. They are
-- made anew when this text changes, or by 'reeve db migrate --views'. One text for both
-- engines; a statement ends with a semicolon at the end of a line.

CREATE VIEW events_view AS
SELECT e.tenant_id, e.day, e.id, e.time_stamp, o.operation_name, w.workload_name, u.user_name,
  e.user_type, e.result, e.client_ip, e.object_id, e.record_type
FROM audit_events e
LEFT JOIN event_operations o ON o.id = e.operation_id
LEFT JOIN event_workloads w ON w.id = e.workload_id
LEFT JOIN users u ON u.id = e.user_id;

CREATE VIEW events_view_sharepoint AS
SELECT e.tenant_id, e.day, e.id, e.time_stamp, o.operation_name, u.user_name, s.site_url, s.relative_url,
  s.file_name, x.extension_name, t.type_name, s.event_source, s.application, s.target_user
FROM audit_events e
JOIN event_meta_sharepoint s ON s.tenant_id = e.tenant_id AND s.day = e.day AND s.event_id = e.id
LEFT JOIN event_operations o ON o.id = e.operation_id
LEFT JOIN users u ON u.id = e.user_id
LEFT JOIN event_file_ext x ON x.id = s.file_extension_id
LEFT JOIN event_types t ON t.id = s.item_type_id;

CREATE VIEW events_view_exchange AS
SELECT e.tenant_id, e.day, e.id, e.time_stamp, o.operation_name, u.user_name, m.mailbox_owner, m.logon_type,
  m.external_access, m.client_info, m.subject, m.folder, m.item_count
FROM audit_events e
JOIN event_meta_exchange m ON m.tenant_id = e.tenant_id AND m.day = e.day AND m.event_id = e.id
LEFT JOIN event_operations o ON o.id = e.operation_id
LEFT JOIN users u ON u.id = e.user_id;

CREATE VIEW events_view_azure_ad AS
SELECT e.tenant_id, e.day, e.id, e.time_stamp, o.operation_name, u.user_name, a.actor, a.actor_ip, a.target,
  a.application_id, a.error_code, a.logon_error
FROM audit_events e
JOIN event_meta_azure_ad a ON a.tenant_id = e.tenant_id AND a.day = e.day AND a.event_id = e.id
LEFT JOIN event_operations o ON o.id = e.operation_id
LEFT JOIN users u ON u.id = e.user_id;
