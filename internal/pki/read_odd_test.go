package pki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// oddSeeds are files to be spoilt: of each form, and PFX files of each make-up.
func oddSeeds(t testing.TB) []formFile {
	leaf, key, issuers := chain(t)
	ec := ecKeyOf(t)
	certificate := issue(t, "ec", ec, nil, nil)
	var seeds []formFile
	for _, f := range forms(t) {
		if !strings.Contains(f.name, "encrypted key") { // those take many rounds
			seeds = append(seeds, f)
		}
	}
	for name, e := range map[string]*gopkcs12.Encoder{
		"RC2": gopkcs12.LegacyRC2, "3DES": gopkcs12.LegacyDES, "AES": gopkcs12.Modern2023.WithIterations(10), "PBMAC1": gopkcs12.Modern2026.WithIterations(10),
	} {
		seeds = append(seeds,
			formFile{name: name, data: encode(t, e, key, leaf, issuers, password), password: password},
			formFile{name: name + ", EC", data: encode(t, e, ec, certificate, nil, password), password: password},
			formFile{name: name + ", BER", data: indefinite(t, encode(t, e, ec, certificate, nil, password)), password: password},
			formFile{name: name + ", no password", data: encode(t, e, ec, certificate, nil, ""), password: ""})
	}
	encrypted := encryptedOf(t, encode(t, gopkcs12.Modern2023.WithIterations(10), ec, certificate, nil, password))
	return append(seeds,
		formFile{name: "unprotected", data: encode(t, gopkcs12.Passwordless, ec, certificate, nil, "")},
		formFile{name: "encrypted key", data: encrypted, password: password},
		formFile{name: "encrypted key, PEM", data: block("ENCRYPTED PRIVATE KEY", encrypted), password: password})
}

// encryptedOf takes the EncryptedPrivateKeyInfo out of a PFX file.
func encryptedOf(t testing.TB, pfx []byte) []byte {
	t.Helper()
	_, after, found := bytes.Cut(pfx, der(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}))
	var value asn1.RawValue
	if _, err := asn1.Unmarshal(after, &value); !found || err != nil {
		t.Fatalf("no shrouded key: %v", err)
	}
	return value.Bytes
}

