// Package config reads reeve's settings from the command line, the environment
// and a YAML file, strictly: what it does not know is an error, and all errors
// are reported at once. It opens nothing that a setting names, except the file
// that holds a secret, and it does not act on a setting.
//
// Config is the manual: the comment on each field is what `reeve help`, the
// sample file and docs/configuration.md say about the setting.
package config

import (
	"strings"
	"time"
)

// Config holds every setting. A key is the path to a field; the flag and the
// environment variable follow from the key: feeds.audit.days is
// --feeds-audit-days and REEVE_FEEDS_AUDIT_DAYS.
type Config struct {
	// The tenant to read: its directory ID, a GUID, which the Entra admin center
	// shows as "Tenant ID".
	TenantID string `key:"tenant-id" form:"guid" example:"00000000-0000-0000-0000-000000000000"`

	// The application (client) ID under which reeve signs in, a GUID.
	ClientID string `key:"client-id" form:"guid" example:"00000000-0000-0000-0000-000000000000"`

	// The Microsoft cloud that the tenant is in. It decides every host name.
	// With "custom" the hosts are those of the five keys below.
	Cloud string `key:"cloud" default:"public" oneof:"public gcc gcc-high dod china custom"`

	// Where to sign in, instead of the cloud's own host.
	AuthorityHost string `key:"authority-host" form:"origin" example:"https://login.microsoftonline.com"`

	// Microsoft Graph, instead of the cloud's own host.
	GraphEndpoint string `key:"graph-endpoint" form:"origin" example:"https://graph.microsoft.com"`

	// The Management Activity API, instead of the cloud's own host.
	ManageEndpoint string `key:"manage-endpoint" form:"origin" example:"https://manage.office.com"`

	// Application Insights and Log Analytics queries, instead of the cloud's own
	// host.
	LogsEndpoint string `key:"logs-endpoint" form:"origin" example:"https://api.applicationinsights.io"`

	// Azure Resource Manager, instead of the cloud's own host: "reeve app setup
	// --vault" asks it for access to a Key Vault.
	ResourcesEndpoint string `key:"resources-endpoint" form:"origin" example:"https://management.azure.com"`

	// The Key Vault that holds the certificate, needed when auth.certificate is
	// "keyvault:NAME"; also the one in which policies keep private keys, and to
	// which they publish unless they name another.
	VaultURL string `key:"vault-url" form:"origin" example:"https://contoso.vault.azure.net"`

	// A file of PEM certificates to trust beside the system's, for a proxy or a
	// private cloud.
	CAFile string `key:"ca-file" example:"/etc/reeve/ca.pem"`

	Auth        Auth        `key:"auth"`
	Database    Database    `key:"database"`
	Feeds       Feeds       `key:"feeds"`
	Retention   Retention   `key:"retention"`
	Credentials Credentials `key:"credentials"`
	Notify      Notify      `key:"notify"`

	// What "reeve serve" does in this process: all does everything; web shows the
	// pages alone, and worker imports and looks after certificates without them, for
	// several processes over one PostgreSQL database; import and credentials do one
	// of the two, with the pages.
	Role string `key:"role" default:"all" oneof:"all web worker import credentials"`

	// The address of the status page, and of the feed of certificates for other
	// programs. The page has no sign-in yet, so only a loopback address is accepted.
	Listen string `key:"listen" default:"127.0.0.1:8080" form:"loopback"`

	Log Log `key:"log"`

	origins map[string]string
	notices []string
}

