package certstore

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// vaultCertificate is a [Target]: a certificate of Key Vault, whose newest version is
// what programs take, as a certificate or as the secret of its name.
//
// It needs the permissions certificates get, import, update and recover, and, to see
// what a program would get, secrets get (the roles Key Vault Certificates Officer and
// Key Vault Secrets User).
type vaultCertificate struct {
	reference TargetReference
	vault     *KeyVault
	notice    func(string)
}

func (t *vaultCertificate) Name() string { return t.reference.String() }

// Tags of a published version.
const (
	tagCredential = "reeve-credential"
	tagGeneration = "reeve-generation"
	tagSHA256     = "sha256"
)

// contactsAt is the share of a lifetime, in percent, at which the vault mails its
// contacts that the certificate was not replaced.
const contactsAt = 90

// Names of Key Vault's.
const (
	issuerUnknown = "Unknown" // whoever imports: the vault makes no version of its own
	inProgress    = "inProgress"
)

// Publish imports the pair as the newest version; see [Target].
func (t *vaultCertificate) Publish(ctx context.Context, p Publication) error {
	op := fmt.Sprintf("publishing %v to %s", p.Pair, t.Name())
	err := p.check()
	var content string
	if err == nil {
		content, err = t.encode(p.Pair)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return t.vault.again(ctx, func(ctx context.Context) error { return t.publish(ctx, op, p, content) })
}

// encode writes the pair in the form in which it is imported.
func (t *vaultCertificate) encode(p pki.Pair) (string, error) {
	if t.reference.PEM {
		return Entry{Key: p.Key, Certificate: p.Certificate, Chain: p.Chain}.pem()
	}
	pfx, err := pki.EncodePFX(p, pki.Modern, "")
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(pfx), nil
}

func (t *vaultCertificate) publish(ctx context.Context, op string, p Publication, content string) error {
	latest, err := t.latest(ctx, op)
	if err != nil && !isNotFound(err) {
		return err
	}
	if renewsItself(latest.Policy) {
		t.notice(fmt.Sprintf("the policy of %s let the vault make versions of its own, which would replace what is published; it is changed to issuer %s and mail to the contacts", t.Name(), issuerUnknown))
	}
	if !bytes.Equal(latest.CER, p.Pair.Certificate.Raw) {
		if err := t.importPair(ctx, op, p, content); err != nil {
			return err
		}
	}
	if err := t.correctPolicy(ctx, op); err != nil {
		return err
	}
	published, err := t.vault.Get(ctx, t.reference.Name, "")
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !samePair(published, p.Pair) {
		return fmt.Errorf("%s: the newest version is now %v: somebody else publishes under this name too, or the vault itself; see who", op, published)
	}
	return nil
}

// latest reads the newest version without its key. It has no CER while its first
// version is under way; when there is nothing the error is [m365.ErrNotFound].
func (t *vaultCertificate) latest(ctx context.Context, op string) (azcertificates.Certificate, error) {
	answer, err := t.vault.certificates.GetCertificate(ctx, t.reference.Name, "", nil)
	if err != nil {
		return azcertificates.Certificate{}, t.vault.explain(ctx, op, "", getCertificate, err)
	}
	return answer.Certificate, nil
}

// importPair imports a version, or clears the way and says errAgain.
func (t *vaultCertificate) importPair(ctx context.Context, op string, p Publication, content string) error {
	name := t.reference.Name
	_, err := t.vault.certificates.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{
		Base64EncodedCertificate: &content,
		CertificatePolicy:        t.policy(p.Pair),
		CertificateAttributes:    &azcertificates.CertificateAttributes{Enabled: new(true)},
		Tags: map[string]*string{
			tagCredential: &p.CredentialID,
			tagGeneration: new(strconv.FormatInt(p.Generation, 10)),
			tagSHA256:     new(pki.SHA256(p.Pair.Certificate)),
		},
	}, nil)
	if err == nil {
		return nil
	}
	err = t.vault.explain(ctx, op, "", importCertificate, err)
	switch {
	case isDeleted(err):
		if _, err := t.vault.certificates.RecoverDeletedCertificate(ctx, name, nil); err != nil {
			return t.vault.explain(ctx, op+": recovering the deleted certificate "+name, "", recoverCertificate, err)
		}
		t.notice(t.Name() + " had been deleted; it is recovered to be published to")
		return fmt.Errorf("%s: %w", op, errAgain)
	case isPending(err):
		return t.clearPending(ctx, op, p)
	}
	return err
}

