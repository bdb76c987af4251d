package pki_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/pki"
)

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{
		"reeve":                                         "CN=reeve",
		" Contoso sign-in, test ":                       `CN=Contoso sign-in\, test`,
		"CN=reeve":                                      "CN=reeve",
		"CN=reeve, O=Contoso, C=DE":                     "CN=reeve, O=Contoso, C=DE",
		"cn=reeve;o=Contoso;c=de":                       "CN=reeve, O=Contoso, C=DE",
		"C=DE, O=Contoso, CN=reeve":                     "C=DE, O=Contoso, CN=reeve",
		`CN=reeve, O="Contoso, Ltd. = \"us\""`:          `CN=reeve, O=Contoso\, Ltd. = \"us\"`,
		`CN=\ a\,b\+c\;d\<e\>f\\\3d\ `:                  `CN=\ a\,b\+c\;d\<e\>f\\=\ `,
		`CN=#0c0568656c6c6f`:                            "CN=hello",
		"CN=a=b\r\n":                                    "CN=a=b",
		`CN=\#1`:                                        `CN=\#1`,
		`CN=Stra\C3\9Fe`:                                "CN=Straße",
		"CN=東京, OU=一, OU=二":                             "CN=東京, OU=一, OU=二",
		"CN=x, DC=contoso, DC=com":                      "CN=x, DC=contoso, DC=com",
		"E=a@b.example, emailAddress=c@d.example, CN=x": "E=a@b.example, E=c@d.example, CN=x",
		"2.5.4.3=x, OID.2.5.4.10=y":                     "CN=x, O=y",
		"CN=x, S=Bavaria, L=Munich, STREET=A 1, postalCode=80331, serialNumber=7": "CN=x, ST=Bavaria, L=Munich, STREET=A 1, POSTALCODE=80331, SERIALNUMBER=7",
	} {
		name, err := pki.ParseName(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := pki.FormatName(name); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		again, err := pki.ParseName(pki.FormatName(name))
		if err != nil || pki.FormatName(again) != want {
			t.Errorf("%q: %q and back: %v %v", in, want, again, err)
		}
		// Also as Go writes it.
		again, err = pki.ParseName(name.String())
		if err != nil || pki.FormatName(again) != want {
			t.Errorf("%q: %q and back: %v %v", in, name, again, err)
		}
	}
}

func TestParseNameRefuses(t *testing.T) {
	long := strings.Repeat("x", 65)
	for in, want := range map[string]string{
		"":                        "subject is empty",
		" ":                       "subject is empty",
		"\xff":                    "not UTF-8",
		strings.Repeat("x", 1025): "more than 1024 characters",
		"/CN=reeve/O=Contoso":     "slashes",
		long:                      "CN has 65 characters, and certificates allow 64",
		"CN=" + long:              "CN has 65 characters",
		"CN=x, O=" + long:         "O has 65 characters",
		"CN=a\x00b":               "control characters",
		`CN=a\00b`:                "control characters",
		"CN=":                     "CN is empty",
		"CN=x, O=":                "O is empty",
		"CN=x,":                   "has no equals sign",
		"CN=x, Contoso":           "has no equals sign",
		"CN=a, CN=b":              "CN is there twice",
		"CN=x, C=DEU":             `C is "DEU"`,
		"CN=x, C=1D":              `C is "1D"`,
		"CN=x, C=ÄÖ":              "C is",
		"CN=x, XX=y":              `"XX"`,
		"CN=x, UID=y":             `"UID"`,
		"CN=a+O=b":                "plus sign",
		`CN="a"+O=b`:              "plus sign",
		`CN=a"b`:                  "bare \"",
		"CN=a<b":                  "bare <",
		`CN="a`:                   "quote that does not end",
		`CN="a"b`:                 "text after its quote",
		`CN=a\`:                   "backslash",
		`CN=a\x`:                  "backslash",
		`CN=\ff`:                  "not UTF-8",
		"CN=#zz":                  "not hexadecimal",
		"CN=#0203010203":          "not the DER",
		"CN=#0c0568656c6c6f00":    "not the DER",
		"CN=x, DC=münchen":        "beyond ASCII",
		"CN=x, E=ä@example.com":   "beyond ASCII",
		"CN=x, C=DE, C=FR":        "C is there twice",
	} {
		_, err := pki.ParseName(in)
		if err == nil {
			t.Errorf("%q: taken", in)
			continue
		}
		wantProblem(t, err, want)
	}
}

// TestFormatName writes what ParseName would refuse.
func TestFormatName(t *testing.T) {
	for want, value := range map[string]any{
		`CN=a\0Ab`:   "a\nb",
		`CN=\FF`:     "\xff",
		`CN=`:        "",
		`CN=#020105`: 5,
		`CN=\#x\ `:   "#x ",
		`CN=?`:       func() {},
	} {
		name := pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: value}}}
		if got := pki.FormatName(name); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	odd := pkix.Name{Names: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "x"}}}
	if got := pki.FormatName(odd); got != "1.2.3=x" {
		t.Errorf("got %q", got)
	}
	pair := pki.Pair{Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: strings.Repeat("x", 1_000_000)}}}
	if n := len(pair.String()); n > 500 {
		t.Errorf("a pair prints in %d bytes", n)
	}
}

