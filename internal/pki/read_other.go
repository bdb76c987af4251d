package pki

import (
	"regexp"
	"strings"
)

const giveFile = "give the PFX or PEM file that was made together with the key"

var ageProblem = Problem{"the input is encrypted by age, or is a key of age", "decrypt it first (age --decrypt -i KEY FILE), and give what comes out"}

// otherBinary are forms that are not read, by how their bytes start.
var otherBinary = []struct {
	start   string
	problem Problem
}{
	{"\xfe\xed\xfe\xed", Problem{"the input is a Java key store (JKS)", "convert it: keytool -importkeystore -srckeystore FILE.jks -destkeystore NEW.pfx -deststoretype PKCS12"}},
	{"\xce\xce\xce\xce", Problem{"the input is a Java key store (JCEKS)", "convert it: keytool -importkeystore -srckeystore FILE.jceks -srcstoretype JCEKS -destkeystore NEW.pfx -deststoretype PKCS12"}},
	{"\x00\x00\x00\x02\x00\x00\x00\x14", Problem{"the input is a Bouncy Castle key store (BKS)", "convert it: keytool -importkeystore -srckeystore FILE.bks -srcstoretype BKS -provider org.bouncycastle.jce.provider.BouncyCastleProvider -destkeystore NEW.pfx -deststoretype PKCS12"}},
	{"\x00\x00\x00\x00CERT", Problem{"the input is a serialized certificate store of Windows (.sst)", "export the one certificate with its private key as PFX"}},
	{"\x1e\xf1\xb5\xb0", Problem{"the input is a private key in Microsoft's old form (PVK)", "convert it: openssl rsa -inform PVK -in FILE.pvk -out FILE.pem; and add the certificate"}},
	{"SQLite format 3\x00", Problem{"the input is a database, perhaps the key store of Firefox or NSS", "export the certificate from it: pk12util -o NEW.pfx -n NAME -d FOLDER"}},
	{"PK\x03\x04", Problem{"the input is a ZIP file", "unpack it, and give the PFX or PEM file in it"}},
	{"\x1f\x8b", Problem{"the input is compressed (gzip)", "unpack it, and give the PFX or PEM file in it"}},
	{"%PDF-", Problem{"the input is a PDF document", giveFile}},
}

// otherText are forms that are not read, by how their text starts, in lower case.
var otherText = []struct {
	start   string
	problem Problem
}{
	{"putty-user-key-file-", Problem{"the input is a private key of PuTTY (PPK)", "convert it (puttygen FILE.ppk -O private-openssh -o FILE.key; ssh-keygen -p -N \"\" -m PEM -f FILE.key), and add the certificate"}},
	{"ssh-", sshProblem},
	{"ecdsa-sha2-", sshProblem},
	{"sk-ssh-", sshProblem},
	{"sk-ecdsa-", sshProblem},
	{"---- begin ssh2 ", sshProblem},
	{"age-secret-key-1", ageProblem},
	{"age-encryption.org/", ageProblem},
	{"<!doctype html", htmlProblem},
	{"<html", htmlProblem},
	{"<rsakeyvalue", Problem{"the input is an RSA key in the XML form of .NET", "export it as PEM there (RSA.ExportPkcs8PrivateKeyPem), and add the certificate"}},
	{"<", Problem{"the input is XML or HTML, not a certificate", giveFile}},
	{"@microsoft.keyvault(", Problem{"the input is a Key Vault reference that was not resolved", "see why App Service or Functions could not resolve it (its managed identity needs secrets/get on the vault), or give the certificate itself"}},
	{"http://", urlProblem},
	{"https://", urlProblem},
	{"file://", urlProblem},
}

var (
	sshProblem  = Problem{"the input is a public key for SSH", giveFile}
	htmlProblem = Problem{"the input is a web page, perhaps a page to sign in or of an error, not a certificate", "load the file down again while signed in, and look at it"}
	urlProblem  = Problem{"the input is an address, not what is there", "load the file down, and give that"}
)

var (
	pathLine   = regexp.MustCompile(`(?i)^([a-z]:\\|\\\\|\.{0,2}/|~/|%[a-z]+%|\$\w+)?[^\n]{0,300}\.(pfx|p12|pem|cer|crt|der|key|p7b)$|^([a-z]:\\|/(etc|home|mnt|opt|run|srv|tmp|usr|var)/)[^\n]{0,300}$`)
	thumbprint = regexp.MustCompile(`^([0-9A-Fa-f]{2}[: ]?){19}[0-9A-Fa-f]{2}$|^([0-9A-Fa-f]{2}[: ]?){31}[0-9A-Fa-f]{2}$`)
	spoiltPEM  = regexp.MustCompile(`(?i)BEGIN [A-Z0-9 ]{0,30}(CERTIFICATE|PRIVATE KEY|PKCS7|CERTIFICATE REQUEST)`)
)

// whatElse says what an input is that is not read, as far as that can be told; nil
// if not.
func whatElse(data []byte, text string) error {
	for _, o := range otherBinary {
		if strings.HasPrefix(string(data[:min(len(data), 32)]), o.start) {
			return &o.problem
		}
	}
	text = strings.TrimSpace(text)
	start := strings.ToLower(text[:min(len(text), 64)])
	for _, o := range otherText {
		if strings.HasPrefix(start, o.start) {
			return &o.problem
		}
	}
	switch {
	case thumbprint.MatchString(text):
		return &Problem{"the input is the thumbprint of a certificate, not the certificate", giveFile}
	case len(text) < 400 && pathLine.MatchString(strings.Trim(text, `"'`)):
		return &Problem{"the input is the path of a file, not what is in it", "give what is in the file, or name the file where a path is asked for"}
	case spoiltPEM.MatchString(text):
		return &Problem{"the input is PEM text whose lines BEGIN and END are broken", "get a new copy of the file as plain text: each of these lines starts and ends with five hyphens, which mail and text programs like to change"}
	}
	return nil
}
