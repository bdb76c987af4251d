package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A foreignName is a name that another program gave to one of our settings.
type foreignName struct{ name, key string }

// azureNames are the Azure SDK's environment variables.
var azureNames = []foreignName{
	{"AZURE_TENANT_ID", "tenant-id"},
	{"AZURE_CLIENT_ID", "client-id"},
	{"AZURE_AUTHORITY_HOST", "authority-host"},
	{"AZURE_CLIENT_CERTIFICATE_PATH", "auth.certificate"},
	{"AZURE_CLIENT_CERTIFICATE_PASSWORD", "auth.certificate-password"},
	{"AZURE_CLIENT_SECRET", "auth.client-secret"},
	{"AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "auth.send-chain"},
	{"AZURE_FEDERATED_TOKEN_FILE", "auth.federated-token-file"},
}

// originalNames are the application settings of the original engine that have
// one meaning each; originalSettings reads the others. App Service hands them
// to a process as environment variables.
var originalNames = []foreignName{
	{"TenantGUID", "tenant-id"},
	{"ClientID", "client-id"},
	{"AADInstance", "authority-host"},
	{"KeyVaultURL", "vault-url"},
	{"ClientSecret", "auth.client-secret"},
	{"UseClientCertificate", "auth.method"},
	{"ContentTypesListAsString", "feeds.audit.content-types"},
	{"DaysBeforeNowToDownload", "feeds.audit.days"},
	{"ImportJobSettings", "feeds.audit.enabled"},
}

// originalCertificate is the name under which the original engine looks for its
// certificate in the vault; there it cannot be configured.
const originalCertificate = "O365AdvancedAnalytics"

// keyHint says which key is meant by an unknown one.
func keyHint(key string) string {
	for _, n := range slices.Concat(azureNames, originalNames) {
		if strings.EqualFold(key, n.name) {
			return fmt.Sprintf("; %s is called %s here", n.name, n.key)
		}
	}
	var keys []string
	for _, f := range fields() {
		if section, _, ok := cutLast(f.key); ok && !slices.Contains(keys, section) {
			keys = append(keys, section)
		}
		keys = append(keys, f.key)
	}
	return hint(key, keys)
}

// renamed returns the variables that mean the same under another name.
func renamed(env map[string]variable, names []foreignName) []given {
	var givens []given
	for _, n := range names {
		if v := env[strings.ToUpper(n.name)]; v.value != "" {
			givens = append(givens, give(n.key, v.value, v.origin()))
		}
	}
	return givens
}

// original reads the original engine's settings.
type original struct {
	env      map[string]variable
	givens   []given
	problems []Problem
	notices  []string
}

// originalSettings reads what the original engine would. certain reports
// whether something stronger gives a key.
func originalSettings(env map[string]variable, certain func(key string) bool) original {
	o := original{env: env}
	o.givens = renamed(env, originalNames[:4])
	o.signIn(certain)
	if v, ok := o.setting("ContentTypesListAsString"); ok {
		o.givens = append(o.givens, given{"feeds.audit.content-types", splitList(v.value, ";"), []string{v.origin()}})
	}
	o.days()
	o.jobs()
	if v, ok := o.setting("WEBSITE_LOAD_USER_PROFILE"); ok {
		o.notice(v, "has no meaning here: reeve needs no user profile to read a certificate")
	}
	return o
}

func (o *original) setting(name string) (variable, bool) {
	v := o.env[strings.ToUpper(name)]
	return v, v.value != ""
}

func (o *original) notice(v variable, text string) {
	o.notices = append(o.notices, v.origin()+" "+text)
}

func (o *original) problem(v variable, key, text string) {
	o.problems = append(o.problems, Problem{key, v.origin(), shown(v.value), text})
}

// signIn keeps the original's meaning: UseClientCertificate=true takes one
// certificate from the vault and ignores the secret; the secret alone is used.
func (o *original) signIn(certain func(key string) bool) {
	use, hasUse := o.setting("UseClientCertificate")
	secret, hasSecret := o.setting("ClientSecret")
	useCertificate, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(use.value)))
	if hasUse && err != nil {
		o.problem(use, "auth.method", "want true or false")
		return
	}
	switch {
	case useCertificate:
		o.givens = append(o.givens,
			give("auth.method", "certificate", use.origin()),
			give("auth.certificate", vaultPrefix+originalCertificate, use.origin()))
		if hasSecret {
			o.notice(secret, "is not used: UseClientCertificate is true")
		}
	case hasSecret && (certain("auth.method") || certain("auth.certificate")):
		o.givens = append(o.givens, give("auth.client-secret", secret.value, secret.origin()))
	case hasSecret:
		o.givens = append(o.givens,
			give("auth.method", "secret", secret.origin()),
			give("auth.client-secret", secret.value, secret.origin()))
	}
}

// days reads DaysBeforeNowToDownload, which has no bounds in the original.
func (o *original) days() {
	v, ok := o.setting("DaysBeforeNowToDownload")
	if !ok {
		return
	}
	n, err := strconv.Atoi(strings.TrimSpace(v.value))
	if err != nil {
		o.problem(v, "feeds.audit.days", "want a whole number from 1 to 7")
		return
	}
	within := min(max(n, 1), 7)
	if within != n {
		o.notice(v, fmt.Sprintf("is %d and counts as %d: Microsoft keeps content for 7 days", n, within))
	}
	o.givens = append(o.givens, give("feeds.audit.days", strconv.Itoa(within), v.origin()))
}

// originalJobs are the names in ImportJobSettings; ours has only ActivityLog.
var originalJobs = []string{
	"ActivityLog", "Calls", "GraphTeams", "GraphUsageReports", "GraphUserApps", "GraphUsersMetadata", "WebTraffic",
}

// jobs reads ImportJobSettings, "Name=True;Name=False". The original takes what
// it cannot read as True; here it is a problem, as someone meant it.
func (o *original) jobs() {
	v, ok := o.setting("ImportJobSettings")
	if !ok {
		return
	}
	const key = "feeds.audit.enabled"
	for _, pair := range splitList(v.value, ";") {
		name, value, _ := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		on, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(value)))
		i := slices.IndexFunc(originalJobs, func(job string) bool { return strings.EqualFold(job, name) })
		switch {
		case i < 0:
			o.problem(v, key, fmt.Sprintf("%s is not an import%s", shown(name), hint(name, originalJobs)))
		case err != nil:
			o.problem(v, key, fmt.Sprintf("want %s=True or %[1]s=False", originalJobs[i]))
		case originalJobs[i] == "ActivityLog":
			o.givens = append(o.givens, give(key, strconv.FormatBool(on), v.origin()))
		case on:
			o.notice(v, fmt.Sprintf("asks for %s, which this release does not import", originalJobs[i]))
		}
	}
}
