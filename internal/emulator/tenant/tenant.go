// Package tenant is the state of one emulated Microsoft 365 tenant: its
// directory of applications, its key vault and its audit log, in memory. It
// knows nothing of HTTP or tokens; package emulator puts it on the network.
//
// Identifiers come from the seed, so that the same seed makes the same tenant.
// Private keys never do: they are random at every start, so that nothing which
// this package makes can be mistaken for, or used as, a real credential.
package tenant

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options describe the tenant to make. The zero value is a small tenant named
// Contoso on the wall clock.
type Options struct {
	Seed uint64
	Name string // display name of the organization; "Contoso" when empty

	// What the audit log holds; see AuditOptions.
	Users, Days, PerUser, BlobRecords, RecordBytes int

	Now  func() time.Time // the tenant's clock; time.Now when nil
	Calm bool             // no late, repeated or reordered audit blobs
}

// Tenant is one tenant. Its methods may be called from several goroutines.
type Tenant struct {
	ID          string // a GUID
	Domain      string // the initial domain, such as contoso.onmicrosoft.com
	DisplayName string
	Now         func() time.Time
	Audit       *AuditLog
	Vault       *Vault

	client          Client
	managedIdentity string // the client ID of the web app's own identity

	mu           sync.RWMutex // guards what follows
	applications []*Application
	principals   []*ServicePrincipal
	grants       []grant
}

// Client is the registration under which the demo and the tests sign in, with
// the private key that a tenant's directory never holds.
type Client struct {
	ClientID    string
	Certificate *x509.Certificate
	Key         *rsa.PrivateKey
}

// CertificateName is the name under which the client's certificate lies in the
// vault. It is the one that the original engine looks for.
const CertificateName = "O365AdvancedAnalytics"

