package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

var publicKeyProblem = Problem{"the input holds a public key alone", "give the certificate, or the PFX or PEM file that was made together with the private key"}

// foreignPEM are PEM texts by the start of their label that hold what is not read.
var foreignPEM = []struct {
	label   string
	problem Problem
}{
	{"OPENSSH PRIVATE KEY", Problem{"the input is a private key in OpenSSH's own format (the only one that it has for Ed25519)", "convert a copy of it (ssh-keygen -p -N \"\" -m PEM -f COPY), and add the certificate"}},
	{"PGP ", Problem{"the input is of OpenPGP, whose keys have no X.509 certificates", "give the PFX or PEM file of an X.509 certificate (gpgsm --export-secret-key-p12 writes one)"}},
	{"AGE ENCRYPTED FILE", ageProblem},
	{"DSA PRIVATE KEY", derProblems[formDSA]},
}

// passedOver are labels of what may stand beside keys and certificates.
var passedOver = map[string]bool{
	"PUBLIC KEY": true, "RSA PUBLIC KEY": true, "EC PARAMETERS": true, "DH PARAMETERS": true, "X9.42 DH PARAMETERS": true,
	"DSA PARAMETERS": true, "X509 CRL": true, "ATTRIBUTE CERTIFICATE": true,
}

// readPEM reads PEM text: with other text around and between, with indented lines,
// with "\n" for line ends, or in one line. What a block holds is told by its content;
// its label tells only what to pass over.
func (r *reader) readPEM(text string) error {
	r.Format = FormatPEM
	public := false
	if !strings.Contains(text, "\n-----END") {
		text = unescape(text)
	}
	for n := 1; ; n++ {
		_, after, found := strings.Cut(text, "-----BEGIN ")
		if !found {
			break
		}
		label, body, found := strings.Cut(after, "-----")
		if !found || len(label) > 60 || strings.Trim(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .#_-") != "" {
			return &Problem{fmt.Sprintf("block %d of the PEM text has a broken first line", n), "get a new copy of the file: copy it as plain text, with the five hyphens on either side"}
		}
		for _, f := range foreignPEM {
			if strings.HasPrefix(label, f.label) {
				return &f.problem
			}
		}
		body, text, found = strings.Cut(body, "-----END "+label+"-----")
		if !found || strings.Contains(body, "-----BEGIN ") {
			return &Problem{
				fmt.Sprintf("the input cannot be read: block %d of the PEM text (%s) has no end, so that it is cut off", n, strings.ToLower(label)),
				"get a new copy of the whole file, down to the line that starts with -----END",
			}
		}
		if passedOver[label] {
			public = public || strings.HasSuffix(label, "PUBLIC KEY")
			continue
		}
		if err := r.readBlock(n, label, body); err != nil {
			return err
		}
	}
	if len(r.Certificates)+len(r.Keys)+len(r.Requests) == 0 {
		if public {
			p := publicKeyProblem
			return &p
		}
		return &Problem{"the PEM text holds neither a certificate nor a private key", giveFile}
	}
	return nil
}

// oldEncryption matches the headers of a key that is encrypted as OpenSSL did before
// PKCS#8 (RFC 1421).
var oldEncryption = regexp.MustCompile(`^\s*Proc-Type:\s*4,\s*ENCRYPTED\s+DEK-Info:\s*([A-Za-z0-9-]{1,40})(?:,\s*([0-9A-Fa-f]{1,64}))?\s`)

// otherHeader matches a header of RFC 1421 that does not matter.
var otherHeader = regexp.MustCompile(`^\s*[A-Za-z][A-Za-z0-9-]*:[^\n]*\n`)

func (r *reader) readBlock(n int, label, body string) error {
	block := fmt.Sprintf("block %d of the PEM text (%s)", n, strings.ToLower(label))
	old := oldEncryption.FindStringSubmatch(body)
	if old != nil {
		body = body[len(old[0]):]
	} else {
		for header := otherHeader.FindString(body); header != ""; header = otherHeader.FindString(body) {
			if strings.Contains(header, "Proc-Type") && strings.Contains(header, "ENCRYPTED") {
				return &Problem{"the private key in the PEM text is encrypted, and its line DEK-Info, which says how, is missing or broken", "get a new copy of the file"}
			}
			body = body[len(header):]
		}
	}
	encoded := strings.TrimRight(strings.Join(strings.Fields(body), ""), "=")
	der, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(der) == 0 {
		return &Problem{
			block + " is damaged: what it holds is not base64",
			"get a new copy of the file: copy it as plain text, whole",
		}
	}
	if old != nil {
		if der, err = r.decryptOld(old[1], old[2], der); err != nil {
			return err
		}
	}
	if !looksDER(der) {
		return &Problem{
			block + " is damaged: it does not hold what it says",
			"get a new copy of the file: copy it as plain text, whole",
		}
	}
	err = r.readDER(der)
	if p, ok := err.(*Problem); ok {
		return &Problem{strings.Replace(p.Cause, "the input", block, 1), p.Remedy}
	}
	return err
}

// oldCiphers are those of RFC 1421's headers as OpenSSL names them.
var oldCiphers = map[string]struct {
	name  string
	size  int
	block func(key []byte) (cipher.Block, error)
}{
	"DES-CBC":      {"DES-CBC", 8, des.NewCipher},
	"DES-EDE3-CBC": {"3DES-CBC", 24, des.NewTripleDESCipher},
	"AES-128-CBC":  {"AES-128-CBC", 16, aes.NewCipher},
	"AES-192-CBC":  {"AES-192-CBC", 24, aes.NewCipher},
	"AES-256-CBC":  {"AES-256-CBC", 32, aes.NewCipher},
}

// decryptOld decrypts a key whose cipher and initial vector a header names. The key
// of the cipher is one round of MD5 over password and salt.
func (r *reader) decryptOld(name, vector string, data []byte) ([]byte, error) {
	c, ok := oldCiphers[strings.ToUpper(name)]
	if !ok {
		return nil, &Problem{
			fmt.Sprintf("the private key in the PEM text is encrypted by a cipher that is not read (%s)", name),
			"convert it with the program that wrote it (openssl pkey -in FILE.pem -out NEW.pem -aes256)",
		}
	}
	if r.password == "" {
		r.locked = true
		return nil, &Problem{"the private key in the PEM text is encrypted: it has a password and none was given", "give its password"}
	}
	iv, err := hex.DecodeString(vector)
	if err != nil || len(iv) < 8 {
		return nil, &Problem{"the private key in the PEM text is encrypted, and its line DEK-Info, which says how, is broken", "get a new copy of the file"}
	}
	var key, sum []byte
	for len(key) < c.size {
		h := md5.New()
		h.Write(sum)
		h.Write([]byte(r.password))
		h.Write(iv[:8])
		sum = h.Sum(nil)
		key = append(key, sum...)
	}
	block, err := c.block(key[:c.size])
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(data)%size != 0 {
		return nil, &Problem{"the private key in the PEM text is encrypted, and damaged: its size is wrong", "get a new copy of the file"}
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(data, data)
	padding := int(data[len(data)-1])
	if padding < 1 || padding > size || !looksDER(data[:len(data)-padding]) || formOf(data[:len(data)-padding]) == formUnknown {
		return nil, &Problem{"the password of the private key in the PEM text is wrong, or the key is damaged", "give the password that it was made with; mind upper and lower case, and blanks at its end"}
	}
	r.KeyCipher = &pkcs12.Cipher{Name: c.name, KDF: "MD5", Iterations: 1}
	return data[:len(data)-padding], nil
}
