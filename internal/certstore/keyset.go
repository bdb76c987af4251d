package certstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyset seals what a [Local] keeps: keys of AES-256-GCM, of which the primary one
// seals and all open. It prints, logs and marshals as <keyset>.
//
// Its JSON is tink's cleartext form. It cannot be sealed itself without another key,
// which would have to lie somewhere in the clear in turn: a file that its owner alone
// can read, a variable that the system hands over, or a secret of Key Vault is where
// the chain begins.
type Keyset struct {
	handle *keyset.Handle
	sealer tink.AEAD
	from   string // where it was read, for errors; empty for a text
}

// ErrKeyset says that something was sealed with another keyset than the one that is given.
var ErrKeyset = errors.New("the keyset is not the one with which it was sealed")

// named names the keyset in an error.
func (k *Keyset) named() string {
	if k.from == "" {
		return "the keyset that is given"
	}
	return "the keyset " + k.from
}

const hiddenKeyset = "<keyset>"

func (k *Keyset) String() string { return hiddenKeyset }

// Format prints the same whatever the verb.
func (k *Keyset) Format(f fmt.State, _ rune) { io.WriteString(f, hiddenKeyset) }

// MarshalText keeps the keys out of JSON and structured logs.
func (k *Keyset) MarshalText() ([]byte, error) { return []byte(hiddenKeyset), nil }

// KeysetSource says where a keyset is: File, Text, or Vault with Secret. It prints,
// logs and marshals as the place.
type KeysetSource struct {
	// File is a path. If there is no such file and Entries has no entries, a new
	// keyset is made there.
	File string
	// Entries is the folder of the [Local] that the keyset is for.
	Entries string

	// Text is the keyset itself, as [Keyset.Reveal] gives it.
	Text string

	// Vault and Secret name a secret that holds the text.
	Vault  *KeyVault
	Secret Reference
}

// String tells where, never what.
func (s KeysetSource) String() string {
	switch {
	case s.File != "":
		return s.File
	case s.Text != "":
		return hiddenKeyset
	}
	return s.Secret.String()
}

// Format prints the place whatever the verb.
func (s KeysetSource) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText keeps Text out of JSON and structured logs.
func (s KeysetSource) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// OpenKeyset reads a keyset. One in a file is made at first use; it never replaces one
// that is lost.
func OpenKeyset(ctx context.Context, s KeysetSource) (*Keyset, error) {
	k, err := openKeyset(ctx, s)
	if err == nil && s.Text == "" {
		k.from = s.String()
	}
	return k, err
}

func openKeyset(ctx context.Context, s KeysetSource) (*Keyset, error) {
	given := 0
	for _, is := range []bool{s.File != "", s.Text != "", s.Vault != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, errors.New("opening the keyset: give exactly one of a file, its text, and a key vault's secret")
	case s.Text != "":
		k, err := parseKeyset([]byte(s.Text))
		if err != nil {
			return nil, fmt.Errorf("opening the keyset that was given as text: %w", err)
		}
		return k, nil
	case s.Vault != nil:
		return s.Vault.keyset(ctx, s.Secret)
	}
	k, err := readKeyset(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		if err = firstUse(s); err == nil {
			k, err = readKeyset(s.File)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the keyset %s: %w", s.File, err)
	}
	return k, nil
}

// firstUse makes a keyset where there is none, unless something was sealed by one that
// is lost. Of several processes one makes it.
func firstUse(s KeysetSource) error {
	if s.Entries != "" {
		n, err := LocalEntries(s.Entries)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w, and %s has entries that it sealed: restore the keyset from your backup; if it is lost for good, move the entries away, and their certificates must be replaced", fs.ErrNotExist, s.Entries)
		}
	}
	k, err := NewKeyset()
	if err != nil {
		return err
	}
	err = WriteFiles([]NewFile{{s.File, []byte(k.Reveal() + "\n")}}, false)
	if errors.Is(err, fs.ErrExist) {
		return nil // by another process
	}
	return err
}

// longKeyset is the largest text that is taken for a keyset.
const longKeyset = 64 << 10

func readKeyset(path string) (*Keyset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, inPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, inPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file: give the path of one, which may not be there yet")
	}
	if err := refuseShared(path, info, 0o077); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, longKeyset+1))
	if err != nil {
		return nil, inPath(err)
	}
	return parseKeyset(data)
}

