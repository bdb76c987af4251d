package certstore

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/reeve365/reeve/internal/pki"
)

// VaultSecrets is a [Store] of Key Vault secrets: for each entry a secret reeve-ID
// that holds PEM. It needs the permissions secrets get, list, set, delete and recover
// (the role Key Vault Secrets Officer).
//
// The vault lets a second writer add a version to a secret that the first has just
// made. Whoever finds an earlier version with another key beside its own puts that one
// back and fails, so that one key remains; but a reader in between would have seen the
// later one. Who writes an ID is therefore settled before, by a lease.
type VaultSecrets struct{ vault *KeyVault }

// NewVaultSecrets returns the store; nothing is sent.
func NewVaultSecrets(v *KeyVault) *VaultSecrets { return &VaultSecrets{v} }

// Name is "keyvault:" and the address of the vault's secrets.
func (s *VaultSecrets) Name() string { return "keyvault:" + s.vault.url + "/secrets" }

const (
	// objectPrefix begins the names of what is reeve's in a vault.
	objectPrefix = "reeve-"

	contentPEM = "application/x-pem-file"
	contentPFX = "application/x-pkcs12"

	// largeSecret is what Key Vault takes
	// (learn.microsoft.com/azure/key-vault/secrets/about-secrets).
	largeSecret = 25 << 10
)

// Tags of an entry, in the clear.
const (
	tagID         = "reeve-id"
	tagObjectID   = "reeve-object-id"
	tagClientID   = "reeve-client-id"
	tagTenantID   = "reeve-tenant-id"
	tagMade       = "reeve-made"
	tagThumbprint = "reeve-thumbprint"
)

func (e Entry) tags() map[string]*string {
	tags := map[string]*string{}
	add := func(name, value string) {
		if value != "" {
			tags[name] = &value
		}
	}
	add(tagID, e.ID)
	add(tagObjectID, e.ObjectID)
	add(tagClientID, e.ClientID)
	add(tagTenantID, e.TenantID)
	if !e.Made.IsZero() {
		add(tagMade, e.Made.UTC().Format(time.RFC3339Nano))
	}
	if e.Certificate != nil {
		add(tagThumbprint, pki.SHA1(e.Certificate))
	}
	return tags
}

// tagged is what tags say of an entry. A tag that people have changed is no reason
// to lose the key.
func tagged(id string, tags map[string]*string) Entry {
	e := Entry{ID: id, ObjectID: value(tags[tagObjectID]), ClientID: value(tags[tagClientID]), TenantID: value(tags[tagTenantID])}
	e.Made, _ = time.Parse(time.RFC3339Nano, value(tags[tagMade]))
	return e
}

// checkOurs reports that something has a name of ours and is not ours.
func checkOurs(kind, id string, tags map[string]*string) error {
	if strings.EqualFold(value(tags[tagID]), id) {
		return nil
	}
	return fmt.Errorf("the vault has a %s %s%s without the tag %s, so it is not reeve's: rename or delete it, or give reeve another vault", kind, objectPrefix, id, tagID)
}

// value is what a pointer points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// pem is the key, its certificate and the chain as one text.
func (e Entry) pem() (string, error) {
	key, err := pki.EncodeKey(e.Key, "")
	if err != nil {
		return "", err
	}
	text := string(key)
	if e.Certificate != nil {
		text += string(pki.EncodeCertificates(append([]*x509.Certificate{e.Certificate}, e.Chain...)...))
	}
	return text, nil
}

// Put keeps an entry; see [Store].
func (s *VaultSecrets) Put(ctx context.Context, e Entry) error {
	op := fmt.Sprintf("keeping the private key %.100s in %s", e.ID, s.Name())
	err := e.check()
	if err == nil {
		_, err = e.secret()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return s.vault.again(ctx, func(ctx context.Context) error { return s.put(ctx, op, e) })
}

// secret is the text that a secret holds.
func (e Entry) secret() (string, error) {
	text, err := e.pem()
	if err == nil && len(text) > largeSecret {
		err = fmt.Errorf("key and certificates are %d bytes, and a secret takes %d: leave certificates of the chain out", len(text), largeSecret)
	}
	return text, err
}

func (s *VaultSecrets) put(ctx context.Context, op string, e Entry) error {
	kept, err := s.look(ctx, op, e.ID, "")
	first, changed := isNotFound(err), true
	switch {
	case first:
	case err != nil:
		return err
	default:
		if e, changed, err = kept.merge(e); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if !changed {
			return nil
		}
	}
	set, err := s.set(ctx, op, e)
	if err != nil {
		return err
	}
	read, err := s.look(ctx, op, e.ID, "")
	if err == nil && first {
		err = s.settle(ctx, op, e, set)
	}
	if err == nil && !e.same(read) {
		err = fmt.Errorf("%s: what was read back is not what was written: %w", op, ErrOtherKey)
	}
	return err
}

// set adds a version, and returns when it was made.
func (s *VaultSecrets) set(ctx context.Context, op string, e Entry) (time.Time, error) {
	text, err := e.secret()
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", op, err)
	}
	name := objectPrefix + e.ID
	answer, err := s.vault.secrets.SetSecret(ctx, name, azsecrets.SetSecretParameters{
		Value: &text, ContentType: new(contentPEM), Tags: e.tags(),
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: new(true)},
	}, nil)
	if err == nil {
		return value(value(answer.Attributes).Created), nil
	}
	err = s.vault.explain(ctx, op, "", setSecret, err)
	if !isDeleted(err) {
		return time.Time{}, err
	}
	if _, err := s.vault.secrets.RecoverDeletedSecret(ctx, name, nil); err != nil {
		return time.Time{}, s.vault.explain(ctx, op+": recovering the deleted secret "+name, "", recoverSecret, err)
	}
	return time.Time{}, fmt.Errorf("%s: %w", op, errAgain)
}

