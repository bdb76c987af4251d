package certstore

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// VaultKeys is a [Maker] of Key Vault keys: for each entry an RSA key reeve-ID that is
// made in the vault, signs there and never leaves it. It needs the permissions keys
// get, list, create, sign, delete and recover (the role Key Vault Crypto Officer).
//
// The entry's key is the first version of the vault's key: what a rotation policy or
// a repeated request adds later is not used.
//
// It keeps no certificates, for which a key has no place: Put checks that the key is
// there and that the certificate fits, and Get returns an entry without one. The
// certificate, which is public, is the database's to keep.
type VaultKeys struct {
	vault *KeyVault
	ctx   context.Context // of signing, since a crypto.Signer is given none
}

// NewVaultKeys returns the store; nothing is sent. Its keys sign until ctx ends.
func NewVaultKeys(ctx context.Context, v *KeyVault) *VaultKeys { return &VaultKeys{v, ctx} }

// Name is "keyvault:" and the address of the vault's keys.
func (k *VaultKeys) Name() string { return "keyvault:" + k.vault.url + "/keys" }

// signTimeout bounds one signature, tries included.
const signTimeout = 10 * time.Second

// MakeKey makes an RSA key; see [Maker].
func (k *VaultKeys) MakeKey(ctx context.Context, e Entry, t pki.KeyType) (crypto.Signer, error) {
	op := fmt.Sprintf("making the private key %.100s in %s", e.ID, k.Name())
	bits := map[pki.KeyType]int32{pki.RSA2048: 2048, pki.RSA3072: 3072, pki.RSA4096: 4096}[t]
	err := checkID(e.ID)
	switch {
	case err != nil:
	case bits == 0:
		err = fmt.Errorf("keys of type %.40q are not made in a vault: take %s, %s or %s", t, pki.RSA2048, pki.RSA3072, pki.RSA4096)
	case e.Key != nil:
		err = errors.New("the entry has a private key already: keep it with Put")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var made Entry
	err = k.vault.again(ctx, func(ctx context.Context) error {
		made, err = k.look(ctx, op, e.ID)
		if !isNotFound(err) {
			return err
		}
		if err := k.create(ctx, op, e, bits); err != nil {
			return err
		}
		if made, err = k.look(ctx, op, e.ID); isNotFound(err) {
			err = fmt.Errorf("%s: %w", op, errAgain)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if has := made.Key.Public().(*rsa.PublicKey).N.BitLen(); has != int(bits) {
		return nil, fmt.Errorf("%s: %w: a key of %d bits, not %d; take a new ID", op, ErrOtherKey, has, bits)
	}
	return made.Key, nil
}

func (k *VaultKeys) create(ctx context.Context, op string, e Entry, bits int32) error {
	name := objectPrefix + e.ID
	_, err := k.vault.keys.CreateKey(ctx, name, azkeys.CreateKeyParameters{
		Kty: new(azkeys.KeyTypeRSA), KeySize: &bits,
		KeyOps:        []*azkeys.KeyOperation{new(azkeys.KeyOperationSign), new(azkeys.KeyOperationVerify)},
		KeyAttributes: &azkeys.KeyAttributes{Enabled: new(true), Exportable: new(false)},
		Tags:          e.tags(),
	}, nil)
	if err == nil {
		return nil
	}
	err = k.vault.explain(ctx, op, "", createKey, err)
	if !isDeleted(err) {
		return err
	}
	if _, err := k.vault.keys.RecoverDeletedKey(ctx, name, nil); err != nil {
		return k.vault.explain(ctx, op+": recovering the deleted key "+name, "", recoverKey, err)
	}
	return fmt.Errorf("%s: %w", op, errAgain)
}

// look reads the entry of a key. Its error is [m365.ErrNotFound] if there is none.
func (k *VaultKeys) look(ctx context.Context, op, id string) (Entry, error) {
	name := objectPrefix + id
	version, err := k.firstVersion(ctx, op, name)
	if err != nil {
		return Entry{}, err
	}
	answer, err := k.vault.keys.GetKey(ctx, name, version, nil)
	if err != nil {
		return Entry{}, k.vault.explain(ctx, op, "", getKey, err)
	}
	if err := checkOurs("key", id, answer.Tags); err != nil {
		return Entry{}, fmt.Errorf("%s: %w", op, err)
	}
	if a := answer.Attributes; a != nil && a.Enabled != nil && !*a.Enabled {
		return Entry{}, fmt.Errorf("%s: version %s of key %s is disabled: enable it, or make a new key", op, version, name)
	}
	public, err := publicRSA(answer.Key)
	if err != nil {
		return Entry{}, fmt.Errorf("%s: key %s: %w", op, name, err)
	}
	e := tagged(id, answer.Tags)
	e.Key = &vaultKey{k.vault, k.ctx, name, version, public}
	return e, nil
}

// firstVersion returns the oldest version of a key.
func (k *VaultKeys) firstVersion(ctx context.Context, op, name string) (string, error) {
	pager := k.vault.keys.NewListKeyPropertiesVersionsPager(name, nil)
	var all []*azkeys.KeyProperties
	for range mostPages {
		if !pager.More() {
			break
		}
		page, err := pager.NextPage(ctx)
		if err != nil {
			return "", k.vault.explain(ctx, op, "", listKeys, err)
		}
		for _, p := range page.Value {
			if p != nil && p.KID != nil && p.Attributes != nil && p.Attributes.Created != nil {
				all = append(all, p)
			}
		}
	}
	switch {
	case pager.More():
		return "", fmt.Errorf("%s: the vault's list does not end", op)
	case len(all) == 0:
		return "", &m365.Error{Op: op, URL: k.vault.url, Kind: m365.ErrNotFound, Message: "there is no key " + name}
	}
	first := slices.MinFunc(all, func(a, b *azkeys.KeyProperties) int {
		return cmp.Or(a.Attributes.Created.Compare(*b.Attributes.Created), strings.Compare(a.KID.Version(), b.KID.Version()))
	})
	return first.KID.Version(), nil
}

func publicRSA(k *azkeys.JSONWebKey) (*rsa.PublicKey, error) {
	if k == nil || len(k.N) == 0 || len(k.E) == 0 || len(k.E) > 3 {
		return nil, errors.New("it is no RSA key, so Entra ID takes no signatures of it: make another under a new ID")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: int(new(big.Int).SetBytes(k.E).Int64())}
	if bits := public.N.BitLen(); bits < 2048 || bits > 8192 || public.E < 3 {
		return nil, fmt.Errorf("it is an RSA key of %d bits, which is not what reeve makes: make another under a new ID", bits)
	}
	return public, nil
}

// Put keeps nothing, since the key is in the vault: it reports whether the entry is
// that key's; see [VaultKeys].
func (k *VaultKeys) Put(ctx context.Context, e Entry) error {
	op := fmt.Sprintf("keeping the private key %.100s in %s", e.ID, k.Name())
	if err := e.check(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	kept, err := k.Get(ctx, e.ID)
	if err == nil {
		_, _, err = kept.merge(e)
	}
	if err != nil {
		return fmt.Errorf("%s, which takes only keys that it makes itself: %w", op, err)
	}
	return nil
}

// Get returns an entry without its certificate; see [Store].
func (k *VaultKeys) Get(ctx context.Context, id string) (e Entry, err error) {
	op := fmt.Sprintf("reading the private key %.100s from %s", id, k.Name())
	if err := checkID(id); err != nil {
		return Entry{}, fmt.Errorf("%s: %w", op, err)
	}
	err = k.vault.again(ctx, func(ctx context.Context) error {
		e, err = k.look(ctx, op, id)
		return err
	})
	if isNotFound(err) {
		return Entry{}, noEntry(k.Name(), id)
	}
	return e, err
}

// List returns the IDs of all entries; see [Store].
func (k *VaultKeys) List(ctx context.Context) (ids []string, err error) {
	op := "listing the private keys in " + k.Name()
	err = k.vault.again(ctx, func(ctx context.Context) error {
		ids = nil
		pager := k.vault.keys.NewListKeyPropertiesPager(nil)
		for range mostPages {
			if !pager.More() {
				return nil
			}
			page, err := pager.NextPage(ctx)
			if err != nil {
				return k.vault.explain(ctx, op, "", listKeys, err)
			}
			for _, p := range page.Value {
				if p != nil && p.KID != nil {
					ids = appendID(ids, p.KID.Name(), p.Tags)
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

// Delete deletes a key with all its versions, which the vault lets people recover for
// its retention; see [Store].
func (k *VaultKeys) Delete(ctx context.Context, id string) error {
	op := fmt.Sprintf("deleting the private key %.100s from %s", id, k.Name())
	if err := checkID(id); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err := k.vault.again(ctx, func(ctx context.Context) error {
		answer, err := k.vault.keys.GetKey(ctx, objectPrefix+id, "", nil)
		if err != nil {
			return k.vault.explain(ctx, op, "", getKey, err)
		}
		if err := checkOurs("key", id, answer.Tags); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if _, err := k.vault.keys.DeleteKey(ctx, objectPrefix+id, nil); err != nil {
			return k.vault.explain(ctx, op, "", deleteKey, err)
		}
		return nil
	})
	if isNotFound(err) {
		return nil
	}
	return err
}

// vaultKey signs in the vault with one version of a key.
type vaultKey struct {
	vault         *KeyVault
	ctx           context.Context // of the store
	name, version string
	public        *rsa.PublicKey
}

func (k *vaultKey) Public() crypto.PublicKey { return k.public }

func (k *vaultKey) String() string { return k.vault.url + "/keys/" + k.name + "/" + k.version }

// Format prints the address whatever the verb.
func (k *vaultKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText is the address.
func (k *vaultKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Sign signs a digest: PKCS #1 v1.5, or with *rsa.PSSOptions PSS, whose salt is always
// as long as the digest. It takes no random bytes, since the vault has its own.
func (k *vaultKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	op := "signing with key " + k.name + " of the key vault"
	algorithm, err := signatureAlgorithm(digest, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeoutCause(k.ctx, signTimeout, fmt.Errorf("the vault has not answered for %v: %w", signTimeout, context.DeadlineExceeded))
	defer cancel()
	answer, err := k.vault.keys.Sign(ctx, k.name, k.version, azkeys.SignParameters{Algorithm: &algorithm, Value: digest}, nil)
	if err != nil {
		return nil, k.vault.explain(ctx, op, "", signByKey, err)
	}
	if len(answer.Result) != k.public.Size() {
		return nil, fmt.Errorf("%s: the vault answered a signature of %d bytes, not %d", op, len(answer.Result), k.public.Size())
	}
	return answer.Result, nil
}

func signatureAlgorithm(digest []byte, opts crypto.SignerOpts) (azkeys.SignatureAlgorithm, error) {
	if opts == nil {
		return "", errors.New("the hash that made the digest is not named")
	}
	hash := opts.HashFunc()
	algorithms, ok := map[crypto.Hash][2]azkeys.SignatureAlgorithm{
		crypto.SHA256: {azkeys.SignatureAlgorithmRS256, azkeys.SignatureAlgorithmPS256},
		crypto.SHA384: {azkeys.SignatureAlgorithmRS384, azkeys.SignatureAlgorithmPS384},
		crypto.SHA512: {azkeys.SignatureAlgorithmRS512, azkeys.SignatureAlgorithmPS512},
	}[hash]
	if !ok {
		return "", fmt.Errorf("the vault does not sign digests of %v: take SHA-256, SHA-384 or SHA-512", hash)
	}
	if len(digest) != hash.Size() {
		return "", fmt.Errorf("the digest has %d bytes, and one of %v has %d", len(digest), hash, hash.Size())
	}
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok {
		return algorithms[0], nil
	}
	switch pss.SaltLength {
	case rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, hash.Size():
		return algorithms[1], nil
	}
	return "", fmt.Errorf("the vault salts with %d bytes, not %d", hash.Size(), pss.SaltLength)
}
