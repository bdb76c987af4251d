package emulator

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// stateFormat and stateVersion are how a state file says what it is. The
// version rises when a file of the one before could be misread.
const (
	stateFormat  = "reeve emulated tenant"
	stateVersion = 1
	mostState    = 256 << 20 // bytes
)

// State is an emulated tenant as it was saved: directory, vault, subscriptions,
// the keys and certificates of tokens, servers and the demo client, and the
// addresses of the APIs, so that a client need not be told anew. Not in it are
// sign-ins under way, refresh tokens, faults and delays.
type State struct {
	saved saved
	file  string // from which it was read
	sum   []byte // the digest of that
}

// digest returns the digest of a file as it was when the state was read from it,
// nil when it was not.
func (s *State) digest(file string) []byte {
	if s == nil || s.file != file {
		return nil
	}
	return s.sum
}

// saved is what a state file holds.
type saved struct {
	Format  string          `json:"format"`
	Version int             `json:"version"`
	Tenant  json.RawMessage `json:"tenant"`
	Keys    json.RawMessage `json:"tokenSigningKeys"`
	kept
}

// kept is what the emulator itself keeps: what its clients were told.
type kept struct {
	Cloud          string   `json:"cloud"`
	Addresses      []string `json:"addresses"` // host:port of each API, in the order of Origins
	CA             string   `json:"ca"`        // PEM
	Certificate    string   `json:"serverCertificate"`
	Key            string   `json:"serverKey"`
	IdentityHeader string   `json:"identityHeader"`
	ControlToken   string   `json:"controlToken"`
	PFXPassword    string   `json:"pfxPassword"`
}

// ReadState reads a file that Save wrote. The error wraps fs.ErrNotExist when
// there is none.
func ReadState(file string) (*State, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostState+1))
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	s, err := parseState(text)
	if err != nil {
		return nil, fmt.Errorf("reading the state %s: %w; the file is left as it is", file, err)
	}
	s.file, s.sum = file, digestOf(text)
	return s, nil
}

func parseState(text []byte) (*State, error) {
	if len(text) > mostState {
		return nil, errors.New("it is too large to be the state of an emulated tenant")
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, errors.New("it is damaged, or not the state of an emulated tenant: it is not a JSON object")
	}
	if head.Format != stateFormat {
		return nil, errors.New("it is not the state of an emulated tenant")
	}
	if head.Version != stateVersion {
		return nil, fmt.Errorf("it has version %d, and this program reads version %d", head.Version, stateVersion)
	}
	s := &State{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s.saved); err != nil {
		return nil, fmt.Errorf("it is damaged: %s", origin.Printable(err.Error()))
	}
	k := &s.saved.kept
	for name, missing := range map[string]bool{
		"the tenant": s.saved.Tenant == nil, "the token signing keys": s.saved.Keys == nil, "the cloud": k.Cloud == "",
		"the addresses": len(k.Addresses) != apiCount, "the identity header": k.IdentityHeader == "",
		"the control token": k.ControlToken == "", "the password": k.PFXPassword == "",
	} {
		if missing {
			return nil, fmt.Errorf("it is damaged: %s is missing", name)
		}
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(k.CA)) {
		return nil, errors.New("it is damaged: the certificate of the authority cannot be read")
	}
	if _, err := k.pair(); err != nil {
		return nil, errors.New("it is damaged: the server's certificate and key cannot be read")
	}
	return s, nil
}

// Tenant makes the tenant again, on a clock; time.Now when nil.
func (s *State) Tenant(now func() time.Time) (*tenant.Tenant, error) {
	t, err := tenant.Restore(s.saved.Tenant, now)
	if err != nil {
		return nil, fmt.Errorf("reading the state: it is damaged: %w", err)
	}
	return t, nil
}

// Cloud returns whose hosts the tenant is in.
func (s *State) Cloud() string { return s.saved.Cloud }

// keep takes what clients were told from a state, or makes it.
func (e *Emulator) keep(s *State, names origin.CloudNames, ip string) (err error) {
	if s == nil {
		if e.keys, err = token.NewKeys(); err != nil {
			return err
		}
		e.kept = kept{Cloud: names.Cloud, IdentityHeader: uuid.NewString(), ControlToken: rand.Text(), PFXPassword: rand.Text()}
		return e.kept.renew(names, ip)
	}
	e.kept = s.saved.kept
	if e.keys, err = token.RestoreKeys(s.saved.Keys); err != nil {
		return err
	}
	if reason := e.kept.unfit(names, ip); reason != "" {
		e.cloud.Log.Warn("the certificate authority is a new one, which clients must be told", "reason", reason)
		return e.kept.renew(names, ip)
	}
	return nil
}

func digestOf(text []byte) []byte {
	sum := sha256.Sum256(text)
	return sum[:]
}

// Save writes the state to Options.StateFile, whole or not at all. Only its
// owner can read the file: it holds private keys, of fictional people. When
// somebody else has written the file since, that is left as it is, and the state
// goes to a file beside it, which the error names.
func (e *Emulator) Save() error {
	if e.stateFile == "" {
		return errors.New("saving the state: the emulator was started without a state file")
	}
	e.saving.Lock()
	defer e.saving.Unlock()
	s := saved{Format: stateFormat, Version: stateVersion, kept: e.kept}
	var err error
	if s.Tenant, err = e.tenant.Snapshot(); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	if s.Keys, err = e.keys.Snapshot(); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	text = append(text, '\n')
	file := e.stateFile
	switch now, err := os.ReadFile(file); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("saving the state: %w", err)
	case !bytes.Equal(digestOf(now), e.onFile):
		file += ".conflict"
	}
	if err := WritePrivate(file, text); err != nil {
		return fmt.Errorf("saving the state in %s: %w", file, err)
	}
	if file != e.stateFile {
		return fmt.Errorf("saving the state: somebody else has written %s meanwhile, another tenant perhaps; this one is kept in %s", e.stateFile, file)
	}
	e.onFile = digestOf(text)
	return nil
}

// checkStateFile refuses to begin a tenant that would take the place of a file.
func checkStateFile(o Options) error {
	if o.StateFile == "" || o.State != nil {
		return nil
	}
	_, err := os.Lstat(o.StateFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("the state file %s exists and was not read", o.StateFile)
}

func (k *kept) pair() (tls.Certificate, error) {
	return tls.X509KeyPair([]byte(k.Certificate), []byte(k.Key))
}
