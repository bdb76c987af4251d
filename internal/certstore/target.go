package certstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// Publication is a pair that has become the current one of an application.
type Publication struct {
	CredentialID       string
	Generation         int64
	Pair               pki.Pair
	ClientID, TenantID string
}

// check reports why a pair cannot be published anywhere.
func (p Publication) check() error {
	switch c := p.Pair.Certificate; {
	case c == nil:
		return errors.New("there is no certificate: give one together with its private key")
	case p.Pair.Key == nil || !pki.SameKey(c.PublicKey, p.Pair.Key.Public()):
		return fmt.Errorf("the private key of certificate %v is missing or another's: give both together", p.Pair)
	}
	return nil
}

// Target is a live place from which programs other than reeve take the current
// certificate.
type Target interface {
	Name() string // as configured: "keyvault:https://VAULT/certificates/NAME", "directory:/etc/app/cert"

	// Publish makes p's pair the current one. It looks first, so that it can be
	// repeated; after nil, Published returns p's pair.
	Publish(ctx context.Context, p Publication) error

	// Published returns what a program would get now, fetched and parsed anew. Its
	// error is [fs.ErrNotExist] if nothing is there.
	Published(ctx context.Context) (pki.Pair, error)

	// Forget takes away what is left there of a credential that is not the current one
	// any more, so that its key cannot be used from there; with current also the current
	// one, for a place that nobody publishes to any more. What is not there is forgotten.
	Forget(ctx context.Context, credentialID string, current bool) error

	// Check reports why Publish could not do its work, without changing what is live;
	// for rehearsals.
	Check(ctx context.Context) error
}

// TargetKind is a kind of [Target].
type TargetKind string

const (
	TargetKeyVault  TargetKind = "keyvault"
	TargetDirectory TargetKind = "directory"
)

// TargetReference names a target.
type TargetReference struct {
	Kind TargetKind

	// Of TargetKeyVault.
	VaultURL string // empty where the reference leaves it to the configuration
	Name     string
	PEM      bool // the vault keeps it as PEM, not as PFX

	// Of TargetDirectory.
	Path         string
	Mode         fs.FileMode // of the files: 0600, 0400, 0640 or 0440
	Group        string      // name or number of the group that may read them; empty for none
	PasswordFile string      // holds the password of certificate.pfx; empty for no such file
}

// ParseTarget reads the name of a target in one of these forms:
//
//	keyvault:https://VAULT/certificates/NAME[,format=pem]
//	keyvault:NAME[,format=pem]
//	directory:PATH[,mode=0640][,group=NAME][,password-file=FILE]
func ParseTarget(s string) (TargetReference, error) {
	kind, rest, found := strings.Cut(strings.TrimSpace(s), ":")
	fail := func(format string, args ...any) (TargetReference, error) {
		return TargetReference{}, fmt.Errorf("the target %.200q %w", s, fmt.Errorf(format, args...))
	}
	if !found {
		return fail("names no kind: write keyvault:https://VAULT/certificates/NAME or directory:PATH")
	}
	place, options, err := targetOptions(rest)
	if err != nil {
		return fail("%w", err)
	}
	r := TargetReference{Kind: TargetKind(kind)}
	switch r.Kind {
	case TargetKeyVault:
		err = r.readVault(place, options)
	case TargetDirectory:
		err = r.readDirectory(place, options)
	default:
		return fail("is of the kind %.40q, which is not known: write keyvault:https://VAULT/certificates/NAME or directory:PATH", kind)
	}
	if err != nil {
		return fail("%w", err)
	}
	for option := range options {
		return fail("has the option %.40q, which %s targets do not have: leave it out", option, kind)
	}
	return r, nil
}

// targetOptions splits "PLACE,NAME=VALUE,...".
func targetOptions(s string) (place string, options map[string]string, err error) {
	parts := strings.Split(s, ",")
	options = map[string]string{}
	for _, part := range parts[1:] {
		name, value, found := strings.Cut(part, "=")
		_, again := options[name]
		switch {
		case !found || name == "" || value == "":
			return "", nil, fmt.Errorf("has %.60q after a comma: options have the form name=value, and a path cannot have a comma", part)
		case again:
			return "", nil, fmt.Errorf("has the option %.40q twice: give it once", name)
		}
		options[name] = value
	}
	return parts[0], options, nil
}

func (r *TargetReference) readVault(place string, options map[string]string) error {
	scheme, _, address := strings.Cut(place, ":")
	switch {
	case address && !strings.EqualFold(scheme, "https"):
		return errors.New("is not over https: write keyvault:https://VAULT/certificates/NAME")
	case !address:
		place = "keyvault:" + place
	}
	named, err := ParseReference(place)
	switch {
	case err != nil:
		return fmt.Errorf("names no certificate of a vault: %w", err)
	case named.Kind != KindCertificate:
		return errors.New("is a secret, which holds a certificate only by chance: write keyvault:https://VAULT/certificates/NAME")
	case named.Version != "":
		return errors.New("names a version, and each publication makes a new one: leave the version out")
	}
	r.VaultURL, r.Name = named.VaultURL, named.Name
	switch format := options["format"]; format {
	case "", "pfx":
	case "pem":
		r.PEM = true
	default:
		return fmt.Errorf("has the format %.40q: write format=pfx (the default) or format=pem", format)
	}
	delete(options, "format")
	return nil
}

