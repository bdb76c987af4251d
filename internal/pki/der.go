package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// Object identifiers that tell forms of DER apart.
var (
	oidPKCS7SignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// readDER reads BER or DER of whatever form.
func (r *reader) readDER(data []byte) error {
	der, rest, err := pkcs12.DER(data)
	if err != nil {
		return r.brokenDER(data)
	}
	if rest = bytes.TrimLeft(rest, "\x00\r\n \t"); len(rest) > 0 {
		// A trusted certificate of OpenSSL has its purposes after it; other things, such
		// as another certificate or the key, are not for us to pass over.
		if formOf(der) != formCertificate || !arePurposes(rest) {
			return &Problem{
				fmt.Sprintf("the input goes on for %d bytes after its end", len(rest)),
				"get a new copy of the file; if it is several files in one, give them one by one",
			}
		}
	}
	switch form := formOf(der); form {
	case formPKCS12:
		return r.readPKCS12(data)
	case formCertificate:
		r.setFormat(FormatCertificate)
		return r.addCertificate(der)
	case formRequest:
		r.setFormat(FormatRequest)
		return r.addRequest(der)
	case formPKCS7:
		r.setFormat(FormatPKCS7)
		return r.readPKCS7(der)
	case formKey:
		r.setFormat(FormatKey)
		return r.addKey(der)
	case formEncryptedKey:
		r.setFormat(FormatKey)
		return r.addEncryptedKey(der)
	default:
		if p := derProblems[form]; p.Cause != "" {
			return &p
		}
	}
	return errUnknown()
}

// arePurposes reports whether DER may be what OpenSSL writes after a certificate that
// it trusts.
func arePurposes(data []byte) bool {
	der, _, err := pkcs12.DER(data)
	if err != nil {
		return false
	}
	switch formOf(der) {
	case formUnknown:
		return true
	case formEncryptedKey: // With a key identifier they look like that.
		var key struct {
			Cipher struct {
				Algorithm  asn1.ObjectIdentifier
				Parameters asn1.RawValue `asn1:"optional"`
			}
			Data []byte
		}
		_, err := asn1.Unmarshal(der, &key)
		return err != nil || key.Cipher.Parameters.Tag != asn1.TagSequence
	}
	return false
}

// setFormat notes the form of the whole file, which is PEM already if this is about
// a part of PEM text.
func (r *reader) setFormat(f Format) {
	if r.Format == "" {
		r.Format = f
	}
}

// form is a form of DER.
type form int

const (
	formUnknown form = iota
	formCertificate
	formRequest
	formPKCS7
	formPKCS12
	formKey
	formEncryptedKey
	formDSA
	formPublicKey
	formRevocationList
	formBCFKS
	formEnveloped
)

var derProblems = map[form]Problem{
	formDSA:            {"the private key is a DSA key, which cannot be used", "make a new certificate with an RSA key of 2048 bits or more, which is what Entra ID takes"},
	formPublicKey:      publicKeyProblem,
	formRevocationList: {"the input is a certificate revocation list", "give the certificate, or the PFX or PEM file that was made together with the key"},
	formBCFKS:          {"the input is a Bouncy Castle key store (BCFKS)", "convert it: keytool -importkeystore -srckeystore FILE -srcstoretype BCFKS -providername BCFIPS -destkeystore NEW.pfx -deststoretype PKCS12"},
	formEnveloped:      {"the input is an encrypted or other message (CMS), not a list of certificates", "give the certificate, or the PFX or PEM file that was made together with the key"},
}

// formOf tells what a piece of DER is by the types of its first elements.
func formOf(der []byte) form {
	const (
		integer, bitString, octets, oid, sequence = "\x02", "\x03", "\x04", "\x06", "\x30"
	)
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return formUnknown
	}
	shape, first := shapeOf(outer.Bytes)
	inner, _ := shapeOf(first.Bytes)
	switch {
	case strings.HasPrefix(shape, sequence+sequence+bitString):
		// A certificate, a request or a revocation list, by what is signed.
		switch {
		case strings.HasPrefix(inner, "\xa0"), strings.HasPrefix(inner, integer+sequence+sequence+sequence+sequence):
			return formCertificate
		case strings.HasPrefix(inner, integer+sequence+sequence+"\xa0"), inner == integer+sequence+sequence:
			return formRequest
		case strings.HasPrefix(inner, integer+sequence+sequence), strings.HasPrefix(inner, sequence+sequence):
			return formRevocationList
		}
	case strings.HasPrefix(shape, integer+sequence+octets):
		return formKey // PKCS#8
	case strings.HasPrefix(shape, integer+sequence):
		return formPKCS12
	case shape == integer+integer:
		return formPublicKey // PKCS#1
	case shape == strings.Repeat(integer, 6):
		return formDSA
	case strings.HasPrefix(shape, strings.Repeat(integer, 8)):
		return formKey // PKCS#1
	case strings.HasPrefix(shape, integer+octets):
		return formKey // SEC 1
	case shape == sequence+octets && strings.HasPrefix(inner, oid):
		return formEncryptedKey
	case shape == sequence+bitString && strings.HasPrefix(inner, oid):
		return formPublicKey
	case shape == sequence+sequence && (inner == sequence+octets || strings.HasPrefix(inner, integer)):
		return formBCFKS
	case strings.HasPrefix(shape, oid+"\xa0"):
		var id asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(outer.Bytes, &id); err == nil && id.Equal(oidPKCS7SignedData) {
			return formPKCS7
		}
		return formEnveloped
	}
	return formUnknown
}