// settle looks for a version with another key, which another process has added at the
// same time. One that is not later counts; the vault tells times to the second.
func (s *VaultSecrets) settle(ctx context.Context, op string, e Entry, ours time.Time) error {
	versions, err := s.versions(ctx, op, e.ID)
	if err != nil {
		return err
	}
	for _, v := range versions {
		other, err := s.look(ctx, op, e.ID, v.ID.Version())
		if err != nil {
			return err
		}
		if pki.SameKey(other.Key.Public(), e.Key.Public()) {
			continue
		}
		if theirs := value(value(v.Attributes).Created); !theirs.After(ours) {
			if _, err := s.set(ctx, op+": putting back the key that was there first", other); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s: %w: another process made one at the same time; read it, or take a new ID", op, ErrOtherKey)
	}
	return nil
}

// mostPages bounds the lists that are read, at 25 to a page.
const mostPages = 4000

func (s *VaultSecrets) versions(ctx context.Context, op, id string) ([]*azsecrets.SecretProperties, error) {
	pager := s.vault.secrets.NewListSecretPropertiesVersionsPager(objectPrefix+id, nil)
	var all []*azsecrets.SecretProperties
	for range mostPages {
		if !pager.More() {
			return all, nil
		}
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, s.vault.explain(ctx, op, "", listSecrets, err)
		}
		for _, p := range page.Value {
			if p != nil && p.ID != nil {
				all = append(all, p)
			}
		}
	}
	return nil, fmt.Errorf("%s: the vault's list does not end", op)
}

// look reads a version, the newest when it is empty. Its error is [m365.ErrNotFound]
// if there is none.
func (s *VaultSecrets) look(ctx context.Context, op, id, version string) (Entry, error) {
	answer, err := s.vault.secrets.GetSecret(ctx, objectPrefix+id, version, nil)
	if err != nil {
		return Entry{}, s.vault.explain(ctx, op, "", getSecret, err)
	}
	if err := checkOurs("secret", id, answer.Tags); err != nil {
		return Entry{}, fmt.Errorf("%s: %w", op, err)
	}
	e := tagged(id, answer.Tags)
	contents, err := pki.Read([]byte(value(answer.Value)), "")
	if err == nil && len(contents.Keys) != 1 {
		err = fmt.Errorf("it holds %d private keys", len(contents.Keys))
	}
	if err == nil {
		e.Key = contents.Keys[0]
		if len(contents.Certificates) > 0 {
			e.Certificate, e.Chain = contents.Certificates[0], contents.Certificates[1:]
		}
		err = e.check()
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%s: secret %s%s is not what reeve wrote, so somebody has set it (%w): set it to what its version before was", op, objectPrefix, id, err)
	}
	return e, nil
}

// Get returns an entry; see [Store].
func (s *VaultSecrets) Get(ctx context.Context, id string) (e Entry, err error) {
	op := fmt.Sprintf("reading the private key %.100s from %s", id, s.Name())
	if err := checkID(id); err != nil {
		return Entry{}, fmt.Errorf("%s: %w", op, err)
	}
	err = s.vault.again(ctx, func(ctx context.Context) error {
		e, err = s.look(ctx, op, id, "")
		return err
	})
	if isNotFound(err) {
		return Entry{}, noEntry(s.Name(), id)
	}
	return e, err
}

// List returns the IDs of all entries; see [Store].
func (s *VaultSecrets) List(ctx context.Context) (ids []string, err error) {
	op := "listing the private keys in " + s.Name()
	err = s.vault.again(ctx, func(ctx context.Context) error {
		ids = nil
		pager := s.vault.secrets.NewListSecretPropertiesPager(nil)
		for range mostPages {
			if !pager.More() {
				return nil
			}
			page, err := pager.NextPage(ctx)
			if err != nil {
				return s.vault.explain(ctx, op, "", listSecrets, err)
			}
			for _, p := range page.Value {
				if p != nil && p.ID != nil {
					ids = appendID(ids, p.ID.Name(), p.Tags)
				}
			}
		}
		return fmt.Errorf("%s: the vault's list does not end", op)
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	return ids, nil
}

// appendID appends the ID of an object that is ours, as it was given: the vault's
// names have no case.
func appendID(ids []string, name string, tags map[string]*string) []string {
	id := value(tags[tagID])
	if checkID(id) != nil || !strings.EqualFold(name, objectPrefix+id) {
		return ids
	}
	return append(ids, id)
}

// Delete deletes an entry, which the vault lets people recover for its retention; see
// [Store].
func (s *VaultSecrets) Delete(ctx context.Context, id string) error {
	op := fmt.Sprintf("deleting the private key %.100s from %s", id, s.Name())
	if err := checkID(id); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err := s.vault.again(ctx, func(ctx context.Context) error {
		answer, err := s.vault.secrets.GetSecret(ctx, objectPrefix+id, "", nil)
		if err != nil {
			return s.vault.explain(ctx, op, "", getSecret, err)
		}
		if err := checkOurs("secret", id, answer.Tags); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if _, err := s.vault.secrets.DeleteSecret(ctx, objectPrefix+id, nil); err != nil {
			return s.vault.explain(ctx, op, "", deleteSecret, err)
		}
		return nil
	})
	if isNotFound(err) {
		return nil
	}
	return err
}
