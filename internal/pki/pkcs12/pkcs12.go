// Package pkcs12 reads PKCS#12 (PFX) files, whoever wrote them, and keys that are
// encrypted as PKCS#8 has it; it tells how they are protected. It is pure, and the
// work that a file can ask for is bounded.
//
// Sources: RFC 7292 (PKCS#12), RFC 8018 (PKCS#5), RFC 5958 (PKCS#8), RFC 9579
// (PBMAC1), RFC 2268 (RC2).
package pkcs12

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

// File is what a PKCS#12 file holds.
type File struct {
	Keys         []Key
	Certificates []Certificate
	Protection   Protection
}

// Key is a private key of a file. It prints, logs and marshals as its name, never as
// the key.
type Key struct {
	Signer crypto.Signer
	ID     []byte // localKeyId, which its certificate has as well
	Name   string // friendlyName
}

// String names the key.
func (k Key) String() string { return fmt.Sprintf("private key %.100q", k.Name) }

// Format prints the name whatever the verb, which keeps the key out of %#v and %d.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText keeps the key out of JSON and structured logs.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Certificate is a certificate of a file.
type Certificate struct {
	*x509.Certificate
	ID   []byte // localKeyId
	Name string // friendlyName
}

// Protection says how a file is protected.
type Protection struct {
	Keys         []Cipher // how the keys are encrypted, each kind once
	Certificates []Cipher // how the certificates are
	MAC          MAC      // how the whole is authenticated
	BER          bool     // written in BER that is not DER, as NSS does
	NoPassword   bool     // the empty password opened it
}

// Cipher is a way of encrypting by a password.
type Cipher struct {
	Name       string // "AES-256-CBC", "3DES-CBC", "RC2-40-CBC", …; empty for none
	KDF        string // "PBKDF2-HMAC-SHA-256", "PKCS#12 SHA-1", …
	Iterations int
}

// MAC is a way of authenticating by a password.
type MAC struct {
	Name       string // "HMAC-SHA-256", "PBMAC1-HMAC-SHA-256", …; empty for none
	Iterations int
}

// Bounds of what a file may hold and ask for.
const (
	maxSize = 1 << 20
	maxKeys = 100

	// maxWork is how many rounds of the hash SHA-256 are done to derive keys from
	// the password, in all of a file: they take 0.4 s here and a second on a slow
	// processor. It is enough for what asks for most, files of NSS with up to three
	// keys: 600,000 hashes for the MAC, and as many rounds of HMAC, of two hashes
	// each, for the certificates and for every key.
	maxWork = 6_000_000
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}

	oidKeyBag          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKeyBag  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidSafeContentsBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 6}

	oidX509Certificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidFriendlyName    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidLocalKeyID      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}
)

type pfx struct {
	Version  int
	AuthSafe contentInfo
	MAC      macData `asn1:"optional"`
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

type encryptedData struct {
	Version int
	Content struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Data      asn1.RawValue `asn1:"optional"` // [0], an octet string
	}
	Attributes asn1.RawValue `asn1:"optional"`
}

type safeBag struct {
	Type       asn1.ObjectIdentifier
	Value      asn1.RawValue  `asn1:"tag:0,explicit"`
	Attributes []bagAttribute `asn1:"set,optional"`
}

type bagAttribute struct {
	Type   asn1.ObjectIdentifier
	Values asn1.RawValue // a set
}

// reader reads one file.
type reader struct {
	password string
	work     int // what may still be done of maxWork
	// ways are those of giving the password, by whether they are PKCS#12's own, the
	// one that was right last first.
	ways    map[bool][][]byte
	opened  bool // the password decrypted something
	doubted bool // the password did not fit the MAC
	file    File
}

func newReader(password string) *reader {
	return &reader{
		password: password,
		work:     maxWork,
		ways:     map[bool][][]byte{true: bmpPasswords(password), false: bytePasswords(password)},
	}
}

// Read reads a PKCS#12 file. Its errors are [*Error].
func Read(data []byte, password string) (*File, error) {
	r := newReader(password)
	if err := r.read(data); err != nil {
		return nil, about("the PFX file", err)
	}
	r.file.Protection.NoPassword = password == ""
	return &r.file, nil
}

// DecryptKey decrypts a PKCS#8 EncryptedPrivateKeyInfo to a PKCS#8 PrivateKeyInfo,
// both in DER, and tells how it was encrypted. Its errors are [*Error].
func DecryptKey(der []byte, password string) (pkcs8 []byte, _ Cipher, _ error) {
	return NewDecrypter(password).Key(der)
}

// Decrypter decrypts the keys of one file, with the bound on the work for all of
// them together.
type Decrypter struct{ r *reader }

// NewDecrypter starts the reading of a file.
func NewDecrypter(password string) *Decrypter { return &Decrypter{newReader(password)} }

// Key does what [DecryptKey] does.
func (d *Decrypter) Key(der []byte) (pkcs8 []byte, _ Cipher, _ error) {
	pkcs8, c, err := d.r.decryptKey(der)
	if err != nil {
		return nil, Cipher{}, about("the encrypted private key", err)
	}
	return pkcs8, c, nil
}