// shapeOf gives the identifier octets of up to ten elements, and the first element.
func shapeOf(der []byte) (shape string, first asn1.RawValue) {
	for len(der) > 0 && len(shape) < 10 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			break
		}
		if shape == "" {
			first = v
		}
		shape += string(der[:1])
		der = rest
	}
	return shape, first
}

// brokenDER says what seems to be wrong with data that starts as DER does.
func (r *reader) brokenDER(data []byte) error {
	what := "the input"
	if bytes.Contains(data[:min(len(data), 64)], []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x07")) {
		what = "the PFX file"
	}
	if len(data) > 1 && data[1] == 0x80 {
		return &Problem{what + " cannot be read: it is cut off or damaged", "get a new copy of the file, in binary mode"}
	}
	if size, at := lengthOf(data); size > len(data)-at {
		return &Problem{
			fmt.Sprintf("%s cannot be read: it is cut off, for only %d of its %d bytes are there", what, len(data), size+at),
			"get a new copy of the file, in binary mode; a variable or a form may hold less than the file is long",
		}
	}
	return &Problem{what + " cannot be read: it is damaged", "get a new copy of the file, in binary mode, or export it again"}
}

// lengthOf reads the length that the first element of DER names, and where its
// content starts.
func lengthOf(data []byte) (size, at int) {
	if len(data) < 2 {
		return 0, 0
	}
	if size, at = int(data[1]), 2; size < 0x80 {
		return size, at
	}
	more := size & 0x7f
	size = 0
	for ; more > 0 && at < len(data) && size < 1<<22; more-- {
		size = size<<8 | int(data[at])
		at++
	}
	return size, at
}

func (r *reader) readPKCS12(data []byte) error {
	if r.PKCS12 != nil { // each would have a bound on its work of its own
		return &Problem{"the input holds several PFX files", "give them one by one"}
	}
	f, err := pkcs12.Read(data, r.password)
	if err != nil {
		return r.problem(err)
	}
	r.setFormat(FormatPKCS12)
	r.PKCS12 = &f.Protection
	for _, c := range f.Certificates {
		r.Certificates = append(r.Certificates, c.Certificate)
	}
	for _, k := range f.Keys {
		r.Keys = append(r.Keys, k.Signer)
	}
	return nil
}

func (r *reader) addCertificate(der []byte) error {
	c, err := pkcs12.ParseCertificate(der)
	if err != nil {
		p := r.problem(err)
		p.Cause = strings.Replace(p.Cause, "the certificate", fmt.Sprintf("certificate %d of the input", len(r.Certificates)+1), 1)
		return p
	}
	r.Certificates = append(r.Certificates, c)
	return nil
}

func (r *reader) addRequest(der []byte) error {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return &Problem{"the certificate request cannot be read: " + shown(strings.TrimPrefix(err.Error(), "x509: ")), "make a new request"}
	}
	if !verifiable(request.PublicKey) {
		return &Problem{
			fmt.Sprintf("the certificate request is for %s, and up to %d bits are read", keyKind(request.PublicKey), maxRSABits),
			"make a new key: " + list(KeyTypes()),
		}
	}
	r.Requests = append(r.Requests, request)
	return nil
}

func (r *reader) addKey(der []byte) error {
	if len(r.Keys) == maxKeys {
		return &Problem{fmt.Sprintf("the input holds more than %d private keys", maxKeys), "give them in several files"}
	}
	key, err := pkcs12.ParseKey(der)
	if err != nil {
		return r.problem(err)
	}
	if len(r.Keys) == 0 {
		r.KeyForm = keyForm(der)
	}
	r.Keys = append(r.Keys, key)
	return nil
}

// keyForm tells the form of a key that could be read.
func keyForm(der []byte) KeyForm {
	var key struct {
		Version int
		Second  asn1.RawValue
	}
	asn1.Unmarshal(der, &key)
	switch key.Second.Tag {
	case asn1.TagInteger:
		return KeyPKCS1
	case asn1.TagOctetString:
		return KeySEC1
	}
	return KeyPKCS8
}

func (r *reader) addEncryptedKey(der []byte) error {
	if r.decrypter == nil {
		r.decrypter = pkcs12.NewDecrypter(r.password)
	}
	pkcs8, cipher, err := r.decrypter.Key(der)
	if err != nil {
		return r.problem(err)
	}
	r.KeyCipher = &cipher
	return r.addKey(pkcs8)
}

// readPKCS7 reads the certificates of signed data, which is how authorities send
// them. Nobody signed anything in it, and what a signature says does not count.
func (r *reader) readPKCS7(der []byte) error {
	bad := &Problem{"the PKCS#7 file cannot be read: it is damaged", "get a new copy of the file, in binary mode, or export it again"}
	var info struct {
		Type    asn1.ObjectIdentifier
		Content struct {
			Version      int
			Digests      asn1.RawValue
			Content      asn1.RawValue
			Certificates asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return bad
	}
	for rest := info.Content.Certificates.Bytes; len(rest) > 0; {
		var c asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &c); err != nil {
			return bad
		}
		if c.Class != asn1.ClassUniversal {
			continue // an attribute certificate
		}
		if err := r.addCertificate(c.FullBytes); err != nil {
			return err
		}
	}
	if len(r.Certificates) == 0 {
		return &Problem{"the PKCS#7 file holds no certificate", "ask for it with its certificates"}
	}
	return nil
}

// problem makes an error of package pkcs12 one of ours.
func (r *reader) problem(err error) *Problem {
	var e *pkcs12.Error
	if errors.As(err, &e) {
		r.locked = r.locked || e.Password && r.password == ""
		return &Problem{e.Cause, e.Remedy}
	}
	return &Problem{err.Error(), "get a new copy of the file, or export it again"}
}
