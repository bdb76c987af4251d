package pkcs12

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestDecryptKeyTriesSpellings decrypts keys whose password other programs spelled in
// their own way.
func TestDecryptKeyTriesSpellings(t *testing.T) {
	const password = "Zoë"
	plain := unhex(t, "3003020105")
	units := utf16.Encode([]rune(password))
	for name, spelled := range map[string]string{
		"UTF-8":                  password,
		"BMPString":              string(bmpString(units, true)),
		"BMPString, no zero end": string(bmpString(units, false)),
		"Latin-1":                "Zo\xeb",
	} {
		data, err := EncryptKey(plain, spelled)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := DecryptKey(data, password)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: got %x, %v", name, got, err)
		}
	}
}

// TestAESGCM decrypts what is encrypted here, for want of a program that does.
func TestAESGCM(t *testing.T) {
	plain := unhex(t, "3003020105")
	nonce := []byte("twelve bytes")
	for oid, size := range gcmCiphers {
		for tag := 12; tag <= 16; tag += 4 {
			key, err := pbkdf2.Key(sha256.New, "x", []byte("salt"), 3, size)
			if err != nil {
				t.Fatal(err)
			}
			block, err := aes.NewCipher(key)
			if err != nil {
				t.Fatal(err)
			}
			gcm, err := cipher.NewGCMWithTagSize(block, tag)
			if err != nil {
				t.Fatal(err)
			}
			data := encryptedKey(t, pbkdf2Algorithm(t, 3, 0), oid, struct {
				Nonce []byte
				Tag   int `asn1:"optional,default:12"`
			}{nonce, tag}, gcm.Seal(nil, nonce, plain, nil))
			got, c, err := DecryptKey(data, "x")
			if err != nil || !bytes.Equal(got, plain) || !strings.HasSuffix(c.Name, "-GCM") {
				t.Errorf("%s, tag of %d bytes: %x, %+v, %v", oid, tag, got, c, err)
			}
		}
	}
}

func pbkdf2Algorithm(t testing.TB, iterations, size int) pkix.AlgorithmIdentifier {
	t.Helper()
	a, err := algorithm(oidPBKDF2, pbkdf2Parameters{
		Salt: octets([]byte("salt")), Iterations: iterations, KeySize: size,
		PRF: pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// encryptedKey makes an EncryptedPrivateKeyInfo of PBES2.
func encryptedKey(t testing.TB, kdf pkix.AlgorithmIdentifier, cipher string, parameters any, data []byte) []byte {
	t.Helper()
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(cipher, ".") {
		n := 0
		for _, digit := range part {
			n = 10*n + int(digit-'0')
		}
		oid = append(oid, n)
	}
	inner, err := algorithm(oid, parameters)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := algorithm(oidPBES2, pbes2Parameters{kdf, inner})
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(encryptedPrivateKeyInfo{outer, data})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestDecryptKeyRefuses(t *testing.T) {
	const cbc = "2.16.840.1.101.3.4.1.42"
	iv, data := make([]byte, 16), make([]byte, 32)
	for name, v := range map[string]struct {
		der  []byte
		want string
	}{
		"rounds":             {encryptedKey(t, pbkdf2Algorithm(t, 1<<30, 0), cbc, iv, data), "too much work"},
		"dear rounds":        {encryptedKey(t, pbkdf2Algorithm(t, 4_000_000, 0), cbc, iv, data), "as much as 4000000 rounds"},
		"no rounds":          {encryptedKey(t, pbkdf2Algorithm(t, 0, 0), cbc, iv, data), "not positive"},
		"negative rounds":    {encryptedKey(t, pbkdf2Algorithm(t, -5, 0), cbc, iv, data), "not positive"},
		"size of key":        {encryptedKey(t, pbkdf2Algorithm(t, 1, 16), cbc, iv, data), "a key of 16 bytes"},
		"scrypt, memory":     {encryptedKey(t, scryptAlgorithm(t, 1<<20, 8, 1), cbc, iv, data), "too much work"},
		"scrypt, time":       {encryptedKey(t, scryptAlgorithm(t, 1<<14, 8, 1<<20), cbc, iv, data), "too much work"},
		"scrypt, p":          {encryptedKey(t, scryptAlgorithm(t, 2, 1, 700_000), cbc, iv, data), "too much work"},
		"scrypt, as used":    {encryptedKey(t, scryptAlgorithm(t, 1<<16, 8, 1), cbc, iv, data), "is wrong"},
		"scrypt, p and r":    {encryptedKey(t, scryptAlgorithm(t, 2, 100_000, 7), cbc, iv, data), "too much work"},
		"scrypt, N":          {encryptedKey(t, scryptAlgorithm(t, 1000, 8, 1), cbc, iv, data), "scrypt are not well-formed"},
		"initial vector":     {encryptedKey(t, pbkdf2Algorithm(t, 1, 0), cbc, iv[:15], data), "wrong"},
		"RC2 without a size": {encryptedKey(t, pbkdf2Algorithm(t, 1, 0), oidRC2CBC.String(), iv[:8], data), "size of its key"},
		"RC2, huge key":      {encryptedKey(t, pbkdf2Algorithm(t, 1, 1<<30), oidRC2CBC.String(), iv[:8], data), "size of its key"},
		"unknown cipher":     {encryptedKey(t, pbkdf2Algorithm(t, 1, 0), "1.2.3.4", iv, data), "its cipher is 1.2.3.4"},
		"noise":              {unhex(t, "300304010130"), "bytes follow its end"},
	} {
		_, _, err := DecryptKey(v.der, "x")
		e, ok := err.(*Error)
		if !ok || e.Remedy == "" || !strings.Contains(e.Cause, v.want) || !strings.Contains(e.Cause, "encrypted private key") {
			t.Errorf("%s: got %v, want %q", name, err, v.want)
		}
	}
}

// TestReadRefusesModes holds that files that are not protected by a password are
// named, and so is a certificate that is none of X.509.
func TestReadRefusesModes(t *testing.T) {
	marshal := func(v any) []byte {
		t.Helper()
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	type info struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	file := func(version int, c info) []byte {
		return marshal(struct {
			Version int
			Content info
		}{version, c})
	}
	sdsi := marshal(struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{oidCertBag, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: marshal(info{append(oidX509Certificate[:len(oidX509Certificate)-1:len(oidX509Certificate)-1], 2), []byte("x")})}})
	bags := marshal([]asn1.RawValue{{FullBytes: sdsi}})
	for name, v := range map[string]struct {
		der  []byte
		want string
	}{
		"signed":    {file(3, info{oidSignedData, nil}), "signed with a certificate"},
		"enveloped": {file(3, info{oidData, marshal([]info{{oidEnvelopedData, nil}})}), "for the holder of a certificate"},
		"version":   {file(4, info{oidData, nil}), "version 4"},
		"SDSI":      {file(3, info{oidData, marshal([]info{{oidData, bags}})}), "SDSI"},
	} {
		_, err := Read(v.der, "x")
		e, ok := err.(*Error)
		if !ok || e.Remedy == "" || !strings.Contains(e.Cause, v.want) {
			t.Errorf("%s: got %v, want %q", name, err, v.want)
		}
	}
}
