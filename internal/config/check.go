package config

import (
	"fmt"
	"strings"
)

// checkTogether checks what no setting shows alone.
func (l *loader) checkTogether(signIn bool) {
	if signIn {
		l.checkTenant()
		l.checkEndpoints()
		l.checkMethod()
		l.checkVault()
		l.checkCredentials()
		l.checkNotify()
	}
	l.noticeSecrets()
	l.checkScope()
	l.checkRetention()
}

// checkRetention refuses to delete what the source may send again.
func (l *loader) checkRetention() {
	if days := l.config.Retention.AuditDays; days > 0 && days < 14 && !l.bad["retention.audit-days"] {
		l.problem(Problem{Key: "retention.audit-days", Text: fmt.Sprintf("%d days are fewer than 14: Microsoft keeps content for 7 days and sends records late, so they would be imported and deleted again and again; give at least 14, or 0 to keep everything", days)})
	}
}

// checkCredentials checks what looking after certificates needs.
func (l *loader) checkCredentials() {
	c := l.config.Credentials
	if c.Keyset != "" && c.KeysetText != "" {
		l.notice("credentials.keyset is not used: credentials.keyset-text (%s) is set", l.config.origins["credentials.keyset-text"])
	}
	switch c.Manager {
	case "certificate":
		l.need("credentials.manager-certificate", c.ManagerCertificate, l.by("credentials.manager", c.Manager))
		l.need("credentials.manager-client-id", c.ManagerClientID, l.by("credentials.manager", c.Manager))
	case "workload-identity":
		l.need("auth.federated-token-file", l.config.Auth.FederatedTokenFile, l.by("credentials.manager", c.Manager))
		l.need("credentials.manager-client-id", c.ManagerClientID, l.by("credentials.manager", c.Manager))
	}
}

// checkNotify checks that who is to be told can be told.
func (l *loader) checkNotify() {
	m := l.config.Notify.Mail
	if m.Host == "" {
		if len(m.To) > 0 {
			l.need("notify.mail.host", "", "notify.mail.to says who gets mail")
		}
		return
	}
	l.need("notify.mail.from", m.From, l.by("notify.mail.host", m.Host))
	if len(m.To) == 0 {
		l.need("notify.mail.to", "", l.by("notify.mail.host", m.Host))
	}
}

func (l *loader) notice(format string, args ...any) {
	l.config.notices = append(l.config.notices, fmt.Sprintf(format, args...))
}

// need reports a setting that is missing, and why it is needed.
func (l *loader) need(key, value, why string) {
	if value != "" || l.bad[key] {
		return
	}
	f, _ := fieldOf(key)
	other := "with --" + f.flag()
	if f.secret() { // A flag would show it to everyone on the machine.
		other = "in a file that " + f.env() + "_FILE names"
	}
	l.problem(Problem{Key: key, Text: fmt.Sprintf("missing: %s; give it in the configuration file, as %s or %s", why, f.env(), other)})
}

// by says where a setting comes from, for the reason why another is needed.
func (l *loader) by(key, value string) string {
	return fmt.Sprintf("%s is %s (%s)", key, value, l.config.origins[key])
}

func (l *loader) checkTenant() {
	c := l.config
	l.need("tenant-id", c.TenantID, "reeve must know which tenant to read")
	switch c.Auth.Method {
	case "managed-identity", "azure-cli": // These know who they are.
	default:
		l.need("client-id", c.ClientID, "reeve must know as which application to sign in")
	}
}

func (l *loader) checkEndpoints() {
	c := l.config
	if c.Cloud != "custom" {
		return
	}
	why := l.by("cloud", "custom")
	l.need("authority-host", c.AuthorityHost, why)
	l.need("graph-endpoint", c.GraphEndpoint, why)
	l.need("manage-endpoint", c.ManageEndpoint, why)
}

func (l *loader) checkMethod() {
	a := l.config.Auth
	why := l.by("auth.method", a.Method)
	switch a.Method {
	case "certificate":
		switch {
		case a.FederatedTokenFile != "" && a.Certificate == "":
			why += "; auth.federated-token-file is set: to use it, set auth.method to workload-identity"
		case a.ClientSecret != "":
			why += "; auth.client-secret is set: to use it all the same, set auth.method to secret"
		}
		l.need("auth.certificate", a.Certificate, why)
	case "secret":
		l.need("auth.client-secret", a.ClientSecret.Reveal(), why)
	case "workload-identity":
		l.need("auth.federated-token-file", a.FederatedTokenFile, why)
	}
}

