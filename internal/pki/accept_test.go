package pki_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// protection tells how a file of the profile is protected.
func protection(t testing.TB, profile pki.Profile) *pkcs12.Protection {
	t.Helper()
	data, err := pki.EncodePFX(selfSigned(t, ecKey(t), template(t, "reeve")), profile, password)
	if err != nil {
		t.Fatal(err)
	}
	file, err := pkcs12.Read(data, password)
	if err != nil {
		t.Fatal(err)
	}
	return &file.Protection
}

// TestObjectionToEmptyPassword holds what [pki.PasswordAdvice] says, of a file of
// either profile, such as Key Vault hands out.
func TestObjectionToEmptyPassword(t *testing.T) {
	pair := selfSigned(t, rsaKey(t, "self", 2048), template(t, "reeve"))
	for password, want := range map[string]int{"": 1, password: 0} {
		data, err := pki.EncodePFX(pair, pki.Compat, password)
		if err != nil {
			t.Fatal(err)
		}
		c, err := pki.Read(data, password)
		if err != nil {
			t.Fatal(err)
		}
		got := pair.Objections(pki.AppService, c, now)
		if len(got) != want {
			t.Fatalf("%d objections: %v", len(got), got)
		}
		if want > 0 {
			wantProblem(t, &got[0], "no password")
		}
	}
}

func TestObjections(t *testing.T) {
	good := rsaPair(t)
	ec := selfSigned(t, ecKey(t), template(t, "ec"))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, odd := rsaKey(t, "small", 1024), rsaKey(t, "odd", 2056)
	longName := strings.Repeat("x", 64)
	long := selfSigned(t, rsaKey(t, "leaf", 2048), template(t, "CN="+longName+",O="+longName+",OU="+longName+",L=xy"))
	modern, compat := protection(t, pki.Modern), protection(t, pki.Compat)
	open := &pkcs12.Protection{NoPassword: true}
	noPassword := &pkcs12.Protection{Keys: []pkcs12.Cipher{{}}, MAC: compat.MAC}
	openCertificates := &pkcs12.Protection{Keys: compat.Keys, Certificates: []pkcs12.Cipher{{}}, MAC: compat.MAC}
	rc2 := &pkcs12.Protection{Keys: compat.Keys, Certificates: []pkcs12.Cipher{{Name: "RC2-40-CBC"}}, MAC: compat.MAC}
	empty, crowd := *compat, good
	empty.NoPassword = true
	crowd.Chain = slices.Repeat(good.Chain, 17)
	late, early := notAfter.Add(time.Hour), notBefore.Add(-time.Hour)

	for name, test := range map[string]struct {
		consumer   pki.Consumer
		pair       pki.Pair
		protection *pkcs12.Protection
		now        time.Time
		want       []string // a part of each objection
	}{
		"entra":                        {pki.EntraID, good, nil, now, nil},
		"entra, PFX":                   {pki.EntraID, good, modern, now, nil},
		"entra, EC":                    {pki.EntraID, ec, nil, now, []string{"accepts only RSA"}},
		"entra, Ed25519":               {pki.EntraID, pki.Pair{Certificate: issue(t, "ed", ed, nil, nil), Key: ed}, nil, now, []string{"Ed25519"}},
		"entra, small and late":        {pki.EntraID, pki.Pair{Certificate: issue(t, "small", small, nil, nil), Key: small}, nil, late, []string{"1024 bits", "expired"}},
		"entra, early":                 {pki.EntraID, good, nil, early, []string{"not valid before"}},
		"entra, .cer of EC":            {pki.EntraID, pki.Pair{Certificate: ec.Certificate}, nil, now, []string{"no private key", "accepts only RSA"}},
		"entra, foreign key":           {pki.EntraID, pki.Pair{Certificate: good.Certificate, Key: ec.Key}, nil, now, []string{"does not belong"}},
		"entra, nothing":               {pki.EntraID, pki.Pair{}, nil, now, []string{"no certificate"}},
		"keyvault":                     {pki.KeyVault, good, nil, now, nil},
		"keyvault, PFX":                {pki.KeyVault, good, modern, now, nil},
		"keyvault, early":              {pki.KeyVault, good, modern, early, nil},
		"keyvault, late":               {pki.KeyVault, good, modern, late, []string{"expired"}},
		"keyvault, P-256":              {pki.KeyVault, ec, compat, now, nil},
		"keyvault, P-521":              {pki.KeyVault, pki.Pair{Certificate: issue(t, "p521", p521, nil, nil), Key: p521}, compat, now, nil},
		"keyvault, P-224":              {pki.KeyVault, pki.Pair{Certificate: issue(t, "p224", p224, nil, nil), Key: p224}, compat, now, []string{"P-224"}},
		"keyvault, Ed25519":            {pki.KeyVault, pki.Pair{Certificate: issue(t, "ed", ed, nil, nil), Key: ed}, nil, now, []string{"Ed25519"}},
		"keyvault, RSA-2056":           {pki.KeyVault, pki.Pair{Certificate: issue(t, "odd", odd, nil, nil), Key: odd}, nil, now, []string{"2056 bits"}},
		"keyvault, .cer":               {pki.KeyVault, pki.Pair{Certificate: good.Certificate}, nil, now, []string{"no private key"}},
		"keyvault, long subject":       {pki.KeyVault, long, nil, now, []string{"subject has 210 characters"}},
		"appservice":                   {pki.AppService, good, compat, now, nil},
		"appservice, open certs":       {pki.AppService, good, openCertificates, now, nil},
		"appservice, self-signed EC":   {pki.AppService, ec, compat, now, nil},
		"appservice, modern":           {pki.AppService, good, modern, now, []string{"AES-256-CBC"}},
		"appservice, RC2":              {pki.AppService, good, rc2, now, []string{"RC2-40-CBC"}},
		"appservice, PEM":              {pki.AppService, good, nil, now, []string{"PFX files alone"}},
		"appservice, no MAC":           {pki.AppService, good, open, now, []string{"no password"}},
		"appservice, no MAC, password": {pki.AppService, good, &pkcs12.Protection{Keys: compat.Keys, Certificates: compat.Certificates}, now, nil},
		"appservice, empty password":   {pki.AppService, good, &empty, now, []string{"no password"}},
		"appservice, crowd":            {pki.AppService, crowd, compat, now, []string{"34 certificates"}},
		"appservice, open key":         {pki.AppService, good, noPassword, now, []string{"not encrypted"}},
		"appservice, late":             {pki.AppService, good, compat, late, []string{"expired", "issuer of the one that is wanted"}},
		"appservice, small":            {pki.AppService, pki.Pair{Certificate: issue(t, "small", small, nil, nil), Key: small}, compat, now, []string{"1024 bits"}},
		"appservice, no chain":         {pki.AppService, pki.Pair{Certificate: good.Certificate, Key: good.Key}, compat, now, []string{"CN=Middle is missing"}},
		"appservice, no root":          {pki.AppService, pki.Pair{Certificate: good.Certificate, Chain: good.Chain[:1], Key: good.Key}, compat, now, []string{"CN=Root is missing"}},
		"appservice, chain reversed":   {pki.AppService, pki.Pair{Certificate: good.Certificate, Chain: []*x509.Certificate{good.Chain[1], good.Chain[0]}, Key: good.Key}, compat, now, []string{"did not sign"}},
		"appservice, .cer":             {pki.AppService, pki.Pair{Certificate: ec.Certificate}, nil, now, []string{"no private key", "PFX files alone"}},
		"a consumer that there isn't":  {"toaster", good, nil, now, []string{"toaster"}},
	} {
		t.Run(name, func(t *testing.T) {
			var file *pki.Contents
			if test.protection != nil {
				file = &pki.Contents{Format: pki.FormatPKCS12, PKCS12: test.protection}
			}
			got := test.pair.Objections(test.consumer, file, test.now)
			if len(got) != len(test.want) {
				t.Fatalf("got %v, want %v", got, test.want)
			}
			for i := range got {
				wantProblem(t, &got[i], test.want[i])
			}
		})
	}
	for _, c := range pki.Consumers() {
		if c.Title() == string(c) {
			t.Errorf("%q has no title", c)
		}
	}
}

