package pkcs12

import (
	"crypto/hmac"
	"crypto/x509/pkix"
	"encoding/asn1"
)

var oidPBMAC1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}

type macData struct {
	Digest struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	Salt       []byte
	Iterations int `asn1:"optional,default:1"`
}

// mac is a way of authenticating, with its parameters.
type mac struct {
	MAC
	bmp    bool
	cost   int
	digest digest
	key    func(password []byte) ([]byte, error)
}

// readMAC reads how the file is authenticated. Its errors are [*Error].
func readMAC(m macData) (*mac, error) {
	a := m.Digest.Algorithm
	if a.Algorithm.Equal(oidPBMAC1) {
		return readPBMAC1(a.Parameters.FullBytes)
	}
	d, ok := digests[a.Algorithm.String()]
	if !ok {
		return nil, unknown("integrity check", a.Algorithm)
	}
	if err := checkRounds(m.Iterations); err != nil {
		return nil, err
	}
	return &mac{
		MAC:    MAC{"HMAC-" + d.name, m.Iterations},
		bmp:    true,
		cost:   m.Iterations * d.weight,
		digest: d,
		key: func(password []byte) ([]byte, error) {
			return pkcs12KDF(d, password, m.Salt, forMAC, m.Iterations, d.new().Size()), nil
		},
	}, nil
}

// readPBMAC1 reads RFC 9579's way, in which salt and rounds are the parameters'.
func readPBMAC1(der []byte) (*mac, error) {
	var p pbes2Parameters // PBMAC1's look the same
	if unmarshal(der, &p) != nil {
		return nil, damaged("the parameters of its integrity check are not well-formed")
	}
	d, ok := hmacs[p.Cipher.Algorithm.String()]
	if !ok {
		return nil, unknown("integrity check by PBMAC1", p.Cipher.Algorithm)
	}
	k, err := readKDF(p.KDF, 0)
	if err != nil {
		return nil, err
	}
	if k.size < 1 || k.size > 128 {
		return nil, damaged("the size of the key of its integrity check is not sensible")
	}
	return &mac{
		MAC:    MAC{"PBMAC1-HMAC-" + d.name, k.iterations},
		cost:   k.cost * blocks(dSHA1, k.size),
		digest: d,
		key:    func(password []byte) ([]byte, error) { return k.derive(password, k.size) },
	}, nil
}

// verify checks that the password and the file belong together.
func (r *reader) verify(m macData, authSafe []byte, safes []contentInfo) error {
	way, err := readMAC(m)
	if err != nil {
		return err
	}
	right := func(password []byte) bool {
		key, err := way.key(password)
		if err != nil {
			return false
		}
		h := hmac.New(way.digest.new, key)
		h.Write(authSafe)
		return hmac.Equal(h.Sum(nil), m.Digest.Digest)
	}
	err = r.try(way.bmp, way.cost, right)
	if e, ok := err.(*Error); ok && e.Password {
		return r.whyUnverified(way, right, safes)
	}
	if err != nil {
		return err
	}
	r.file.Protection.MAC = way.MAC
	return nil
}

// whyUnverified tells a wrong password from a damaged file.
func (r *reader) whyUnverified(way *mac, right func(password []byte) bool, safes []contentInfo) *Error {
	if r.password != "" {
		empty := newReader("")
		empty.work = r.work
		if empty.try(way.bmp, way.cost, right) == nil {
			return &Error{of: "the password of ", Cause: "is wrong: it is empty and one was given", Remedy: "give no password", Password: true}
		}
		r.work = empty.work
	}
	r.doubted = true
	for _, safe := range safes {
		if e, ok := r.readSafe(safe).(*Error); ok && !e.Password && !e.damage {
			return e
		}
	}
	if r.opened {
		return damaged("the password is right and yet its integrity check fails")
	}
	return wrongPassword(r.password, "")
}
