package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// maxIterations bounds the work that a file can ask for when a key is derived from
// its password: to about two seconds. Writers use from one to a million rounds.
const maxIterations = 2_000_000

// parseDER reads a PKCS#12 file, or says what else the DER is.
func parseDER(der []byte, password string) (Pair, error) {
	if len(der) > 1 && der[1] == 0x80 {
		return Pair{}, errors.New("the PFX file is written in BER of indefinite length (Firefox and NSS do that), which cannot be read: convert it (openssl pkcs12 -in FILE.pfx -out FILE.pem -nodes; openssl pkcs12 -export -in FILE.pem -out NEW.pfx)")
	}
	if c, err := x509.ParseCertificate(der); err == nil {
		return Pair{}, errNoKey(c)
	}
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return Pair{}, errors.New("the input holds a private key and no certificate: put both into one PFX or PEM file")
	}
	if err := checkIterations(der, 0); err != nil {
		return Pair{}, err
	}
	key, first, others, err := pkcs12.DecodeChain(der, password)
	if err != nil && password != "" {
		// A file without any protection has no use for a password.
		if k, f, o, plain := pkcs12.DecodeChain(der, ""); plain == nil {
			key, first, others, err = k, f, o, nil
		}
	}
	if err != nil {
		return Pair{}, pkcs12Error(err, password)
	}
	s, err := signer(key)
	if err != nil {
		return Pair{}, err
	}
	return match(append([]*x509.Certificate{first}, others...), s)
}

// pkcs12Error says what to do about an error of the PKCS#12 reader, which names
// most of its findings by text only.
func pkcs12Error(err error, password string) error {
	var unknown pkcs12.NotImplementedError
	text := strings.TrimPrefix(err.Error(), "pkcs12: ")
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && password == "":
		return errors.New("the PFX file has a password and none was given")
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return errors.New("the password of the PFX file is wrong")
	case text == "private key missing":
		return errors.New("the PFX file holds no private key: export it again with the key (Windows: \"Yes, export the private key\")")
	case text == "certificate missing":
		return errors.New("the PFX file holds a private key and no certificate: export it again with the certificate")
	case text == "expected exactly one key bag":
		return errors.New("the PFX file holds several private keys: export the one certificate that signs in, alone")
	case text == "no MAC in data":
		return errors.New("the PFX file has no integrity check and cannot be opened with a password: export it again with one")
	case errors.As(err, &unknown):
		return fmt.Errorf("the PFX file uses a protection that cannot be read (%s): convert it (openssl pkcs12 -in FILE.pfx -out FILE.pem -nodes; openssl pkcs12 -export -in FILE.pem -out NEW.pfx)", text)
	default:
		return fmt.Errorf("the PFX file cannot be read: %s", text)
	}
}

// checkIterations refuses a PKCS#12 file that asks for an absurd number of rounds.
// In each of its structures that hold such a number (RFC 7292 and RFC 8018) it is
// the integer that follows the octet string of the salt. What is encrypted cannot
// be seen here; whoever wrote that knows the password.
func checkIterations(der []byte, depth int) error {
	const maxDepth = 24
	afterSalt := false
	for len(der) > 0 && depth < maxDepth {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return nil // not DER: the bytes of an octet string, or a broken file
		}
		universal := v.Class == asn1.ClassUniversal
		if universal && v.Tag == asn1.TagInteger && afterSalt && tooMany(v.FullBytes) {
			return fmt.Errorf("the PFX file asks for more than %d rounds to derive its key from the password: export it again with the usual number", maxIterations)
		}
		afterSalt = universal && v.Tag == asn1.TagOctetString
		if v.IsCompound || afterSalt {
			if err := checkIterations(v.Bytes, depth+1); err != nil {
				return err
			}
		}
		der = rest
	}
	return nil
}

func tooMany(der []byte) bool {
	var n int64
	_, err := asn1.Unmarshal(der, &n)
	return err != nil || n > maxIterations
}
