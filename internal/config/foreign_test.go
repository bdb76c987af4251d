package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAzureNames(t *testing.T) {
	c := mustLoad(t, Source{SignIn: true, Environ: []string{
		"AZURE_TENANT_ID=" + tenantID,
		"AZURE_CLIENT_ID=" + clientID,
		"AZURE_AUTHORITY_HOST=https://login.microsoftonline.us/",
		"AZURE_CLIENT_CERTIFICATE_PATH=/c.pfx",
		"AZURE_CLIENT_CERTIFICATE_PASSWORD=" + hidden,
		"AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=1",
		"AZURE_FEDERATED_TOKEN_FILE=/token",
	}})
	want := Auth{
		Method: "certificate", Certificate: "/c.pfx", CertificatePassword: hidden, SendChain: true,
		FederatedTokenFile: "/token", VaultMethod: "managed-identity",
	}
	if diff := cmp.Diff(want, c.Auth); diff != "" {
		t.Errorf("auth (-want +got):\n%s", diff)
	}
	if c.TenantID != tenantID || c.ClientID != clientID || c.AuthorityHost != "https://login.microsoftonline.us" {
		t.Errorf("tenant %s, client %s, authority %s", c.TenantID, c.ClientID, c.AuthorityHost)
	}
}

// A foreign name says where the machine is, a chosen cloud where the tenant is.
func TestChosenCloudDecidesWhereToSignIn(t *testing.T) {
	environ := []string{everything, "AADInstance=https://login.microsoftonline.com/", "AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/"}
	if c := mustLoad(t, Source{Environ: environ}); c.AuthorityHost != "https://login.microsoftonline.com" {
		t.Errorf("no cloud chosen: authority %q", c.AuthorityHost)
	}
	c := mustLoad(t, Source{Environ: append(environ, "REEVE_CLOUD=gcc-high")})
	want := []string{
		"environment variable AZURE_AUTHORITY_HOST is not used: cloud is gcc-high (environment variable REEVE_CLOUD)",
		"environment variable AADInstance is not used: cloud is gcc-high (environment variable REEVE_CLOUD)",
	}
	if diff := cmp.Diff(want, c.Notices()); diff != "" || c.AuthorityHost != "" {
		t.Errorf("authority %q, notices (-want +got):\n%s", c.AuthorityHost, diff)
	}
}

