package keyvault_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// rsaKey is a key that the tests share, because making one takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// issue makes a certificate for a key, self-signed without an issuer.
func issue(t testing.TB, subject string, key crypto.Signer, from, to time.Time, issuer *x509.Certificate, issuerKey crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: subject}, NotBefore: from, NotAfter: to,
		BasicConstraintsValid: true, IsCA: issuer == nil,
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pemOf(t testing.TB, kind string, key crypto.Signer, certificates ...*x509.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	for _, c := range certificates {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text
}

// ecPolicy is a policy with a key that is made quickly.
func ecPolicy(issuer string) object {
	return object{
		"key_props": object{"kty": "EC", "crv": "P-256"}, "issuer": object{"name": issuer},
		"x509_props": object{"subject": "CN=reeve, O=Contoso", "key_usage": []string{"digitalSignature"}},
	}
}

// pfxOf returns PKCS#12 without a password as an import takes it.
func pfxOf(t testing.TB, key crypto.Signer, leaf *x509.Certificate, others ...*x509.Certificate) string {
	t.Helper()
	pfx, err := pkcs12.Modern2023.Encode(key, leaf, others, "")
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pfx)
}

// pairIn returns the key of a secret and the certificate that goes with it.
func pairIn(t testing.TB, secret reply) (any, *x509.Certificate) {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(secret.string("value"))
	if err != nil {
		t.Fatal(err)
	}
	key, leaf, _, err := pkcs12.DecodeChain(der, "")
	if err != nil {
		t.Fatal(err)
	}
	return key, leaf
}

