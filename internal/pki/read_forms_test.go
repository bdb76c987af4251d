package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf16"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// utf16Text spells text as UTF-16, with or without a mark.
func utf16Text(text string, order binary.AppendByteOrder, mark bool) []byte {
	var b []byte
	if mark {
		b = order.AppendUint16(b, 0xfeff)
	}
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t testing.TB, b []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pkcs7 is certificates as authorities send them.
func pkcs7(t testing.TB, certificates ...*x509.Certificate) []byte {
	t.Helper()
	var all []byte
	for _, c := range certificates {
		all = append(all, c.Raw...)
	}
	type data struct{ Type asn1.ObjectIdentifier }
	type signed struct {
		Version      int
		Digests      asn1.RawValue
		Content      data
		Certificates asn1.RawValue
		Signers      asn1.RawValue
	}
	empty := asn1.RawValue{Tag: asn1.TagSet, IsCompound: true}
	return der(t, struct {
		Type    asn1.ObjectIdentifier
		Content signed `asn1:"explicit,tag:0"`
	}{
		asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2},
		signed{1, empty, data{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: all}, empty},
	})
}

// indefinite gives every sequence an indefinite length, as BER may.
func indefinite(t testing.TB, der []byte) []byte {
	t.Helper()
	var out []byte
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			t.Fatal(err)
		}
		if v.Tag == asn1.TagSequence && v.IsCompound {
			out = append(append(append(out, 0x30, 0x80), indefinite(t, v.Bytes)...), 0, 0)
		} else {
			out = append(out, v.FullBytes...)
		}
		der = rest
	}
	return out
}

