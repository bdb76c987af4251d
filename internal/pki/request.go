package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The way of a certificate from an authority is NewRequest, the authority, Join.
// Issue is an authority whose key is at hand; ACME and Key Vault would be others, each
// a package of its own that takes the request's DER and returns certificates.

// maxChain bounds the certificates of a chain whose signatures are looked at.
const maxChain = 32

// NewRequest makes a certificate signing request in DER; of the template the
// dates do not count. It asks for the names and the uses that [SelfSign] would
// give. Its errors are [*Problem], or the key's own.
func NewRequest(key crypto.Signer, t Template) ([]byte, error) {
	if key == nil {
		return nil, &Problem{"there is no private key to make a request for", "make one first"}
	}
	c, err := t.certificate(key.Public())
	if err != nil {
		return nil, err
	}
	r := &x509.CertificateRequest{
		Subject:        t.Subject,
		DNSNames:       t.DNSNames,
		EmailAddresses: t.Emails,
		IPAddresses:    t.IPAddresses,
		URIs:           t.URIs,
	}
	if err := checkNamed(r); err != nil {
		return nil, err
	}
	if r.ExtraExtensions, err = usesOf(c); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		return nil, fmt.Errorf("signing the request: %w", err)
	}
	if _, err := x509.ParseCertificateRequest(der); err != nil {
		return nil, &Problem{fmt.Sprintf("the request would be malformed (%v)", err), "change its subject or its alternative names"}
	}
	return der, nil
}

// checkNamed reports a request for a certificate without any name.
func checkNamed(r *x509.CertificateRequest) error {
	if len(r.Subject.ToRDNSequence())+len(r.DNSNames)+len(r.EmailAddresses)+len(r.IPAddresses)+len(r.URIs) == 0 {
		return &Problem{"the request has neither a subject nor an alternative name", "give it a common name"}
	}
	return nil
}

var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidClientAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
)

// usesOf writes the uses of a certificate as extensions, which crypto/x509 does for
// certificates and not for requests.
func usesOf(c *x509.Certificate) ([]pkix.Extension, error) {
	type constraints struct {
		IsCA       bool `asn1:"optional"`
		MaxPathLen int  `asn1:"optional,default:-1"`
	}
	basic := constraints{MaxPathLen: -1}
	if c.IsCA {
		basic = constraints{IsCA: true}
	}
	var bits asn1.BitString // bit i of KeyUsage is bit i of the string
	var octet byte
	for i := range 8 {
		if c.KeyUsage&(1<<i) != 0 {
			octet |= 0x80 >> i
			bits.BitLength = i + 1
		}
	}
	bits.Bytes = []byte{octet}

	values := []struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    any
	}{{oidKeyUsage, true, bits}, {oidBasicConstraints, true, basic}}
	if !c.IsCA {
		values = append(values, struct {
			id       asn1.ObjectIdentifier
			critical bool
			value    any
		}{oidExtKeyUsage, false, []asn1.ObjectIdentifier{oidClientAuth}})
	}
	var extensions []pkix.Extension
	for _, v := range values {
		der, err := asn1.Marshal(v.value)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		extensions = append(extensions, pkix.Extension{Id: v.id, Critical: v.critical, Value: der})
	}
	return extensions, nil
}

// Issue makes the certificate that a request asks for, signed by an authority. Of
// the request it takes the subject, the DNS, email, IP and URI names and the key;
// serial number, uses and dates are its own. It never outlives the authority. Its
// errors are [*Problem], or the authority's key's own.
func Issue(authority Pair, r *x509.CertificateRequest, notBefore, notAfter time.Time) (*x509.Certificate, error) {
	if r == nil {
		return nil, &Problem{"there is no certificate signing request", "make one first"}
	}
	if err := checkDates(notBefore, notAfter, MaxDays); err != nil {
		return nil, err
	}
	if err := authority.checkAuthority(notBefore, notAfter); err != nil {
		return nil, err
	}
	t := Template{Subject: r.Subject, DNSNames: r.DNSNames, Emails: r.EmailAddresses, IPAddresses: r.IPAddresses, URIs: r.URIs}
	c, err := t.certificate(r.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := checkNamed(r); err != nil {
		return nil, err
	}
	switch {
	case r.CheckSignature() != nil:
		return nil, &Problem{"the request is not signed by the key that it is for", "have it made anew; it was changed on its way, or its maker does not have the key"}
	case SameKey(r.PublicKey, authority.Certificate.PublicKey):
		return nil, &Problem{"the request is for the authority's own key", "make a new key for the certificate"}
	case bytes.Equal(r.RawSubject, authority.Certificate.RawSubject):
		return nil, &Problem{fmt.Sprintf("the request has the authority's own subject, %s", shown(FormatName(r.Subject))), "choose another subject"}
	case len(r.RawSubject) > 4*maxName:
		return nil, &Problem{"the request's subject is too long", "shorten it"}
	}
	c.RawSubject = r.RawSubject // byte for byte, also what Go's form of it does not keep
	c.NotBefore, c.NotAfter = notBefore, notAfter
	issued, err := sign(c, authority.Certificate, r.PublicKey, authority.Key)
	if err != nil {
		return nil, err
	}
	// The authority may be limited in further ways, such as to a domain.
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	_, err = issued.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: notBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, &Problem{fmt.Sprintf("the authority %v may not issue this certificate (%v)", authority, err), "change what is asked for, or use another authority"}
	}
	return issued, nil
}

