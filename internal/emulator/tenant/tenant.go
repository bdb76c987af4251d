// Package tenant makes an emulated Microsoft 365 tenant as an administrator
// would have left it, and invents what its people do. Package emulator puts it
// on the network.
//
// Identifiers come from the seed, so that the same seed makes the same tenant.
// Private keys never do: they are random at every start, so that nothing which
// this package makes can be mistaken for, or used as, a real credential.
package tenant

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
)

// Options describe the tenant to make. The zero value is a small tenant named
// Contoso on the wall clock.
type Options struct {
	Seed uint64
	Name string // display name of the organization; "Contoso" when empty

	// What the audit log holds; see AuditOptions.
	Users, Days, PerUser, BlobRecords, RecordBytes int

	Now   func() time.Time // the tenant's clock, until Step moves it; time.Now when nil
	Start time.Time        // when the tenant was first made; now when zero
	Calm  bool             // no late, repeated or reordered audit blobs
}

// Tenant is one tenant. Its methods may be called from several goroutines.
type Tenant struct {
	ID          string // a GUID
	Domain      string // the initial domain, such as contoso.onmicrosoft.com
	DisplayName string
	Now         func() time.Time
	Directory   *directory.Directory
	Audit       *AuditLog
	Vault       *keyvault.Vault

	WorkspaceID    string // of the Log Analytics workspace, a GUID
	AppInsightsID  string // application id of the Application Insights resource, a GUID
	SubscriptionID string // of the Azure subscription that the vault is in, a GUID

	options         Options
	clock           *clock
	client          Client
	managedIdentity string // the client ID of the web app's own identity
}

// lookBack is how long the directory remembers what it was.
const lookBack = 10 * time.Minute

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
	clock := &clock{base: o.Now}
	if o.Start.IsZero() {
		o.Start = clock.Now()
	}
	ids := newIdentifiers(o.Seed)
	t := &Tenant{
		options: o, clock: clock,
		ID:          ids.next(),
		Domain:      host + ".onmicrosoft.com",
		DisplayName: o.Name,
		Now:         clock.Now,
	}
	now := o.Start
	// The directory remembers what it was by a clock that is never stepped.
	t.Directory = directory.New(t.ID, t.Domain, t.DisplayName, o.Now, lookBack)
	t.Directory.AddMicrosoftServices(ids.next, host+".sharepoint.com", now.AddDate(-2, 0, 0))

	t.Vault = keyvault.New(host+"-vault", t.Now)
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
		if _, err := t.Vault.Import(CertificateName, keyvault.PKCS12, pair.Certificate, pair.Key); err != nil {
			return nil, err
		}
	}
	if err := t.addManagedIdentity(ids, now); err != nil {
		return nil, err
	}

	t.Directory.AddMicrosoftClients(ids.next, now.AddDate(-2, 0, 0))
	if err := t.addPeople(ids, now, firstPeople); err != nil {
		return nil, err
	}
	t.WorkspaceID, t.AppInsightsID = ids.next(), ids.next()
	// What was added to tenants later has its ids here, so that the ids above
	// stay those that a state was saved with.
	if err := t.addPeople(ids, now, roleHolders); err != nil {
		return nil, err
	}
	t.SubscriptionID = ids.next()
	t.addSubscription(ids)
	t.Directory.Settle()

	t.Audit = NewAuditLog(AuditOptions{
		TenantID: t.ID, Domain: t.Domain, SharePointHost: host + ".sharepoint.com",
		Seed: o.Seed, Users: o.Users, Days: o.Days, PerUser: o.PerUser,
		BlobRecords: o.BlobRecords, RecordBytes: o.RecordBytes,
		Now: t.Now, Start: o.Start, Calm: o.Calm,
	})
	return t, nil
}

// Client returns the demo client's identity, private key included.
func (t *Tenant) Client() Client { return t.client }

// ManagedIdentity returns the service principal of the web app's own identity.
func (t *Tenant) ManagedIdentity() (*directory.ServicePrincipal, bool) {
	return t.Directory.View(0).ServicePrincipalByAppID(t.managedIdentity)
}

// addClient registers the application of the demo client. The expired
// certificate stays registered beside its successor, as it does in most real
// tenants.
func (t *Tenant) addClient(ids *identifiers, now time.Time, old, current *x509.Certificate) error {
	app := &directory.Application{
		ID: ids.next(), AppID: ids.next(), DisplayName: "reeve", CreatedDateTime: now.AddDate(0, -13, 0).UTC(),
		PublisherDomain: t.Domain, SignInAudience: "AzureADMyOrg",
	}
	for _, c := range []*x509.Certificate{old, current} {
		k, err := directory.NewKeyCredential(ids.next(), c.Raw, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		app.KeyCredentials = append(app.KeyCredentials, k)
	}
	wanted := []struct {
		resource string
		roles    []string
	}{
		{directory.ManagementAPIs, []string{"ActivityFeed.Read"}},
		{directory.Graph, []string{"Application.Read.All", "Directory.Read.All", "User.Read.All", "Reports.Read.All"}},
	}
	for _, w := range wanted {
		access := directory.ResourceAccess{ResourceAppID: w.resource}
		for _, role := range w.roles {
			id, err := directory.RoleID(w.resource, role)
			if err != nil {
				return err
			}
			access.Access = append(access.Access, directory.Access{ID: id, Type: "Role"})
		}
		app.RequiredResourceAccess = append(app.RequiredResourceAccess, access)
	}
	sp := t.Directory.PrincipalFor(app, ids.next())
	sp.CreatedDateTime = app.CreatedDateTime
	err := t.Directory.Update(func(u *directory.Update) error {
		u.PutApplication(app)
		u.PutServicePrincipal(sp)
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range wanted {
		for _, role := range w.roles {
			if err := t.Directory.GrantRole(app.AppID, w.resource, role); err != nil {
				return err
			}
		}
	}
	t.client.ClientID = app.AppID
	t.Vault.Allow(sp.ID, "certificates/get", "certificates/list", "secrets/get")
	return nil
}

// addManagedIdentity makes the identity of the web app, which needs no
// certificate to read the vault where the certificate lies.
func (t *Tenant) addManagedIdentity(ids *identifiers, now time.Time) error {
	id, appID := ids.next(), ids.next()
	sp := &directory.ServicePrincipal{
		ID: id, AppID: appID, DisplayName: "reeve-web", AccountEnabled: true,
		ServicePrincipalType: directory.TypeManagedIdentity, CreatedDateTime: now.AddDate(0, -13, 0).UTC(),
		ServicePrincipalNames: []string{appID},
	}
	t.managedIdentity = appID
	t.Vault.Allow(sp.ID, "certificates/get", "secrets/get")
	return t.Directory.Update(func(u *directory.Update) error {
		u.PutServicePrincipal(sp)
		return nil
	})
}

// addSubscription makes the Global Administrator the owner of the subscription, as
// whoever signs up for one is. Nobody else has a role in it.
func (t *Tenant) addSubscription(ids *identifiers) {
	if admin, ok := t.Directory.View(0).User("admin@" + t.Domain); ok {
		t.Vault.Assign(keyvault.RoleAssignment{
			Name: ids.next(), Scope: "/subscriptions/" + t.SubscriptionID, Role: keyvault.Owner,
			ObjectID: admin.ID, PrincipalType: "User", CreatedBy: admin.ID,
		})
	}
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