func certificateIn(t testing.TB, a reply) *x509.Certificate {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(a.string("cer"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCreateSelfSigned(t *testing.T) {
	w := start(t)
	for _, test := range []struct{ kty, crv string }{{"RSA", ""}, {"EC", "P-256"}, {"EC", "P-384"}, {"EC", "P-521"}} {
		name := "self-" + test.kty + test.crv
		key := object{"kty": test.kty}
		if test.crv != "" {
			key["crv"] = test.crv
		}
		a := w.must(t, 202, "POST", "/certificates/"+name+"/create", object{"policy": object{
			"key_props": key, "issuer": object{"name": "Self"}, "secret_props": object{"contentType": "application/x-pem-file"},
			"x509_props": object{"subject": `cn=MyCert, O="Contoso, Ltd."`, "validity_months": 6, "ekus": []string{"1.3.6.1.5.5.7.3.2"},
				"sans": object{"dns_names": []string{"a.example"}, "emails": []string{"a@b.example"}, "upns": []string{"u@b.example"}}},
		}, "tags": object{"by": "test"}})
		if want := w.url + "/certificates/" + name + "/pending?api-version=7.6&request_id=" + a.string("request_id"); a.header.Get("Location") != want || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: location %s, want %s", name, a.header.Get("Location"), want)
		}
		op := w.must(t, 200, "GET", "/certificates/"+name+"/pending?request_id="+a.string("request_id"), nil)
		if op.string("status") != "completed" || op.string("target") != w.url+"/certificates/"+name {
			t.Errorf("%s: operation %s", name, op.text)
		}
		got := w.must(t, 200, "GET", "/certificates/"+name+"/", nil)
		c := certificateIn(t, got)
		if c.Subject.CommonName != "MyCert" || c.Subject.Organization[0] != "Contoso, Ltd." || c.DNSNames[0] != "a.example" || c.EmailAddresses[0] != "a@b.example" {
			t.Errorf("%s: subject %s, names %v %v", name, c.Subject, c.DNSNames, c.EmailAddresses)
		}
		if !c.NotAfter.Equal(w.clock.Now().AddDate(0, 6, 0)) || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
			t.Errorf("%s: until %s, for %v", name, c.NotAfter, c.ExtKeyUsage)
		}
		if got.string("tags", "by") != "test" || got.at("attributes", "exp") != float64(c.NotAfter.Unix()) {
			t.Errorf("%s: %s", name, got.text)
		}
		s := w.must(t, 200, "GET", "/secrets/"+name, nil)
		block, rest := pem.Decode([]byte(s.string("value")))
		if block == nil || block.Type != "PRIVATE KEY" || !strings.Contains(string(rest), "BEGIN CERTIFICATE") {
			t.Fatalf("%s: the secret does not begin with the key", name)
		}
		key2, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if public := key2.(crypto.Signer).Public(); !public.(interface{ Equal(crypto.PublicKey) bool }).Equal(c.PublicKey) {
			t.Errorf("%s: the secret's key is not the certificate's", name)
		}
		request, err := base64.StdEncoding.DecodeString(op.string("csr"))
		if err != nil {
			t.Fatal(err)
		}
		if csr, err := x509.ParseCertificateRequest(request); err != nil || csr.CheckSignature() != nil || csr.Subject.CommonName != "MyCert" {
			t.Errorf("%s: the request: %v", name, err)
		}
	}
}

func TestCreateTakesTimeUnlessCalm(t *testing.T) {
	w := start(t, func(c *origin.Cloud) { c.Calm = false })
	w.must(t, 202, "POST", "/certificates/slow/create", object{"policy": ecPolicy("Self")})
	if a := w.must(t, 200, "GET", "/certificates/slow/pending", nil); a.string("status") != "inProgress" || a.at("target") != nil {
		t.Errorf("at once: %s", a.text)
	}
	if a := w.must(t, 200, "GET", "/certificates/slow", nil); a.at("cer") != nil || a.at("policy") == nil || a.at("pending", "id") == nil {
		t.Errorf("under way: %s", a.text)
	}
	for path, want := range map[string]int{"/certificates": 0, "/certificates?includePending=true": 1} {
		if a := w.must(t, 200, "GET", path, nil); len(a.at("value").([]any)) != want {
			t.Errorf("%s: %s, want %d", path, a.text, want)
		}
	}
	w.refused(t, 409, "Forbidden", "", "POST", "/certificates/slow/create", object{"policy": ecPolicy("Self")})
	w.refused(t, 404, "SecretNotFound", "", "GET", "/secrets/slow", nil)
	w.clock.Add(time.Minute)
	if a := w.must(t, 200, "GET", "/certificates/slow/pending", nil); a.string("status") != "completed" {
		t.Errorf("later: %s", a.text)
	}
}

func TestPolicyOfLaterVersions(t *testing.T) {
	w := start(t)
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/x/create", object{})
	p := ecPolicy("Self")
	p["key_props"] = object{"kty": "EC", "crv": "P-256", "reuse_key": true}
	w.must(t, 202, "POST", "/certificates/x/create", object{"policy": p})
	first := w.must(t, 200, "GET", "/certificates/x", nil)
	w.must(t, 202, "POST", "/certificates/x/create", object{})
	second := w.must(t, 200, "GET", "/certificates/x", nil)
	if first.string("id") == second.string("id") {
		t.Fatal("there is no second version")
	}
	if a, b := certificateIn(t, first), certificateIn(t, second); string(a.RawSubjectPublicKeyInfo) != string(b.RawSubjectPublicKeyInfo) {
		t.Error("the key was not kept")
	}
	if a := w.must(t, 200, "GET", strings.TrimPrefix(first.string("id"), w.url), nil); a.string("cer") != first.string("cer") {
		t.Error("the first version changed")
	}
	w.must(t, 200, "PATCH", "/certificates/x/policy", object{"key_props": object{"reuse_key": false, "exportable": false}})
	w.must(t, 202, "POST", "/certificates/x/create", object{})
	third := w.must(t, 200, "GET", "/certificates/x", nil)
	if string(certificateIn(t, third).RawSubjectPublicKeyInfo) == string(certificateIn(t, second).RawSubjectPublicKeyInfo) {
		t.Error("the key was kept")
	}
	s := w.must(t, 200, "GET", "/secrets/x", nil)
	pfx, err := base64.StdEncoding.DecodeString(s.string("value"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := pkcs12.Decode(pfx, ""); err == nil {
		t.Error("the secret of a key that cannot be exported holds it")
	}
	if all, err := pkcs12.DecodeTrustStore(pfx, ""); err != nil || !all[0].Equal(certificateIn(t, third)) {
		t.Errorf("the secret without the key: %v", err)
	}
	if a := w.must(t, 200, "GET", "/certificates/x/versions", nil); len(a.at("value").([]any)) != 3 {
		t.Errorf("versions: %s", a.text)
	}
}

func TestBadPolicies(t *testing.T) {
	w := start(t)
	for name, change := range map[string]object{
		"size":        {"key_props": object{"kty": "RSA", "key_size": 1024}},
		"type":        {"key_props": object{"kty": "DSA"}},
		"hsm":         {"key_props": object{"kty": "RSA-HSM"}},
		"curve":       {"key_props": object{"kty": "EC", "crv": "P-224"}},
		"both":        {"key_props": object{"kty": "EC", "crv": "P-256", "key_size": 384}},
		"subject":     {"x509_props": object{"subject": "reeve"}},
		"no subject":  {"x509_props": object{}},
		"attribute":   {"x509_props": object{"subject": "XX=reeve"}},
		"dns":         {"x509_props": object{"subject": "CN=x", "sans": object{"dns_names": []string{"a b"}}}},
		"upn":         {"x509_props": object{"subject": "CN=x", "sans": object{"upns": []string{"nobody"}}}},
		"months":      {"x509_props": object{"subject": "CN=x", "validity_months": 0}},
		"eku":         {"x509_props": object{"subject": "CN=x", "ekus": []string{"server"}}},
		"usage":       {"x509_props": object{"subject": "CN=x", "key_usage": []string{"everything"}}},
		"content":     {"secret_props": object{"contentType": "text/plain"}},
		"issuer":      {"issuer": object{"name": "nobody"}},
		"unknown":     {"colour": "blue"},
		"percentage":  {"lifetime_actions": []object{{"trigger": object{"lifetime_percentage": 100}, "action": object{"action_type": "AutoRenew"}}}},
		"days":        {"lifetime_actions": []object{{"trigger": object{"days_before_expiry": 325}, "action": object{"action_type": "AutoRenew"}}}},
		"trigger":     {"lifetime_actions": []object{{"trigger": object{}, "action": object{"action_type": "AutoRenew"}}}},
		"action":      {"lifetime_actions": []object{{"trigger": object{"days_before_expiry": 1}, "action": object{"action_type": "Panic"}}}},
		"wrong types": {"key_props": object{"exportable": "yes"}},
	} {
		p := ecPolicy("Self")
		for member, value := range change {
			p[member] = value
		}
		a := w.ask(t, "POST", "/certificates/x/create", object{"policy": p})
		if a.status != 400 || a.at("error", "code") != "BadParameter" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 501, "NotImplemented", "", "POST", "/certificates/x/create", object{"policy": object{"key_props": object{"kty": "EC", "crv": "P-256K"}, "x509_props": object{"subject": "CN=x"}}})
	w.refused(t, 404, "CertificateNotFound", "", "GET", "/certificates/x", nil)
}

func TestMerge(t *testing.T) {
	w := start(t)
	a := w.must(t, 202, "POST", "/certificates/m/create", object{"policy": ecPolicy("Unknown")})
	der, err := base64.StdEncoding.DecodeString(a.string("csr"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now()
	root := issue(t, "root", rsaKey(), now, now.AddDate(1, 0, 0), nil, nil)
	leafDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(9), Subject: request.Subject, NotBefore: now, NotAfter: now.AddDate(0, 3, 0)}, root, request.PublicKey, rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	merge := func(ders ...[]byte) object { return object{"x5c": ders} }
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/m/pending/merge", merge())
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/m/pending/merge", merge([]byte("no")))
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/m/pending/merge", merge(root.Raw))
	w.refused(t, 404, "PendingCertificateNotFound", "", "POST", "/certificates/other/pending/merge", merge(leafDER))
	merged := w.must(t, 201, "POST", "/certificates/m/pending/merge", merge(leafDER, root.Raw))
	if certificateIn(t, merged).SerialNumber.Int64() != 9 {
		t.Error("another certificate was merged")
	}
	pfx, err := base64.StdEncoding.DecodeString(w.must(t, 200, "GET", "/secrets/m", nil).string("value"))
	if err != nil {
		t.Fatal(err)
	}
	if _, leaf, others, err := pkcs12.DecodeChain(pfx, ""); err != nil || string(leaf.Raw) != string(leafDER) || len(others) != 1 {
		t.Errorf("the secret: %v, %d others", err, len(others))
	}
	w.refused(t, 404, "PendingCertificateNotFound", "", "POST", "/certificates/m/pending/merge", merge(leafDER))
}

func TestOperationIsCanceledAndDeleted(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/c/create", object{"policy": ecPolicy("Unknown")})
	w.refused(t, 404, "PendingCertificateNotFound", "", "GET", "/certificates/c/pending?request_id="+strings.Repeat("0", 32), nil)
	w.refused(t, 400, "BadParameter", "", "PATCH", "/certificates/c/pending", object{"cancellation_requested": false})
	if a := w.must(t, 200, "PATCH", "/certificates/c/pending", object{"cancellation_requested": true}); a.at("cancellation_requested") != true {
		t.Errorf("canceling: %s", a.text)
	}
	if a := w.must(t, 200, "GET", "/certificates/c/pending", nil); a.string("status") != "canceled" {
		t.Errorf("canceled: %s", a.text)
	}
	w.refused(t, 400, "BadParameter", "", "PATCH", "/certificates/c/pending", object{"cancellation_requested": true})
	w.must(t, 200, "DELETE", "/certificates/c/pending", nil)
	w.refused(t, 404, "PendingCertificateNotFound", "", "GET", "/certificates/c/pending", nil)
	w.refused(t, 404, "CertificateNotFound", "", "GET", "/certificates/c", nil)
}

func TestProviderIssuer(t *testing.T) {
	w := start(t)
	w.refused(t, 400, "BadParameter", "", "PUT", "/certificates/issuers/ca", object{"provider": "Nobody"})
	w.refused(t, 400, "BadParameter", "", "PUT", "/certificates/issuers/Self", object{"provider": "DigiCert"})
	a := w.must(t, 200, "PUT", "/certificates/issuers/ca", object{"provider": "DigiCert", "credentials": object{"account_id": "me", "pwd": "hidden"}})
	if strings.Contains(a.text, "hidden") || a.string("credentials", "account_id") != "me" {
		t.Errorf("issuer: %s", a.text)
	}
	w.must(t, 202, "POST", "/certificates/p/create", object{"policy": ecPolicy("ca")})
	w.refused(t, 403, "Forbidden", "", "POST", "/certificates/p/pending/merge", object{"x5c": [][]byte{issue(t, "x", rsaKey(), w.clock.Now(), w.clock.Now().Add(time.Hour), nil, nil).Raw}})
	if a := w.must(t, 200, "GET", "/certificates/p/pending", nil); a.string("status") != "inProgress" {
		t.Errorf("before: %s", a.text)
	}
	if err := w.Issue("p"); err != nil {
		t.Fatal(err)
	}
	if c := certificateIn(t, w.must(t, 200, "GET", "/certificates/p", nil)); c.Issuer.String() == c.Subject.String() {
		t.Error("the certificate is self-signed")
	}
	if err := w.Issue("p"); err == nil {
		t.Error("an operation was issued twice")
	}
	w.must(t, 202, "POST", "/certificates/p/create", object{})
	if err := w.Fail("p", "Request rejected", "not yours"); err != nil {
		t.Fatal(err)
	}
	if a := w.must(t, 200, "GET", "/certificates/p/pending", nil); a.string("status") != "failed" || a.string("error", "code") != "Request rejected" {
		t.Errorf("failed: %s", a.text)
	}
	w.must(t, 200, "PATCH", "/certificates/issuers/ca", object{"attributes": object{"enabled": false}})
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/p/create", object{})
	w.must(t, 200, "DELETE", "/certificates/issuers/ca", nil)
	w.refused(t, 404, "CertificateIssuerNotFound", "", "GET", "/certificates/issuers/ca", nil)
}

func TestImport(t *testing.T) {
	w := start(t)
	now := w.clock.Now()
	root := issue(t, "root", rsaKey(), now, now.AddDate(1, 0, 0), nil, nil)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, "leaf", key, now, now.AddDate(1, 0, 0), root, rsaKey())
	text := pemOf(t, "PRIVATE KEY", key, root, leaf) // in the wrong order
	for i, encode := range []*pkcs12.Encoder{pkcs12.Modern2023, pkcs12.LegacyDES, pkcs12.LegacyRC2} {
		pfx, err := encode.Encode(key, leaf, []*x509.Certificate{root}, "geheim")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("/certificates/pfx-%d", i)
		value := base64.StdEncoding.EncodeToString(pfx)
		w.refused(t, 400, "BadParameter", "", "POST", name+"/import", object{"value": value, "pwd": "wrong"})
		a := w.must(t, 200, "POST", name+"/import", object{"value": value, "pwd": "geheim"})
		if !certificateIn(t, a).Equal(leaf) || a.string("policy", "issuer", "name") != "Unknown" || a.string("policy", "secret_props", "contentType") != keyvault.PKCS12 {
			t.Errorf("%s: %s", name, a.text)
		}
	}
	asPEM := object{"secret_props": object{"contentType": keyvault.PEM}}
	for name, value := range map[string]string{"plain": text, "coded": base64.StdEncoding.EncodeToString([]byte(text))} {
		a := w.must(t, 200, "POST", "/certificates/"+name+"/import", object{"value": value, "policy": asPEM})
		if !certificateIn(t, a).Equal(leaf) {
			t.Errorf("%s: the leaf is not first", name)
		}
		got := w.must(t, 200, "GET", "/secrets/"+name, nil).string("value")
		if first := strings.Index(got, "PRIVATE KEY"); first > strings.Index(got, "CERTIFICATE") ||
			strings.Index(got, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))) > strings.Index(got, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))) {
			t.Errorf("%s: the secret is not key, leaf, root", name)
		}
	}
	kept := w.must(t, 200, "POST", "/certificates/kept/import", object{"value": text, "policy": asPEM, "preserveCertOrder": true})
	got := w.must(t, 200, "GET", "/secrets/kept", nil).string("value")
	if kept.at("preserveCertOrder") != true || strings.Index(got, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))) > strings.Index(got, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))) {
		t.Error("the order was not kept")
	}
	// In PKCS#12 the key goes with the first certificate, whatever the order.
	wrongFirst, err := pkcs12.LegacyDES.Encode(key, root, []*x509.Certificate{leaf}, "")
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, 200, "POST", "/certificates/kept-pfx/import", object{"value": base64.StdEncoding.EncodeToString(wrongFirst), "preserveCertOrder": true})
	if _, first := pairIn(t, w.must(t, 200, "GET", "/secrets/kept-pfx", nil)); !first.Equal(leaf) {
		t.Errorf("the key of the secret goes with %s", first.Subject)
	}
	pfx := pfxOf(t, key, leaf, root)
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	onlyLeaf := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	for name, in := range map[string]object{
		"PKCS#1":        {"value": pkcs1 + onlyLeaf, "policy": asPEM},
		"encrypted":     {"value": strings.ReplaceAll(text, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "policy": asPEM},
		"no key":        {"value": onlyLeaf, "policy": asPEM},
		"no leaf":       {"value": pemOf(t, "PRIVATE KEY", key, root), "policy": asPEM},
		"garbage":       {"value": "bm90IGEgcGZ4"},
		"not base64":    {"value": "%%%"},
		"empty":         {},
		"as PFX":        {"value": text, "policy": object{"secret_props": object{"contentType": keyvault.PKCS12}}},
		"no type":       {"value": text, "policy": object{"issuer": object{"name": "Unknown"}}},
		"no type of it": {"value": pfx, "policy": object{"issuer": object{"name": "Unknown"}}},
		"no issuer":     {"value": text, "policy": object{"secret_props": object{"contentType": keyvault.PEM}, "issuer": object{"name": "nobody"}}},
		"another key":   {"value": text, "policy": object{"secret_props": object{"contentType": keyvault.PEM}, "key_props": object{"kty": "EC"}}},
		"unknown":       {"value": text, "policy": asPEM, "colour": "blue"},
		"read wrongly":  {"value": 1},
		"too many tags": {"value": text, "policy": asPEM, "tags": manyTags(16)},
	} {
		a := w.ask(t, "POST", "/certificates/bad/import", in)
		if a.status != 400 || a.at("error", "code") != "BadParameter" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 400, "BadParameter", "", "POST", "/certificates/bad/import?api-version=7.5", object{"value": text, "preserveCertOrder": true})
}