// checkAuthority reports why the pair cannot issue certificates for the time.
func (p Pair) checkAuthority(notBefore, notAfter time.Time) error {
	const another = "use the certificate and key of an authority"
	c := p.Certificate
	switch {
	case c == nil:
		return &Problem{"the authority has no certificate", "give its certificate together with its key"}
	case p.Key == nil:
		return &Problem{fmt.Sprintf("the authority %v has no private key", p), "give its certificate together with its key"}
	case !SameKey(c.PublicKey, p.Key.Public()):
		return &Problem{fmt.Sprintf("the private key does not belong to the authority %v", p), "give the key that was made together with it"}
	case !c.BasicConstraintsValid || !c.IsCA:
		return &Problem{fmt.Sprintf("certificate %v is not an authority's (it has no basic constraint CA)", p), another}
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return &Problem{fmt.Sprintf("certificate %v may not sign others (its key usage lacks keyCertSign)", p), another}
	case notBefore.Before(c.NotBefore):
		return &Problem{fmt.Sprintf("the certificate would begin on %s, before the authority %v does", utc(notBefore), p), "begin on " + utc(c.NotBefore) + " or later"}
	case notAfter.After(c.NotAfter):
		return &Problem{fmt.Sprintf("the certificate would end on %s, after the authority %v does", utc(notAfter), p), "end on " + utc(c.NotAfter) + " or earlier, or renew the authority first"}
	}
	return nil
}

// Join puts a key and the certificate that an authority made for it together. The
// certificates may come in any order; each of the chain must have been signed by
// the next. The authority at its top may be missing, one in between may not. What
// the key signed for itself is left out if there is a certificate of an authority's.
// Its errors are [*Problem].
func Join(key crypto.Signer, certificates []*x509.Certificate) (Pair, error) {
	if key == nil {
		return Pair{}, &Problem{"there is no private key", "give the key that the request was made with"}
	}
	if len(certificates) > maxChain {
		return Pair{}, &Problem{fmt.Sprintf("there are %d certificates", len(certificates)), "give the key's own certificate and those of its issuers alone"}
	}
	var own, others []*x509.Certificate
	for _, c := range certificates {
		switch {
		case c == nil || slices.ContainsFunc(others, c.Equal) || slices.ContainsFunc(own, c.Equal):
		case !SameKey(c.PublicKey, key.Public()):
			others = append(others, c)
		default:
			own = append(own, c)
		}
	}
	if answers := slices.DeleteFunc(slices.Clone(own), selfSigned); len(answers) > 0 {
		own = answers
	}
	switch len(own) {
	case 1:
	case 0:
		if len(others) == 0 {
			return Pair{}, &Problem{"there is no certificate", "give the one that the authority made"}
		}
		return Pair{}, &Problem{
			fmt.Sprintf("the private key (%s) belongs to none of the certificates: %s", keyKind(key.Public()), names(others)),
			"give the key that the request was made with, or the certificate that was made for it",
		}
	default:
		return Pair{}, &Problem{"several certificates are for this private key: " + names(own), "choose one by its thumbprint, or leave the others out"}
	}
	leaf := own[0]
	p := Pair{Certificate: leaf, Key: key}
	for last := leaf; !bytes.Equal(last.RawIssuer, last.RawSubject); {
		next, err := issuerOf(last, others)
		if err != nil {
			return Pair{}, err
		}
		if next == nil {
			break
		}
		p.Chain = append(p.Chain, next)
		others = slices.DeleteFunc(others, next.Equal)
		last = next
	}
	if len(others) > 0 {
		last := leaf
		if n := len(p.Chain); n > 0 {
			last = p.Chain[n-1]
		}
		if bytes.Equal(last.RawIssuer, last.RawSubject) {
			return Pair{}, &Problem{fmt.Sprintf("these certificates do not belong to the chain of %v: %s", p, names(others)), "leave them out"}
		}
		return Pair{}, &Problem{
			fmt.Sprintf("the chain of %v breaks: the issuer of %v, %s, is missing, and these do not fit: %s", p, Pair{Certificate: last}, shown(FormatName(last.Issuer)), names(others)),
			"add the certificate of that issuer, or leave the others out",
		}
	}
	return p, nil
}

// issuerOf finds the certificate that signed another, or none. It fails if one has
// the issuer's name and cannot be shown to have signed it.
func issuerOf(c *x509.Certificate, among []*x509.Certificate) (*x509.Certificate, error) {
	var failed error
	for _, issuer := range among {
		if !bytes.Equal(c.RawIssuer, issuer.RawSubject) || !verifiable(issuer.PublicKey) {
			continue
		}
		err := c.CheckSignatureFrom(issuer)
		if err == nil {
			return issuer, nil
		}
		failed = &Problem{
			fmt.Sprintf("certificate %v names %v as its issuer, which does not prove to have signed it (%v)", Pair{Certificate: c}, Pair{Certificate: issuer}, err),
			"get the chain from the authority anew; if it is signed with an old algorithm such as SHA-1, leave that issuer and those above it out",
		}
	}
	return nil, failed
}

// names lists certificates for people, the first few of them.
func names(certificates []*x509.Certificate) string {
	const most = 5
	var parts []string
	for _, c := range certificates[:min(len(certificates), most)] {
		parts = append(parts, Pair{Certificate: c}.String())
	}
	if more := len(certificates) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}
