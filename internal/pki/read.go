package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// MaxFileSize is the largest input that [Read] takes, in bytes.
const MaxFileSize = 1 << 20

// maxKeys is how many private keys are read of one file.
const maxKeys = 100

// Format is the form of a file.
type Format string

const (
	FormatPEM         Format = "PEM"
	FormatPKCS12      Format = "PKCS#12"
	FormatCertificate Format = "DER certificate"
	FormatPKCS7       Format = "PKCS#7"
	FormatKey         Format = "DER private key"
	FormatRequest     Format = "DER certificate request"
	FormatGraphKey    Format = "Graph key credential"
)

// KeyForm is a form of private keys in PEM and DER.
type KeyForm string

const (
	KeyPKCS8 KeyForm = "PKCS#8" // PRIVATE KEY, ENCRYPTED PRIVATE KEY
	KeyPKCS1 KeyForm = "PKCS#1" // RSA PRIVATE KEY
	KeySEC1  KeyForm = "SEC 1"  // EC PRIVATE KEY
)

// Contents is all that a file holds. It prints, logs and marshals as the names of
// its certificates, never as a key.
type Contents struct {
	Format       Format
	Base64       bool // the file was the base64 of that
	Certificates []*x509.Certificate
	Keys         Keys
	Requests     []*x509.CertificateRequest
	// PKCS12 says how a PKCS#12 file is protected; nil for others.
	PKCS12 *pkcs12.Protection
	// KeyForm is the form of the first key of a PEM or DER file.
	KeyForm KeyForm
	// KeyCipher says how the keys of a PEM or DER file are encrypted; nil if they are not.
	KeyCipher *pkcs12.Cipher
}

// Keys are private keys. They print as their number.
type Keys []crypto.Signer

// Format prints the number whatever the verb, which keeps the keys out of %d, for
// which fmt looks into [Contents].
func (k Keys) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "private keys: %d", len(k)) }

// MarshalText keeps the keys out of JSON and structured logs.
func (k Keys) MarshalText() ([]byte, error) { return fmt.Append(nil, k), nil }

// String names what there is.
func (c Contents) String() string {
	parts := []string{string(c.Format)}
	for _, certificate := range c.Certificates {
		parts = append(parts, Pair{Certificate: certificate}.String())
	}
	for _, r := range c.Requests {
		parts = append(parts, "request for "+shown(FormatName(r.Subject)))
	}
	return strings.Join(append(parts, fmt.Sprint(c.Keys)), ", ")
}

// GoString keeps the private keys out of %#v.
func (c Contents) GoString() string { return "pki.Contents{" + c.String() + "}" }

// MarshalText keeps the private keys out of JSON and structured logs.
func (c Contents) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Parse reads the one private key of a file with its certificate: [Read] and
// [Contents.Pair]. Its errors are [*Problem].
func Parse(data []byte, password string) (Pair, error) {
	c, err := Read(data, password)
	if err != nil {
		return Pair{}, err
	}
	return c.Pair()
}

// Read reads a file, whoever wrote it; what it is, its content tells. The password is
// for what is encrypted; without one where one is needed the error is [ErrNoPassword]
// as well. Its errors are [*Problem], and hold neither the password nor any byte of a
// key.
func Read(data []byte, password string) (*Contents, error) {
	if len(data) > MaxFileSize {
		return nil, &Problem{
			fmt.Sprintf("the input has more than %d bytes, which is no certificate with its key", MaxFileSize),
			"give the file that holds the certificate or key alone",
		}
	}
	r := &reader{password: password}
	err := r.read(data, 0)
	switch p, _ := err.(*Problem); {
	case err == nil:
		return &r.Contents, nil
	case r.locked && p != nil:
		return nil, noPassword{p}
	}
	return nil, err
}

// reader reads one file.
type reader struct {
	Contents
	password  string
	decrypter *pkcs12.Decrypter // of PEM and DER; nil before the first key
	locked    bool              // something has a password, and none was given
}

// maxWrapping is how often a file may be the base64 or JSON of another.
const maxWrapping = 3

func (r *reader) read(data []byte, wrapping int) error {
	if looksDER(data) {
		return r.readDER(data)
	}
	text := decodeText(data)
	switch {
	case len(strings.TrimSpace(text)) == 0:
		return &Problem{"the input is empty", "give the file that holds the certificate or key; if another program was to write it, look at what that said"}
	case isJSON(text) && wrapping < maxWrapping && json.Valid([]byte(text)):
		return r.readJSON(text, wrapping)
	case strings.Contains(text, "-----BEGIN "):
		return r.readPEM(text)
	}
	if p := whatElse(data, text); p != nil {
		return p
	}
	if wrapping < maxWrapping {
		if isJSON(text) {
			return r.readJSON(text, wrapping)
		}
		if inner, ok := decodeBase64(text); ok {
			return r.readBase64(inner, wrapping)
		}
	}
	return errUnknown()
}

// readBase64 reads what base64 held. Few bytes are base64 by chance alone.
func (r *reader) readBase64(inner []byte, wrapping int) error {
	r.Base64 = true
	if looksDER(inner) || isJSON(string(inner)) || strings.Contains(decodeText(inner), "-----BEGIN ") {
		return r.read(inner, wrapping+1)
	}
	if p := whatElse(inner, decodeText(inner)); p != nil {
		return p
	}
	return errUnknown()
}

func errUnknown() error {
	return &Problem{
		"the input is neither PEM text nor a PKCS#12 (PFX) file nor any other form of certificate or key that is known, nor the base64 of one",
		giveFile,
	}
}

// looksDER reports whether data starts as BER or DER of ours does: with a sequence.
// Where its length is short, it is that of the data, and the first element is a
// number, an object identifier or another sequence; text can start with "0" as well.
func looksDER(data []byte) bool {
	if len(data) < 3 || data[0] != 0x30 {
		return false
	}
	if data[1] < 0x80 {
		return int(data[1])+2 == len(data) && (data[2] == 0x02 || data[2] == 0x06 || data[2] == 0x30)
	}
	return data[1] <= 0x84
}

// decodeText decodes UTF-8 or UTF-16 text, with or without a mark at its start. Bytes
// that are no text stay what they are.
func decodeText(data []byte) string {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		data, order = data[2:], binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		data, order = data[2:], binary.BigEndian
	case len(data) >= 4 && data[0] != 0 && data[1] == 0 && data[2] != 0 && data[3] == 0:
		order = binary.LittleEndian
	case len(data) >= 4 && data[0] == 0 && data[1] != 0 && data[2] == 0 && data[3] != 0:
		order = binary.BigEndian
	default:
		return string(data)
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units))
}

// decodeBase64 decodes base64 of either alphabet, in lines and quotes or not, padded
// or not.
func decodeBase64(text string) ([]byte, bool) {
	text = strings.Trim(strings.TrimSpace(unescape(text)), `"'`)
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	if len(text) < 8 {
		return nil, false
	}
	data, err := base64.RawStdEncoding.DecodeString(text)
	return data, err == nil
}

// unescape puts real line ends where a program that reads variables left \n.
func unescape(text string) string {
	return strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(text)
}

func isJSON(text string) bool {
	text = strings.TrimSpace(text)
	if text == "" || !utf8.ValidString(text) {
		return false
	}
	return strings.ContainsRune(`{["`, rune(text[0]))
}
