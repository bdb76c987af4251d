package tenant

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// Content types of the secret that Key Vault makes for each certificate.
const (
	PKCS12 = "application/x-pkcs12"
	PEM    = "application/x-pem-file"
)

// Vault is a key vault of the tenant, under access policies. Its methods may be
// called from several goroutines.
type Vault struct {
	Name string
	now  func() time.Time

	mu           sync.RWMutex // guards what follows
	certificates map[string][]VaultCertificate
	permissions  map[string]map[string]bool // by object ID, then such as "secrets/get"
}

// VaultCertificate is one version of a certificate, which is at the same time
// a version of the secret and of the key of the same name.
type VaultCertificate struct {
	Name, Version string // Version is 32 hexadecimal digits
	ContentType   string // of the secret: PKCS12 or PEM
	Enabled       bool
	Created       time.Time
	Certificate   *x509.Certificate
	Secret        string // certificate and private key, in the form of ContentType
}

func newVault(name string, now func() time.Time) *Vault {
	return &Vault{
		Name: name, now: now,
		certificates: map[string][]VaultCertificate{},
		permissions:  map[string]map[string]bool{},
	}
}

// Import adds a pair as the newest version of a certificate. The secret is what
// Microsoft documents: base64 PKCS#12 with an empty password, or PEM with the
// key first.
func (v *Vault) Import(name, contentType string, c *x509.Certificate, key *rsa.PrivateKey) (VaultCertificate, error) {
	secret, err := pairAs(contentType, c, key)
	if err != nil {
		return VaultCertificate{}, fmt.Errorf("importing certificate %s into vault %s: %w", name, v.Name, err)
	}
	var version [16]byte
	rand.Read(version[:]) // crypto/rand never fails.
	vc := VaultCertificate{
		Name: name, Version: hex.EncodeToString(version[:]), ContentType: contentType,
		Enabled: true, Created: v.now(), Certificate: c, Secret: secret,
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	folded := strings.ToLower(name)
	v.certificates[folded] = append(v.certificates[folded], vc)
	return vc, nil
}

func pairAs(contentType string, c *x509.Certificate, key *rsa.PrivateKey) (string, error) {
	switch contentType {
	case PKCS12:
		// The older algorithms, because the Azure SDK's own parser, which
		// Microsoft's samples use on vault secrets, reads nothing newer.
		pfx, err := pkcs12.LegacyDES.Encode(key, c, nil, "")
		return base64.StdEncoding.EncodeToString(pfx), err
	case PEM:
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return "", err
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})) +
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})), nil
	}
	return "", fmt.Errorf("a certificate's secret cannot have the content type %q", contentType)
}

// Certificate returns a version of a certificate, or with an empty version the
// newest. Names compare without regard to case.
func (v *Vault) Certificate(name, version string) (VaultCertificate, bool) {
	versions := v.Versions(name)
	if version == "" && len(versions) > 0 {
		return versions[len(versions)-1], true
	}
	for _, c := range versions {
		if strings.EqualFold(c.Version, version) {
			return c, true
		}
	}
	return VaultCertificate{}, false
}

// Versions returns all versions of a certificate, oldest first.
func (v *Vault) Versions(name string) []VaultCertificate {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Clone(v.certificates[strings.ToLower(name)])
}

// Certificates returns the newest version of each certificate, by name.
func (v *Vault) Certificates() []VaultCertificate {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var newest []VaultCertificate
	for _, versions := range v.certificates {
		newest = append(newest, versions[len(versions)-1])
	}
	slices.SortFunc(newest, func(a, b VaultCertificate) int { return strings.Compare(a.Name, b.Name) })
	return newest
}

// SetEnabled enables or disables one version of a certificate.
func (v *Vault) SetEnabled(name, version string, enabled bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	versions := v.certificates[strings.ToLower(name)]
	for i := range versions {
		if versions[i].Version == version {
			versions[i].Enabled = enabled
			return nil
		}
	}
	return fmt.Errorf("changing certificate %s of vault %s: it has no version %s", name, v.Name, version)
}

// Allow gives a service principal permissions such as "certificates/get" and
// "secrets/get". The second is what the private key takes; the first gives the
// public part only.
func (v *Vault) Allow(objectID string, permissions ...string) { v.set(objectID, true, permissions) }

// Deny takes permissions away.
func (v *Vault) Deny(objectID string, permissions ...string) { v.set(objectID, false, permissions) }

func (v *Vault) set(objectID string, allowed bool, permissions []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.permissions[objectID] == nil {
		v.permissions[objectID] = map[string]bool{}
	}
	for _, p := range permissions {
		v.permissions[objectID][p] = allowed
	}
}

// Allowed reports whether the service principal has the permission.
func (v *Vault) Allowed(objectID, permission string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.permissions[objectID][permission]
}
