package notify

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"
)

func TestRowHoldsTheWholeEvent(t *testing.T) {
	e := renewed(t)
	row, err := e.Row()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readRow(row)
	if d := cmp.Diff(e, got); err != nil || d != "" || row.ID != e.ID || !row.At.Equal(e.At) {
		t.Errorf("error %v (-want +got):\n%s", err, d)
	}
}

// privateKeys are private keys in the forms in which they are kept.
func privateKeys(t *testing.T) map[string][]byte {
	t.Helper()
	keep := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, _ := makePair(t, "reeve")
	cert, err := x509.ParseCertificate(derOf(t, certPEM))
	if err != nil {
		t.Fatal(err)
	}
	d := base64.RawURLEncoding.EncodeToString(keep(ec.Bytes()))
	jwk := keep(json.Marshal(map[string]string{"kty": "EC", "crv": "P-256", "x": "xx", "y": "yy", "d": d}))
	der := map[string][]byte{
		"PKCS#1":         x509.MarshalPKCS1PrivateKey(small),
		"PKCS#8 RSA":     keep(x509.MarshalPKCS8PrivateKey(small)),
		"PKCS#8 EC":      keep(x509.MarshalPKCS8PrivateKey(ec)),
		"PKCS#8 Ed25519": keep(x509.MarshalPKCS8PrivateKey(ed)),
		"PKCS#8 X25519":  keep(x509.MarshalPKCS8PrivateKey(x)),
		"SEC 1":          keep(x509.MarshalECPrivateKey(ec)),
		"PKCS#12":        keep(pkcs12.Modern.Encode(small, cert, nil, "password")),
		"PKCS#12 legacy": keep(pkcs12.LegacyDES.Encode(small, cert, nil, "password")),
		"PKCS#12 open":   keep(pkcs12.Passwordless.Encode(small, cert, nil, "")),
	}
	all := map[string][]byte{"JWK": jwk, "JWK in JSON": keep(json.Marshal(string(jwk))),
		"JWK, indented": bytes.ReplaceAll(jwk, []byte(":"), []byte(" :\n\t"))}
	for name, b := range der {
		all[name] = b
		text := base64.StdEncoding.EncodeToString(b)
		all[name+", base64"] = []byte(text)
		all[name+", base64url"] = []byte(base64.RawURLEncoding.EncodeToString(b))
		var lines strings.Builder
		for i := 0; i < len(text); i += 64 {
			lines.WriteString("  " + text[i:min(i+64, len(text))] + "\r\n")
		}
		all[name+", base64 in lines"] = []byte(lines.String())
	}
	for _, kind := range []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK", "ANY OTHER PRIVATE KEY"} {
		all["PEM "+kind] = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("what is in it does not matter")})
	}
	all["SSH2"] = []byte("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/56wAAAi4AAAA3aWYtbW9kbntzaWdu\n---- END SSH2 ENCRYPTED PRIVATE KEY ----")
	all["PEM, in lower case"] = bytes.ToLower(all["PEM PRIVATE KEY"])
	return all
}

func TestPrivateKeysAreRefusedEverywhere(t *testing.T) {
	certificate := renewed(t).Attachments[1].Data
	for name, key := range privateKeys(t) {
		for _, in := range [][]byte{key, append([]byte("the key is "), append(bytes.Clone(key), " and that was it"...)...)} {
			s := string(in)
			for place, put := range map[string]func(*Event){
				"ID":              func(e *Event) { e.ID = s },
				"kind":            func(e *Event) { e.Kind = s },
				"subject":         func(e *Event) { e.Subject = s },
				"text":            func(e *Event) { e.Text = s },
				"remedy":          func(e *Event) { e.Remedy = s },
				"name":            func(e *Event) { e.Fields[0].Name = s },
				"value":           func(e *Event) { e.Fields[2].Value = s },
				"file name":       func(e *Event) { e.Attachments[0].Name = s },
				"attachment":      func(e *Event) { e.Attachments[0].Data = in },
				"beside the cert": func(e *Event) { e.Attachments[1].Data = append(bytes.Clone(certificate), in...) },
				"before the cert": func(e *Event) { e.Attachments[1].Data = append(bytes.Clone(in), certificate...) },
				"behind the DER":  func(e *Event) { e.Attachments[0].Data = append(e.Attachments[0].Data, in...) },
			} {
				e := renewed(t)
				put(&e)
				row, err := e.Row()
				if !errors.Is(err, errPrivateKey) || row.Content != "" {
					t.Errorf("%s as %s: got %v", name, place, err)
				}
				if err != nil && (hasPrivateKey([]byte(err.Error())) || len(err.Error()) > 400) {
					t.Errorf("%s as %s: the error holds it: %v", name, place, err)
				}
			}
		}
	}
}

