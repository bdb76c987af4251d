package keyvault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/bits"
	"net/http"
	"time"
)

// How far an operation is.
const (
	inProgress = "inProgress"
	completed  = "completed"
	canceled   = "canceled"
	failed     = "failed"
)

// pending is an operation that makes a version of a certificate.
type pending struct {
	RequestID string     `json:"requestId"` // 32 hexadecimal digits
	Head      version    `json:"head"`      // of the version to come
	Policy    policy     `json:"policy"`
	Key       privateKey `json:"key"`
	Request   []byte     `json:"request"` // the certificate signing request, in DER
	KeepOrder bool       `json:"keepOrder,omitempty"`

	Status    string    `json:"status"`
	Cancel    bool      `json:"cancel,omitempty"` // was asked for
	Due       time.Time `json:"due,omitzero"`     // when it goes on by itself; zero when it waits for somebody
	ErrorCode string    `json:"errorCode,omitempty"`
	ErrorText string    `json:"errorText,omitempty"`
}

// creation is what a client asks to create.
type creation struct {
	Policy     *policy           `json:"policy"`
	Attributes *attributeChange  `json:"attributes"`
	Tags       map[string]string `json:"tags"`
	KeepOrder  *bool             `json:"preserveCertOrder"`
}

// createCertificate starts to make a version of a certificate. Under the issuer
// Self it is done after the time settle; under others when the answer to its
// request is merged or issued.
func (v *Vault) createCertificate(ctx context.Context, name string, in creation, settle time.Duration) (pendingView, error) {
	now := v.now()
	head, err := newVersion(now, in.Attributes, in.Tags)
	if err != nil {
		return pendingView{}, err
	}
	p, key, err := v.plan(name, in.Policy)
	if err != nil {
		return pendingView{}, err
	}
	if key.Signer == nil {
		if key, err = v.generate(ctx, p.Key.Type, p.Key.Size, p.Key.Curve); err != nil {
			return pendingView{}, err
		}
	}
	request, err := signingRequest(p, key)
	if err != nil {
		return pendingView{}, err
	}
	var id [16]byte
	rand.Read(id[:]) // crypto/rand never fails.
	op := &pending{
		RequestID: hex.EncodeToString(id[:]), Head: head, Policy: p, Key: key, Request: request,
		KeepOrder: value(in.KeepOrder), Status: inProgress,
	}

	now, unlock := v.lock()
	defer unlock()
	if err := v.state.freeForCertificate(name, now); err != nil {
		return pendingView{}, err
	}
	c := v.state.Certificates.Live[fold(name)]
	if c == nil {
		c = &certificate{Name: name}
		v.state.Certificates.Live[fold(name)] = c
	}
	c.Policy, c.Pending = p, op
	if p.issuer(issuerSelf) {
		op.Due = now.Add(settle)
	}
	return c.operation(), nil
}

// plan says under which policy a version is to be made, and with which key when
// it is one that the vault has.
func (v *Vault) plan(name string, given *policy) (policy, privateKey, error) {
	now, unlock := v.lock()
	defer unlock()
	if err := v.state.freeForCertificate(name, now); err != nil {
		return policy{}, privateKey{}, err
	}
	c := v.state.Certificates.Live[fold(name)]
	var p policy
	switch {
	case given != nil:
		p = policy{}.with(given).complete(now)
	case c != nil:
		p = c.Policy
	default:
		return policy{}, privateKey{}, badParameter("Property policy is required to create the first version of a certificate.")
	}
	if err := p.check(); err != nil {
		return policy{}, privateKey{}, err
	}
	if err := v.state.knownIssuer(p); err != nil {
		return policy{}, privateKey{}, err
	}
	if c == nil {
		return p, privateKey{}, nil
	}
	return p, (&certificate{Policy: p, Versions: c.Versions}).reusable(), nil
}

// template returns what a policy says about a certificate.
func (p policy) template() (*x509.Certificate, error) {
	subject, err := parseSubject(p.X509.Subject)
	if err != nil {
		return nil, fmt.Errorf("the subject of the policy %w", err)
	}
	names, err := p.X509.Names.extension()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{RawSubject: subject, ExtraExtensions: names, BasicConstraintsValid: true}
	for _, use := range p.X509.Uses {
		t.KeyUsage |= keyUses[use].bit
	}
	for _, text := range p.X509.Usages {
		id, err := parseOID(text)
		if err != nil {
			return nil, err
		}
		t.UnknownExtKeyUsage = append(t.UnknownExtKeyUsage, id)
	}
	return t, nil
}

