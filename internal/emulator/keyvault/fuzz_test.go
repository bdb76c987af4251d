package keyvault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
)

func TestSubjects(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"CN=reeve":                          "CN=reeve",
		"cn=MyCert":                         "CN=MyCert",
		"CN=a, OU=b; O=c":                   "CN=a,OU=b,O=c",
		`CN="a, b", O="c ""d"""`:            `CN=a\, b,O=c \"d\"`,
		`CN=a\, b\+c`:                       `CN=a\, b\+c`,
		`CN=M\C3\BCller`:                    "CN=Müller",
		"OID.2.5.4.3=x":                     "CN=x",
		"CN=a+OU=b":                         "CN=a+OU=b",
		"E=a@b.example, DC=corp, C=DE, S=X": "1.2.840.113549.1.9.1=#0c0b6140622e6578616d706c65,0.9.2342.19200300.100.1.25=#1304636f7270,C=DE,ST=X",
	} {
		der, err := keyvault.ReadSubject(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var name pkix.RDNSequence
		if _, err := asn1.Unmarshal(der, &name); err != nil || name.String() != want {
			t.Errorf("%s: %s, want %s: %v", text, name, want, err)
		}
	}
	for _, text := range []string{"reeve", "=x", "CN=", "CN=a,", "CN=a,,O=b", `CN="a`, `CN="a"b`, `CN=a\`, "XX=a", "CN=a=b", "CN=\xff", "1.2.x=a", "CN=a<b"} {
		if _, err := keyvault.ReadSubject(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, s := range []string{"CN=a", `CN="a, b", O=c`, `CN=a\2C+OU=b; OID.1.2.3=x`, "=", ",", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		der, err := keyvault.ReadSubject(s)
		if err != nil {
			return
		}
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
			t.Errorf("%q became no name: %v", s, err)
		}
	})
}

func FuzzPair(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	c := issue(f, "x", key, now, now.Add(time.Hour), nil, nil)
	pfx, err := pkcs12.LegacyDES.Encode(key, c, nil, "x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base64.StdEncoding.EncodeToString(pfx), "x")
	f.Add(pemOf(f, "PRIVATE KEY", key, c), "")
	f.Add("-----BEGIN", "")
	f.Add("MAA=", "")
	f.Fuzz(func(t *testing.T, value, password string) {
		err := keyvault.ReadPair(value, password)
		if refusal, ok := errors.AsType[*keyvault.Refusal](err); err != nil && (!ok || refusal.Status >= 500 && refusal.Status != 501) {
			t.Errorf("refused with %v", err)
		}
	})
}

func TestPFXWithTooManyIterations(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	pfx, err := pkcs12.Modern2023.WithIterations(1_000_001).Encode(key, issue(t, "x", key, now, now.Add(time.Hour), nil, nil), nil, "x")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := keyvault.ReadPair(base64.StdEncoding.EncodeToString(pfx), "x"); err == nil || time.Since(before) > time.Second {
		t.Errorf("after %s: %v", time.Since(before), err)
	}
}

func FuzzPolicy(f *testing.F) {
	for _, p := range []object{ecPolicy("Self"), {"x509_props": object{"subject": "", "sans": object{"dns_names": []string{"a"}, "emails": []string{"a@b"}, "upns": []string{"a@b"}, "ipAddresses": []string{"::1", "10.0.0.1"}, "uris": []string{"x:y"}}}}} {
		b, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key, err := keyvault.Private(made)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := keyvault.ReadPolicy(text, time.Unix(1.7e9, 0), key); err != nil {
			t.Errorf("a policy that was taken cannot be carried out: %v", err)
		}
	})
}

func FuzzJWK(f *testing.F) {
	made, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range []object{jwkOf(f, made), jwkOf(f, rsaKey())} {
		b, err := json.Marshal(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, x, err := keyvault.ReadJWK(text); err == nil && n == "" && x == "" {
			t.Error("a key was taken that has no public part")
		}
	})
}

// The names of a policy are in the certificate as x509 reads it.
func TestAlternativeNames(t *testing.T) {
	w := start(t)
	p := ecPolicy("Self")
	p["x509_props"] = object{"subject": "CN=x", "sans": object{"dns_names": []string{"*.a.example"}, "ipAddresses": []string{"10.0.0.1", "::1"}, "uris": []string{"urn:a:b"}}}
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/n/create", object{"policy": p})
	w.must(t, 202, "POST", "/certificates/n/create?api-version=2026-04-01", object{"policy": p})
	a := w.must(t, 200, "GET", "/certificates/n", nil)
	c := certificateIn(t, a)
	if c.DNSNames[0] != "*.a.example" || len(c.IPAddresses) != 2 || c.URIs[0].String() != "urn:a:b" {
		t.Errorf("names %v %v %v", c.DNSNames, c.IPAddresses, c.URIs)
	}
	if a.at("policy", "x509_props", "sans", "uris") != nil {
		t.Error("version 7.6 answers with members that it lacks")
	}
}