// isPending reports the refusal of an import while a version is being made: a
// conflict whose code is Forbidden
// (learn.microsoft.com/azure/key-vault/certificates/create-certificate-scenarios).
func isPending(err error) bool {
	var e *m365.Error
	return errors.As(err, &e) && e.Status == http.StatusConflict && strings.HasPrefix(e.Code, "Forbidden")
}

// clearPending cancels and deletes the operation that keeps the name, if it is ours,
// and says errAgain.
func (t *vaultCertificate) clearPending(ctx context.Context, op string, p Publication) error {
	name := t.reference.Name
	again := fmt.Errorf("%s: %w", op, errAgain)
	pending, err := t.vault.certificates.GetCertificateOperation(ctx, name, nil)
	if err != nil {
		if err = t.vault.explain(ctx, op, "", getCertificate, err); isNotFound(err) {
			return again // it ended meanwhile
		}
		return err
	}
	ours, err := t.isOurs(ctx, op, p, pending.CSR)
	if err != nil {
		return err
	}
	if !ours {
		issuer := value(value(pending.IssuerParameters).Name)
		return fmt.Errorf("%s: certificate %s has a pending operation that reeve did not begin (issuer %.60s, request %.40s), and takes no import meanwhile: complete or delete it, or publish under another name", op, name, issuer, value(pending.RequestID))
	}
	if strings.EqualFold(value(pending.Status), inProgress) && !value(pending.CancellationRequested) {
		if _, err := t.vault.certificates.UpdateCertificateOperation(ctx, name, azcertificates.UpdateCertificateOperationParameter{CancellationRequested: new(true)}, nil); err != nil {
			return t.vault.explain(ctx, op+": canceling the pending operation", "", updateCertificate, err)
		}
		return again
	}
	if !strings.EqualFold(value(pending.Status), inProgress) {
		if _, err := t.vault.certificates.DeleteCertificateOperation(ctx, name, nil); err != nil {
			return t.vault.explain(ctx, op+": deleting the pending operation", "", updateCertificate, err)
		}
		t.notice("a pending operation of reeve's on " + t.Name() + " was canceled and deleted")
	}
	return again
}

// isOurs reports whether a pending operation is: its request is for the key that is
// published, or the certificate that it is to make the first version of has our tag.
func (t *vaultCertificate) isOurs(ctx context.Context, op string, p Publication, request []byte) (bool, error) {
	if r, err := x509.ParseCertificateRequest(request); err == nil && pki.SameKey(r.PublicKey, p.Pair.Certificate.PublicKey) {
		return true, nil
	}
	latest, err := t.latest(ctx, op)
	if isNotFound(err) {
		return false, nil
	}
	return len(latest.CER) == 0 && value(latest.Tags[tagCredential]) != "", err
}

// policy is that of a certificate that reeve renews and the vault does not.
func (t *vaultCertificate) policy(p pki.Pair) *azcertificates.CertificatePolicy {
	policy := unrenewed()
	policy.SecretProperties = &azcertificates.SecretProperties{ContentType: new(contentPFX)}
	if t.reference.PEM {
		policy.SecretProperties.ContentType = new(contentPEM)
	}
	policy.KeyProperties = &azcertificates.KeyProperties{Exportable: new(true), ReuseKey: new(false)}
	switch public := p.Certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		policy.KeyProperties.KeyType = new(azcertificates.KeyTypeRSA)
		policy.KeyProperties.KeySize = new(int32(public.N.BitLen()))
	case *ecdsa.PublicKey:
		policy.KeyProperties.KeyType = new(azcertificates.KeyTypeEC)
		policy.KeyProperties.Curve = new(azcertificates.CurveName(public.Curve.Params().Name))
	}
	return policy
}

// unrenewed is the part of a policy that keeps the vault from making versions.
func unrenewed() *azcertificates.CertificatePolicy {
	return &azcertificates.CertificatePolicy{
		IssuerParameters: &azcertificates.IssuerParameters{Name: new(issuerUnknown)},
		LifetimeActions: []*azcertificates.LifetimeAction{{
			Trigger: &azcertificates.LifetimeActionTrigger{LifetimePercentage: new(int32(contactsAt))},
			Action:  &azcertificates.LifetimeActionType{ActionType: new(azcertificates.CertificatePolicyActionEmailContacts)},
		}},
	}
}

// renewsItself reports a policy under which the vault makes versions of its own.
func renewsItself(p *azcertificates.CertificatePolicy) bool {
	return p != nil && slices.ContainsFunc(p.LifetimeActions, func(a *azcertificates.LifetimeAction) bool {
		return value(value(value(a).Action).ActionType) == azcertificates.CertificatePolicyActionAutoRenew
	})
}

