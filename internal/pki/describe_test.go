package pki_test

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/pki"
)

// known is a certificate that openssl made; of its thumbprints openssl, GNU basenc
// and base64 gave those in TestDescribe.
const known = `
-----BEGIN CERTIFICATE-----
MIICCDCCAa6gAwIBAgIJAKGyw9Tl9gcYMAoGCCqGSM49BAMCMDUxCzAJBgNVBAYT
AkRFMRYwFAYDVQQKDA1Db250b3NvLCBMdGQuMQ4wDAYDVQQDDAVyZWV2ZTAeFw0y
NjExMjExNTE1MjZaFw0yNzExMjExNTE1MjZaMDUxCzAJBgNVBAYTAkRFMRYwFAYD
VQQKDA1Db250b3NvLCBMdGQuMQ4wDAYDVQQDDAVyZWV2ZTBZMBMGByqGSM49AgEG
CCqGSM49AwEHA0IABGTpfktBq50Ssnj156mcBDfakBW3m9TJ8lKIkXqux46Sfn4I
hKQ+uzJ5Ya5gwUyCStJWA9dQhjVrplro0YLWgcCjgaYwgaMwHQYDVR0OBBYEFNG8
BbQI3UxsePJevcIXhlvlTsDYMB8GA1UdIwQYMBaAFNG8BbQI3UxsePJevcIXhlvl
TsDYMCIGA1UdEQQbMBmCEXJlZXZlLmNvbnRvc28uY29thwTAAAIBMA4GA1UdDwEB
/wQEAwIHgDAfBgNVHSUEGDAWBggrBgEFBQcDAgYKKwYBBAGCNxQCAjAMBgNVHRMB
Af8EAjAAMAoGCCqGSM49BAMCA0gAMEUCIQCnT41z0V+ebbUd84fZdLyBpF/rz/an
LH30+0eNZoG20gIgB/UNQtXekt/HynUTMpSajlKSG151jzf2ilaPoj6cuUs=
-----END CERTIFICATE-----
`

func knownCertificate(t testing.TB) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(known))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDescribe(t *testing.T) {
	got := pki.Describe(knownCertificate(t), time.Date(2027, 11, 20, 15, 15, 26, 0, time.UTC))
	want := pki.Description{
		Subject:                `CN=reeve, O=Contoso\, Ltd., C=DE`,
		Issuer:                 `CN=reeve, O=Contoso\, Ltd., C=DE`,
		SerialNumber:           "00A1B2C3D4E5F60718",
		NotBefore:              time.Date(2026, 11, 21, 15, 15, 26, 0, time.UTC),
		NotAfter:               time.Date(2027, 11, 21, 15, 15, 26, 0, time.UTC),
		DaysLeft:               1,
		Key:                    "EC key (P-256)",
		SignatureAlgorithm:     "ECDSA-SHA256",
		AlternativeNames:       []string{"reeve.contoso.com", "192.0.2.1"},
		Uses:                   []string{"digitalSignature", "clientAuth", "1.3.6.1.4.1.311.20.2.2"},
		SelfSigned:             true,
		SHA1:                   "B798B5473AC8627E3F639239037FBE79AA0961E6",
		SHA256:                 "21095B7CB169C39F790F9857AA35439035A9DFA9185F858B5FFEAE975B8D10D9",
		X5T:                    "t5i1RzrIYn4_Y5I5A3--eaoJYeY",
		X5TS256:                "IQlbfLFpw595D5hXqjVDkDWp36kYX4WLX_6ul1uNENk",
		CustomKeyIdentifier:    "t5i1RzrIYn4/Y5I5A3++eaoJYeY=",
		CustomKeyIdentifierHex: "Qjc5OEI1NDczQUM4NjI3RTNGNjM5MjM5MDM3RkJFNzlBQTA5NjFFNg==",
	}
	if !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
}

func TestDescribeInJSON(t *testing.T) {
	leaf, _, _ := chain(t)
	data, err := json.Marshal(pki.Describe(leaf, now))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"subject":"CN=reeve"`, `"issuer":"CN=Middle"`, `"not_after":"2027-03-01T12:00:00Z"`, `"days_left":100`, `"key":"RSA key (2048 bits)"`,
		`"alternative_names":[]`, `"uses":[]`, `"authority":true`, `"self_signed":false`, `"sha1":"` + pki.SHA1(leaf) + `"`, `"x5t_s256":"` + pki.X5TS256(leaf) + `"`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
}

func TestDescribeSelfSigned(t *testing.T) {
	_, _, issuers := chain(t)
	if !pki.Describe(issuers[1], now).SelfSigned {
		t.Error("a root is not self-signed")
	}
	// One that has its own name as issuer, and is signed by another.
	pretender := issue(t, "Root", ecKey(t), issuers[1], rsaKey(t, "root", 2048))
	if pki.Describe(pretender, now).SelfSigned {
		t.Error("a certificate that another signed is self-signed")
	}
}

// TestDescribeIsBounded however large a key is.
func TestDescribeIsBounded(t *testing.T) {
	leaf, _, _ := chain(t)
	huge := *leaf
	n := new(big.Int).Lsh(big.NewInt(1), 2_000_000)
	huge.PublicKey = &rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 65537}
	huge.RawIssuer = huge.RawSubject
	start := time.Now()
	if pki.Describe(&huge, now).SelfSigned {
		t.Error("a signature that was not verified fits")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestDescribeShowsAll that a terminal would obey.
func TestDescribeShowsAll(t *testing.T) {
	d := pki.Describe(&x509.Certificate{
		DNSNames: []string{"a\x1b[2Jb"}, EmailAddresses: []string{"a\n@b.de"},
		Subject: pkix.Name{CommonName: "a\x1b[2J\u202eb"},
	}, now)
	want := []string{"a�[2Jb", "a�@b.de"}
	if !cmp.Equal(d.AlternativeNames, want) || d.Subject != `CN=a\1B[2J\E2\80\AEb` {
		t.Errorf("got %q and %q", d.AlternativeNames, d.Subject)
	}
	if name, err := pki.ParseName(`CN=a\E2\80\AEb`); err != nil || name.CommonName != "a\u202eb" {
		t.Errorf("got %q, %v", name.CommonName, err)
	}
}

func TestDescribeUnknownKey(t *testing.T) {
	if got := pki.Describe(&x509.Certificate{}, now).Key; got != "key of an unknown kind" {
		t.Errorf("got %q", got)
	}
}

func TestDescribeSerialNumber(t *testing.T) {
	for n, want := range map[string]string{"0": "00", "1": "01", "7f": "7F", "80": "0080", "100": "0100", "ff00000000000000000000": "00FF00000000000000000000"} {
		serial, _ := new(big.Int).SetString(n, 16)
		if got := pki.Describe(&x509.Certificate{SerialNumber: serial}, now).SerialNumber; got != want {
			t.Errorf("%s: got %s, want %s", n, got, want)
		}
	}
}