func (r *reader) decryptKey(data []byte) ([]byte, Cipher, error) {
	der, err := r.der(data)
	if err != nil {
		return nil, Cipher{}, err
	}
	var info encryptedPrivateKeyInfo
	if unmarshal(der, &info) != nil {
		return nil, Cipher{}, damaged("it is not well-formed")
	}
	return r.decrypt(info.Algorithm, info.Data)
}

// der reads what must be one BER element.
func (r *reader) der(data []byte) ([]byte, error) {
	if len(data) > maxSize {
		return nil, &Error{Cause: fmt.Sprintf("has %d bytes; no more than %d are read", len(data), maxSize), Remedy: "give a file that holds a few keys and certificates alone"}
	}
	der, rest, err := DER(data)
	if err == nil && len(bytes.Trim(rest, "\x00\r\n \t")) > 0 {
		err = fmt.Errorf("%d bytes follow its end", len(rest))
	}
	if err != nil {
		return nil, damaged(err.Error())
	}
	if !bytes.Equal(der, data[:len(data)-len(rest)]) {
		r.file.Protection.BER = true
	}
	return der, nil
}

func (r *reader) read(data []byte) error {
	der, err := r.der(data)
	if err != nil {
		return err
	}
	var p pfx
	if unmarshal(der, &p) != nil {
		return damaged("it is not well-formed")
	}
	switch {
	case p.Version != 3:
		return &Error{Cause: fmt.Sprintf("is of version %d; there is only version 3", p.Version), Remedy: again}
	case p.AuthSafe.Type.Equal(oidSignedData):
		return &Error{Cause: "is signed with a certificate in place of a password, which is not read", Remedy: "export it again with a password"}
	}
	authSafe, err := content(p.AuthSafe)
	if err != nil {
		return err
	}
	var safes []contentInfo
	if safesDER, err := r.der(authSafe); err != nil {
		return err
	} else if unmarshal(safesDER, &safes) != nil {
		return damaged("its list of contents is not well-formed")
	}
	if p.MAC.Digest.Algorithm.Algorithm != nil {
		if err := r.verify(p.MAC, authSafe, safes); err != nil {
			return err
		}
	}
	for _, safe := range safes {
		if err := r.readSafe(safe); err != nil {
			return err
		}
	}
	return nil
}

// content is the octet string in a content info of the type data.
func content(c contentInfo) ([]byte, error) {
	if !c.Type.Equal(oidData) {
		return nil, damaged("its content is of an unknown type")
	}
	var octets []byte
	if unmarshal(c.Content.Bytes, &octets) != nil {
		return nil, damaged("its content is not well-formed")
	}
	return octets, nil
}

// readSafe reads a part of the file, which is encrypted or is not.
func (r *reader) readSafe(safe contentInfo) error {
	switch {
	case safe.Type.Equal(oidEncryptedData):
		algorithm, data, err := encrypted(safe)
		if err != nil {
			return err
		}
		plain, c, err := r.decrypt(algorithm, data)
		if err != nil {
			return err
		}
		return r.readBags(plain, c, 0)
	case safe.Type.Equal(oidEnvelopedData):
		return &Error{Cause: "is encrypted for the holder of a certificate or for users of a Windows domain, not by a password", Remedy: "export it again with a password (Windows: tick \"Password\", not \"Group or user names\")"}
	}
	data, err := content(safe)
	if err != nil {
		return err
	}
	return r.readBags(data, Cipher{}, 0)
}

// encrypted takes encrypted data apart.
func encrypted(safe contentInfo) (_ pkix.AlgorithmIdentifier, data []byte, _ error) {
	bad := damaged("its encrypted part is not well-formed")
	var e encryptedData
	if unmarshal(safe.Content.Bytes, &e) != nil {
		return e.Content.Algorithm, nil, bad
	}
	raw := e.Content.Data
	if raw.Class != asn1.ClassContextSpecific || raw.Tag != 0 {
		return e.Content.Algorithm, nil, bad
	}
	if !raw.IsCompound {
		return e.Content.Algorithm, raw.Bytes, nil
	}
	// In BER the octet string may be in pieces, under the tag [0].
	for rest := raw.Bytes; len(rest) > 0; {
		var piece []byte
		var err error
		if rest, err = asn1.Unmarshal(rest, &piece); err != nil {
			return e.Content.Algorithm, nil, bad
		}
		data = append(data, piece...)
	}
	return e.Content.Algorithm, data, nil
}

// decrypt decrypts what must be one BER element, and gives it as DER.
func (r *reader) decrypt(a pkix.AlgorithmIdentifier, data []byte) ([]byte, Cipher, error) {
	way, err := readPBE(a)
	if err != nil {
		return nil, Cipher{}, err
	}
	var plain []byte
	if err := r.try(way.bmp, way.cost, func(password []byte) bool {
		opened, err := way.open(password, data)
		if err != nil {
			return false
		}
		der, rest, err := DER(opened)
		if err != nil || len(rest) > 0 || der[0] != tagSequence {
			return false
		}
		if !bytes.Equal(der, opened) {
			r.file.Protection.BER = true
		}
		plain, r.opened = der, true
		return true
	}); err != nil {
		return nil, Cipher{}, err
	}
	return plain, way.Cipher, nil
}