// TestKeyVaultTakesFilesAsTheyStand looks at the form of the file, not only at what
// is in it.
func TestKeyVaultTakesFilesAsTheyStand(t *testing.T) {
	key := rsaKey(t, "leaf", 2048)
	pair := selfSigned(t, key, template(t, "reeve"))
	certificate := pki.EncodeCertificates(pair.Certificate)
	pkcs8, err := pki.EncodeKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := pki.EncodeKey(key, password)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := pki.EncodePFX(pair, pki.Modern, password)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, test := range map[string]struct {
		file []byte
		want string // of the one objection; "" for none
	}{
		"PKCS#8":        {slices.Concat(pkcs8, certificate), ""},
		"PFX":           {pfx, ""},
		"PKCS#1":        {slices.Concat(pkcs1, certificate), "the form PKCS#1"},
		"encrypted PEM": {slices.Concat(encrypted, certificate), "is encrypted"},
		"base64 of PFX": {[]byte(base64.StdEncoding.EncodeToString(pfx)), "is the base64 of one"},
	} {
		file, err := pki.Read(test.file, password)
		if err != nil {
			t.Fatal(err)
		}
		got := pair.Objections(pki.KeyVault, file, now)
		if test.want == "" && len(got) > 0 || test.want != "" && (len(got) != 1 || !strings.Contains(got[0].Cause, test.want)) {
			t.Errorf("%s: got %v, want %q", name, got, test.want)
		}
	}
}