func manyTags(n int) object {
	tags := object{}
	for i := range n {
		tags[fmt.Sprint(i)] = ""
	}
	return tags
}

func TestImportWithoutPolicyIsRenewedByTheVault(t *testing.T) {
	w := start(t)
	now := w.clock.Now()
	own := issue(t, "own", rsaKey(), now, now.AddDate(0, 0, 100), nil, nil)
	pfx := pfxOf(t, rsaKey(), own)
	w.must(t, 200, "POST", "/certificates/own/import", object{"value": pfx})
	w.must(t, 200, "POST", "/certificates/told/import", object{"value": pfx, "policy": object{
		"issuer": object{"name": "Unknown"}, "secret_props": object{"contentType": keyvault.PKCS12},
	}})
	w.clock.Add(79 * 24 * time.Hour)
	if c := certificateIn(t, w.must(t, 200, "GET", "/certificates/own", nil)); !c.Equal(own) {
		t.Fatal("it was renewed too early")
	}
	w.clock.Add(24 * time.Hour)
	c := certificateIn(t, w.must(t, 200, "GET", "/certificates/own", nil))
	if c.Equal(own) || c.Subject.String() != own.Subject.String() || string(c.RawSubjectPublicKeyInfo) == string(own.RawSubjectPublicKeyInfo) {
		t.Errorf("after 80 of 100 days the newest version is %s of %s", c.Subject, c.NotBefore)
	}
	if len(w.Versions("own")) != 2 || len(w.Versions("told")) != 1 {
		t.Errorf("%d and %d versions, want 2 and 1", len(w.Versions("own")), len(w.Versions("told")))
	}
}