// TestNameInCertificate sees the order and the encoding of the parts.
func TestNameInCertificate(t *testing.T) {
	const subject = `CN=Großer reeve, DC=contoso, E=a@contoso.com, O=Contoso\, Ltd., C=DE`
	name, err := pki.ParseName(subject)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.SelfSign(ecKey(t), pki.Template{Subject: name, NotBefore: notBefore, NotAfter: notAfter})
	if err != nil {
		t.Fatal(err)
	}
	c := pair.Certificate
	if got := pki.FormatName(c.Subject); got != subject {
		t.Errorf("got %q", got)
	}
	if c.Subject.CommonName != "Großer reeve" || c.Subject.Organization[0] != "Contoso, Ltd." || c.Subject.Country[0] != "DE" {
		t.Errorf("got %+v", c.Subject)
	}
	var rdns []asn1.RawValue
	if _, err := asn1.Unmarshal(c.RawSubject, &rdns); err != nil {
		t.Fatal(err)
	}
	var tags []int
	for _, rdn := range rdns {
		var pair struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		if _, err := asn1.Unmarshal(rdn.Bytes, &pair); err != nil {
			t.Fatal(err)
		}
		tags = append(tags, pair.Value.Tag)
	}
	// RFC 5280 4.1.2.4 and its appendix A.
	want := []int{asn1.TagPrintableString, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagIA5String, asn1.TagUTF8String}
	if len(tags) != len(want) {
		t.Fatalf("got %v, want %v", tags, want)
	}
	for i := range want {
		if tags[i] != want[i] {
			t.Errorf("got %v, want %v", tags, want)
		}
	}
}

// FuzzParseName writes what was read and reads it again.
func FuzzParseName(f *testing.F) {
	f.Add(`CN=reeve, O="Contoso, Ltd.", C=DE`)
	f.Add(`CN=\ a\,b\2C#, DC=x, E=a@b`)
	f.Add(`2.5.4.3=#0c0568656c6c6f;OU=a`)
	f.Fuzz(func(t *testing.T, s string) {
		name, err := pki.ParseName(s)
		if err != nil {
			wantProblem(t, err, "")
			return
		}
		text := pki.FormatName(name)
		again, err := pki.ParseName(text)
		if err != nil || pki.FormatName(again) != text {
			t.Errorf("%q was read as %q, and that as %v, %v", s, text, again, err)
		}
		if _, err := asn1.Marshal(name.ToRDNSequence()); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if name.CommonName != "" && !strings.Contains(text, "CN=") {
			t.Errorf("%q lost its common name: %q", s, text)
		}
	})
}