// spoil changes a file in one of many ways.
func spoil(r *mrand.Rand, data []byte) []byte {
	data = bytes.Clone(data)
	at := r.IntN(len(data))
	switch r.IntN(12) {
	case 0: // bits
		for range 1 + r.IntN(4) {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
	case 1: // a byte
		data[at] = byte(r.IntN(256))
	case 2: // cut
		data = data[:at]
	case 3: // without its start
		data = data[at:]
	case 4: // doubled
		data = append(data, data...)
	case 5: // a part doubled
		end := at + r.IntN(len(data)-at)
		data = append(data[:end:end], data[at:]...)
	case 6: // a hole
		end := at + r.IntN(min(64, len(data)-at))
		data = append(data[:at], data[end:]...)
	case 7: // a length
		if i := bytes.IndexByte(data[at:], 0x82); i >= 0 && at+i+2 < len(data) {
			data[at+i+1+r.IntN(2)] = byte(r.IntN(256))
		}
	case 8: // a tag
		tags := []byte{0x02, 0x03, 0x04, 0x05, 0x06, 0x30, 0x31, 0xa0, 0x80, 0x24, 0x1f, 0x00}
		if i := bytes.IndexAny(data[at:], "\x02\x04\x06\x30\xa0"); i >= 0 {
			data[at+i] = tags[r.IntN(len(tags))]
		}
	case 9: // a number, such as of rounds, as large as its bytes allow
		if i := bytes.Index(data[at:], []byte{0x02, 0x02}); i >= 0 && at+i+4 <= len(data) {
			copy(data[at+i+2:], "\x7f\xff")
		} else if i := bytes.Index(data, []byte{0x02, 0x01}); i >= 0 && i+3 <= len(data) {
			data[i+2] = 0x7f
		}
	case 10: // noise within
		noise := make([]byte, r.IntN(200))
		for i := range noise {
			noise[i] = byte(r.IntN(256))
		}
		data = append(data[:at:at], append(noise, data[at:]...)...)
	case 11: // nested, or as base64 in part
		if r.IntN(2) == 0 {
			deep := bytes.Repeat([]byte{0x30, 0x80}, r.IntN(500))
			data = append(deep, data...)
		} else {
			data = []byte(base64.StdEncoding.EncodeToString(data[at:]))
		}
	}
	return data
}

// canary holds pieces of private keys that no error may show.
type canary map[string]bool

const canarySize = 12

func newCanary(t testing.TB, seeds []formFile) canary {
	c := canary{}
	add := func(s string) {
		for i := 0; i+canarySize <= len(s); i++ {
			c[s[i:i+canarySize]] = true
		}
	}
	for _, s := range seeds {
		contents, err := pki.Read(s.data, s.password)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		for _, key := range contents.Keys {
			pkcs8 := must2(t)(x509.MarshalPKCS8PrivateKey(key))
			// What RSA and EC keys share with all others of their kind tells nothing.
			pkcs8 = pkcs8[36:]
			add(string(pkcs8))
			add(hex.EncodeToString(pkcs8))
			for shift := range 3 {
				add(base64.StdEncoding.EncodeToString(pkcs8[shift:]))
			}
		}
	}
	return c
}

func (c canary) check(t *testing.T, s string) {
	t.Helper()
	for i := 0; i+canarySize <= len(s); i++ {
		if c[s[i:i+canarySize]] {
			t.Errorf("a piece of a key shows")
		}
	}
	if strings.Contains(s, password) {
		t.Error("the password shows")
	}
}

// TestReadOddFiles reads files that were spoilt: each is read or refused, quickly, with
// cause and remedy, and without showing a key.
func TestReadOddFiles(t *testing.T) {
	const each = 40
	seeds := oddSeeds(t)
	canary := newCanary(t, seeds)
	r := mrand.New(mrand.NewPCG(365, 4))
	var files, read int
	var slowest time.Duration
	causes := map[string]int{}
	for _, s := range seeds {
		for n := range each {
			data := spoil(r, s.data)
			if r.IntN(4) == 0 && len(data) > 0 {
				data = spoil(r, data)
			}
			files++
			start := time.Now()
			contents, err := pki.Read(data, s.password)
			if err == nil {
				_, err = contents.Pair()
				canary.check(t, fmt.Sprintf("%v %#v", contents, contents))
				read++
			}
			took := time.Since(start)
			slowest = max(slowest, took)
			if took > raceFactor*time.Second {
				t.Errorf("%s, %d: it took %s", s.name, n, took)
			}
			if err == nil {
				continue
			}
			var p *pki.Problem
			if !errors.As(err, &p) || p.Cause == "" || p.Remedy == "" || len(err.Error()) > 2000 {
				t.Errorf("%s, %d: got %#v", s.name, n, err)
				continue
			}
			canary.check(t, err.Error())
			causes[p.Cause]++
		}
	}
	if files < 1000 {
		t.Errorf("only %d files", files)
	}
	t.Logf("%d files, %d of them read all the same, %d different causes, the slowest in %s", files, read, len(causes), slowest)
}

// TestReadBoundsWork reads files that are made to take long.
func TestReadBoundsWork(t *testing.T) {
	_, key, _ := chain(t)
	ec := ecKeyOf(t)
	certificate := issue(t, "ec", ec, nil, nil)
	encrypted := must2(t)(pkcs12.EncryptKey(must2(t)(x509.MarshalPKCS8PrivateKey(ec)), password))
	rsaDER := x509.MarshalPKCS1PrivateKey(key)
	// 65,536 rounds of everything become 8,388,607.
	absurd := encode(t, gopkcs12.LegacyDES.WithIterations(1<<16), ec, certificate, nil, password)
	absurd = bytes.ReplaceAll(absurd, []byte{2, 3, 1, 0, 0}, []byte{2, 3, 0x7f, 0xff, 0xff})
	fill := func(b []byte) []byte { return bytes.Repeat(b, pki.MaxFileSize/len(b)) }
	for _, v := range []struct {
		name     string
		data     []byte
		password string
		want     string // nothing: it is read
	}{
		{"as many rounds as fit", encode(t, gopkcs12.Modern2023.WithIterations(1_100_000), ec, certificate, nil, password), password, ""},
		{"one round more for each", encode(t, gopkcs12.Modern2023.WithIterations(1_300_000), ec, certificate, nil, password), password, "too much work"},
		{"absurd rounds", absurd, password, "too much work"},
		{"wrong password and many rounds", encode(t, gopkcs12.Modern2023.WithIterations(1_100_000), ec, certificate, nil, password), "wrong", "wrong"},
		{"keys without number", fill(block("RSA PRIVATE KEY", rsaDER)), "", "more than 100 private keys"},
		{"encrypted keys without number", fill(block("ENCRYPTED PRIVATE KEY", encrypted)), password, "too much work"},
		{"PFX files without number", fill(block("PKCS12", encode(t, gopkcs12.LegacyDES, ec, certificate, nil, password))), password, "several PFX files"},
		{"certificates without number", fill(certificatePEM(certificate)), "", ""},
		{"nested without end", fill([]byte{0x30, 0x80}), "", "cannot be read"},
		{"nested in lists", append(bytes.Repeat([]byte{0x30, 0x84, 0, 0x0f, 0xff, 0}, 1000), fill([]byte{0x30, 0})[:900_000]...), "", "cannot be read"},
		{"strings in pieces", fill([]byte{0x24, 0x80, 0x04, 0x01, 0x41, 0, 0}), "", "neither PEM"},
		{"blocks without end", fill([]byte("-----BEGIN CERTIFICATE-----\n")), "", "no end"},
		{"blocks without content", fill([]byte("-----BEGIN X-----\n-----END X-----\n")), "", "damaged"},
		{"JSON nested", fill([]byte("[")), "", "cut off"},
		{"base64 of nothing known", fill([]byte("QUFB")), "", "neither PEM"},
		{"headers without number", append(fill([]byte("-----BEGIN PRIVATE KEY-----\nA: b\n"))[:34], fill([]byte("A: b\n"))[:1_000_000]...), "", "no end"},
	} {
		t.Run(v.name, func(t *testing.T) {
			start := time.Now()
			c, err := pki.Read(v.data, v.password)
			if err == nil {
				_, _ = c.Pair()
			}
			took := time.Since(start)
			t.Logf("%d bytes in %s", len(v.data), took)
			if took > raceFactor*time.Second {
				t.Errorf("it took %s", took)
			}
			if v.want != "" {
				wantProblem(t, err, v.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReadRefusesHugeRequests whose signature would take hours to verify.
func TestReadRefusesHugeRequests(t *testing.T) {
	key := rsaKey(t, "leaf", 2048)
	good := must2(t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key))
	parsed, err := x509.ParseCertificateRequest(good)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Lsh(big.NewInt(1), 2_000_000)
	huge := must2(t)(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 65537}))
	type info struct {
		Version    int
		Subject    asn1.RawValue
		Key        asn1.RawValue
		Attributes asn1.RawValue
	}
	request := der(t, struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		info{0, asn1.RawValue{FullBytes: parsed.RawSubject}, asn1.RawValue{FullBytes: huge}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true}},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue},
		asn1.BitString{Bytes: parsed.Signature, BitLength: 8 * len(parsed.Signature)},
	})
	_, err = pki.Read(request, "")
	wantProblem(t, err, "for an RSA key (2000000 bits)")
}

// TestReadQuotesLittle of what a file says, and nothing that a terminal obeys.
func TestReadQuotesLittle(t *testing.T) {
	key := rsaKey(t, "leaf", 2048)
	check := func(what, s string) {
		t.Helper()
		if len(s) > 2000 || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("%s: %d bytes: %.80q", what, len(s), s)
		}
	}
	request := func(r x509.CertificateRequest) (*pki.Contents, error) {
		return pki.Read(must2(t)(x509.CreateCertificateRequest(rand.Reader, &r, key)), "")
	}
	c, err := request(x509.CertificateRequest{Subject: pkix.Name{CommonName: "\x1b[2J\nreeve" + strings.Repeat("x", 100_000)}})
	if err != nil {
		t.Fatal(err)
	}
	check("contents", c.String())
	_, err = c.Pair()
	wantProblem(t, err, "certificate request (for CN=")
	check("pair", err.Error())

	names := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der(t, []asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte("http://a b/" + strings.Repeat("x", 100_000))},
	})}}
	_, err = request(x509.CertificateRequest{ExtraExtensions: names})
	wantProblem(t, err, "the certificate request cannot be read")
	check("request", err.Error())
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: notBefore, NotAfter: notAfter, ExtraExtensions: names}
	_, err = pki.Read(must2(t)(x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)), "")
	wantProblem(t, err, "certificate 1 of the input cannot be read")
	check("certificate", err.Error())
}

func FuzzRead(f *testing.F) {
	for _, s := range oddSeeds(f) {
		f.Add(s.data, s.password)
	}
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		contents, err := pki.Read(data, password)
		if err == nil {
			if len(contents.Certificates)+len(contents.Keys)+len(contents.Requests) == 0 && contents.PKCS12 == nil {
				t.Error("nothing was read, without an error")
			}
			_, err = contents.Pair()
		}
		var p *pki.Problem
		if err != nil && (!errors.As(err, &p) || p.Cause == "" || p.Remedy == "") {
			t.Errorf("got %#v", err)
		}
	})
}