// signingRequest returns a PKCS#10 request, in DER. It asks for the extensions
// that recorded requests of the service ask for.
func signingRequest(p policy, key privateKey) ([]byte, error) {
	t, err := p.template()
	if err != nil {
		return nil, err
	}
	request := &x509.CertificateRequest{RawSubject: t.RawSubject, ExtraExtensions: t.ExtraExtensions}
	add := func(id int, critical bool, value any) {
		var der []byte
		if der, err = asn1.Marshal(value); err == nil {
			request.ExtraExtensions = append(request.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, id}, Critical: critical, Value: der})
		}
	}
	if n := bits.Len(uint(t.KeyUsage)); n > 0 {
		octets := []byte{bits.Reverse8(byte(t.KeyUsage)), bits.Reverse8(byte(t.KeyUsage >> 8))}
		add(15, true, asn1.BitString{Bytes: octets[:(n+7)/8], BitLength: n})
	}
	if len(t.UnknownExtKeyUsage) > 0 && err == nil {
		add(37, false, t.UnknownExtKeyUsage)
	}
	if err == nil {
		add(19, false, struct{}{}) // basic constraints: not an authority
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the extensions of a request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, request, key.Signer)
	if err != nil {
		return nil, fmt.Errorf("making a certificate signing request: %w", err)
	}
	return der, nil
}

// backdate is how long before it is made a certificate becomes valid, by what
// recorded answers of the service show.
const backdate = 10 * time.Minute

// validity returns the dates of a certificate that is made now.
func (p policy) validity(now time.Time) (from, to time.Time) {
	return now.Add(-backdate), now.AddDate(0, *p.X509.Months, 0)
}

