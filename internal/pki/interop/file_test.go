package interop_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// keyTypes are the kinds of key in the order of the tables.
var keyTypes = []pki.KeyType{pki.RSA2048, pki.RSA3072, pki.RSA4096, pki.P256, pki.P384}

// passwords are the kinds of password in the order of the tables.
var passwords = []struct{ kind, text string }{
	{"ASCII", "Battery.staple-7"},
	{"64 characters", strings.Repeat("0123456789abcdef", 4)},
	{"non-ASCII", "Schlüssel-пароль-鍵"},
	{"empty", ""},
}

const (
	asciiPassword = "Battery.staple-7"
	wrongPassword = "Battery.staple-8"
)

// pairs are a self-signed pair of each key type.
var pairs = sync.OnceValues(func() (map[pki.KeyType]pki.Pair, error) {
	made := map[pki.KeyType]pki.Pair{}
	for _, k := range keyTypes {
		key, err := pki.NewKey(k)
		if err != nil {
			return nil, err
		}
		if made[k], err = pki.SelfSign(key, pki.Template{
			Subject:   pkix.Name{CommonName: "interop " + string(k)},
			NotBefore: time.Now().Add(-time.Hour).Truncate(time.Second),
			NotAfter:  time.Now().AddDate(0, 6, 0).Truncate(time.Second),
		}); err != nil {
			return nil, err
		}
	}
	return made, nil
})

func pairOf(t *testing.T, k pki.KeyType) pki.Pair {
	t.Helper()
	all, err := pairs()
	if err != nil {
		t.Fatal(err)
	}
	return all[k]
}

// chained is a pair of an RSA key that was issued by an authority below another.
var chained = sync.OnceValues(func() (pki.Pair, error) {
	all, err := pairs()
	if err != nil {
		return pki.Pair{}, err
	}
	signers := []pki.Pair{}
	for i, name := range []string{"interop root", "interop authority", "interop issued"} {
		key := all[pki.RSA2048].Key
		if i < 2 {
			if key, err = pki.NewKey(pki.P256); err != nil {
				return pki.Pair{}, err
			}
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(1000 + i)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 6, 0),
			BasicConstraintsValid: true, IsCA: i < 2, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if c.IsCA {
			c.KeyUsage = x509.KeyUsageCertSign
		}
		issuer := pki.Pair{Certificate: c, Key: key}
		if i > 0 {
			issuer = signers[i-1]
		}
		der, err := x509.CreateCertificate(rand.Reader, c, issuer.Certificate, key.Public(), issuer.Key)
		if err != nil {
			return pki.Pair{}, err
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			return pki.Pair{}, err
		}
		signers = append(signers, pki.Pair{Certificate: c, Key: key})
	}
	leaf := signers[2]
	leaf.Chain = []*x509.Certificate{signers[1].Certificate, signers[0].Certificate}
	return leaf, nil
})

func chainedPair(t *testing.T) pki.Pair {
	t.Helper()
	p, err := chained()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sample is a file that reeve wrote, and where it stands in a table.
type sample struct {
	what     string // the kind of file
	password string // the kind of password
	key      pki.KeyType
	pair     pki.Pair
	file     file
	write    func(*testing.T) file // writes it anew, with other salts; nil if it has none
}

// pfxSamples writes all kinds of PFX files.
func pfxSamples(t *testing.T) []sample {
	t.Helper()
	var all []sample
	add := func(what string, profile pki.Profile, kind, password string, k pki.KeyType, p pki.Pair) {
		t.Helper()
		write := func(t *testing.T) file {
			t.Helper()
			data, err := pki.EncodePFX(p, profile, password)
			if err != nil {
				t.Fatal(err)
			}
			return file{newFile(t, "reeve.pfx", data), password}
		}
		all = append(all, sample{what, kind, k, p, write(t), write})
	}
	for _, profile := range pki.Profiles() {
		for _, password := range passwords {
			for _, k := range keyTypes {
				add(string(profile), profile, password.kind, password.text, k, pairOf(t, k))
			}
		}
		add(string(profile)+", with chain", profile, "ASCII", asciiPassword, pki.RSA2048, chainedPair(t))
	}
	return all
}

// pemSamples writes certificate and key as PEM in one file.
func pemSamples(t *testing.T) []sample {
	t.Helper()
	var all []sample
	add := func(what, kind, password string, k pki.KeyType, p pki.Pair) {
		t.Helper()
		key, err := pki.EncodeKey(p.Key, password)
		if err != nil {
			t.Fatal(err)
		}
		data := slices.Concat(pki.EncodeCertificates(append([]*x509.Certificate{p.Certificate}, p.Chain...)...), key)
		all = append(all, sample{what, kind, k, p, file{newFile(t, "reeve.pem", data), password}, nil})
	}
	for _, k := range keyTypes {
		add("certificate and key", "none", "", k, pairOf(t, k))
	}
	add("certificate, chain and key", "none", "", pki.RSA2048, chainedPair(t))
	for _, password := range passwords[:3] {
		for _, k := range keyTypes {
			add("certificate and encrypted key", password.kind, password.text, k, pairOf(t, k))
		}
	}
	return all
}

// certificateSamples writes certificates alone.
func certificateSamples(t *testing.T) []sample {
	t.Helper()
	var all []sample
	for _, k := range keyTypes {
		p := pki.Pair{Certificate: pairOf(t, k).Certificate}
		all = append(all,
			sample{"CER, DER", "none", k, p, file{newFile(t, "reeve.cer", p.Certificate.Raw), ""}, nil},
			sample{"CER, base64 (PEM)", "none", k, p, file{newFile(t, "reeve.pem", pki.EncodeCertificates(p.Certificate)), ""}, nil})
	}
	slices.SortStableFunc(all, func(a, b sample) int { return strings.Compare(a.what, b.what) })
	return all
}
