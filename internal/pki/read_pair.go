package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
)

// Pair returns the one private key with its certificate and the issuers of that. The
// certificate is the one whose public key is the private key's, wherever it stands;
// of several such, the one that expires last. Its errors are [*Problem].
func (c *Contents) Pair() (Pair, error) {
	switch {
	case len(c.Certificates) == 0 && len(c.Keys) == 0 && len(c.Requests) > 0:
		return Pair{}, &Problem{
			fmt.Sprintf("the input is a certificate request (for %s), not a certificate", shown(FormatName(c.Requests[0].Subject))),
			"send it to an authority, and give the certificate that comes back together with the private key",
		}
	case len(c.Certificates) == 0 && len(c.Keys) == 0:
		return Pair{}, &Problem{"the input holds neither a certificate nor a private key", giveFile}
	case len(c.Keys) == 0 && c.Format == FormatPKCS12:
		return Pair{}, &Problem{
			fmt.Sprintf("the PFX file holds no private key, only %s", names(c.Certificates)),
			"export it again with the key (Windows: \"Yes, export the private key\")",
		}
	case len(c.Keys) == 0:
		return Pair{}, &Problem{
			fmt.Sprintf("the input holds certificate %s and no private key", names(c.Certificates)),
			"a .cer or .crt file is the public half alone; use the PFX or PEM file that was made together with the key",
		}
	case len(c.Certificates) == 0:
		return Pair{}, &Problem{"the input holds a private key and no certificate", "add the certificate (its PEM text may stand in the same file)"}
	}
	var pairs []Pair
	for i, key := range c.Keys {
		again := false
		for _, earlier := range c.Keys[:i] {
			again = again || SameKey(earlier.Public(), key.Public())
		}
		if leaf := certificateOf(key, c.Certificates); leaf != nil && !again {
			pairs = append(pairs, Pair{Certificate: leaf, Key: key})
		}
	}
	switch len(pairs) {
	case 0:
		return Pair{}, &Problem{
			"the private key does not belong to the certificate in the same input: " + names(c.Certificates),
			"give the certificate and the key that were made together; a renewed certificate often has a new key",
		}
	case 1:
		pairs[0].Chain = issuers(pairs[0].Certificate, c.Certificates)
		return pairs[0], nil
	}
	leaves := make([]*x509.Certificate, len(pairs))
	for i, p := range pairs {
		leaves[i] = p.Certificate
	}
	return Pair{}, &Problem{
		"the input holds several private keys with their certificates: " + names(leaves),
		"choose one by its thumbprint, or export only the one that is wanted",
	}
}

// certificateOf finds the certificate of a key that expires last; nil if there is none.
func certificateOf(key crypto.Signer, certificates []*x509.Certificate) *x509.Certificate {
	var leaf *x509.Certificate
	for _, c := range certificates {
		if SameKey(c.PublicKey, key.Public()) && (leaf == nil || c.NotAfter.After(leaf.NotAfter)) {
			leaf = c
		}
	}
	return leaf
}

// maxVerifications bounds how many signatures are looked at to order a chain.
const maxVerifications = 50

// issuers follows issuer names from the leaf upwards through the certificates. Where
// several have the name, the one counts whose key signed; else whose key the
// certificate names; else the one that expires last.
func issuers(leaf *x509.Certificate, certificates []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	bySubject := map[string][]*x509.Certificate{}
	for _, c := range certificates {
		bySubject[string(c.RawSubject)] = append(bySubject[string(c.RawSubject)], c)
	}
	used := map[string]bool{string(leaf.Raw): true}
	left := maxVerifications
	for last := leaf; !bytes.Equal(last.RawIssuer, last.RawSubject); {
		var next *x509.Certificate
		best := -1
		candidates := bySubject[string(last.RawIssuer)]
		for _, c := range candidates {
			if used[string(c.Raw)] {
				continue
			}
			rank := 0
			if len(last.AuthorityKeyId) > 0 && bytes.Equal(c.SubjectKeyId, last.AuthorityKeyId) {
				rank = 1
			}
			if len(candidates) > 1 && left > 0 && verifiable(c.PublicKey) {
				left--
				if c.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature) == nil {
					rank = 2
				}
			}
			if rank > best || rank == best && c.NotAfter.After(next.NotAfter) {
				next, best = c, rank
			}
		}
		if next == nil {
			break
		}
		used[string(next.Raw)] = true
		chain = append(chain, next)
		last = next
	}
	return chain
}
