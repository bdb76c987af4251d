package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
	"unicode"
	"unicode/utf8"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// Profile is a make-up of PFX files.
type Profile string

const (
	Modern Profile = "modern" // AES-256, SHA-256
	Compat Profile = "compat" // 3DES, SHA-1
)

// Profiles lists every [Profile], the default first.
func Profiles() []Profile { return []Profile{Modern, Compat} }

// Why says in a sentence why one would take the profile, or nothing if there is no
// such profile.
func (p Profile) Why() string {
	switch p {
	case Modern:
		return "AES-256 and SHA-256, which OpenSSL, Java, Node, Python, Windows since Server 2019 and Key Vault read."
	case Compat:
		return "3DES and SHA-1, for what reads nothing newer: App Service, Windows Server 2016, old macOS, gpgsm and Go's azidentity; its protection is weak, so keep the file as safe as the key itself."
	}
	return ""
}

// encoder is how go-pkcs12 writes the profile. Rounds slow down the guessing of a
// password; one of [NewPassword] cannot be guessed anyway. Modern has as many as
// Java writes by default; compat has what openssl writes, for encryption and MAC
// alike, as go-pkcs12's single round for the MAC would make guessing cheap.
func (p Profile) encoder() *gopkcs12.Encoder {
	switch p {
	case Modern:
		return gopkcs12.Modern2023.WithIterations(10_000)
	case Compat:
		return gopkcs12.LegacyDES.WithIterations(2048)
	}
	return nil
}

// EncodePFX writes a pair with its chain as a PKCS#12 (PFX) file. Its errors are
// [*Problem].
func EncodePFX(p Pair, profile Profile, password string) ([]byte, error) {
	encoder := profile.encoder()
	if encoder == nil {
		return nil, &Problem{fmt.Sprintf("there is no PFX profile %.40q", string(profile)), "use " + list(Profiles())}
	}
	if p.Certificate == nil {
		return nil, &Problem{"there is no certificate to write", "give the certificate of the private key"}
	}
	if err := exportable(p.Key); err != nil {
		return nil, err
	}
	if !SameKey(p.Certificate.PublicKey, p.Key.Public()) {
		return nil, foreignKey(p)
	}
	if err := CheckPassword(password); err != nil {
		return nil, err
	}
	data, err := encoder.Encode(p.Key, p.Certificate, p.Chain, password)
	if err != nil {
		return nil, &Problem{fmt.Sprintf("certificate %v cannot be written as PFX (%v)", p, err), "write it as PEM"}
	}
	return data, nil
}

// A password that reeve makes has letters and digits without those that look alike
// (0 O o, 1 I i L l), 24 of 54, so 138 bits. GnuPG's gpgsm opens files with up to 31
// characters.
const (
	passwordAlphabet = "23456789ABCDEFGHJKMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz"
	passwordLength   = 24
)

// NewPassword makes a strong password for a PFX file: ASCII, without anything that a
// shell or a portal treats specially.
func NewPassword() string {
	password := make([]byte, passwordLength)
	for i := range password {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(passwordAlphabet))))
		if err != nil {
			panic(err) // crypto/rand.Reader never fails
		}
		password[i] = passwordAlphabet[n.Int64()]
	}
	return string(password)
}

// maxPassword is the longest password in characters that Key Vault takes
// (learn.microsoft.com/azure/key-vault/certificates/faq).
const maxPassword = 200

// CheckPassword reports why no file is written with a password. Its errors are
// [*Problem].
func CheckPassword(password string) error {
	const remedy = "choose another, or let one be made"
	switch {
	case !utf8.ValidString(password):
		return &Problem{"the password is not UTF-8 text", remedy}
	case utf8.RuneCountInString(password) > maxPassword:
		return &Problem{fmt.Sprintf("the password has more than %d characters, which Key Vault and others refuse", maxPassword), remedy}
	}
	for _, r := range password {
		switch {
		case unicode.IsControl(r):
			return &Problem{"the password has control characters, such as the end of a line, which cannot be typed again", remedy}
		case r > 0xffff:
			return &Problem{"the password has characters beyond Unicode's first 65,536, such as emoji, which PKCS#12 cannot hold", remedy}
		}
	}
	return nil
}