// New makes a tenant as an administrator would have left it: one application
// for the client, named reeve, with a certificate that has expired and the one
// that followed it; consent to read the audit log and the directory; both
// certificates as versions in a vault; and a web app whose managed identity may
// read that vault.
func New(o Options) (*Tenant, error) {
	if o.Name == "" {
		o.Name = "Contoso"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	host := hostLabel(o.Name)
	if host == "" {
		return nil, fmt.Errorf("naming the tenant %q: the name needs a letter or a digit, from which its domain is made", o.Name)
	}
	ids := newIdentifiers(o.Seed)
	t := &Tenant{
		ID:          ids.next(),
		Domain:      host + ".onmicrosoft.com",
		DisplayName: o.Name,
		Now:         o.Now,
	}
	now := o.Now()
	t.addMicrosoftServices(ids, now)

	t.Vault = newVault(host+"-vault", o.Now)
	old, oldKey, err := newCertificate(now.AddDate(0, -13, 0), now.AddDate(0, -1, 0))
	if err != nil {
		return nil, err
	}
	current, key, err := newCertificate(now.AddDate(0, -2, 0), now.AddDate(0, 10, 0))
	if err != nil {
		return nil, err
	}
	if err := t.addClient(ids, now, old, current); err != nil {
		return nil, err
	}
	t.client.Certificate, t.client.Key = current, key
	for _, pair := range []Client{{Certificate: old, Key: oldKey}, t.client} {
		if _, err := t.Vault.Import(CertificateName, PKCS12, pair.Certificate, pair.Key); err != nil {
			return nil, err
		}
	}
	t.addManagedIdentity(ids, now)

	t.Audit = NewAuditLog(AuditOptions{
		TenantID: t.ID, Domain: t.Domain, SharePointHost: host + ".sharepoint.com",
		Seed: o.Seed, Users: o.Users, Days: o.Days, PerUser: o.PerUser,
		BlobRecords: o.BlobRecords, RecordBytes: o.RecordBytes,
		Now: o.Now, Calm: o.Calm,
	})
	return t, nil
}

// Client returns the demo client's identity, private key included.
func (t *Tenant) Client() Client { return t.client }

// ManagedIdentity returns the service principal of the web app's own identity.
func (t *Tenant) ManagedIdentity() (ServicePrincipal, bool) {
	return t.ServicePrincipal(t.managedIdentity)
}

// addClient registers the application of the demo client. The expired
// certificate stays registered beside its successor, as it does in most real
// tenants.
func (t *Tenant) addClient(ids *identifiers, now time.Time, old, current *x509.Certificate) error {
	app := &Application{
		ObjectID: ids.next(), ClientID: ids.next(), DisplayName: "reeve",
		CreatedAt: now.AddDate(0, -13, 0),
		RequiredResourceAccess: []ResourceAccess{
			{ResourceClientID: ManagementAPIs, Roles: []string{roleID(ManagementAPIs, "ActivityFeed.Read")}},
			{ResourceClientID: Graph, Roles: []string{
				roleID(Graph, "Application.Read.All"), roleID(Graph, "Directory.Read.All"),
				roleID(Graph, "User.Read.All"), roleID(Graph, "Reports.Read.All"),
			}},
		},
	}
	for _, c := range []*x509.Certificate{old, current} {
		k, err := newKeyCredential(ids.next(), c.Raw, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		app.KeyCredentials = append(app.KeyCredentials, k)
	}
	t.applications = append(t.applications, app)
	t.client.ClientID = app.ClientID
	sp := &ServicePrincipal{
		ObjectID: ids.next(), ClientID: app.ClientID, DisplayName: app.DisplayName,
		Type: TypeApplication, Names: []string{app.ClientID}, CreatedAt: app.CreatedAt,
	}
	t.principals = append(t.principals, sp)
	for _, access := range app.RequiredResourceAccess {
		resource := t.principal(access.ResourceClientID)
		for _, role := range access.Roles {
			t.grants = append(t.grants, grant{principal: sp.ObjectID, resource: resource.ObjectID, role: role})
		}
	}
	t.Vault.Allow(sp.ObjectID, "certificates/get", "certificates/list", "secrets/get")
	return nil
}

// addManagedIdentity makes the identity of the web app, which needs no
// certificate to read the vault where the certificate lies.
func (t *Tenant) addManagedIdentity(ids *identifiers, now time.Time) {
	sp := &ServicePrincipal{
		ObjectID: ids.next(), ClientID: ids.next(), DisplayName: "reeve-web",
		Type: TypeManagedIdentity, CreatedAt: now.AddDate(0, -13, 0),
	}
	sp.Names = []string{sp.ClientID}
	t.managedIdentity = sp.ClientID
	t.principals = append(t.principals, sp)
	t.Vault.Allow(sp.ObjectID, "certificates/get", "secrets/get")
}

// newCertificate makes a self-signed pair of the kind that administrators
// upload: RSA 2048, subject CN=reeve.
func newCertificate(notBefore, notAfter time.Time) (*x509.Certificate, *rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("making the client's key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("making the client's certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "reeve"},
		NotBefore:    notBefore, NotAfter: notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, fmt.Errorf("making the client's certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("making the client's certificate: %w", err)
	}
	return c, key, nil
}

// Thumbprint returns the SHA-1 of a certificate's DER, by which Microsoft's
// services name certificates. It identifies; it protects nothing.
func Thumbprint(der []byte) []byte {
	sum := sha1.Sum(der)
	return sum[:]
}

// hostLabel makes the first label of the tenant's domain from its name, as
// Microsoft's sign-up page does.
func hostLabel(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if (r >= 'a' && r <= 'z' || r >= '0' && r <= '9') && b.Len() < 18 {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// identifiers gives GUIDs in an order that the seed decides.
type identifiers struct{ source *mathrand.ChaCha8 }

func newIdentifiers(seed uint64) *identifiers {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	copy(s[8:], "directory")
	return &identifiers{source: mathrand.NewChaCha8(s)}
}

func (i *identifiers) next() string {
	var b [16]byte
	i.source.Read(b[:]) // ChaCha8 never fails.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuid.UUID(b).String()
}