func TestNameOfAPlainObject(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/secrets/plain", object{"value": "x"})
	w.refused(t, 409, "Conflict", "", "POST", "/certificates/plain/create", object{"policy": ecPolicy("Self")})
	w.must(t, 202, "POST", "/certificates/cert/create", object{"policy": ecPolicy("Self")})
	for _, test := range []struct{ method, path string }{{"PUT", "/secrets/cert"}, {"PATCH", "/secrets/cert"}, {"DELETE", "/secrets/cert"}, {"POST", "/secrets/cert/backup"},
		{"POST", "/keys/cert/create"}, {"PATCH", "/keys/cert"}, {"DELETE", "/keys/cert"}, {"POST", "/keys/cert/rotate"}} {
		w.refused(t, 403, "Forbidden", "", test.method, test.path, map[string]object{"PUT": {"value": "x"}, "PATCH": {}, "POST": {"kty": "EC"}}[test.method])
	}
	for _, name := range []string{"a_b", "a.b", strings.Repeat("a", 128)} {
		w.refused(t, 400, "BadParameter", "", "GET", "/certificates/"+name, nil)
	}
	w.refused(t, 404, "CertificateNotFound", "", "GET", "/certificates/"+strings.Repeat("a", 127), nil)
}

func TestKeyOfACertificateSigns(t *testing.T) {
	w := start(t)
	p := ecPolicy("Self")
	w.must(t, 202, "POST", "/certificates/signer/create", object{"policy": p})
	digest := sha256.Sum256([]byte("what is signed"))
	body := object{"alg": "ES256", "value": origin.Base64URL(digest[:])}
	if a := w.must(t, 200, "POST", "/keys/signer/sign", body); a.string("kid") != w.must(t, 200, "GET", "/keys/signer", nil).string("key", "kid") {
		t.Errorf("signed with another key: %s", a.text)
	}
	w.refused(t, 400, "BadParameter", "", "POST", "/keys/signer/sign", object{"alg": "RS256", "value": origin.Base64URL(digest[:])})
	w.clock.Add(2 * 365 * 24 * time.Hour)
	w.must(t, 200, "PATCH", "/certificates/signer/policy", object{"issuer": object{"name": "Unknown"}})
	version := w.Versions("signer")[0].Version
	w.refused(t, 403, "Forbidden", "KeyExpired", "POST", "/keys/signer/"+version+"/sign", body)
	w.must(t, 200, "GET", "/secrets/signer/"+version, nil)
}

