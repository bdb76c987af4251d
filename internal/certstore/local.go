package certstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Local is a [Store] in a folder of this machine: for each entry a file ID.sealed,
// encrypted and authenticated together with its ID by a [Keyset]. Several processes
// may use one folder, and each sees whole entries only. The folder must be on a file
// system with locks.
type Local struct {
	// Now tells which of the files that a killed process left are old.
	Now func() time.Time

	folder *privateFolder
	keyset *Keyset
}

// OpenLocal opens a folder, which it makes if it is not there.
func OpenLocal(path string, k *Keyset) (*Local, error) {
	folder, err := openFolder(path, 0o077)
	if err != nil {
		return nil, fmt.Errorf("opening the store of private keys %s: %w", path, err)
	}
	return &Local{Now: time.Now, folder: folder, keyset: k}, nil
}

// LocalEntries counts the entries of the [Local] in a folder, which need not be there.
// Nothing is opened or made.
func LocalEntries(path string) (int, error) {
	files, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	n := 0
	for _, f := range files {
		if strings.HasSuffix(f.Name(), sealedEnd) {
			n++
		}
	}
	return n, nil
}

// Close closes the folder.
func (l *Local) Close() error { return l.folder.root.Close() }

// Name is "local:" and the path.
func (l *Local) Name() string { return "local:" + l.folder.path }

const (
	sealedEnd = ".sealed"

	// sealedHead begins the first line of each file, which ends in the ID. The line
	// is there to tell a renamed file from a damaged one; what is believed is what
	// was sealed.
	sealedHead = "reeve sealed entry 1 "

	// largeEntry is more than any key with its chain.
	largeEntry = 1 << 20

	// abandoned is the age at which a file that was never finished is removed.
	abandoned = time.Hour
)

// localEntry is what is sealed.
type localEntry struct {
	Key          []byte    `json:"key"`          // PKCS#8
	Certificates [][]byte  `json:"certificates"` // DER, the key's own first
	ObjectID     string    `json:"objectId"`
	ClientID     string    `json:"clientId"`
	TenantID     string    `json:"tenantId"`
	Made         time.Time `json:"made"`
}