// Auth says how reeve proves to Microsoft who it is.
type Auth struct {
	// How to sign in. It is chosen here and never guessed from what is lying
	// about; azure-cli is for development, and secret is accepted and warned
	// about.
	Method string `key:"method" default:"certificate" oneof:"certificate secret workload-identity managed-identity azure-cli"`

	// The certificate with its private key: the path of a PEM or PFX file,
	// "keyvault:NAME" for a certificate in vault-url, or the identifier of a Key
	// Vault certificate (https://VAULT/certificates/NAME). Without a version the
	// newest one is used, so that a renewal is picked up. "own" is the one that
	// reeve looks after itself, as "reeve app setup" leaves it: there is no other.
	Certificate string `key:"certificate" form:"certificate" example:"/etc/reeve/certificate.pem"`

	// The password of the PFX file.
	CertificatePassword Secret `key:"certificate-password"`

	// The client secret, used only when a method is "secret". A certificate is
	// safer: a secret is sent over the network each time it is used.
	ClientSecret Secret `key:"client-secret"`

	// Send the certificate's chain with each sign-in, for applications that
	// trust an issuer and a subject name rather than one certificate.
	SendChain bool `key:"send-chain" default:"false"`

	// The file with the token of the workload (Kubernetes, GitHub, …), for the
	// method "workload-identity".
	FederatedTokenFile string `key:"federated-token-file" example:"/var/run/secrets/azure/tokens/azure-identity-token"`

	// How to sign in to Key Vaults: to the one that holds the certificate, and to
	// those in which policies keep private keys or to which they publish.
	VaultMethod string `key:"vault-method" default:"managed-identity" oneof:"managed-identity workload-identity azure-cli secret certificate"`

	// The path of the PEM or PFX file that opens the vault when
	// auth.vault-method is "certificate".
	VaultCertificate string `key:"vault-certificate" form:"path" example:"/etc/reeve/vault.pem"`
}

// Database says where rows are kept.
type Database struct {
	// The database: "sqlite:PATH", with a path relative to the working
	// directory, whose file is made when it is missing; or
	// "postgres://USER@HOST:PORT/DATABASE" for a database of a PostgreSQL
	// server. What that leaves out comes from PGHOST, PGPORT, PGUSER, PGSSLMODE,
	// PGSSLROOTCERT and the like.
	URL string `key:"url" default:"sqlite:reeve.db" form:"database"`

	// The password of the database's user. Without it PGPASSWORD or the file
	// that PGPASSFILE names is used.
	Password Secret `key:"password"`
}

// File is the path of an embedded database; empty if it is on a server.
func (d Database) File() string {
	file, ok := strings.CutPrefix(d.URL, "sqlite:")
	if !ok {
		return ""
	}
	return file
}

// Feeds holds the settings of each feed.
type Feeds struct {
	Audit AuditFeed `key:"audit"`
}

// AuditFeed says what is imported from the Management Activity API.
type AuditFeed struct {
	// Import the audit log.
	Enabled bool `key:"enabled" default:"true"`

	// The content types to subscribe to and import.
	ContentTypes []string `key:"content-types" default:"Audit.AzureActiveDirectory,Audit.Exchange,Audit.SharePoint,Audit.General,DLP.All" oneof:"Audit.AzureActiveDirectory Audit.Exchange Audit.SharePoint Audit.General DLP.All"`

	// How many days back the first import looks. Microsoft keeps content for 7
	// days.
	Days int `key:"days" default:"7" min:"1" max:"7"`

	// How long to wait from one look for new content to the next.
	Interval time.Duration `key:"interval" default:"10m" min:"1s" max:"24h"`

	// How many content blobs are downloaded at the same time.
	Concurrency int `key:"concurrency" default:"8" min:"1" max:"64"`

	// How many requests a minute are sent to the Management Activity API, by all
	// workers on one database together. Microsoft documents 2,000 for a tenant; when
	// it throttles, reeve asks less often for a while.
	RequestsPerMinute int `key:"requests-per-minute" default:"2000" min:"1" max:"100000"`

	// The sites whose records are kept: a record is kept when the URL of its
	// object begins with one of these, in any case. One whose object is no URL
	// (a mailbox, a person) is always kept. A rule "=https://…" is for that site
	// alone, not for those below it. An empty list keeps everything.
	OrgURLs []string `key:"org-urls" form:"site" example:"https://contoso.sharepoint.com/sites/news,=https://contoso.sharepoint.com"`

	// Say that the empty list in feeds.audit.org-urls is meant, and that records
	// of every site and person are wanted.
	ImportEverything bool `key:"import-everything" default:"false"`

	// How much is kept of records as Microsoft sent them: the text of all, of those
	// in quarantine, or of none. Rows are the same. "reeve import replay" and "reeve
	// audit show" need the text, "reeve quarantine retry" that of those in quarantine.
	Raw string `key:"raw" default:"all" oneof:"none quarantined all"`

	// For how many days that text is kept, at least 14; 0 is for ever. Records in
	// quarantine keep theirs until they are ignored. PostgreSQL gives up whole months.
	RawDays int `key:"raw-days" default:"0" min:"0" max:"36500"`
}