// A secret that lies about for another program must not become the way in.
func TestAzureSecretAloneIsNotUsed(t *testing.T) {
	environ := []string{"AZURE_TENANT_ID=" + tenantID, "AZURE_CLIENT_ID=" + clientID, "AZURE_CLIENT_SECRET=" + hidden}
	got := problems(t, Source{SignIn: true, Environ: environ})
	want := []string{"auth.certificate: missing: auth.method is certificate (default); " +
		"auth.client-secret is set: to use it all the same, set auth.method to secret; " +
		"give it in the configuration file, as REEVE_AUTH_CERTIFICATE or with --auth-certificate"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	c := mustLoad(t, Source{SignIn: true, Environ: append(environ, "REEVE_AUTH_METHOD=secret")})
	if c.Auth.ClientSecret.Reveal() != hidden {
		t.Error("AZURE_CLIENT_SECRET is not used with method secret")
	}
}

// everything keeps the notice about org-urls out of a test.
const everything = "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true"

func TestOriginalSettings(t *testing.T) {
	base := []string{everything, "TenantGUID=" + tenantID, "ClientID=" + clientID}
	certificate := Auth{Method: "certificate", Certificate: "keyvault:O365AdvancedAnalytics", VaultMethod: "managed-identity"}
	for _, tt := range []struct {
		name    string
		environ string // separated by |
		want    func(*Config)
		notices string // the beginning of each, separated by |
	}{
		{
			"certificate", "UseClientCertificate=true|KeyVaultUrl=https://v.vault.azure.net/",
			func(c *Config) { c.Auth, c.VaultURL = certificate, "https://v.vault.azure.net" }, "",
		}, {
			"certificate and secret", "useclientcertificate=True|KEYVAULTURL=https://v.vault.azure.net/|ClientSecret=hunter2|WEBSITE_LOAD_USER_PROFILE=1",
			func(c *Config) { c.Auth, c.VaultURL = certificate, "https://v.vault.azure.net" },
			"environment variable ClientSecret is not used: UseClientCertificate is true|" +
				"environment variable WEBSITE_LOAD_USER_PROFILE has no meaning here",
		}, {
			"secret alone", "ClientSecret=hunter2|KeyVaultURL=https://v.vault.azure.net",
			func(c *Config) {
				c.Auth = Auth{Method: "secret", ClientSecret: hidden, VaultMethod: "managed-identity"}
				c.VaultURL = "https://v.vault.azure.net"
			},
			"SIGNING IN WITH A CLIENT SECRET (environment variable ClientSecret)",
		}, {
			"certificate switched off", "ClientSecret=hunter2|UseClientCertificate=false",
			func(c *Config) {
				c.Auth = Auth{Method: "secret", ClientSecret: hidden, VaultMethod: "managed-identity"}
			},
			"SIGNING IN WITH A CLIENT SECRET (environment variable ClientSecret)",
		}, {
			"secret beside a certificate of ours", "ClientSecret=hunter2|REEVE_AUTH_CERTIFICATE=c.pem",
			func(c *Config) {
				c.Auth = Auth{Method: "certificate", Certificate: "c.pem", ClientSecret: hidden, VaultMethod: "managed-identity"}
			},
			"auth.client-secret (environment variable ClientSecret) is not used: auth.method is certificate (default)",
		}, {
			"content types, days, authority",
			"ContentTypesListAsString=Audit.SharePoint; Audit.General;|DaysBeforeNowToDownload=6|AADInstance=https://login.microsoftonline.com/|ClientSecret=hunter2",
			func(c *Config) {
				c.Auth = Auth{Method: "secret", ClientSecret: hidden, VaultMethod: "managed-identity"}
				c.AuthorityHost = "https://login.microsoftonline.com"
				c.Feeds.Audit.ContentTypes = []string{"Audit.SharePoint", "Audit.General"}
				c.Feeds.Audit.Days = 6
			},
			"SIGNING IN",
		}, {
			"more days than there are", "DaysBeforeNowToDownload=30|REEVE_AUTH_METHOD=azure-cli",
			func(c *Config) { c.Auth.Method = "azure-cli" },
			"environment variable DaysBeforeNowToDownload is 30 and counts as 7",
		}, {
			"no days", "DaysBeforeNowToDownload=0|REEVE_AUTH_METHOD=azure-cli",
			func(c *Config) { c.Auth.Method, c.Feeds.Audit.Days = "azure-cli", 1 },
			"environment variable DaysBeforeNowToDownload is 0 and counts as 1",
		}, {
			"jobs", "ImportJobSettings=Calls=True; activitylog = false ;GraphTeams=False;|REEVE_AUTH_METHOD=azure-cli",
			func(c *Config) { c.Auth.Method, c.Feeds.Audit.Enabled = "azure-cli", false },
			"environment variable ImportJobSettings asks for Calls",
		}, {
			"jobs beside our own key", "ImportJobSettings=ActivityLog=False|REEVE_AUTH_METHOD=azure-cli|REEVE_FEEDS_AUDIT_ENABLED=true",
			func(c *Config) { c.Auth.Method = "azure-cli" },
			"environment variable ImportJobSettings is not used: feeds.audit.enabled comes from environment variable REEVE_FEEDS_AUDIT_ENABLED",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := mustLoad(t, Source{Environ: base})
			tt.want(want)
			got := mustLoad(t, Source{SignIn: true, Environ: append(base, strings.Split(tt.environ, "|")...)})
			ignore := cmp.FilterPath(func(p cmp.Path) bool {
				return p.Last().String() == ".origins" || p.Last().String() == ".notices"
			}, cmp.Ignore())
			if diff := cmp.Diff(want, got, ignore); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			notices := got.Notices()
			for i, beginning := range splitList(tt.notices, "|") {
				if i >= len(notices) || !strings.HasPrefix(notices[i], beginning) {
					t.Errorf("notices: %q, want %q", notices, tt.notices)
				}
			}
			if len(notices) != len(splitList(tt.notices, "|")) || strings.Contains(strings.Join(notices, ""), hidden) {
				t.Errorf("notices: %q", notices)
			}
		})
	}
}

func TestOriginalProblems(t *testing.T) {
	for _, tt := range []struct{ environ, want string }{
		{"ImportJobSettings=ActivtyLog=False",
			`environment variable ImportJobSettings: feeds.audit.enabled: "ActivtyLog=False": ActivtyLog is not an import; did you mean ActivityLog?`},
		{"ImportJobSettings=ActivityLog=no",
			`environment variable ImportJobSettings: feeds.audit.enabled: "ActivityLog=no": want ActivityLog=True or ActivityLog=False`},
		{"ImportJobSettings=Calls",
			`environment variable ImportJobSettings: feeds.audit.enabled: "Calls": want Calls=True or Calls=False`},
		{"UseClientCertificate=ja",
			`environment variable UseClientCertificate: auth.method: "ja": want true or false`},
		{"DaysBeforeNowToDownload=many",
			`environment variable DaysBeforeNowToDownload: feeds.audit.days: "many": want a whole number from 1 to 7`},
		{"ContentTypesListAsString=Audit.General;Audit.Sharepiont",
			`environment variable ContentTypesListAsString: feeds.audit.content-types: "Audit.Sharepiont": want one of ` +
				`Audit.AzureActiveDirectory, Audit.Exchange, Audit.SharePoint, Audit.General, DLP.All; did you mean Audit.SharePoint?`},
		{"TenantGUID=contoso",
			`environment variable TenantGUID: tenant-id: "contoso": want a GUID such as 11111111-2222-3333-4444-555555555555`},
	} {
		if diff := cmp.Diff([]string{tt.want}, problems(t, Source{Environ: []string{tt.environ}})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.environ, diff)
		}
	}
}

// A certificate in the vault needs the vault, whoever asked for it.
func TestOriginalCertificateWithoutVault(t *testing.T) {
	got := problems(t, Source{SignIn: true, Environ: []string{
		"TenantGUID=" + tenantID, "ClientID=" + clientID, "UseClientCertificate=true"}})
	want := []string{"vault-url: missing: auth.certificate is keyvault:O365AdvancedAnalytics (environment variable UseClientCertificate); " +
		"give it in the configuration file, as REEVE_VAULT_URL or with --vault-url"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