// sign makes a certificate under a policy. Without an issuer it is self-signed.
func (p policy) sign(key privateKey, now time.Time, issuer *x509.Certificate, issuerKey privateKey) (*x509.Certificate, error) {
	t, err := p.template()
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // crypto/rand never fails.
	serial[0] = serial[0]&0x3f | 0x40
	t.SerialNumber = new(big.Int).SetBytes(serial)
	t.NotBefore, t.NotAfter = p.validity(now)
	if issuer == nil {
		issuer, issuerKey = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, key.Public(), issuerKey.Signer)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// selfSign adds a version that the vault signs itself.
func (c *certificate) selfSign(head version, key privateKey, p policy, now time.Time, keepOrder bool) error {
	leaf, err := p.sign(key, now, nil, privateKey{})
	if err != nil {
		return err
	}
	made, err := newCertificateVersion(head, chain{leaf}, key, p, keepOrder)
	if err != nil {
		return err
	}
	c.Versions = append(c.Versions, made)
	return nil
}

// progress does what is due of the operation under way.
func (c *certificate) progress(now time.Time) {
	op := c.Pending
	if op == nil || op.Status != inProgress || op.Due.IsZero() || now.Before(op.Due) {
		return
	}
	if op.Cancel {
		op.Status = canceled
		return
	}
	if err := c.selfSign(op.Head, op.Key, op.Policy, now, op.KeepOrder); err != nil {
		op.Status, op.ErrorCode, op.ErrorText = failed, "Certificate creation error", err.Error()
		return
	}
	op.Status = completed
}

// pendingView is an operation as it was at one moment.
type pendingView struct {
	name string
	pending
}

func (c *certificate) operation() pendingView { return pendingView{c.Name, *c.Pending} }

func (s *state) operation(name string, now time.Time) (*certificate, error) {
	c := s.Certificates.look(name, now)
	if c == nil || c.Pending == nil {
		return nil, noOperation(name)
	}
	return c, nil
}

func noOperation(name string) *Refusal {
	return refuse(http.StatusNotFound, "PendingCertificateNotFound", "", "A pending certificate operation for %s was not found.", name)
}

// operation returns the newest operation on a certificate, if it has the id or
// that is empty.
func (v *Vault) operation(name, requestID string) (pendingView, error) {
	now, unlock := v.lock()
	defer unlock()
	c, err := v.state.operation(name, now)
	if err != nil {
		return pendingView{}, err
	}
	if requestID != "" && fold(requestID) != c.Pending.RequestID {
		return pendingView{}, noOperation(name)
	}
	return c.operation(), nil
}

// cancelOperation asks for an operation to stop, which takes the time settle.
func (v *Vault) cancelOperation(name string, settle time.Duration) (pendingView, error) {
	now, unlock := v.lock()
	defer unlock()
	c, err := v.state.operation(name, now)
	if err != nil {
		return pendingView{}, err
	}
	if c.Pending.Status != inProgress {
		return pendingView{}, badParameter("The operation is %s and cannot be canceled.", c.Pending.Status)
	}
	c.Pending.Cancel, c.Pending.Due = true, now.Add(settle)
	return c.operation(), nil
}

// deleteOperation forgets an operation, and a certificate that has no version.
func (v *Vault) deleteOperation(name string) (pendingView, error) {
	now, unlock := v.lock()
	defer unlock()
	c, err := v.state.operation(name, now)
	if err != nil {
		return pendingView{}, err
	}
	view := c.operation()
	c.Pending = nil
	if len(c.Versions) == 0 {
		delete(v.state.Certificates.Live, fold(name))
	}
	return view, nil
}

// merging is the answer to a certificate signing request.
type merging struct {
	Chain      [][]byte          `json:"x5c"` // DER
	Attributes *attributeChange  `json:"attributes"`
	Tags       map[string]string `json:"tags"`
}

// merge completes an operation under the issuer Unknown.
func (v *Vault) merge(name string, in merging) (certificateView, error) {
	if len(in.Chain) == 0 || len(in.Chain) > mostInPair {
		return certificateView{}, badParameter("Property x5c has invalid value X5C must have at least one valid item, and at most %d.", mostInPair)
	}
	all, err := parseChain(in.Chain)
	if err != nil {
		return certificateView{}, badParameter("Property x5c has invalid value: %s.", err)
	}
	now, unlock := v.lock()
	defer unlock()
	c, err := v.state.operation(name, now)
	if err != nil {
		return certificateView{}, err
	}
	op := c.Pending
	if op.Status != inProgress {
		return certificateView{}, noOperation(name)
	}
	if !op.Policy.issuer(issuerUnknown) {
		return certificateView{}, forbidden("", "The pending certificate %s is made by its issuer; nothing can be merged.", name)
	}
	if !samePublic(all[0], op.Key) {
		return certificateView{}, badParameter("Property x5c has invalid value: the public key of the first certificate is not that of the pending request.")
	}
	head := op.Head
	if err := head.change(now, in.Attributes, in.Tags); err != nil {
		return certificateView{}, err
	}
	if err := c.issue(head, all, op.KeepOrder); err != nil {
		return certificateView{}, err
	}
	return c.view(pick(c.Versions, "")), nil
}

func (c *certificate) issue(head version, all chain, keepOrder bool) error {
	made, err := newCertificateVersion(head, all, c.Pending.Key, c.Pending.Policy, keepOrder)
	if err != nil {
		return err
	}
	c.Versions = append(c.Versions, made)
	c.Pending.Status = completed
	return nil
}

// Issue completes an operation under a provider's issuer, or Unknown, as if the
// issuer had signed: with a certificate from an authority that is made for it.
func (v *Vault) Issue(name string) error {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making an issuer's key: %w", err)
	}
	now, unlock := v.lock()
	defer unlock()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Contoso Emulated Issuer"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err == nil {
		root, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return fmt.Errorf("making an issuer: %w", err)
	}
	c, err := v.state.operation(name, now)
	if err != nil {
		return fmt.Errorf("issuing certificate %s of vault %s: %w", name, v.Name, err)
	}
	if op := c.Pending; op.Status != inProgress {
		return fmt.Errorf("issuing certificate %s of vault %s: its operation is %s", name, v.Name, op.Status)
	}
	leaf, err := c.Pending.Policy.sign(c.Pending.Key, now, root, privateKey{rootKey})
	if err != nil {
		return err
	}
	return c.issue(c.Pending.Head, chain{leaf, root}, c.Pending.KeepOrder)
}

// Fail ends an operation as if its issuer had refused, with a code such as
// "Request rejected".
func (v *Vault) Fail(name, code, text string) error {
	now, unlock := v.lock()
	defer unlock()
	c, err := v.state.operation(name, now)
	if err != nil {
		return fmt.Errorf("failing certificate %s of vault %s: %w", name, v.Name, err)
	}
	if c.Pending.Status != inProgress {
		return fmt.Errorf("failing certificate %s of vault %s: its operation is %s", name, v.Name, c.Pending.Status)
	}
	c.Pending.Status, c.Pending.ErrorCode, c.Pending.ErrorText = failed, code, text
	return nil
}