// TestPublicFactsPass: what a notice is about must not be taken for a key.
func TestPublicFactsPass(t *testing.T) {
	cert, _ := makePair(t, "reeve")
	public, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"MIIC is how many certificates begin, and MIIEvQIBADAN how keys do",
		string(cert),
		base64.StdEncoding.EncodeToString(derOf(t, cert)),
		base64.StdEncoding.EncodeToString(spki),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})),
		`{"kty":"RSA","n":"` + strings.Repeat("A", 300) + `","e":"AQAB"}`,
		"the private key of the certificate never leaves the vault",
		strings.Repeat("0", 30000) + strings.Repeat("M", 30000),
		"M", "MI", "MII", "MIIE", "MIGH", "0\x80",
	} {
		e := renewed(t)
		e.Text = s
		if _, err := e.Row(); err != nil {
			t.Errorf("%.60q: %v", s, err)
		}
	}
	for range 20 { // keys and signatures are random
		cert, _ := makePair(t, "reeve")
		e := renewed(t)
		e.Attachments[0].Data, e.Attachments[1].Data = derOf(t, cert), append(append(bytes.Clone(cert), '\n'), cert...)
		if _, err := e.Row(); err != nil {
			t.Error(err)
		}
	}
}

func TestRowRefuses(t *testing.T) {
	for want, change := range map[string]func(*Event){
		"ID is not":              func(e *Event) { e.ID = "" },
		"printable":              func(e *Event) { e.ID = "a b" },
		"ASCII":                  func(e *Event) { e.ID = "ä" },
		"1 to 200":               func(e *Event) { e.ID = strings.Repeat("x", 201) },
		"lacks a kind":           func(e *Event) { e.Kind = "" },
		"a subject":              func(e *Event) { e.Subject = "" },
		"or a time":              func(e *Event) { e.At = time.Time{} },
		`"grave" is no severity`: func(e *Event) { e.Severity = "grave" },
		"texts have":             func(e *Event) { e.Text = strings.Repeat("x", maxText) },
		"101 fields":             func(e *Event) { e.Fields = make([]Field, 101) },
		"11 attachments":         func(e *Event) { e.Attachments = make([]Attachment, 11) },
		"bytes, and may have 10": func(e *Event) { e.Attachments[0].Data = make([]byte, maxAttached) },
		"has no name":            func(e *Event) { e.Attachments[0].Name = "" },
		`"reeve.cer" is not a`:   func(e *Event) { e.Attachments[0].Data = []byte("a text") },
		"nothing else may":       func(e *Event) { e.Attachments[0].Data = nil },
		`"reeve.pem" is not`:     func(e *Event) { e.Attachments[1].Data = append([]byte("text\n"), e.Attachments[1].Data...) },
		"is not a certificate": func(e *Event) {
			e.Attachments[1].Data = []byte("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
		},
	} {
		e := renewed(t)
		change(&e)
		if _, err := e.Row(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzHasPrivateKey(f *testing.F) {
	f.Add([]byte("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----"))
	f.Add([]byte{0x30, 0x80, 2, 1, 3, 0x30})
	f.Fuzz(func(t *testing.T, data []byte) {
		hasPrivateKey(data)
		onlyCertificates(data)
	})
}