// try gives the password in each way until one is right.
func (r *reader) try(bmp bool, cost int, right func(password []byte) bool) error {
	if cost > maxWork {
		return tooMuch(fmt.Sprintf("as much as %d rounds for one key", cost/2))
	}
	ways := r.ways[bmp]
	for i, password := range ways {
		if r.work -= cost; r.work < 0 {
			if i > 0 || r.doubted {
				break
			}
			return tooMuch("more than its other keys leave")
		}
		if right(password) {
			ways[0], ways[i] = ways[i], ways[0]
			return nil
		}
	}
	if r.file.Protection.MAC.Name != "" {
		return damaged("its integrity check is right and yet the password does not decrypt all of it")
	}
	return wrongPassword(r.password, ", or the file is damaged")
}

// readBags reads what is in a part of the file, encrypted by c.
func (r *reader) readBags(data []byte, c Cipher, depth int) error {
	const maxNesting = 8
	der, err := r.der(data)
	if err != nil {
		return err
	}
	var bags []safeBag
	if unmarshal(der, &bags) != nil || depth > maxNesting {
		return damaged("a list of keys and certificates in it is not well-formed")
	}
	for _, bag := range bags {
		switch {
		case bag.Type.Equal(oidKeyBag):
			err = r.addKey(bag, bag.Value.Bytes, c)
		case bag.Type.Equal(oidShroudedKeyBag):
			var pkcs8 []byte
			var inner Cipher
			if pkcs8, inner, err = r.decryptKey(bag.Value.Bytes); err == nil {
				err = r.addKey(bag, pkcs8, inner)
			}
		case bag.Type.Equal(oidCertBag):
			err = r.addCertificate(bag, c)
		case bag.Type.Equal(oidSafeContentsBag):
			err = r.readBags(bag.Value.Bytes, c, depth+1)
		} // others hold revocation lists and secrets
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) addKey(bag safeBag, pkcs8 []byte, c Cipher) error {
	if len(r.file.Keys) == maxKeys {
		return &Error{Cause: fmt.Sprintf("holds more than %d private keys", maxKeys), Remedy: "export fewer at a time"}
	}
	signer, err := parseKey(pkcs8)
	if err != nil {
		err.of = fmt.Sprintf("private key %d of ", len(r.file.Keys)+1)
		return err
	}
	key := Key{Signer: signer}
	key.ID, key.Name = attributes(bag)
	r.file.Keys = append(r.file.Keys, key)
	addCipher(&r.file.Protection.Keys, c)
	return nil
}

func (r *reader) addCertificate(bag safeBag, c Cipher) error {
	var cert struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"tag:0,explicit"`
	}
	if unmarshal(bag.Value.Bytes, &cert) != nil {
		return damaged("a certificate in it is not well-formed")
	}
	if !cert.Type.Equal(oidX509Certificate) {
		return &Error{Cause: "holds a certificate that is not an X.509 one (SDSI)", Remedy: "export the X.509 certificate"}
	}
	var der []byte
	if unmarshal(cert.Value.Bytes, &der) != nil {
		return damaged("a certificate in it is not well-formed")
	}
	parsed, err := parseCertificate(der)
	if err != nil {
		err.of = fmt.Sprintf("certificate %d of ", len(r.file.Certificates)+1)
		return err
	}
	certificate := Certificate{Certificate: parsed}
	certificate.ID, certificate.Name = attributes(bag)
	r.file.Certificates = append(r.file.Certificates, certificate)
	addCipher(&r.file.Protection.Certificates, c)
	return nil
}

func addCipher(ciphers *[]Cipher, c Cipher) {
	if !slices.Contains(*ciphers, c) {
		*ciphers = append(*ciphers, c)
	}
}

// attributes reads a bag's localKeyId and friendlyName; such as cannot be read are
// as if they were not there, for nothing hangs on them.
func attributes(bag safeBag) (id []byte, name string) {
	for _, a := range bag.Attributes {
		var value asn1.RawValue
		if _, err := asn1.Unmarshal(a.Values.Bytes, &value); err != nil {
			continue
		}
		switch {
		case a.Type.Equal(oidLocalKeyID) && value.Tag == asn1.TagOctetString:
			id = value.Bytes
		case a.Type.Equal(oidFriendlyName) && value.Tag == asn1.TagBMPString:
			units := make([]uint16, len(value.Bytes)/2)
			for i := range units {
				units[i] = uint16(value.Bytes[2*i])<<8 | uint16(value.Bytes[2*i+1])
			}
			name = strings.TrimRight(string(utf16.Decode(units)), "\x00")
		}
	}
	return id, name
}
