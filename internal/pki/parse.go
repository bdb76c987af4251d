package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// MaxFileSize is the largest input that [Parse] reads, in bytes.
const MaxFileSize = 1 << 20

// Parse reads one private key and its certificate from PEM text, from a PKCS#12
// (PFX) file, or from the base64 of one, which is how Key Vault and CI systems hand
// it over. The certificate is the one whose public key is the private key's,
// wherever it stands; of several such, the one that expires last. The password is
// for PKCS#12 alone. Errors hold neither the password nor any byte of a key.
func Parse(data []byte, password string) (Pair, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	switch {
	case len(data) > MaxFileSize:
		return Pair{}, fmt.Errorf("the input has %d bytes, which is no certificate with its key (the limit is %d)", len(data), MaxFileSize)
	case len(bytes.TrimSpace(data)) == 0:
		return Pair{}, errors.New("the input is empty")
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return Pair{}, errors.New("the input is UTF-16 text: save it as UTF-8 or ASCII")
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return parsePEM(data)
	case data[0] == 0x30:
		return parseDER(data, password)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
	if err != nil || len(der) == 0 || der[0] != 0x30 {
		return Pair{}, errors.New("the input is neither PEM text nor a PKCS#12 (PFX) file nor the base64 of one")
	}
	return parseDER(der, password)
}

// parsePEM reads certificates and a key in any order.
func parsePEM(data []byte) (Pair, error) {
	var certificates []*x509.Certificate
	var key crypto.Signer
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return Pair{}, fmt.Errorf("reading certificate %d of the PEM text: %w", len(certificates)+1, err)
			}
			certificates = append(certificates, c)
			continue
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // parameters, requests, revocation lists
		}
		if key != nil {
			return Pair{}, errors.New("the PEM text holds several private keys: leave only the one that belongs to the certificate")
		}
		var err error
		if key, err = parsePEMKey(block); err != nil {
			return Pair{}, err
		}
	}
	return match(certificates, key)
}

func parsePEMKey(block *pem.Block) (crypto.Signer, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errors.New("the private key in the PEM text is encrypted: put certificate and key into a PFX file, whose password can be given (openssl pkcs12 -export -in FILE.pem -out FILE.pfx)")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("the PEM text holds a private key of a kind that cannot be read (%q): convert it by openssl pkey -in FILE.pem", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the private key of the PEM text: %w", err)
	}
	return signer(key)
}

func signer(key any) (crypto.Signer, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the private key cannot sign (%T): an RSA key is needed", key)
	}
	return s, nil
}

// match finds the key's certificate among the given ones and orders its issuers.
func match(certificates []*x509.Certificate, key crypto.Signer) (Pair, error) {
	switch {
	case len(certificates) == 0 && key == nil:
		return Pair{}, errors.New("the input holds neither a certificate nor a private key")
	case key == nil:
		return Pair{}, errNoKey(certificates[0])
	case len(certificates) == 0:
		return Pair{}, errors.New("the input holds a private key and no certificate: add the certificate (its PEM text may stand in the same file)")
	}
	var leaf *x509.Certificate
	for _, c := range certificates {
		if sameKey(c.PublicKey, key.Public()) && (leaf == nil || c.NotAfter.After(leaf.NotAfter)) {
			leaf = c
		}
	}
	if leaf == nil {
		names := make([]string, len(certificates))
		for i, c := range certificates {
			names[i] = Pair{Certificate: c}.String()
		}
		return Pair{}, fmt.Errorf("the private key does not belong to the certificate in the same input: %s", strings.Join(names, ", "))
	}
	return Pair{Certificate: leaf, Chain: issuers(leaf, certificates), Key: key}, nil
}

// issuers follows issuer names from the leaf upwards through the certificates.
func issuers(leaf *x509.Certificate, certificates []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	used := map[*x509.Certificate]bool{leaf: true}
	for last := leaf; !bytes.Equal(last.RawIssuer, last.RawSubject); {
		next := (*x509.Certificate)(nil)
		for _, c := range certificates {
			if !used[c] && bytes.Equal(c.RawSubject, last.RawIssuer) {
				next = c
				break
			}
		}
		if next == nil {
			break
		}
		used[next] = true
		chain = append(chain, next)
		last = next
	}
	return chain
}

func errNoKey(c *x509.Certificate) error {
	return fmt.Errorf("the input holds certificate %v and no private key: a .cer or .crt file is the public half alone; use the PFX or PEM file that was made together with the key", Pair{Certificate: c})
}