func TestPolicyIsChangedAsAsked(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/x/create", object{"policy": ecPolicy("Self")})
	a := w.must(t, 200, "PATCH", "/certificates/x/policy", object{"key_props": object{"crv": "P-384"}})
	if a.string("key_props", "crv") != "P-384" || a.at("key_props", "key_size") != 384.0 {
		t.Errorf("the curve: %s", a.text)
	}
	const version = "?api-version=2026-04-01"
	managed := object{"platformManaged": object{}}
	w.refused(t, 501, "NotImplemented", "", "PATCH", "/certificates/x/policy"+version, managed)
	w.refused(t, 501, "NotImplemented", "", "PATCH", "/certificates/x"+version, object{"policy": managed})
	own := issue(t, "own", rsaKey(), w.clock.Now(), w.clock.Now().AddDate(1, 0, 0), nil, nil)
	managed["secret_props"] = object{"contentType": keyvault.PKCS12}
	w.refused(t, 501, "NotImplemented", "", "POST", "/certificates/y/import"+version, object{"value": pfxOf(t, rsaKey(), own), "policy": managed})
}

// What was emptied on purpose must not come back as a default.
func TestEmptyListsOfAPolicyAreKept(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/x/create", object{"policy": ecPolicy("Self")})
	w.must(t, 200, "PATCH", "/certificates/x/policy", object{"lifetime_actions": []object{}, "x509_props": object{"ekus": []string{}, "key_usage": []string{}}})
	empty := func(when string) {
		t.Helper()
		a := w.must(t, 200, "PATCH", "/certificates/x/policy", object{"key_props": object{"reuse_key": true}})
		for _, list := range []any{a.at("lifetime_actions"), a.at("x509_props", "ekus"), a.at("x509_props", "key_usage")} {
			if all, ok := list.([]any); !ok || len(all) > 0 {
				t.Errorf("%s: %s", when, a.text)
			}
		}
	}
	empty("at first")
	state, err := w.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Restore(state); err != nil {
		t.Fatal(err)
	}
	empty("after a snapshot")
	backup := w.must(t, 200, "POST", "/certificates/x/backup", nil).string("value")
	w.must(t, 200, "DELETE", "/certificates/x", nil)
	w.must(t, 204, "DELETE", "/deletedcertificates/x", nil)
	w.must(t, 200, "POST", "/certificates/restore", object{"value": backup})
	empty("after a backup")
}

