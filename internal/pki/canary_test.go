package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// secrets are the spellings in which bytes would leak: as they are, in hexadecimal,
// in base64 whatever the offset, in decimal.
func secrets(key crypto.Signer) [][]byte {
	var private [][]byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		private = append(private, key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes(), key.Precomputed.Dp.Bytes(), key.Precomputed.Dq.Bytes(), key.Precomputed.Qinv.Bytes())
	case *ecdsa.PrivateKey:
		b, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		private = append(private, b)
	case ed25519.PrivateKey:
		private = append(private, key.Seed())
	}
	var all [][]byte
	for _, b := range private {
		const part = 12 // so few bytes do not stand anywhere by chance
		for i := 0; i+part <= len(b); i += part {
			p := b[i : i+part]
			all = append(all, p, []byte(hex.EncodeToString(p)), []byte(strings.ToUpper(hex.EncodeToString(p))), []byte(strings.Trim(fmt.Sprint(p), "[]")))
			for shift := range 3 {
				all = append(all, []byte(base64.RawStdEncoding.EncodeToString(p[shift:shift+9])), []byte(base64.RawURLEncoding.EncodeToString(p[shift:shift+9])))
			}
		}
	}
	return all
}

// TestCanary looks for private bytes and passwords in everything that is no file.
func TestCanary(t *testing.T) {
	const canary = "canary-4711-password"
	rsaPair := rsaPair(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPair := pki.Pair{Certificate: issue(t, "ed", ed, nil, nil), Key: ed}
	ecPair := selfSigned(t, ecKey(t), template(t, "ec"))
	authority := authority(t, "CN=Contoso CA")

	said := map[string][]byte{}
	say := func(what string, v any) {
		said[what+" printed"] = fmt.Appendf(nil, "%v %+v %s %q %x %X %d", v, v, v, v, v, v, v)
		said[what+" in Go"] = fmt.Appendf(nil, "%#v", v)
		if data, err := json.Marshal(v); err == nil {
			said[what+" in JSON"] = data
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "v", v)
		said[what+" logged"] = log.Bytes()
	}
	fails := func(what string, err error) {
		if err == nil {
			t.Errorf("%s: no error", what)
			return
		}
		say(what, err)
		for err := err; err != nil; err = errors.Unwrap(err) {
			say(what+" within", err)
		}
	}

	for name, p := range map[string]pki.Pair{"RSA": rsaPair, "EC": ecPair, "authority": authority, "Ed25519": edPair} {
		say(name, p)
		say(name+" by pointer", &p)
		say(name+" in a list", []pki.Pair{p})
		say(name+" in a struct", struct{ Pair pki.Pair }{p})
		say(name+" described", pki.Describe(p.Certificate, now))
		for _, c := range pki.Consumers() {
			say(name+" to "+string(c), p.Objections(c, nil, notAfter.AddDate(20, 0, 0)))
			say(name+" in a file to "+string(c), p.Objections(c, &pki.Contents{PKCS12: &pkcs12.Protection{}}, now))
		}
		foreign := pki.Pair{Certificate: issue(t, "foreign", rsaKey(t, "other", 2048), nil, nil), Key: p.Key}
		fails(name+" foreign", foreign.UsableForSignIn(now))
		_, err := pki.EncodePFX(foreign, pki.Modern, canary)
		fails(name+" foreign PFX", err)
		_, err = pki.EncodePFX(p, "none", canary)
		fails(name+" profile", err)
		_, err = pki.EncodePFX(p, pki.Modern, canary+"\x00")
		fails(name+" password", err)
		_, err = pki.EncodeKey(p.Key, canary+"😀")
		fails(name+" key password", err)
		_, err = assertion().Sign(foreign)
		fails(name+" assertion", err)
		_, err = pki.Join(p.Key, []*x509.Certificate{foreign.Certificate})
		fails(name+" joined", err)
		_, err = pki.SelfSign(p.Key, pki.Template{})
		fails(name+" undated", err)
		_, err = pki.Issue(p, nil, time.Time{}, now)
		fails(name+" issuing", err)

		// What is public, and signed by the key, is not the key.
		if name != "Ed25519" {
			der, err := pki.NewRequest(p.Key, template(t, "reeve"))
			if err != nil {
				t.Fatal(err)
			}
			said[name+" request"] = append(pki.EncodeRequest(der), der...)
		}
		graph, err := pki.EncodeGraphKey(p.Certificate, "")
		if err != nil {
			t.Fatal(err)
		}
		said[name+" certificate"] = append(append(graph, pki.EncodeCertificates(p.Certificate)...), p.Certificate.Raw...)
		for _, profile := range pki.Profiles() {
			data, err := pki.EncodePFX(p, profile, canary)
			if err != nil {
				t.Fatal(err)
			}
			said[name+" as PFX, encrypted"] = data
		}
		open, err := pki.EncodeKey(p.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		contents, err := pki.Read(open, "")
		if err != nil {
			t.Fatal(err)
		}
		say(name+" read", *contents)
		say(name+" read, by pointer", contents)
		say(name+" read, the keys", contents.Keys)
		pfx, err := pki.EncodePFX(p, pki.Modern, canary)
		if err != nil {
			t.Fatal(err)
		}
		file, err := pkcs12.Read(pfx, canary)
		if err != nil {
			t.Fatal(err)
		}
		say(name+" read of PFX", *file)
		say(name+" read of PFX, the keys", file.Keys)
		data, err := pki.EncodeKey(p.Key, canary)
		if err != nil {
			t.Fatal(err)
		}
		said[name+" as PEM, encrypted"] = data
	}
	say("advice", pki.PasswordAdvice(canary+strings.Repeat("ä", 64)))
	say("signed", signAssertion(t, assertion(), rsaPair))
	pool := pki.NewKeyPool(pki.P256, 1)
	defer pool.Close()
	pooled, err := pool.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	for _, key := range []crypto.Signer{rsaPair.Key, ecPair.Key, edPair.Key, authority.Key, pooled} {
		for _, secret := range secrets(key) {
			for what, text := range said {
				if bytes.Contains(text, secret) {
					t.Fatalf("private bytes: %s", what) // without the bytes
				}
			}
		}
	}
	for what, text := range said {
		if strings.Contains(string(text), canary) {
			t.Errorf("the password: %s", what)
		}
	}

	// The search finds what it looks for.
	open, err := pki.EncodeKey(ecPair.Key, "")
	if err != nil {
		t.Fatal(err)
	}
	open = bytes.ReplaceAll(open, []byte("\n"), nil)
	found := false
	for _, secret := range secrets(ecPair.Key) {
		found = found || bytes.Contains(open, secret)
	}
	if !found {
		t.Error("an open key is not found: the search is blind")
	}
}
