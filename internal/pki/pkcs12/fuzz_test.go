package pkcs12_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

func FuzzPKCS12(f *testing.F) {
	i := newIdentity(f)
	for _, e := range []*gopkcs12.Encoder{
		gopkcs12.LegacyRC2, gopkcs12.LegacyDES, gopkcs12.Modern2023.WithIterations(2), gopkcs12.Modern2026.WithIterations(2), gopkcs12.Passwordless,
	} {
		for _, password := range []string{"", "x"} {
			data, err := e.Encode(i.key, i.certificate, nil, password)
			if err == nil {
				f.Add(data, password)
				f.Add(withoutMAC(f, data), password) // so that the rest can be changed
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		file, err := pkcs12.Read(data, password)
		checkError(t, err)
		if err != nil {
			return
		}
		for _, k := range file.Keys {
			if k.Signer == nil || k.Signer.Public() == nil {
				t.Error("a key that is none")
			}
		}
		if len(file.Keys) > 0 != (len(file.Protection.Keys) > 0) || len(file.Certificates) > 0 != (len(file.Protection.Certificates) > 0) {
			t.Errorf("%d keys and %d certificates, protected by %+v", len(file.Keys), len(file.Certificates), file.Protection)
		}
	})
}

func FuzzDecryptKey(f *testing.F) {
	i := newIdentity(f)
	for _, e := range []*gopkcs12.Encoder{gopkcs12.LegacyDES, gopkcs12.Modern2023.WithIterations(2)} {
		data, err := e.Encode(i.key, i.certificate, nil, "x")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(shrouded(f, data), "x")
	}
	f.Fuzz(func(t *testing.T, der []byte, password string) {
		pkcs8, _, err := pkcs12.DecryptKey(der, password)
		checkError(t, err)
		if err == nil {
			_, err = pkcs12.ParseKey(pkcs8)
			checkError(t, err)
		}
	})
}

// withoutMAC takes the MAC out of a PFX file.
func withoutMAC(t testing.TB, pfx []byte) []byte {
	t.Helper()
	var file struct {
		Version  int
		AuthSafe asn1.RawValue
	}
	if _, err := asn1.Unmarshal(pfx, &file); err != nil {
		t.Fatal(err)
	}
	data, err := asn1.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// shrouded takes the encrypted key out of a PFX file.
func shrouded(t testing.TB, pfx []byte) []byte {
	t.Helper()
	oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(pfx, oid)
	var value asn1.RawValue
	if _, err := asn1.Unmarshal(after, &value); err != nil {
		t.Fatal(err)
	}
	return value.Bytes
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var e *pkcs12.Error
	if err != nil && (!errors.As(err, &e) || e.Cause == "" || e.Remedy == "") {
		t.Errorf("got %#v", err)
	}
}