func TestListsShowUnfinishedCertificatesWhenAsked(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/done/create", object{"policy": ecPolicy("Self")})
	w.must(t, 202, "POST", "/certificates/waiting/create", object{"policy": ecPolicy("Unknown")})
	show := func(list string) {
		t.Helper()
		for option, want := range map[string]int{"": 1, "?includePending=false": 1, "?includePending=true": 2} {
			if a := w.must(t, 200, "GET", list+option, nil); len(a.at("value").([]any)) != want {
				t.Errorf("%s%s: %s, want %d", list, option, a.text, want)
			}
		}
		w.refused(t, 400, "BadParameter", "", "GET", list+"?includePending=yes", nil)
	}
	show("/certificates")
	w.must(t, 200, "DELETE", "/certificates/done", nil)
	w.must(t, 200, "DELETE", "/certificates/waiting", nil)
	show("/deletedcertificates")
}

func TestIssuersKeepTheirNames(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/certificates/issuers/MyCA", object{"provider": "DigiCert"})
	w.must(t, 200, "PUT", "/certificates/issuers/another", object{"provider": "DigiCert"})
	want := w.url + "/certificates/issuers/MyCA"
	list, err := json.Marshal(w.must(t, 200, "GET", "/certificates/issuers", nil).at("value"))
	if err != nil || !strings.Contains(string(list), `"`+want+`"`) {
		t.Errorf("list: %s %v", list, err)
	}
	if strings.Index(string(list), "/another") > strings.Index(string(list), "/MyCA") {
		t.Errorf("list: %s, not in the order in which names compare", list)
	}
	for range 2 {
		if a := w.must(t, 200, "GET", "/certificates/issuers/myca", nil); a.string("id") != want {
			t.Errorf("issuer: %s", a.text)
		}
		state, err := w.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Restore(state); err != nil {
			t.Fatal(err)
		}
	}
}

