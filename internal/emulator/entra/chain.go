package entra

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// mostCertificates is how long a chain in x5c may be.
const mostCertificates = 10

// certificateChain returns the certificates that an assertion brings along in
// x5c, the signer's first, or none.
func certificateChain(header token.Members) ([]*x509.Certificate, error) {
	raw, ok := header["x5c"]
	if !ok {
		return nil, nil
	}
	var encoded []string
	if err := json.Unmarshal(raw, &encoded); err != nil || len(encoded) == 0 || len(encoded) > mostCertificates {
		return nil, errors.New("its x5c is not a list of certificates")
	}
	var chain []*x509.Certificate
	for _, s := range encoded {
		der, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, errors.New("its x5c is not in standard base64")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("its x5c holds something that is no certificate")
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// checkSubject checks an assertion whose certificate is not registered, of an
// application that trusts a subject name and an issuing authority instead.
func (e *API) checkSubject(t token.JWT, alg string, chain []*x509.Certificate, app *directory.Application) error {
	trusted := slices.ContainsFunc(app.TrustedSubjects, func(s directory.TrustedSubject) bool {
		return hasSubject(chain[0], s.SubjectName) && issuedBy(chain, s.Authority)
	})
	if !trusted {
		return refuse(700030, "Invalid certificate - subject name in certificate isn't authorized. SubjectNames/SubjectAlternativeNames (up to 10) in token certificate are: %s.", strings.Join(subjectNames(chain[0]), ", "))
	}
	now := e.Cloud.Now()
	for _, c := range chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return refuse(7000274, "Client assertion contains an invalid signature. A certificate in x5c is outside its validity period.")
		}
	}
	if reason := verify(t, alg, chain[0].Raw); reason != "" {
		return refuse(7000274, "Client assertion contains an invalid signature. [Reason - %s]", reason)
	}
	return nil
}

func subjectNames(c *x509.Certificate) []string {
	names := []string{c.Subject.CommonName}
	return append(names, c.DNSNames[:min(len(c.DNSNames), 9)]...)
}

func hasSubject(c *x509.Certificate, name string) bool {
	return name != "" && slices.ContainsFunc(append([]string{c.Subject.CommonName}, c.DNSNames...), func(n string) bool { return strings.EqualFold(n, name) })
}

// issuedBy reports whether each certificate of a chain signed the one before
// it, up to one that the authority, given as DER, signed.
func issuedBy(chain []*x509.Certificate, authority []byte) bool {
	root, err := x509.ParseCertificate(authority)
	if err != nil {
		return false
	}
	for i, c := range chain {
		if c.CheckSignatureFrom(root) == nil {
			return true
		}
		if i+1 == len(chain) || c.CheckSignatureFrom(chain[i+1]) != nil {
			return false
		}
	}
	return false
}
