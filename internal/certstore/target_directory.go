package certstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// directory is a [Target] for programs of the same host:
//
//	PATH/current  -> generation-17-MFRGGZDFMY   what a program reads
//	PATH/previous -> generation-16-KRUGS4ZANF   what was current before
//
// A generation is written whole, to the disk, before current leads to it, which one
// rename does. Its files are
//
//	certificate.pem  private key (PKCS#8), certificate and chain, all that signing in takes
//	key.pem          the private key alone
//	certificate.cer  the certificate alone, Base-64 encoded, as portals take it
//	certificate.pfx  all of it, with the password of the reference's PasswordFile; if there is one
//	credential.json  what it is, without any secret: client ID, tenant ID, generation, dates
//
// A program that reads several files asks once where current leads and reads there.
//
// Where links cannot be made, as on Windows without the right to, or where current is
// a folder already, the files in it are replaced one by one, each whole, and a program
// that reads several may see two generations; certificate.pem alone is always right.
type directory struct{ reference TargetReference }

const (
	currentName  = "current"
	previousName = "previous"

	pemFile        = "certificate.pem"
	keyFile        = "key.pem"
	cerFile        = "certificate.cer"
	pfxFile        = "certificate.pfx"
	credentialFile = "credential.json"

	// largeFile bounds what is read of a generation.
	largeFile = pki.MaxFileSize
)

var generation = regexp.MustCompile(`^generation-[0-9]+-[A-Z2-7]{10}$`)

func openDirectory(r TargetReference) (Target, error) {
	if runtime.GOOS == "windows" && (r.Mode != 0o600 || r.Group != "") {
		return nil, fmt.Errorf("opening target %v: Windows has no modes and groups of files: leave them out, and let the folder's permissions be inherited", r)
	}
	return &directory{r}, nil
}

func (d *directory) Name() string { return d.reference.String() }

// published describes a generation, for programs and people.
type published struct {
	CredentialID     string    `json:"credentialId"`
	Generation       int64     `json:"generation"`
	ClientID         string    `json:"clientId"`
	TenantID         string    `json:"tenantId"`
	Thumbprint       string    `json:"thumbprint"`
	ThumbprintSHA256 string    `json:"thumbprintSha256"`
	NotBefore        time.Time `json:"notBefore"`
	NotAfter         time.Time `json:"notAfter"`
}

// generationFile is a file of a generation.
type generationFile struct {
	name string
	data []byte
}