// Retention says how long rows are kept.
type Retention struct {
	// How many days audit records are kept, by their own time, with all rows made of
	// them and their text; 0 keeps everything, and fewer than 14 are refused. "reeve
	// serve" deletes what is older: on PostgreSQL whole months at once, on SQLite by
	// the day. What was deleted is noted and does not count as missing.
	AuditDays int `key:"audit-days" default:"0" min:"0" max:"36500"`
}

// Credentials says how reeve looks after certificates.
type Credentials struct {
	// What reeve does about the certificate that it signs in with itself, when
	// nobody has decided with "reeve cert adopt": on renews it, observe looks and
	// tells, off does neither.
	Mode string `key:"mode" default:"observe" oneof:"on observe off"`

	// The folder in which private keys are kept, encrypted. By default it is
	// "reeve-keys" beside the database's file, or in the working directory when the
	// database is on a server. Several reeves on one database need one
	// folder, or keep their keys in a Key Vault.
	Dir string `key:"dir" form:"path" example:"/var/lib/reeve/keys"`

	// What private keys are encrypted with: the path of a file, or the address of
	// a Key Vault secret (https://VAULT/secrets/NAME). A file is made when it is
	// missing and nothing is encrypted yet; by default it is "reeve-keys.json"
	// beside the folder. Keep a copy of it elsewhere.
	Keyset string `key:"keyset" example:"/etc/reeve/keyset.json"`

	// The same as text, where no file can be kept.
	KeysetText Secret `key:"keyset-text"`

	// How often each application is looked at.
	Interval time.Duration `key:"interval" default:"15m" min:"1m" max:"24h"`

	// Who reads and changes applications other than reeve's own, and reeve's own
	// where it cannot do so itself: application is reeve's own, as which it signs
	// in by auth.method. Another identity also helps when a certificate is lost.
	Manager string `key:"manager" default:"application" oneof:"application managed-identity workload-identity azure-cli certificate"`

	// The client ID of that other identity, if it needs one.
	ManagerClientID string `key:"manager-client-id" form:"guid" example:"00000000-0000-0000-0000-000000000000"`

	// The path of the PEM or PFX file with its certificate, when
	// credentials.manager is "certificate".
	ManagerCertificate string `key:"manager-certificate" form:"path" example:"/etc/reeve/manager.pem"`
}

// Notify says who is told what reeve has done, and what needs a person. The log is
// always told.
type Notify struct {
	Mail    Mail    `key:"mail"`
	Webhook Webhook `key:"webhook"`
}

// Mail says how mail is sent.
type Mail struct {
	// The SMTP server. Without one no mail is sent.
	Host string `key:"host" example:"smtp.contoso.com"`

	// Its port. 0 is the usual one: 587 with starttls, 465 with implicit, 25 with
	// none.
	Port int `key:"port" default:"0" min:"0" max:"65535"`

	// The sender.
	From string `key:"from" example:"reeve@contoso.com"`

	// The recipients.
	To []string `key:"to" example:"it@contoso.com"`

	// What subjects begin with, in brackets if it is a bare word.
	SubjectPrefix string `key:"subject-prefix" default:"reeve"`

	// The name to sign in with at the server, if it wants one.
	Username string `key:"username" example:"reeve@contoso.com"`

	// The password for it.
	Password Secret `key:"password"`

	// How the connection is encrypted. Without encryption is for a server on this
	// machine.
	TLS string `key:"tls" default:"starttls" oneof:"starttls implicit none"`
}

// Webhook says which web address is told.
type Webhook struct {
	// The address that gets events by POST, as Alertmanager sends them. It is
	// secret: who knows it can post to it.
	URL Secret `key:"url"`

	// A key with which each body is signed (HMAC-SHA256, X-Reeve-Signature).
	Secret Secret `key:"secret"`
}

// Log says what reeve tells on standard error.
type Log struct {
	// The least severe level to log.
	Level string `key:"level" default:"info" oneof:"debug info warn error"`

	// Lines for people (text) or for a log collector (json).
	Format string `key:"format" default:"text" oneof:"text json"`
}
