package certstore

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
)

// VaultVersion is one version of a certificate in a vault, without its private key.
type VaultVersion struct {
	Version    string
	SHA1       string // hexadecimal, as [pki.SHA1] has it
	Enabled    bool
	Created    time.Time
	NotBefore  time.Time // zero when the vault does not say
	NotAfter   time.Time
	Exportable bool // as the policy of the newest version says; true when it says nothing
}

// VaultCertificate is the public half of a certificate in a vault, with its policy.
type VaultCertificate struct {
	VaultVersion
	Certificate *x509.Certificate
	Issuer      string // Self, Unknown or the name of an authority
	// Renews says when the vault makes a version of its own, as "at 80 % of its
	// lifetime"; empty when it does not.
	Renews string
}

// URL is the vault's address.
func (v *KeyVault) URL() string { return v.url }

// Look reads a certificate without its private key, the current version when version is
// empty. It needs certificates/get alone.
func (v *KeyVault) Look(ctx context.Context, name, version string) (VaultCertificate, error) {
	op := fmt.Sprintf("looking at certificate %s in the key vault", name)
	answer, err := v.certificates.GetCertificate(ctx, name, version, nil)
	if err != nil {
		return VaultCertificate{}, v.explain(ctx, op, name, getCertificate, err)
	}
	if answer.ID == nil || len(answer.CER) == 0 {
		return VaultCertificate{}, fmt.Errorf("%s: the vault's answer holds no certificate: its first version may still be under way", op)
	}
	c := VaultCertificate{VaultVersion: versionOf(answer.ID, answer.X509Thumbprint, answer.Attributes)}
	if c.Certificate, err = x509.ParseCertificate(answer.CER); err != nil {
		return VaultCertificate{}, fmt.Errorf("%s: %w", op, err)
	}
	p := answer.Policy
	if p == nil {
		return c, nil
	}
	if k := p.KeyProperties; k != nil && k.Exportable != nil {
		c.Exportable = *k.Exportable
	}
	if p.IssuerParameters != nil {
		c.Issuer = value(p.IssuerParameters.Name)
	}
	// Of a certificate that somebody imports under this issuer it makes none.
	if !strings.EqualFold(c.Issuer, issuerUnknown) {
		c.Renews = renewal(p)
	}
	return c, nil
}

// renewal says when a policy makes the vault renew by itself.
func renewal(p *azcertificates.CertificatePolicy) string {
	for _, a := range p.LifetimeActions {
		action := value(a)
		if value(value(action.Action).ActionType) != azcertificates.CertificatePolicyActionAutoRenew {
			continue
		}
		switch t := value(action.Trigger); {
		case t.DaysBeforeExpiry != nil:
			return fmt.Sprintf("%d days before it expires", *t.DaysBeforeExpiry)
		case t.LifetimePercentage != nil:
			return fmt.Sprintf("at %d %% of its lifetime", *t.LifetimePercentage)
		}
		return "before it expires"
	}
	return ""
}

// Versions lists the versions of a certificate, the newest first. It needs
// certificates/list.
func (v *KeyVault) Versions(ctx context.Context, name string) ([]VaultVersion, error) {
	op := fmt.Sprintf("listing the versions of certificate %s in the key vault", name)
	pager := v.certificates.NewListCertificatePropertiesVersionsPager(name, nil)
	var all []VaultVersion
	for range mostPages {
		if !pager.More() {
			break
		}
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, v.explain(ctx, op, "", listCertificates, err)
		}
		for _, p := range page.Value {
			if p != nil && p.ID != nil {
				all = append(all, versionOf(p.ID, p.X509Thumbprint, p.Attributes))
			}
		}
	}
	if pager.More() {
		return nil, fmt.Errorf("%s: the vault's list does not end", op)
	}
	slices.SortFunc(all, func(a, b VaultVersion) int {
		return cmp.Or(b.Created.Compare(a.Created), b.NotBefore.Compare(a.NotBefore))
	})
	return all, nil
}

func versionOf(id *azcertificates.ID, thumbprint []byte, a *azcertificates.CertificateAttributes) VaultVersion {
	at := value(a)
	return VaultVersion{
		Version: id.Version(), SHA1: fmt.Sprintf("%X", thumbprint), Enabled: at.Enabled == nil || *at.Enabled, Exportable: true,
		Created: value(at.Created).UTC(), NotBefore: value(at.NotBefore).UTC(), NotAfter: value(at.Expires).UTC(),
	}
}