// What is said about a name does not depend on the body, which need not be read
// to refuse it.
func TestImportLooksAtTheNameFirst(t *testing.T) {
	w := start(t)
	w.must(t, 202, "POST", "/certificates/c/create", object{"policy": ecPolicy("Self")})
	w.must(t, 200, "DELETE", "/certificates/c", nil)
	w.refused(t, 409, "Conflict", "ObjectIsDeletedButRecoverable", "POST", "/certificates/c/import", object{"value": "no"})
}

// As the service answers, by the recordings that the tests of Azure's SDK for
// JavaScript play back.
func TestFirstVersionUnderWay(t *testing.T) {
	w := start(t)
	now := w.clock.Now()
	p := ecPolicy("Unknown")
	p["x509_props"] = object{"subject": "CN=x", "key_usage": []string{"digitalSignature", "keyEncipherment"}}
	created := w.must(t, 202, "POST", "/certificates/x/create", object{"policy": p})
	a := w.must(t, 200, "GET", "/certificates/x", nil)
	if a.at("attributes", "enabled") != false || a.at("attributes", "nbf") != float64(now.Add(-10*time.Minute).Unix()) ||
		a.at("attributes", "exp") != float64(now.AddDate(0, 12, 0).Unix()) || a.at("cer") != nil {
		t.Errorf("under way: %s", a.text)
	}
	if a := w.must(t, 200, "GET", "/certificates/x/pending", nil); a.header.Get("Retry-After") != "10" {
		t.Errorf("polling: Retry-After %q", a.header.Get("Retry-After"))
	}
	der, err := base64.StdEncoding.DecodeString(created.string("csr"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	var extensions []string
	for _, e := range request.Extensions {
		extensions = append(extensions, fmt.Sprintf("%s %v %x", e.Id, e.Critical, e.Value))
	}
	want := []string{"2.5.29.15 true 030205a0", "2.5.29.37 false 301406082b0601050507030106082b06010505070302", "2.5.29.19 false 3000"}
	if !slices.Equal(extensions, want) {
		t.Errorf("the request has the extensions %q, want %q", extensions, want)
	}
	w.must(t, 200, "PATCH", "/certificates/x/pending", object{"cancellation_requested": true})
	if a := w.must(t, 200, "GET", "/certificates/x/pending", nil); a.header.Get("Retry-After") != "" {
		t.Errorf("when it is over: Retry-After %q", a.header.Get("Retry-After"))
	}
}

func TestLifetimeActionFollowsTheIssuer(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/certificates/issuers/ca", object{"provider": "Test"})
	for issuer, want := range map[string]string{"Self": "AutoRenew", "ca": "AutoRenew", "unknown": "EmailContacts"} {
		w.must(t, 202, "POST", "/certificates/of-"+issuer+"/create", object{"policy": ecPolicy(issuer)})
		a := w.must(t, 200, "GET", "/certificates/of-"+issuer+"/policy", nil)
		if got := fmt.Sprint(a.at("lifetime_actions")); !strings.Contains(got, "action_type:"+want) || !strings.Contains(got, "lifetime_percentage:80") {
			t.Errorf("%s: %s", issuer, got)
		}
	}
}