// formFile is a file of a form that is read.
type formFile struct {
	name     string
	data     []byte
	password string
	want     pki.Contents // only how many there are counts
	certs    int
	keys     int
	requests int
}

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func forms(t testing.TB) []formFile {
	leaf, key, issuers := chain(t)
	ec := ecKeyOf(t)
	certificate := issue(t, "ec", ec, nil, nil)
	pkcs8 := must2(t)(x509.MarshalPKCS8PrivateKey(key))
	ecPKCS8 := must2(t)(x509.MarshalPKCS8PrivateKey(ec))
	sec1 := must2(t)(x509.MarshalECPrivateKey(ec))
	pkcs1 := x509.MarshalPKCS1PrivateKey(key)
	request := must2(t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "asked"}}, ec))
	encrypted := must2(t)(pkcs12.EncryptKey(ecPKCS8, password))
	pfx := encode(t, gopkcs12.Modern2023.WithIterations(100), key, leaf, issuers, password)
	both := join(certificatePEM(leaf), block("PRIVATE KEY", pkcs8))
	p7 := pkcs7(t, leaf, issuers[0], issuers[1])
	b64 := base64.StdEncoding.EncodeToString
	escaped := strings.ReplaceAll(string(both), "\n", `\n`)
	oneLine := strings.ReplaceAll(string(both), "\n", " ")
	indented := "  tls.pem: |\n    " + strings.ReplaceAll(string(both), "\n", "\n    ")
	f := func(name string, format pki.Format, data []byte, password string, certs, keys, requests int) formFile {
		return formFile{name, data, password, pki.Contents{Format: format, Base64: strings.HasPrefix(name, "base64")}, certs, keys, requests}
	}
	return []formFile{
		f("PEM", pki.FormatPEM, both, "", 1, 1, 0),
		f("PEM, CRLF", pki.FormatPEM, bytes.ReplaceAll(both, []byte("\n"), []byte("\r\n")), "", 1, 1, 0),
		f("PEM, CR alone", pki.FormatPEM, bytes.ReplaceAll(both, []byte("\n"), []byte("\r")), "", 1, 1, 0),
		f("PEM, mark", pki.FormatPEM, join([]byte("\xef\xbb\xbf"), both), "", 1, 1, 0),
		f("PEM, text around in Latin-1", pki.FormatPEM, join([]byte("Zo\xeb\n"), both, []byte("Zo\xeb\n"), certificatePEM(issuers[0])), "", 2, 1, 0),
		f("PEM, s_client", pki.FormatPEM, join([]byte("0 s:CN = reeve\n   i:CN = Middle\n"), both), "", 1, 1, 0),
		f("PEM, UTF-16", pki.FormatPEM, utf16Text(string(both), binary.LittleEndian, true), "", 1, 1, 0),
		f("PEM, UTF-16, high byte first", pki.FormatPEM, utf16Text(string(both), binary.BigEndian, true), "", 1, 1, 0),
		f("PEM, UTF-16 without mark", pki.FormatPEM, utf16Text(string(both), binary.LittleEndian, false), "", 1, 1, 0),
		f("PEM, \\n", pki.FormatPEM, []byte(escaped), "", 1, 1, 0),
		f("PEM, \\r\\n in quotes", pki.FormatPEM, []byte(`KEY="`+strings.ReplaceAll(escaped, `\n`, `\r\n`)+`"`), "", 1, 1, 0),
		f("PEM, one line", pki.FormatPEM, []byte(oneLine), "", 1, 1, 0),
		f("PEM, indented", pki.FormatPEM, []byte(indented), "", 1, 1, 0),
		f("PEM, PKCS#1", pki.FormatPEM, block("RSA PRIVATE KEY", pkcs1), "", 0, 1, 0),
		f("PEM, SEC 1 with parameters", pki.FormatPEM, join(block("EC PARAMETERS", []byte{6, 1, 1}), block("EC PRIVATE KEY", sec1)), "", 0, 1, 0),
		f("PEM, wrong labels", pki.FormatPEM, join(block("PRIVATE KEY", pkcs1), block("RSA PRIVATE KEY", ecPKCS8), block("CERTIFICATE", p7)), "", 3, 2, 0),
		f("PEM, encrypted key", pki.FormatPEM, join(certificatePEM(certificate), block("ENCRYPTED PRIVATE KEY", encrypted)), password, 1, 1, 0),
		f("PEM, request", pki.FormatPEM, block("CERTIFICATE REQUEST", request), "", 0, 0, 1),
		f("PEM, new request", pki.FormatPEM, block("NEW CERTIFICATE REQUEST", request), "", 0, 0, 1),
		f("PEM, PKCS#7", pki.FormatPEM, block("PKCS7", p7), "", 3, 0, 0),
		f("PEM, trusted", pki.FormatPEM, block("TRUSTED CERTIFICATE", join(leaf.Raw, []byte{0x30, 0x0c, 0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2})), "", 1, 0, 0),
		f("PEM, others passed over", pki.FormatPEM, join(block("X509 CRL", []byte("x")), block("DH PARAMETERS", []byte("x")), block("PUBLIC KEY", []byte("x")), both), "", 1, 1, 0),
		f("DER certificate", pki.FormatCertificate, leaf.Raw, "", 1, 0, 0),
		f("DER certificate, line end after", pki.FormatCertificate, join(leaf.Raw, []byte("\r\n")), "", 1, 0, 0),
		f("DER PKCS#8", pki.FormatKey, pkcs8, "", 0, 1, 0),
		f("DER PKCS#1", pki.FormatKey, pkcs1, "", 0, 1, 0),
		f("DER SEC 1", pki.FormatKey, sec1, "", 0, 1, 0),
		f("DER encrypted key", pki.FormatKey, encrypted, password, 0, 1, 0),
		f("DER request", pki.FormatRequest, request, "", 0, 0, 1),
		f("PKCS#7", pki.FormatPKCS7, p7, "", 3, 0, 0),
		f("PKCS#7 in BER", pki.FormatPKCS7, indefinite(t, p7), "", 3, 0, 0),
		f("PFX", pki.FormatPKCS12, pfx, password, 3, 1, 0),
		f("base64 PFX", pki.FormatPKCS12, []byte(b64(pfx)), password, 3, 1, 0),
		f("base64 PFX for URLs", pki.FormatPKCS12, []byte(base64.RawURLEncoding.EncodeToString(pfx)), password, 3, 1, 0),
		f("base64 PFX in quotes", pki.FormatPKCS12, []byte(`"`+b64(pfx)+`"`), password, 3, 1, 0),
		f("base64 PFX in UTF-16", pki.FormatPKCS12, utf16Text(wrap(b64(pfx)), binary.LittleEndian, true), password, 3, 1, 0),
		f("base64 certificate", pki.FormatCertificate, []byte(b64(leaf.Raw)), "", 1, 0, 0),
		f("base64 key", pki.FormatKey, []byte(b64(pkcs8)), "", 0, 1, 0),
		f("base64 encrypted key", pki.FormatKey, []byte(b64(encrypted)), password, 0, 1, 0),
		f("base64 request", pki.FormatRequest, []byte(b64(request)), "", 0, 0, 1),
		f("base64 PKCS#7", pki.FormatPKCS7, []byte(b64(p7)), "", 3, 0, 0),
		f("base64 PEM", pki.FormatPEM, []byte(b64(both)), "", 1, 1, 0),
		f("Graph key credential", pki.FormatGraphKey, mustMarshal(t, map[string]any{"type": "AsymmetricX509Cert", "usage": "Verify", "keyId": "00000000-0000-0000-0000-000000000001", "key": b64(leaf.Raw)}), "", 1, 0, 0),
		f("Graph application", pki.FormatGraphKey, mustMarshal(t, map[string]any{"id": "x", "keyCredentials": []any{map[string]any{"key": b64(leaf.Raw)}, map[string]any{"key": nil}, map[string]any{"key": b64(issuers[0].Raw)}}}), "", 2, 0, 0),
		f("base64 Key Vault secret, PFX", pki.FormatPKCS12, mustMarshal(t, map[string]any{"contentType": "application/x-pkcs12", "id": "https://vault/secrets/x", "value": b64(pfx)}), password, 3, 1, 0),
		f("Key Vault secret, PEM", pki.FormatPEM, mustMarshal(t, map[string]any{"contentType": "application/x-pem-file", "value": string(both)}), "", 1, 1, 0),
		f("Key Vault secret, PEM, as PowerShell escapes", pki.FormatPEM, []byte(strings.ReplaceAll(string(mustMarshal(t, map[string]any{"value": string(both)})), "+", `\u002b`)), "", 1, 1, 0),
		f("base64 Key Vault certificate", pki.FormatCertificate, mustMarshal(t, map[string]any{"cer": b64(leaf.Raw)}), "", 1, 0, 0),
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	return must2(t)(json.MarshalIndent(v, "", "  "))
}