// files makes what a generation holds; certificate.pem first.
func (d *directory) files(p Publication) ([]generationFile, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	c := p.Pair.Certificate
	text, err := Entry{Key: p.Pair.Key, Certificate: c, Chain: p.Pair.Chain}.pem()
	if err != nil {
		return nil, err
	}
	key, err := pki.EncodeKey(p.Pair.Key, "")
	if err != nil {
		return nil, err
	}
	about, err := json.MarshalIndent(published{
		p.CredentialID, p.Generation, p.ClientID, p.TenantID, pki.SHA1(c), pki.SHA256(c), c.NotBefore.UTC(), c.NotAfter.UTC(),
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	files := []generationFile{
		{pemFile, []byte(text)},
		{keyFile, key},
		{cerFile, pki.EncodeCertificates(c)},
		{credentialFile, append(about, '\n')},
	}
	if d.reference.PasswordFile != "" {
		password, err := d.password()
		if err != nil {
			return nil, err
		}
		pfx, err := pki.EncodePFX(p.Pair, pki.Modern, password)
		if err != nil {
			return nil, err
		}
		files = append(files, generationFile{pfxFile, pfx})
	}
	return files, nil
}

// password reads the password of certificate.pfx, the first line of its file. The
// group that may read the one may read the other.
func (d *directory) password() (string, error) {
	path := d.reference.PasswordFile
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("reading the password of %s from %s: %w", pfxFile, path, inPath(err))
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		return fail(errors.New("it is not a file: name one"))
	}
	if err := refuseShared(path, info, 0o037); err != nil {
		return fail(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return fail(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return fail(errors.New("its first line is empty: write a password there"))
	}
	if err := pki.CheckPassword(line); err != nil {
		return fail(err)
	}
	return line, nil
}

// open opens the folder, which is made if it is not there, and takes its lock.
func (d *directory) open(ctx context.Context) (*privateFolder, access, func(), error) {
	a, err := d.access()
	if err != nil {
		return nil, a, nil, err
	}
	var above []string // that are made as well
	_, missing := os.Lstat(d.reference.Path)
	if errors.Is(missing, fs.ErrNotExist) {
		for at := filepath.Dir(d.reference.Path); at != filepath.Dir(at); at = filepath.Dir(at) {
			if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
				break
			}
			above = append(above, at)
		}
	}
	folder, err := openFolder(d.reference.Path, 0o022)
	if err != nil {
		return nil, a, nil, err
	}
	if errors.Is(missing, fs.ErrNotExist) {
		err = folder.giveFolder(".", a)
		for _, path := range above {
			f, openErr := os.Open(path)
			if err = errors.Join(err, openErr); openErr == nil {
				err = errors.Join(err, a.through().give(f), f.Close())
			}
		}
	}
	var unlock func()
	if err == nil {
		unlock, err = folder.lock(ctx)
	}
	if err != nil {
		folder.root.Close()
		return nil, a, nil, err
	}
	return folder, a, func() { unlock(); folder.root.Close() }, nil
}

// Publish writes a generation and makes it current; see [Target].
func (d *directory) Publish(ctx context.Context, p Publication) error {
	if err := d.publish(ctx, p); err != nil {
		return fmt.Errorf("publishing %v to %s: %w", p.Pair, d.Name(), err)
	}
	return nil
}

func (d *directory) publish(ctx context.Context, p Publication) error {
	files, err := d.files(p)
	if err != nil {
		return err
	}
	folder, a, done, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := folder.admit(a, true); err != nil {
		return err
	}
	at, linked, err := folder.leads(currentName)
	if err == nil {
		_, _, err = folder.leads(previousName)
	}
	if err != nil {
		return err
	}
	if at == "" || !d.holds(folder, at, files, a, p.Pair) {
		if at == "" || linked {
			err = folder.placeGeneration(at, p.Generation, files, a)
			if at == "" && noLinks(err) {
				err = folder.replaceFiles(files, a)
			}
		} else {
			err = folder.replaceFiles(files, a)
		}
		if err != nil {
			return err
		}
	}
	if err := folder.tidyGenerations(); err != nil {
		return err
	}
	read, err := folder.published()
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	if !samePair(read, p.Pair) {
		return fmt.Errorf("reading back what was written: it is %v: see who else writes there", read)
	}
	return nil
}

// leads returns the folder that current or previous is: the generation that it leads
// to, or itself where there are no links; empty if there is none. What reeve did not
// make is an error, since a link may lead anywhere.
func (p *privateFolder) leads(name string) (at string, linked bool, err error) {
	info, err := p.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, err
	case info.IsDir():
		return name, false, nil
	case info.Mode()&fs.ModeSymlink == 0:
		return "", false, fmt.Errorf("%s is in the way: move it away", filepath.Join(p.path, name))
	}
	at, err = p.root.Readlink(name)
	if err == nil && !generation.MatchString(at) {
		err = fmt.Errorf("%s leads to %.200q, and reeve did not make it: move it away", filepath.Join(p.path, name), at)
	}
	return at, true, err
}

// holds reports whether a folder has all of these files, for whom they are now.
func (d *directory) holds(p *privateFolder, at string, files []generationFile, a access, pair pki.Pair) bool {
	if info, err := p.root.Stat(at); err != nil || a.group >= 0 && !a.passes(info) {
		return false
	}
	for _, f := range files {
		name := filepath.Join(at, f.name)
		data, err := p.read(name, largeFile)
		if err != nil {
			return false
		}
		info, err := p.root.Lstat(name)
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != a.mode || a.group >= 0 && groupOf(info) != a.group {
			return false
		}
		if f.name != pfxFile {
			if !bytes.Equal(data, f.data) {
				return false
			}
			continue
		}
		// Each PFX file has salts of its own.
		password, err := d.password()
		if err != nil {
			return false
		}
		if read, err := pki.Parse(data, password); err != nil || !samePair(read, pair) {
			return false
		}
	}
	return true
}

// placeGeneration writes a generation and lets current lead to it, and previous to the
// one that was. Killed anywhere in between, current leads to a whole one.
func (p *privateFolder) placeGeneration(was string, number int64, files []generationFile, a access) error {
	other := newName(fmt.Sprintf("generation-%d", max(number, 0)))
	if err := p.writeGeneration(other, files, a); err != nil {
		return err
	}
	name := strings.TrimSuffix(strings.TrimPrefix(other, "."), ".new")
	if err := p.root.Rename(other, name); err != nil {
		return err
	}
	if err := p.sync("."); err != nil {
		return err
	}
	if was != "" {
		if err := p.link(was, previousName); err != nil {
			return err
		}
	}
	return p.link(name, currentName)
}

func (p *privateFolder) writeGeneration(name string, files []generationFile, a access) error {
	if err := p.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if err := p.writeNew(filepath.Join(name, f.name), f.data, a); err != nil {
			return err
		}
	}
	if err := p.giveFolder(name, a); err != nil {
		return err
	}
	return p.sync(name)
}

// link lets a name lead to a generation, by one rename.
func (p *privateFolder) link(to, name string) error {
	other := newName(name)
	if err := p.root.Symlink(to, other); err != nil {
		return err
	}
	if err := p.root.Rename(other, name); err != nil {
		p.root.Remove(other)
		return err
	}
	return p.sync(".")
}

// noLinks reports that the system or the file system makes no links for us.
func noLinks(err error) bool {
	const privilegeNotHeld = syscall.Errno(1314) // of Windows
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) || errors.Is(err, privilegeNotHeld)
}