// checkVault checks what the vault needs when the certificate is in one.
func (l *loader) checkVault() {
	c, a := l.config, l.config.Auth
	if a.Method != "certificate" || !a.InVault() {
		switch { // policies may keep keys in the vault, and publish to it
		case a.VaultCertificate == "":
		case c.VaultURL == "":
			l.notice("auth.vault-certificate is not used: no certificate is fetched from a Key Vault, and vault-url is not set")
		case a.VaultMethod != "certificate":
			l.notice("auth.vault-certificate is not used: %s", l.by("auth.vault-method", a.VaultMethod))
		}
		return
	}
	if strings.HasPrefix(a.Certificate, vaultPrefix) {
		l.need("vault-url", c.VaultURL, l.by("auth.certificate", a.Certificate))
	}
	if version := a.vaultVersion(); version != "" {
		l.notice("auth.certificate names one version (%s), so a renewed certificate is not picked up: leave the version out", version)
	}
	why := l.by("auth.vault-method", a.VaultMethod)
	switch a.VaultMethod {
	case "secret":
		l.need("auth.client-secret", a.ClientSecret.Reveal(), why)
	case "certificate":
		l.need("auth.vault-certificate", a.VaultCertificate, why)
	case "workload-identity":
		l.need("auth.federated-token-file", a.FederatedTokenFile, why)
	}
	if a.VaultMethod != "certificate" && a.VaultCertificate != "" {
		l.notice("auth.vault-certificate is not used: %s", why)
	}
}

// noticeSecrets warns of client secrets that are in use, of one that is not,
// and of secrets that other people on the machine can see.
func (l *loader) noticeSecrets() {
	a, origins := l.config.Auth, l.config.origins
	byVault := a.Method == "certificate" && a.InVault() && a.VaultMethod == "secret"
	switch {
	case a.ClientSecret == "":
	case a.Method == "secret":
		l.notice("SIGNING IN WITH A CLIENT SECRET (%s): whoever reads it is the application; use a certificate, auth.method certificate",
			origins["auth.client-secret"])
	case byVault:
		l.notice("OPENING THE KEY VAULT WITH A CLIENT SECRET (%s): whoever reads it has the certificate's private key too; use auth.vault-method managed-identity, workload-identity or certificate",
			origins["auth.client-secret"])
	default:
		l.notice("auth.client-secret (%s) is not used: %s; remove it", origins["auth.client-secret"], l.by("auth.method", a.Method))
	}
	for _, f := range fields() {
		if f.secret() && strings.HasPrefix(origins[f.key], "flag ") {
			l.notice("%s comes from the command line, which everyone on this machine can read in the list of processes: use %s_FILE",
				f.key, f.env())
		}
	}
}

// checkScope refuses what contradicts itself. An empty list of sites is a finding
// of the import, until it is said to be meant.
func (l *loader) checkScope() {
	a := l.config.Feeds.Audit
	switch {
	case l.bad["feeds.audit.org-urls"]:
	case len(a.OrgURLs) > 0 && a.ImportEverything:
		l.problem(Problem{Key: "feeds.audit.import-everything", Origin: l.config.origins["feeds.audit.import-everything"], Value: "true",
			Text: fmt.Sprintf("contradicts feeds.audit.org-urls (%s), which keeps only some sites: remove one of them",
				l.config.origins["feeds.audit.org-urls"])})
	}
	// Microsoft sends records again for 7 days, late ones later.
	if a.RawDays > 0 && a.RawDays < 14 {
		l.problem(Problem{Key: "feeds.audit.raw-days", Origin: l.config.origins["feeds.audit.raw-days"], Value: fmt.Sprint(a.RawDays),
			Text: "is too short: a record that comes again is compared with the text of the first one, so keep it for 14 days, or set feeds.audit.raw to quarantined or none to keep none at all"})
	}
	if a.Enabled && len(a.ContentTypes) == 0 && !l.bad["feeds.audit.content-types"] {
		l.problem(Problem{Key: "feeds.audit.content-types", Origin: l.config.origins["feeds.audit.content-types"],
			Text: "the list is empty: name at least one, or set feeds.audit.enabled to false"})
	}
}
