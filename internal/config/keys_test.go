package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The names are a contract: people have them in files, scripts and units.
func TestNames(t *testing.T) {
	want := [][3]string{
		{"tenant-id", "REEVE_TENANT_ID", "tenant-id"},
		{"client-id", "REEVE_CLIENT_ID", "client-id"},
		{"cloud", "REEVE_CLOUD", "cloud"},
		{"authority-host", "REEVE_AUTHORITY_HOST", "authority-host"},
		{"graph-endpoint", "REEVE_GRAPH_ENDPOINT", "graph-endpoint"},
		{"manage-endpoint", "REEVE_MANAGE_ENDPOINT", "manage-endpoint"},
		{"logs-endpoint", "REEVE_LOGS_ENDPOINT", "logs-endpoint"},
		{"resources-endpoint", "REEVE_RESOURCES_ENDPOINT", "resources-endpoint"},
		{"vault-url", "REEVE_VAULT_URL", "vault-url"},
		{"ca-file", "REEVE_CA_FILE", "ca-file"},
		{"auth.method", "REEVE_AUTH_METHOD", "auth-method"},
		{"auth.certificate", "REEVE_AUTH_CERTIFICATE", "auth-certificate"},
		{"auth.certificate-password", "REEVE_AUTH_CERTIFICATE_PASSWORD", "auth-certificate-password"},
		{"auth.client-secret", "REEVE_AUTH_CLIENT_SECRET", "auth-client-secret"},
		{"auth.send-chain", "REEVE_AUTH_SEND_CHAIN", "auth-send-chain"},
		{"auth.federated-token-file", "REEVE_AUTH_FEDERATED_TOKEN_FILE", "auth-federated-token-file"},
		{"auth.vault-method", "REEVE_AUTH_VAULT_METHOD", "auth-vault-method"},
		{"auth.vault-certificate", "REEVE_AUTH_VAULT_CERTIFICATE", "auth-vault-certificate"},
		{"database.url", "REEVE_DATABASE_URL", "database-url"},
		{"database.password", "REEVE_DATABASE_PASSWORD", "database-password"},
		{"feeds.audit.enabled", "REEVE_FEEDS_AUDIT_ENABLED", "feeds-audit-enabled"},
		{"feeds.audit.content-types", "REEVE_FEEDS_AUDIT_CONTENT_TYPES", "feeds-audit-content-types"},
		{"feeds.audit.days", "REEVE_FEEDS_AUDIT_DAYS", "feeds-audit-days"},
		{"feeds.audit.interval", "REEVE_FEEDS_AUDIT_INTERVAL", "feeds-audit-interval"},
		{"feeds.audit.concurrency", "REEVE_FEEDS_AUDIT_CONCURRENCY", "feeds-audit-concurrency"},
		{"feeds.audit.requests-per-minute", "REEVE_FEEDS_AUDIT_REQUESTS_PER_MINUTE", "feeds-audit-requests-per-minute"},
		{"feeds.audit.org-urls", "REEVE_FEEDS_AUDIT_ORG_URLS", "feeds-audit-org-urls"},
		{"feeds.audit.import-everything", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING", "feeds-audit-import-everything"},
		{"feeds.audit.raw", "REEVE_FEEDS_AUDIT_RAW", "feeds-audit-raw"},
		{"feeds.audit.raw-days", "REEVE_FEEDS_AUDIT_RAW_DAYS", "feeds-audit-raw-days"},
		{"retention.audit-days", "REEVE_RETENTION_AUDIT_DAYS", "retention-audit-days"},
		{"credentials.mode", "REEVE_CREDENTIALS_MODE", "credentials-mode"},
		{"credentials.dir", "REEVE_CREDENTIALS_DIR", "credentials-dir"},
		{"credentials.keyset", "REEVE_CREDENTIALS_KEYSET", "credentials-keyset"},
		{"credentials.keyset-text", "REEVE_CREDENTIALS_KEYSET_TEXT", "credentials-keyset-text"},
		{"credentials.interval", "REEVE_CREDENTIALS_INTERVAL", "credentials-interval"},
		{"credentials.manager", "REEVE_CREDENTIALS_MANAGER", "credentials-manager"},
		{"credentials.manager-client-id", "REEVE_CREDENTIALS_MANAGER_CLIENT_ID", "credentials-manager-client-id"},
		{"credentials.manager-certificate", "REEVE_CREDENTIALS_MANAGER_CERTIFICATE", "credentials-manager-certificate"},
		{"notify.mail.host", "REEVE_NOTIFY_MAIL_HOST", "notify-mail-host"},
		{"notify.mail.port", "REEVE_NOTIFY_MAIL_PORT", "notify-mail-port"},
		{"notify.mail.from", "REEVE_NOTIFY_MAIL_FROM", "notify-mail-from"},
		{"notify.mail.to", "REEVE_NOTIFY_MAIL_TO", "notify-mail-to"},
		{"notify.mail.subject-prefix", "REEVE_NOTIFY_MAIL_SUBJECT_PREFIX", "notify-mail-subject-prefix"},
		{"notify.mail.username", "REEVE_NOTIFY_MAIL_USERNAME", "notify-mail-username"},
		{"notify.mail.password", "REEVE_NOTIFY_MAIL_PASSWORD", "notify-mail-password"},
		{"notify.mail.tls", "REEVE_NOTIFY_MAIL_TLS", "notify-mail-tls"},
		{"notify.webhook.url", "REEVE_NOTIFY_WEBHOOK_URL", "notify-webhook-url"},
		{"notify.webhook.secret", "REEVE_NOTIFY_WEBHOOK_SECRET", "notify-webhook-secret"},
		{"role", "REEVE_ROLE", "role"},
		{"listen", "REEVE_LISTEN", "listen"},
		{"log.level", "REEVE_LOG_LEVEL", "log-level"},
		{"log.format", "REEVE_LOG_FORMAT", "log-format"},
	}
	var got [][3]string
	for _, k := range Keys() {
		got = append(got, [3]string{k.Name, k.Env, k.Flag})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestKeysAreDistinctAndExplained(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)*$`)
	seen := map[string]string{}
	for _, k := range Keys() {
		if !kebab.MatchString(k.Name) {
			t.Errorf("%s is not in kebab case", k.Name)
		}
		for _, name := range []string{k.Env, "--" + k.Flag} {
			if other, ok := seen[name]; ok {
				t.Errorf("%s stands for %s and %s", name, other, k.Name)
			}
			seen[name] = k.Name
		}
		if !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: its comment in config.go is %q, want sentences", k.Name, k.Doc)
		}
		if k.Secret() && seen[k.Env+"_FILE"] != "" {
			t.Errorf("%s_FILE is a setting and a file of a secret", k.Env)
		}
	}
}

// other is a value unlike the default for each key, so that a test can see that
// it arrived.
var other = map[string]string{
	"tenant-id":                       tenantID,
	"client-id":                       clientID,
	"cloud":                           "gcc-high",
	"authority-host":                  "https://127.0.0.1:1",
	"graph-endpoint":                  "https://127.0.0.1:2",
	"manage-endpoint":                 "https://127.0.0.1:3",
	"logs-endpoint":                   "https://127.0.0.1:4",
	"resources-endpoint":              "https://127.0.0.1:6",
	"vault-url":                       "https://127.0.0.1:5",
	"ca-file":                         "ca.pem",
	"auth.method":                     "azure-cli",
	"auth.certificate":                "keyvault:reeve",
	"auth.certificate-password":       hidden,
	"auth.client-secret":              hidden,
	"auth.send-chain":                 "true",
	"auth.federated-token-file":       "token",
	"auth.vault-method":               "azure-cli",
	"auth.vault-certificate":          "vault.pem",
	"database.url":                    "sqlite:other.db",
	"database.password":               hidden,
	"feeds.audit.enabled":             "false",
	"feeds.audit.content-types":       "Audit.General,DLP.All",
	"feeds.audit.days":                "3",
	"feeds.audit.interval":            "1m30s",
	"feeds.audit.concurrency":         "64",
	"feeds.audit.requests-per-minute": "100",
	"feeds.audit.org-urls":            "https://contoso.sharepoint.com/a,=https://contoso.sharepoint.com",
	"feeds.audit.import-everything":   "true",
	"feeds.audit.raw":                 "quarantined",
	"feeds.audit.raw-days":            "30",
	"retention.audit-days":            "400",
	"credentials.mode":                "on",
	"credentials.dir":                 "keys",
	"credentials.keyset":              "keyset.json",
	"credentials.keyset-text":         hidden,
	"credentials.interval":            "5m",
	"credentials.manager":             "azure-cli",
	"credentials.manager-client-id":   clientID,
	"credentials.manager-certificate": "manager.pem",
	"notify.mail.host":                "smtp.contoso.com",
	"notify.mail.port":                "25",
	"notify.mail.from":                "reeve@contoso.com",
	"notify.mail.to":                  "a@contoso.com,b@contoso.com",
	"notify.mail.subject-prefix":      "certificates",
	"notify.mail.username":            "reeve",
	"notify.mail.password":            hidden,
	"notify.mail.tls":                 "none",
	"notify.webhook.url":              hidden,
	"notify.webhook.secret":           hidden,
	"role":                            "worker",
	"listen":                          "[::1]:0",
	"log.level":                       "debug",
	"log.format":                      "json",
}

const (
	tenantID = "11111111-2222-3333-4444-555555555555"
	clientID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

// Each key can be given in each way, and nothing else changes.
func TestEveryKeyByEveryWay(t *testing.T) {
	defaults := settings(t, Source{})
	for _, k := range Keys() {
		value, shown := other[k.Name], other[k.Name]
		inFile := "'" + value + "'"
		if k.Secret() {
			shown = "<secret>"
		}
		if k.Type == "list" {
			inFile = "[ " + strings.ReplaceAll(value, ",", ", ") + " ]"
		}
		file := writeFile(t, k.Name+": "+inFile+"\n")
		for _, way := range []struct {
			source Source
			origin string
		}{
			{Source{Environ: []string{k.Env + "=" + value}}, "environment variable " + k.Env},
			{Source{Flags: map[string]string{k.Name: value}}, "flag --" + k.Flag},
			{Source{File: file}, file + ":1"},
			{Source{Environ: []string{"REEVE_CONFIG=" + file}}, file + ":1"},
		} {
			want := slices.Clone(defaults)
			i := slices.IndexFunc(want, func(s Setting) bool { return s.Key == k.Name })
			if want[i].Value == shown {
				t.Fatalf("%s: %q is the default", k.Name, shown)
			}
			want[i].Value, want[i].Origin = shown, way.origin
			if diff := cmp.Diff(want, settings(t, way.source)); diff != "" {
				t.Errorf("%s from %s (-want +got):\n%s", k.Name, way.origin, diff)
			}
		}
	}
}

func settings(t *testing.T, s Source) []Setting {
	t.Helper()
	return mustLoad(t, s).Settings()
}

func mustLoad(t *testing.T, s Source) *Config {
	t.Helper()
	c, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "reeve.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