// replaceFiles replaces the files in current one by one, after it kept them in
// previous.
func (p *privateFolder) replaceFiles(files []generationFile, a access) error {
	for _, folder := range []string{currentName, previousName} {
		if err := p.root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if at, linked, err := p.leads(folder); err != nil || at == "" || linked {
			return errors.Join(err, fmt.Errorf("%s is not a folder, as %s is: move it away", filepath.Join(p.path, folder), currentName))
		}
		if err := p.giveFolder(folder, a); err != nil {
			return err
		}
	}
	// Kept once: not again if the last time ended after certificate.pem.
	if old, err := p.read(filepath.Join(currentName, pemFile), largeFile); err == nil && !bytes.Equal(old, files[0].data) {
		for _, f := range files {
			old, err := p.read(filepath.Join(currentName, f.name), largeFile)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = p.replace(filepath.Join(previousName, f.name), old, a)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, f := range files {
		if err := p.replace(filepath.Join(currentName, f.name), f.data, a); err != nil {
			return err
		}
	}
	return p.sync(".")
}

// tidyGenerations removes generations that nothing leads to, and what killed processes
// left; the lock is held.
func (p *privateFolder) tidyGenerations() error {
	keep := map[string]bool{}
	folders := []string{"."}
	for _, name := range []string{currentName, previousName} {
		at, linked, err := p.leads(name)
		if err != nil {
			return err
		}
		if keep[at] = true; at != "" && !linked {
			folders = append(folders, at)
		}
	}
	for _, folder := range folders {
		entries, err := p.names(folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			old := folder == "." && generation.MatchString(e.Name()) && !keep[e.Name()]
			if !old && !isLeftover(e.Name()) {
				continue
			}
			if err := p.root.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return p.sync(".")
}

// Published reads certificate.pem of what is current; see [Target].
func (d *directory) Published(context.Context) (pki.Pair, error) {
	pair, err := d.read()
	if err != nil {
		return pki.Pair{}, fmt.Errorf("reading what is published in %s: %w", d.Name(), err)
	}
	return pair, nil
}

func (d *directory) read() (pki.Pair, error) {
	info, err := os.Stat(d.reference.Path)
	if err != nil {
		return pki.Pair{}, err
	}
	if !info.IsDir() {
		return pki.Pair{}, fmt.Errorf("%s is not a folder: name another, or move it away", d.reference.Path)
	}
	root, err := os.OpenRoot(d.reference.Path)
	if err != nil {
		return pki.Pair{}, err
	}
	defer root.Close()
	return (&privateFolder{d.reference.Path, root}).published()
}

func (p *privateFolder) published() (pki.Pair, error) {
	at, _, err := p.leads(currentName)
	if err != nil {
		return pki.Pair{}, err
	}
	if at == "" {
		return pki.Pair{}, fs.ErrNotExist
	}
	data, err := p.read(filepath.Join(at, pemFile), largeFile)
	if err != nil {
		return pki.Pair{}, err
	}
	return pki.Parse(data, "")
}

// Check writes a folder beside the generations and removes it; see [Target].
func (d *directory) Check(ctx context.Context) error {
	if err := d.check(ctx); err != nil {
		return fmt.Errorf("checking %s: %w", d.Name(), err)
	}
	return nil
}

func (d *directory) check(ctx context.Context) error {
	if d.reference.PasswordFile != "" {
		if _, err := d.password(); err != nil {
			return err
		}
	}
	folder, a, done, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := folder.admit(a, false); err != nil {
		return err
	}
	for _, name := range []string{currentName, previousName} {
		if _, _, err := folder.leads(name); err != nil {
			return err
		}
	}
	name := newName("check")
	err = folder.writeGeneration(name, []generationFile{{pemFile, []byte("written to see whether it can be\n")}}, a)
	return errors.Join(err, folder.root.RemoveAll(name))
}

// Forget removes the generation before the current one if it is a credential's, and the
// current one, if that is meant too; see [Target].
func (d *directory) Forget(ctx context.Context, credentialID string, current bool) error {
	if _, err := os.Lstat(d.reference.Path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.forget(ctx, credentialID, current); err != nil {
		return fmt.Errorf("removing credential %s from %s: %w", credentialID, d.Name(), err)
	}
	return nil
}

func (d *directory) forget(ctx context.Context, credentialID string, current bool) error {
	folder, _, done, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	names := []string{previousName}
	if current {
		names = append(names, currentName)
	}
	for _, name := range names {
		is, err := folder.isOf(name, credentialID)
		if err == nil && is {
			err = folder.root.RemoveAll(name)
		}
		if err != nil {
			return err
		}
	}
	return folder.tidyGenerations()
}

// isOf reports whether current or previous is a credential's.
func (p *privateFolder) isOf(name, credentialID string) (bool, error) {
	at, _, err := p.leads(name)
	if err != nil || at == "" {
		return false, err
	}
	text, err := p.root.ReadFile(filepath.Join(at, credentialFile))
	if err != nil {
		return false, err
	}
	var about published
	if err := json.Unmarshal(text, &about); err != nil {
		return false, fmt.Errorf("reading %s: %w", filepath.Join(at, credentialFile), err)
	}
	return about.CredentialID == credentialID, nil
}