// Put keeps an entry; see [Store].
func (l *Local) Put(ctx context.Context, e Entry) error {
	op := fmt.Sprintf("keeping the private key %.100s in %s", e.ID, l.Name())
	if err := e.check(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	unlock, err := l.folder.lock(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer unlock()
	l.tidy()
	kept, _, err := l.open(e.ID)
	changed := true
	switch {
	case err == nil:
		e, changed, err = kept.merge(e)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	switch {
	case err != nil:
	case changed:
		err = l.write(e)
	default:
		err = l.folder.sync(".") // whoever wrote it may have been killed before
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// write seals an entry and reads it back; the lock is held.
func (l *Local) write(e Entry) error {
	file, err := l.seal(e)
	if err != nil {
		return err
	}
	name := e.ID + sealedEnd
	if err := l.folder.replace(name, file, ownerOnly); err != nil {
		return err
	}
	read, _, err := l.open(e.ID)
	switch {
	case err != nil:
		return fmt.Errorf("reading back what was written: %w", err)
	case !e.same(read):
		return fmt.Errorf("reading back what was written: %s holds something else: look at the disk", filepath.Join(l.folder.path, name))
	}
	return nil
}

func (l *Local) seal(e Entry) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(e.Key)
	if err != nil {
		return nil, errors.New("the private key cannot be written down: one that stays in a vault needs no other store, others are RSA, EC or Ed25519")
	}
	kept := localEntry{Key: key, ObjectID: e.ObjectID, ClientID: e.ClientID, TenantID: e.TenantID, Made: e.Made.UTC()}
	if e.Certificate != nil {
		kept.Certificates = append(kept.Certificates, e.Certificate.Raw)
	}
	for _, c := range e.Chain {
		kept.Certificates = append(kept.Certificates, c.Raw)
	}
	plain, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	sealed, err := l.keyset.sealer.Encrypt(plain, []byte(e.ID))
	if err != nil {
		return nil, fmt.Errorf("sealing the entry: %w", err)
	}
	return append([]byte(sealedHead+e.ID+"\n"), sealed...), nil
}

// open reads an entry, and reports whether the keyset's primary key sealed it.
func (l *Local) open(id string) (e Entry, primary bool, err error) {
	name := id + sealedEnd
	file, err := l.folder.read(name, largeEntry)
	if err != nil {
		return Entry{}, false, err
	}
	if e, primary, err = l.unseal(id, file); err != nil {
		return Entry{}, false, fmt.Errorf("%s: %w", filepath.Join(l.folder.path, name), err)
	}
	return e, primary, nil
}

func (l *Local) unseal(id string, file []byte) (e Entry, primary bool, err error) {
	const restore = "restore it from your backup"
	line, sealed, whole := bytes.Cut(file, []byte("\n"))
	written, ours := strings.CutPrefix(string(line), sealedHead)
	if !ours || !whole {
		return Entry{}, false, errors.New("it does not begin as a sealed entry does, so it is damaged or another program's: " + restore)
	}
	if written != id {
		return Entry{}, false, fmt.Errorf("it is the file of entry %.100q under another name: give it its own name back", written)
	}
	by, known, primary := l.keyset.sealedBy(sealed)
	switch {
	case len(sealed) < tinkPrefix:
		return Entry{}, false, errors.New("it ends early: " + restore)
	case !known:
		return Entry{}, false, fmt.Errorf("%w: it was sealed by key %d, which %s does not have; give the keyset that was in use when it was written", ErrKeyset, by, l.keyset.named())
	}
	plain, err := l.keyset.sealer.Decrypt(sealed, []byte(id))
	if err != nil {
		return Entry{}, false, errors.New("it is damaged, or was made from another entry's file: " + restore)
	}
	var kept localEntry
	if err := json.Unmarshal(plain, &kept); err != nil {
		return Entry{}, false, errors.New("what is sealed in it is not an entry: " + restore) // err may quote it
	}
	key, err := x509.ParsePKCS8PrivateKey(kept.Key)
	signer, can := key.(crypto.Signer)
	if err != nil || !can {
		return Entry{}, false, errors.New("the private key that is sealed in it cannot be read: " + restore)
	}
	e = Entry{ID: id, Key: signer, ObjectID: kept.ObjectID, ClientID: kept.ClientID, TenantID: kept.TenantID, Made: kept.Made}
	for i, der := range kept.Certificates {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return Entry{}, false, fmt.Errorf("a certificate that is sealed in it cannot be read (%w): %s", err, restore)
		case i == 0:
			e.Certificate = c
		default:
			e.Chain = append(e.Chain, c)
		}
	}
	return e, primary, e.check()
}

// Get returns an entry; see [Store].
func (l *Local) Get(_ context.Context, id string) (Entry, error) {
	err := checkID(id)
	var e Entry
	if err == nil {
		e, _, err = l.open(id)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Entry{}, noEntry(l.Name(), id)
	case err != nil:
		return Entry{}, fmt.Errorf("reading the private key %.100s from %s: %w", id, l.Name(), err)
	}
	return e, nil
}

// List returns the IDs of all entries; see [Store].
func (l *Local) List(context.Context) ([]string, error) {
	files, err := l.folder.names(".")
	if err != nil {
		return nil, fmt.Errorf("listing the private keys in %s: %w", l.Name(), err)
	}
	var ids []string
	for _, f := range files {
		if id, ok := strings.CutSuffix(f.Name(), sealedEnd); ok && f.Type().IsRegular() && checkID(id) == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Delete deletes an entry; see [Store].
func (l *Local) Delete(ctx context.Context, id string) error {
	fail := func(err error) error {
		return fmt.Errorf("deleting the private key %.100s from %s: %w", id, l.Name(), err)
	}
	if err := checkID(id); err != nil {
		return fail(err)
	}
	unlock, err := l.folder.lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if err := l.folder.root.Remove(id + sealedEnd); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err := l.folder.sync("."); err != nil {
		return fail(err)
	}
	return nil
}

// Reseal seals with the keyset's primary key every entry that another of its keys
// sealed. It goes on after one that it cannot open, and returns all such errors.
func (l *Local) Reseal(ctx context.Context) error {
	ids, err := l.List(ctx)
	errs := []error{err}
	for _, id := range ids {
		if err := l.reseal(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("sealing the private key %s in %s anew: %w", id, l.Name(), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (l *Local) reseal(ctx context.Context, id string) error {
	unlock, err := l.folder.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	e, primary, err := l.open(id)
	switch {
	case errors.Is(err, fs.ErrNotExist): // deleted since
		return nil
	case err != nil || primary:
		return err
	}
	return l.write(e)
}

// tidy removes what killed processes left; the lock is held. What cannot be removed
// is in nobody's way.
func (l *Local) tidy() {
	files, err := l.folder.names(".")
	if err != nil {
		return
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && isLeftover(f.Name()) && l.Now().Sub(info.ModTime()) > abandoned {
			l.folder.root.Remove(f.Name())
		}
	}
}