func must2(t testing.TB) func([]byte, error) []byte {
	return func(b []byte, err error) []byte { t.Helper(); return must(t, b, err) }
}

func ecKeyOf(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestReadForms(t *testing.T) {
	for _, f := range forms(t) {
		t.Run(f.name, func(t *testing.T) {
			c, err := pki.Read(f.data, f.password)
			if err != nil {
				t.Fatal(err)
			}
			if c.Format != f.want.Format || c.Base64 != f.want.Base64 {
				t.Errorf("it is %s, base64 %v; want %s, %v", c.Format, c.Base64, f.want.Format, f.want.Base64)
			}
			if len(c.Certificates) != f.certs || len(c.Keys) != f.keys || len(c.Requests) != f.requests {
				t.Errorf("got %d certificates, %d keys, %d requests; want %d, %d, %d", len(c.Certificates), len(c.Keys), len(c.Requests), f.certs, f.keys, f.requests)
			}
			if (c.PKCS12 != nil) != (f.want.Format == pki.FormatPKCS12) {
				t.Errorf("the protection is %+v", c.PKCS12)
			}
			if encrypted := strings.Contains(f.name, "encrypted key"); (c.KeyCipher != nil) != encrypted || encrypted && c.KeyCipher.Name != "AES-256-CBC" {
				t.Errorf("the key's cipher is %+v", c.KeyCipher)
			}
		})
	}
}

// TestReadOldPEM reads keys that are encrypted as before PKCS#8.
func TestReadOldPEM(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	key := rsaKey(t, "leaf", 2048)
	for flag, name := range map[string]string{"-des": "DES-CBC", "-des3": "3DES-CBC", "-aes128": "AES-128-CBC", "-aes192": "AES-192-CBC", "-aes256": "AES-256-CBC", "-camellia256": ""} {
		t.Run(flag, func(t *testing.T) {
			command := exec.Command(openssl, "rsa", "-traditional", flag, "-passout", "pass:"+password, "-provider", "legacy", "-provider", "default")
			command.Stdin = bytes.NewReader(keyPEM(t, key))
			data, err := command.Output()
			if err != nil {
				t.Skipf("this openssl does not write it: %v", err)
			}
			for _, data := range [][]byte{data, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), bytes.ReplaceAll(data, []byte("\n"), []byte(`\n`)), bytes.ReplaceAll(data, []byte("\n"), []byte(" "))} {
				c, err := pki.Read(data, password)
				if name == "" {
					wantProblem(t, err, "a cipher that is not read (CAMELLIA-256-CBC)")
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(c.Keys) != 1 || !key.Equal(c.Keys[0]) || c.KeyCipher == nil || c.KeyCipher.Name != name {
					t.Errorf("got %d keys by %+v", len(c.Keys), c.KeyCipher)
				}
				_, err = pki.Read(data, "wrong")
				wantProblem(t, err, "password of the private key in the PEM text is wrong")
				_, err = pki.Read(data, "")
				wantProblem(t, err, "none was given")
				if !errors.Is(err, pki.ErrNoPassword) {
					t.Errorf("not ErrNoPassword: %v", err)
				}
			}
		})
	}
}

// TestReadSaysWhatElse holds that what is not read is named, with what to do.
func TestReadSaysWhatElse(t *testing.T) {
	leaf, key, _ := chain(t)
	public := must2(t)(x509.MarshalPKIXPublicKey(key.Public()))
	pfx := encode(t, gopkcs12.Modern2023.WithIterations(100), key, leaf, nil, password)
	encryptedPEM, err := pki.EncodeKey(key, password)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, _ := pem.Decode(encryptedPEM)
	for _, v := range []struct {
		name, data string
		cause      string
		remedy     string
	}{
		{"JKS", "\xfe\xed\xfe\xed\x00\x00\x00\x02", "Java key store (JKS)", "keytool -importkeystore"},
		{"base64 of JKS", base64.StdEncoding.EncodeToString([]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02")), "Java key store (JKS)", "keytool -importkeystore"},
		{"JCEKS", "\xce\xce\xce\xce\x00\x00\x00\x02", "Java key store (JCEKS)", "-srcstoretype JCEKS"},
		{"BCFKS", string(der(t, struct {
			Data struct {
				A struct{ O asn1.ObjectIdentifier }
				B []byte
			}
			Check struct{ A int }
		}{Data: struct {
			A struct{ O asn1.ObjectIdentifier }
			B []byte
		}{struct{ O asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 3}}, []byte{1}}})), "(BCFKS)", "keytool -importkeystore"},
		{"OpenSSH", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA=\n-----END OPENSSH PRIVATE KEY-----\n", "OpenSSH", "ssh-keygen -p"},
		{"PuTTY", "PuTTY-User-Key-File-3: ssh-rsa\n", "PuTTY", "puttygen"},
		{"SSH public", "ssh-rsa AAAAB3NzaC1yc2E= me@here\n", "public key for SSH", "PFX or PEM"},
		{"SSH2 public", "---- BEGIN SSH2 PUBLIC KEY ----\n", "public key for SSH", "PFX or PEM"},
		{"PGP", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ==\n=x\n-----END PGP PRIVATE KEY BLOCK-----\n", "OpenPGP", "X.509"},
		{"age", "age-encryption.org/v1\n-> X25519 x\n", "age", "age --decrypt"},
		{"age key", "AGE-SECRET-KEY-1QQQQQQ\n", "age", "age --decrypt"},
		{"age, armored", "-----BEGIN AGE ENCRYPTED FILE-----\nYQ==\n-----END AGE ENCRYPTED FILE-----\n", "age", "age --decrypt"},
		{"JWK", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, "JSON web key", "PFX or PEM"},
		{"JWKS", `{"keys":[{"kty":"RSA"}]}`, "JSON web key", "PFX or PEM"},
		{"other JSON", `{"clientId":"x"}`, "JSON, and neither", "PFX or PEM"},
		{"error of Graph", `{"error":{"code":"Request_ResourceNotFound"}}`, "an error that a service answered", "ask the service again"},
		{"list of Graph without keys", `{"value":[{"keyId":"x","key":null}]}`, "without its certificate", "$select=keyCredentials"},
		{"HTML", "\r\n<!DOCTYPE html><html>", "web page", "signed in"},
		{"XML key", "<RSAKeyValue><Modulus>", "XML form of .NET", "PEM"},
		{"blanks", " \r\n\t", "is empty", "look at"},
		{"ZIP", "PK\x03\x04\x14\x00", "ZIP", "unpack"},
		{"gzip", "\x1f\x8b\x08\x00", "gzip", "unpack"},
		{"PVK", "\x1e\xf1\xb5\xb0\x00\x00", "PVK", "openssl rsa"},
		{"SST", "\x00\x00\x00\x00CERT\x01\x00", ".sst", "PFX"},
		{"NSS database", "SQLite format 3\x00", "NSS", "pk12util"},
		{"address", "https://vault.example/secrets/x", "address", "load"},
		{"path", `C:\certs\reeve.pfx`, "path of a file", "what is in the file"},
		{"path, Unix", "/etc/reeve/reeve.pem\n", "path of a file", "what is in the file"},
		{"reference", "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/x)", "Key Vault reference that was not resolved", "managed identity"},
		{"thumbprint", pki.SHA1(leaf), "thumbprint", "PFX or PEM"},
		{"thumbprint, like DER", "09" + strings.Repeat(":ab", 19), "thumbprint", "PFX or PEM"}, // 0x30, and 0x39 bytes after it
		{"public key", string(block("PUBLIC KEY", public)), "public key alone", "private key"},
		{"DER public key", string(public), "public key alone", "private key"},
		{"DER PKCS#1 public key", string(x509.MarshalPKCS1PublicKey(&key.PublicKey)), "public key alone", "private key"},
		{"cut PFX", string(pfx[:len(pfx)-1]), fmt.Sprintf("it is cut off, for only %d of its %d bytes are there", len(pfx)-1, len(pfx)), "binary mode"},
		{"base64 of a cut PFX", base64.StdEncoding.EncodeToString(pfx[:999]), "the PFX file cannot be read: it is cut off", "variable"},
		{"two DER certificates", string(leaf.Raw) + string(leaf.Raw), fmt.Sprintf("goes on for %d bytes after its end", len(leaf.Raw)), "one by one"},
		{"DER certificate and what is cut off", string(leaf.Raw) + string(x509.MarshalPKCS1PrivateKey(key)[:1000]), "after its end", "one by one"},
		{"DER certificate and encrypted key", string(leaf.Raw) + string(encrypted.Bytes), "after its end", "one by one"},
		{"DER certificate and key", string(leaf.Raw) + string(x509.MarshalPKCS1PrivateKey(key)), "after its end", "one by one"},
		{"bytes after", string(pfx) + "xyz", "goes on for 3 bytes after its end", "new copy"},
		{"cut PEM", string(certificatePEM(leaf)[:700]), "block 1 of the PEM text (certificate) has no end", "whole"},
		{"cut PEM, another after", string(certificatePEM(leaf)[:700]) + string(certificatePEM(leaf)), "block 1 of the PEM text (certificate) has no end", "whole"},
		{"PEM that is no base64", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "not base64", "plain text"},
		{"PEM spoilt by a text program", strings.ReplaceAll(string(certificatePEM(leaf)), "-----", "—–"), "BEGIN and END are broken", "hyphens"},
		{"PEM with nothing of use", string(block("DH PARAMETERS", []byte{1})), "neither a certificate nor a private key", "PFX or PEM"},
	} {
		t.Run(v.name, func(t *testing.T) {
			c, err := pki.Read([]byte(v.data), "")
			if err == nil {
				t.Fatalf("got %v", c)
			}
			wantProblem(t, err, v.cause)
			wantProblem(t, err, v.remedy)
		})
	}
}

// TestReadRefusesKeys holds that a key that is sound and of no use is named.
func TestReadRefusesKeys(t *testing.T) {
	type algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	pkcs8 := func(oid asn1.ObjectIdentifier, parameters []byte, key []byte) []byte {
		return der(t, struct {
			Version   int
			Algorithm algorithm
			Key       []byte
		}{0, algorithm{oid, asn1.RawValue{FullBytes: parameters}}, key})
	}
	ecdsaOID := asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	scalar := der(t, struct {
		Version int
		Key     []byte
	}{1, bytes.Repeat([]byte{1}, 32)})
	brainpool := der(t, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 7})
	ones := big.NewInt(1)
	for _, v := range []struct {
		name string
		key  []byte
		want string
	}{
		{"brainpool", pkcs8(ecdsaOID, brainpool, scalar), "brainpoolP256r1"},
		{"secp256k1", pkcs8(ecdsaOID, der(t, asn1.ObjectIdentifier{1, 3, 132, 0, 10}), scalar), "secp256k1"},
		{"explicit curve", pkcs8(ecdsaOID, der(t, struct{ A int }{1}), scalar), "spelled out"},
		{"no curve", scalar, "not named"},
		{"DSA", pkcs8(asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, nil, der(t, ones)), "DSA"},
		{"DSA, traditional", der(t, struct{ A, B, C, D, E, F *big.Int }{new(big.Int), ones, ones, ones, ones, ones}), "DSA"},
		{"X25519", pkcs8(asn1.ObjectIdentifier{1, 3, 101, 110}, nil, []byte{4, 1, 1}), "X25519"},
		{"Ed448", pkcs8(asn1.ObjectIdentifier{1, 3, 101, 113}, nil, []byte{4, 1, 1}), "Ed448"},
		{"unknown", pkcs8(asn1.ObjectIdentifier{1, 2, 3, 4}, nil, []byte{4, 1, 1}), "unknown kind (1.2.3.4)"},
		{"huge RSA", der(t, struct {
			V                          int
			N, E, D, P, Q, Dp, Dq, Inv *big.Int
		}{0, new(big.Int).Lsh(ones, 1<<20), ones, ones, ones, ones, ones, ones, ones}), "1048577 bits"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := pki.Read(v.key, "")
			wantProblem(t, err, v.want)
			_, err = pki.Read(block("PRIVATE KEY", v.key), "")
			wantProblem(t, err, v.want)
		})
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.Read(must2(t)(x509.MarshalPKCS8PrivateKey(ed)), "")
	if err != nil || len(c.Keys) != 1 || !ed.Equal(c.Keys[0]) {
		t.Errorf("an Ed25519 key is sound, and Entra ID is who does not take it: %v", err)
	}
}

func TestPairOfContents(t *testing.T) {
	leaf, key, issuers := chain(t)
	other := ecKeyOf(t)
	otherCertificate := issue(t, "other", other, nil, nil)
	read := func(parts ...[]byte) *pki.Contents {
		t.Helper()
		c, err := pki.Read(join(parts...), "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	pair, err := read(keyPEM(t, other), certificatePEM(leaf), keyPEM(t, key), keyPEM(t, key), certificatePEM(leaf)).Pair()
	if err != nil || !pair.Certificate.Equal(leaf) || !key.Equal(pair.Key) {
		t.Errorf("of two keys, one has a certificate: got %v, %v", pair, err)
	}
	_, err = read(keyPEM(t, other), certificatePEM(leaf), keyPEM(t, key), certificatePEM(otherCertificate)).Pair()
	wantProblem(t, err, pki.SHA1(leaf))
	wantProblem(t, err, pki.SHA1(otherCertificate))
	_, err = read(certificatePEM(leaf)).Pair()
	wantProblem(t, err, "public half alone")
	_, err = read(keyPEM(t, key)).Pair()
	wantProblem(t, err, "no certificate")
	request := must2(t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "asked"}}, other))
	_, err = read(block("CERTIFICATE REQUEST", request)).Pair()
	wantProblem(t, err, "certificate request (for CN=asked)")

	// Another authority of the same name, which did not sign, stands first.
	impostor := issue(t, "Middle", other, nil, nil)
	pair, err = read(certificatePEM(impostor), certificatePEM(issuers[1]), certificatePEM(issuers[0]), certificatePEM(leaf), keyPEM(t, key)).Pair()
	if err != nil || len(pair.Chain) != 2 || !pair.Chain[0].Equal(issuers[0]) || !pair.Chain[1].Equal(issuers[1]) {
		t.Errorf("the chain is %v: %v", pair.Chain, err)
	}
}

func TestContentsHidesItsKeys(t *testing.T) {
	leaf, key, _ := chain(t)
	c, err := pki.Read(join(certificatePEM(leaf), keyPEM(t, key)), "")
	if err != nil {
		t.Fatal(err)
	}
	marshaled := mustMarshal(t, map[string]any{"contents": c, "value": *c})
	for _, s := range []string{fmt.Sprint(c), fmt.Sprint(*c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%#v", *c), fmt.Sprintf("%+v", []pki.Contents{*c}), string(marshaled)} {
		if strings.Contains(s, key.D.String()) || strings.Contains(s, fmt.Sprintf("%x", key.D)) || !strings.Contains(s, pki.SHA1(leaf)) {
			t.Errorf("printed as %.100s", s)
		}
	}
}
