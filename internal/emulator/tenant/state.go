package tenant

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What of a tenant is kept from one run to the next.

// state is what Snapshot writes. The demo client and the vault have private
// keys in it.
type state struct {
	Seed        uint64        `json:"seed"`
	Name        string        `json:"name"`
	Users       int           `json:"users"`
	Days        int           `json:"days"`
	PerUser     int           `json:"perUser"`
	BlobRecords int           `json:"blobRecords"`
	RecordBytes int           `json:"recordBytes"`
	Calm        bool          `json:"calm"`
	Start       time.Time     `json:"start"`
	Ahead       time.Duration `json:"aheadNanoseconds"`

	ClientID          string `json:"clientId"`
	ClientCertificate []byte `json:"clientCertificate"` // DER
	ClientKey         []byte `json:"clientKey"`         // PKCS #8
	ManagedIdentity   string `json:"managedIdentity"`

	Directory json.RawMessage `json:"directory"`
	Vault     json.RawMessage `json:"vault"`
	Audit     json.RawMessage `json:"audit"`
}

// Snapshot returns the tenant as JSON, private keys included. What its people
// did is made anew from the options; given audit records are not in it.
func (t *Tenant) Snapshot() ([]byte, error) {
	o := t.options
	s := state{
		Seed: o.Seed, Name: o.Name, Users: o.Users, Days: o.Days, PerUser: o.PerUser,
		BlobRecords: o.BlobRecords, RecordBytes: o.RecordBytes, Calm: o.Calm, Start: o.Start, Ahead: t.Ahead(),
		ClientID: t.client.ClientID, ClientCertificate: t.client.Certificate.Raw, ManagedIdentity: t.managedIdentity,
	}
	var err error
	if s.ClientKey, err = x509.MarshalPKCS8PrivateKey(t.client.Key); err != nil {
		return nil, fmt.Errorf("keeping the client's key: %w", err)
	}
	for _, part := range t.parts(&s) {
		if *part.text, err = part.is.Snapshot(); err != nil {
			return nil, fmt.Errorf("keeping the %s: %w", part.name, err)
		}
	}
	return json.Marshal(s)
}

// Restore makes a tenant again from a snapshot, on a clock; time.Now when nil.
func Restore(snapshot []byte, now func() time.Time) (*Tenant, error) {
	var s state
	dec := json.NewDecoder(bytes.NewReader(snapshot))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("restoring the tenant: %w", err)
	}
	if s.Start.IsZero() || s.ClientID == "" || s.Days < 1 || s.Users < 0 || s.PerUser < 0 {
		return nil, errors.New("restoring the tenant: what it was made of is missing")
	}
	certificate, err := x509.ParseCertificate(s.ClientCertificate)
	if err != nil {
		return nil, fmt.Errorf("restoring the client's certificate: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(s.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("restoring the client's key: %w", err)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("restoring the client's key: it is not that of its certificate")
	}
	t, err := New(Options{
		Seed: s.Seed, Name: s.Name, Users: s.Users, Days: s.Days, PerUser: s.PerUser,
		BlobRecords: s.BlobRecords, RecordBytes: s.RecordBytes, Calm: s.Calm, Start: s.Start, Now: now,
	})
	if err != nil {
		return nil, fmt.Errorf("restoring the tenant: %w", err)
	}
	t.client = Client{ClientID: s.ClientID, Certificate: certificate, Key: private}
	t.managedIdentity = s.ManagedIdentity
	t.Step(s.Ahead)
	for _, part := range t.parts(&s) {
		if err := part.is.Restore(*part.text); err != nil {
			return nil, fmt.Errorf("restoring the %s: %w", part.name, err)
		}
	}
	return t, nil
}

// part is something that is kept by itself.
type part struct {
	name string
	is   interface {
		Snapshot() ([]byte, error)
		Restore([]byte) error
	}
	text *json.RawMessage
}

func (t *Tenant) parts(s *state) []part {
	return []part{
		{"directory", t.Directory, &s.Directory},
		{"vault", t.Vault, &s.Vault},
		{"audit log", t.Audit, &s.Audit},
	}
}

// Options returns what the tenant was made of.
func (t *Tenant) Options() Options { return t.options }