func (r *TargetReference) readDirectory(place string, options map[string]string) error {
	if !filepath.IsAbs(place) {
		return errors.New("has a path that depends on where reeve is started: write it from the root, such as directory:/etc/app/certificate")
	}
	r.Path, r.Mode, r.Group, r.PasswordFile = filepath.Clean(place), 0o600, options["group"], options["password-file"]
	if filepath.Dir(r.Path) == r.Path {
		return errors.New("is the root of the file system: name a folder for the certificate alone")
	}
	if r.Group != "" {
		r.Mode = 0o640
	}
	if text, ok := options["mode"]; ok {
		mode, err := strconv.ParseUint(text, 8, 9)
		r.Mode = fs.FileMode(mode)
		if err != nil || mode&^0o040 != 0o600 && mode&^0o040 != 0o400 {
			return fmt.Errorf("has the mode %.20q: write 0600 or 0400, or with a group 0640 or 0440; a private key is nobody else's to read", text)
		}
	}
	switch shared := r.Mode&0o040 != 0; {
	case shared && r.Group == "":
		return fmt.Errorf("lets a group read by mode=%04o and does not say which: add group=NAME", r.Mode)
	case !shared && r.Group != "":
		return fmt.Errorf("has a group that mode=%04o does not let read: write mode=0640, or leave the group out", r.Mode)
	}
	if r.PasswordFile != "" && !filepath.IsAbs(r.PasswordFile) {
		return errors.New("has a password-file whose path depends on where reeve is started: write it from the root")
	}
	for _, name := range []string{"mode", "group", "password-file"} {
		delete(options, name)
	}
	return nil
}

// String is the reference as [ParseTarget] reads it.
func (r TargetReference) String() string {
	s := string(r.Kind) + ":"
	if r.Kind == TargetKeyVault {
		if r.VaultURL != "" {
			s += r.VaultURL + "/certificates/"
		}
		s += r.Name
		if r.PEM {
			s += ",format=pem"
		}
		return s
	}
	s += r.Path
	if r.Mode != 0o600 {
		s += fmt.Sprintf(",mode=%04o", r.Mode)
	}
	if r.Group != "" {
		s += ",group=" + r.Group
	}
	if r.PasswordFile != "" {
		s += ",password-file=" + r.PasswordFile
	}
	return s
}

// systemFolders hold no files that last.
var systemFolders = []string{"/proc", "/sys", "/dev"}

// Check reports for what the target, in a cloud, cannot be published to whatever becomes
// of the place itself: what a person who names it can be told at once. Nothing is sent or
// written.
func (r TargetReference) Check(cloud m365.Cloud) error {
	err := r.check(cloud)
	if err != nil {
		return fmt.Errorf("the target %v: %w", r, err)
	}
	return nil
}

func (r TargetReference) check(cloud m365.Cloud) error {
	if r.Kind == TargetKeyVault {
		if r.VaultURL == "" {
			return nil
		}
		_, err := vaultAddress(r.VaultURL, cloud)
		return err
	}
	for _, folder := range systemFolders {
		if within, err := filepath.Rel(folder, r.Path); err == nil && filepath.IsLocal(within) {
			return fmt.Errorf("%s is the system's own, and keeps no files: name a folder on a disk", folder)
		}
	}
	d := &directory{r}
	if _, err := d.access(); err != nil {
		return err
	}
	if r.PasswordFile != "" {
		_, err := d.password()
		return err
	}
	return nil
}

// TargetOptions are what targets need besides their names.
type TargetOptions struct {
	// Vault is the vault of a target of [TargetKeyVault]; others need none.
	Vault *KeyVault
	// Notice is told what a person should know though nothing failed, such as that a
	// policy was corrected; nil for nobody.
	Notice func(text string)
}

// Open opens the target. Nothing is sent or written.
func (r TargetReference) Open(o TargetOptions) (Target, error) {
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	switch {
	case r.Kind == TargetDirectory:
		return openDirectory(r)
	case r.Kind != TargetKeyVault:
		return nil, fmt.Errorf("opening target %v: there is no such kind; ask ParseTarget for the reference", r)
	case o.Vault == nil:
		return nil, fmt.Errorf("opening target %v: it needs the vault's client; open the vault first", r)
	case r.VaultURL != "" && !strings.EqualFold(r.VaultURL, o.Vault.url):
		return nil, fmt.Errorf("opening target %v: the client is for %s; open the vault that the target names", r, o.Vault.url)
	}
	r.VaultURL = o.Vault.url
	return &vaultCertificate{reference: r, vault: o.Vault, notice: o.Notice}, nil
}