// PasswordAdvice says which programs would not open a PFX file with such a password,
// as measured: docs/formats.md.
func PasswordAdvice(password string) []Problem {
	var advice []Problem
	if password == "" {
		advice = append(advice, Problem{"without a password nothing protects the key; App Service does not take the file, and Bouncy Castle does not read the modern profile", "give a password, or let one be made"})
	}
	if !isASCII(password) {
		advice = append(advice, Problem{"Java's keytool and KeyStore, gpgsm and node-forge (this one of the modern profile) do not read files whose password is not ASCII", "use letters and digits of ASCII"})
	}
	if utf8.RuneCountInString(password) > 31 {
		advice = append(advice, Problem{"gpgsm does not read files whose password has more than 31 characters", "use a shorter one if gpgsm is to read the file"})
	}
	return advice
}

// EncodeCertificates writes certificates as PEM. Of one, that is what Windows calls
// a Base-64 encoded X.509 (.CER) file; its DER form is the certificate's Raw.
func EncodeCertificates(certificates ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certificates {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// EncodeKey writes a private key as PEM, PKCS#8; with a password encrypted. Its
// errors are [*Problem].
func EncodeKey(key crypto.Signer, password string) ([]byte, error) {
	if err := exportable(key); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, &Problem{fmt.Sprintf("%s cannot be written as PKCS#8", keyKind(key.Public())), "make a new key: " + list(KeyTypes())}
	}
	if password == "" {
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
	if err := CheckPassword(password); err != nil {
		return nil, err
	}
	encrypted, err := pkcs12.EncryptKey(der, password)
	if err != nil {
		return nil, &Problem{fmt.Sprintf("the private key cannot be encrypted (%v)", err), "choose another password"}
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypted}), nil
}

// EncodeRequest writes a certificate signing request as PEM.
func EncodeRequest(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// graphKey is microsoft.graph.keyCredential
// (learn.microsoft.com/graph/api/resources/keycredential). Graph makes the keyId.
type graphKey struct {
	CustomKeyIdentifier []byte    `json:"customKeyIdentifier"` // Edm.Binary: base64 of the SHA-1
	DisplayName         string    `json:"displayName"`
	EndDateTime         time.Time `json:"endDateTime"`
	Key                 []byte    `json:"key"` // Edm.Binary: base64 of the DER
	StartDateTime       time.Time `json:"startDateTime"`
	Type                string    `json:"type"`
	Usage               string    `json:"usage"`
}

// maxDisplayName is how many characters Graph keeps of a display name.
const maxDisplayName = 90

// EncodeGraphKey writes the certificate as the key credential that Graph takes, in
// JSON: an element of keyCredentials in PATCH /applications/{id}, which replaces the
// whole list, so the credentials to be kept must be sent along. Without a name the
// subject is shown. Its errors are [*Problem].
func EncodeGraphKey(c *x509.Certificate, name string) ([]byte, error) {
	if name == "" {
		name = FormatName(c.Subject)
	}
	if runes := []rune(name); len(runes) > maxDisplayName {
		name = string(runes[:maxDisplayName])
	}
	sum := sha1Sum(c)
	data, err := json.MarshalIndent(graphKey{
		CustomKeyIdentifier: sum[:],
		DisplayName:         name,
		EndDateTime:         c.NotAfter.UTC(),
		Key:                 c.Raw,
		StartDateTime:       c.NotBefore.UTC(),
		Type:                "AsymmetricX509Cert",
		Usage:               "Verify",
	}, "", "  ")
	if err != nil {
		return nil, &Problem{fmt.Sprintf("certificate %v cannot be written as JSON (%v)", Pair{Certificate: c}, err), "make a new certificate"}
	}
	return append(data, '\n'), nil
}