// correctPolicy takes from the vault the right to make versions, if it has it: an
// import may leave the policy of a name as it was.
func (t *vaultCertificate) correctPolicy(ctx context.Context, op string) error {
	name := t.reference.Name
	kept, err := t.vault.certificates.GetCertificatePolicy(ctx, name, nil)
	if err != nil {
		return t.vault.explain(ctx, op, "", getCertificate, err)
	}
	if !renewsItself(&kept.CertificatePolicy) {
		return nil
	}
	if _, err := t.vault.certificates.UpdateCertificatePolicy(ctx, name, *unrenewed(), nil); err != nil {
		return t.vault.explain(ctx, op+": correcting the policy", "", updateCertificate, err)
	}
	return nil
}

// Published reads the newest version with its key; see [Target]. A version that the
// vault made itself is returned like any other.
func (t *vaultCertificate) Published(ctx context.Context) (pair pki.Pair, err error) {
	op := "reading what is published in " + t.Name()
	err = t.vault.again(ctx, func(ctx context.Context) error {
		latest, err := t.latest(ctx, op)
		if isNotFound(err) || err == nil && len(latest.CER) == 0 {
			return fmt.Errorf("%s: %w", op, fs.ErrNotExist)
		}
		if err == nil {
			pair, err = t.vault.Get(ctx, t.reference.Name, "")
		}
		return err
	})
	return pair, err
}

// Check asks for an import of nothing, which the vault refuses only after it has
// looked at permissions, name and pending operations; see [Target].
func (t *vaultCertificate) Check(ctx context.Context) error {
	op, name := "checking "+t.Name(), t.reference.Name
	return t.vault.again(ctx, func(ctx context.Context) error {
		if _, err := t.latest(ctx, op); err != nil && !isNotFound(err) {
			return err
		}
		if _, err := t.vault.secrets.GetSecret(ctx, name, "", nil); err != nil {
			if err = t.vault.explain(ctx, op, "", getSecret, err); !isNotFound(err) && !hasCode(err, "SecretDisabled") {
				return err
			}
		}
		_, err := t.vault.certificates.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{Base64EncodedCertificate: new("")}, nil)
		if err == nil {
			return fmt.Errorf("%s: the vault took an import of nothing: see what the certificate is now", op)
		}
		err = t.vault.explain(ctx, op, "", importCertificate, err)
		var e *m365.Error
		switch {
		case errors.As(err, &e) && e.Status == http.StatusBadRequest, isDeleted(err):
			return nil
		case isPending(err):
			return fmt.Errorf("certificate %s has a pending operation, and takes no import meanwhile: complete or delete it: %w", name, err)
		}
		return err
	})
}

// maxVersionPages bounds the listing of a certificate's versions, 25 to a page.
const maxVersionPages = 400

// Forget disables the versions that are a credential's, and the newest one only if that is
// meant too; see [Target]. A version alone cannot be deleted.
func (t *vaultCertificate) Forget(ctx context.Context, credentialID string, current bool) error {
	op, name := "disabling credential "+credentialID+" in "+t.Name(), t.reference.Name
	return t.vault.again(ctx, func(ctx context.Context) error {
		latest, err := t.latest(ctx, op)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		pager := t.vault.certificates.NewListCertificatePropertiesVersionsPager(name, nil)
		for pages := 0; pager.More(); pages++ {
			if pages == maxVersionPages {
				return fmt.Errorf("%s: it has more than %d pages of versions", op, maxVersionPages)
			}
			page, err := pager.NextPage(ctx)
			if err != nil {
				return t.vault.explain(ctx, op, "", "certificates/list", err)
			}
			for _, v := range page.Value {
				if v == nil || v.ID == nil || !current && latest.ID != nil && v.ID.Version() == latest.ID.Version() || value(v.Tags[tagCredential]) != credentialID ||
					v.Attributes != nil && v.Attributes.Enabled != nil && !*v.Attributes.Enabled {
					continue
				}
				if _, err := t.vault.certificates.UpdateCertificate(ctx, name, v.ID.Version(), azcertificates.UpdateCertificateParameters{
					CertificateAttributes: &azcertificates.CertificateAttributes{Enabled: new(false)},
				}, nil); err != nil {
					return t.vault.explain(ctx, op, "", "certificates/update", err)
				}
			}
		}
		return nil
	})
}