// keyset reads a keyset from a secret.
func (v *KeyVault) keyset(ctx context.Context, r Reference) (*Keyset, error) {
	op := fmt.Sprintf("reading the keyset from secret %s of the key vault", r.Name)
	if r.Kind != KindSecret {
		return nil, fmt.Errorf("%s: %v is no secret: give https://VAULT/secrets/NAME", op, r)
	}
	if r.VaultURL != "" && !strings.EqualFold(r.VaultURL, v.url) {
		return nil, fmt.Errorf("%s: the client is for %s: open the vault that %v names", op, v.url, r)
	}
	var k *Keyset
	err := v.again(ctx, func(ctx context.Context) error {
		answer, err := v.secrets.GetSecret(ctx, r.Name, r.Version, nil)
		switch {
		case err != nil:
			return v.explain(ctx, op, "", getSecret, err)
		case answer.Value == nil:
			return fmt.Errorf("%s: the vault's answer has no value", op)
		}
		if k, err = parseKeyset([]byte(*answer.Value)); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	})
	return k, err
}

// NewKeyset makes a keyset of one key.
func NewKeyset() (*Keyset, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a keyset: %w", err)
	}
	return newKeyset(handle)
}

// parseKeyset reads a keyset's JSON. What is wrong with it is not quoted.
func parseKeyset(text []byte) (*Keyset, error) {
	const remedy = "give one that reeve made, or AES-256-GCM with tink's prefix as tinkey makes it (AES256_GCM, JSON, cleartext)"
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty: restore it from your backup; if nothing was ever sealed with it, remove it")
	}
	if len(text) > longKeyset {
		return nil, fmt.Errorf("it has more than %d bytes: %s", longKeyset, remedy)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("it is not the JSON of a tink keyset: %s", remedy)
	}
	return newKeyset(handle)
}

func newKeyset(handle *keyset.Handle) (*Keyset, error) {
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, errors.New("the keyset has a key that cannot be read: restore it from your backup")
		}
		if p, ok := entry.Key().Parameters().(*aesgcm.Parameters); !ok || p.KeySizeInBytes() != 32 || p.Variant() != aesgcm.VariantTink {
			return nil, fmt.Errorf("key %d of the keyset is not AES-256-GCM with tink's prefix: let reeve make one", entry.KeyID())
		}
	}
	sealer, err := aead.New(handle)
	if err != nil {
		return nil, errors.New("the keyset has no primary key that seals: restore it from your backup")
	}
	return &Keyset{handle: handle, sealer: sealer}, nil
}

// Reveal returns the keyset itself, to be kept as carefully as all that it seals.
func (k *Keyset) Reveal() string {
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(k.handle, keyset.NewJSONWriter(&b)); err != nil {
		panic(err) // a handle always has a JSON form, and a buffer takes it
	}
	return b.String()
}

// Rotated returns a keyset with a new primary key, which still opens what this one
// sealed. Keep it where this one was, let every process open it, and then
// [Local.Reseal].
func (k *Keyset) Rotated() (*Keyset, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return nil, fmt.Errorf("rotating the keyset: %w", err)
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("rotating the keyset: %w", err)
	}
	return newKeyset(handle)
}

// RotateKeyset gives the keyset in a file a new primary key, and returns it; see
// [Keyset.Rotated].
func RotateKeyset(path string) (*Keyset, error) {
	k, err := readKeyset(path)
	if err != nil {
		return nil, fmt.Errorf("rotating the keyset %s: %w", path, err)
	}
	rotated, err := k.Rotated()
	if err != nil {
		return nil, err
	}
	if err := WriteFiles([]NewFile{{path, []byte(rotated.Reveal() + "\n")}}, true); err != nil {
		return nil, fmt.Errorf("rotating the keyset: %w", err)
	}
	return rotated, nil
}

// tinkPrefix is how many bytes before what is sealed say by which key.
const tinkPrefix = 5

// sealedBy returns the ID of the key that sealed something, and whether it is one of
// the keyset's, and its primary.
func (k *Keyset) sealedBy(sealed []byte) (id uint32, known, primary bool) {
	if len(sealed) < tinkPrefix {
		return 0, false, false
	}
	id = binary.BigEndian.Uint32(sealed[1:tinkPrefix])
	for i := range k.handle.Len() {
		if entry, err := k.handle.Entry(i); err == nil && entry.KeyID() == id {
			return id, true, entry.IsPrimary()
		}
	}
	return id, false, false
}
