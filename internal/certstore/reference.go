// Package certstore fetches certificates with their private keys from where they
// are kept, a file or Azure Key Vault, and writes files of them. It does not decide
// which certificate to use.
package certstore

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/reeve365/reeve/internal/pki"
)

// Kind says where a certificate is kept.
type Kind string

const (
	// KindFile is a PEM or PFX file.
	KindFile Kind = "file"
	// KindCertificate is a Key Vault certificate, with its private key in the
	// secret that the vault keeps with it.
	KindCertificate Kind = "certificate"
	// KindSecret is a Key Vault secret that holds PFX or PEM.
	KindSecret Kind = "secret"
)

// Reference names a certificate with its private key.
type Reference struct {
	Kind Kind

	Path string // of KindFile

	VaultURL string // empty where the reference leaves it to the configuration
	Name     string
	Version  string // 32 hexadecimal digits; empty for the current one
}

func (r Reference) String() string {
	if r.Kind == KindFile {
		return r.Path
	}
	s := strings.TrimSuffix(r.VaultURL, "/") + "/" + string(r.Kind) + "s/" + r.Name
	if r.Version != "" {
		s += "/" + r.Version
	}
	return s
}

// ParseReference reads the name of a certificate in one of these forms:
//
//	PATH or file:PATH
//	keyvault:NAME[/VERSION]
//	https://VAULT/certificates/NAME[/VERSION]
//	https://VAULT/secrets/NAME[/VERSION]
//
// Without a version the current one is meant, which is what a certificate that is
// renewed needs.
func ParseReference(s string) (Reference, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Reference{}, errors.New("the certificate's place is empty: give a path, keyvault:NAME, or a Key Vault certificate's address")
	}
	if IsUnresolved(s) {
		return Reference{}, unresolved(s)
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found {
		return Reference{Kind: KindFile, Path: s}, nil
	}
	switch strings.ToLower(scheme) {
	case "file":
		if rest == "" {
			return Reference{}, fmt.Errorf("%q names no file", s)
		}
		return Reference{Kind: KindFile, Path: rest}, nil
	case "keyvault":
		name, version, _ := strings.Cut(rest, "/")
		return vaultReference(s, Reference{Kind: KindCertificate, Name: name, Version: version})
	case "https":
		return parseVaultURL(s)
	case "http":
		return Reference{}, fmt.Errorf("%q: a key vault answers over https only", s)
	}
	return Reference{Kind: KindFile, Path: s}, nil // C:\...
}

// IsUnresolved reports whether a setting is a Key Vault reference that App Service
// was to replace by its value and did not.
func IsUnresolved(s string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(s)), "@microsoft.keyvault(")
}

func unresolved(s string) error {
	return fmt.Errorf("%q is a Key Vault reference that App Service did not resolve: give its managed identity the permission to get secrets (role Key Vault Secrets User), look at the setting's status in the portal, or give the certificate's address https://VAULT/certificates/NAME itself, which is read directly", s)
}

func parseVaultURL(s string) (Reference, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Reference{}, err
	}
	part := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(part) < 2 || len(part) > 3 || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return Reference{}, fmt.Errorf("%q is not of the form https://VAULT/certificates/NAME[/VERSION] or https://VAULT/secrets/NAME[/VERSION]", s)
	}
	r := Reference{VaultURL: "https://" + u.Host, Name: part[1]}
	if len(part) == 3 {
		r.Version = part[2]
	}
	switch strings.ToLower(part[0]) {
	case "certificates":
		r.Kind = KindCertificate
	case "secrets":
		r.Kind = KindSecret
	case "keys":
		return Reference{}, fmt.Errorf("%q is a key, which the vault does not hand out: give the certificate's address, https://%s/certificates/%s", s, u.Host, r.Name)
	default:
		return Reference{}, fmt.Errorf("%q names neither a certificate nor a secret: its path begins with %q", s, part[0])
	}
	return vaultReference(s, r)
}

var (
	objectName    = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
	objectVersion = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
)

func vaultReference(s string, r Reference) (Reference, error) {
	if !objectName.MatchString(r.Name) {
		return Reference{}, fmt.Errorf("%q: %q cannot be the name of a Key Vault object, which has letters, digits and hyphens", s, r.Name)
	}
	if r.Version != "" && !objectVersion.MatchString(r.Version) {
		return Reference{}, fmt.Errorf("%q: %q cannot be a version, which has 32 hexadecimal digits: leave it out for the current one", s, r.Version)
	}
	return r, nil
}

// File reads a certificate with its private key from a PEM or PFX file.
func File(path, password string) (pki.Pair, error) {
	f, err := os.Open(path)
	if err != nil {
		return pki.Pair{}, fmt.Errorf("reading the certificate: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, pki.MaxFileSize+1))
	if err != nil {
		return pki.Pair{}, fmt.Errorf("reading the certificate %s: %w", path, err)
	}
	pair, err := pki.Parse(data, password)
	if err != nil {
		return pki.Pair{}, fmt.Errorf("reading the certificate %s: %w", path, err)
	}
	return pair, nil
}
