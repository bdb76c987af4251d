package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// Consumer is a service or a program that takes certificates.
type Consumer string

const (
	EntraID    Consumer = "entra"
	KeyVault   Consumer = "keyvault"
	AppService Consumer = "appservice"
)

// Consumers lists every [Consumer].
func Consumers() []Consumer { return []Consumer{EntraID, KeyVault, AppService} }

// Title is the consumer's name for people.
func (c Consumer) Title() string {
	switch c {
	case EntraID:
		return "Entra ID"
	case KeyVault:
		return "Key Vault"
	case AppService:
		return "App Service"
	}
	return string(c)
}

// Objections says why a consumer would not take the pair, or nothing. The file is the
// one that it was read from, as that stands; nil for none, of which App Service takes
// nothing.
func (p Pair) Objections(c Consumer, file *Contents, now time.Time) []Problem {
	rules, ok := rules[c]
	switch {
	case !ok:
		return []Problem{{fmt.Sprintf("there is no consumer %.40q", string(c)), "use " + list(Consumers())}}
	case p.Certificate == nil:
		return []Problem{{"there is no certificate", "give one together with its private key"}}
	}
	var problems []Problem
	for _, rule := range rules {
		if problem := rule(offer{p, file, now}); problem != nil {
			problems = append(problems, *problem)
		}
	}
	return problems
}

// offer is what is offered to a consumer; it has a certificate.
type offer struct {
	Pair
	file *Contents // nil for none
	now  time.Time
}

// rules holds what each consumer demands, and where that is documented. [K] is
// known from elsewhere.
var rules = map[Consumer][]func(offer) *Problem{
	// learn.microsoft.com/entra/identity-platform/certificate-credentials
	// MSAL refuses other keys than RSA. Who signed the certificate, and how, does not
	// count, as Entra ID compares the certificate as a whole [K].
	EntraID: {
		offer.hasOwnKey,
		offer.signsForEntra,
		offer.isValid,
	},
	// learn.microsoft.com/azure/key-vault/certificates/certificate-scenarios#formats-of-import-we-support
	// learn.microsoft.com/azure/key-vault/certificates/faq
	// learn.microsoft.com/rest/api/keyvault/certificates/import-certificate
	// learn.microsoft.com/azure/key-vault/keys/about-keys
	// It takes PFX files however they are protected, and PEM with a PKCS#8 key.
	KeyVault: {
		offer.hasOwnKey,
		offer.isFileOfVault,
		offer.vaultKey,
		offer.isNotExpired,
		offer.shortSubject,
	},
	// learn.microsoft.com/azure/app-service/configure-ssl-certificate#private-certificate-requirements
	// EC keys work, it says. That an expired one is refused it does not say [K]. Of
	// triple DES github.com/MicrosoftDocs/azure-docs/pull/126773 says that AES works too.
	AppService: {
		offer.hasOwnKey,
		offer.bigEnough,
		offer.isTripleDES,
		offer.hasWholeChain,
		offer.isNotExpired,
		offer.hasValidIssuers,
	},
}

func (o offer) hasOwnKey() *Problem {
	switch {
	case o.Key == nil:
		return noKey(o.Pair)
	case !SameKey(o.Certificate.PublicKey, o.Key.Public()):
		return foreignKey(o.Pair)
	}
	return nil
}

func (o offer) signsForEntra() *Problem { return checkEntraKey(o.Pair) }

func (o offer) isValid() *Problem { return o.checkValid(o.now) }

func (o offer) isNotExpired() *Problem {
	if p := o.checkValid(o.now); p != nil && o.now.After(o.Certificate.NotAfter) {
		return &Problem{p.Cause, "make a new one"}
	}
	return nil
}

func (o offer) hasValidIssuers() *Problem {
	for _, c := range o.Chain {
		if p := (Pair{Certificate: c}).checkValid(o.now); p != nil {
			return &Problem{p.Cause + ", and it is an issuer of the one that is wanted", "put the authority's present certificates into the chain, or have a new certificate issued"}
		}
	}
	return nil
}

func (o offer) vaultKey() *Problem {
	const remedy = "make a new key: RSA with 2048, 3072 or 4096 bits"
	switch pub := o.Certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		switch bits := pub.N.BitLen(); bits {
		case 2048, 3072, 4096:
			return nil
		default:
			return &Problem{fmt.Sprintf("certificate %v has an RSA key of %d bits, and Key Vault takes 2048, 3072 and 4096", o, bits), remedy}
		}
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521(): // also P-256K, which Go does not know
			return nil
		}
	}
	return &Problem{fmt.Sprintf("certificate %v has %s, which Key Vault does not take", o, keyKind(o.Certificate.PublicKey)), remedy}
}

func (o offer) isFileOfVault() *Problem {
	const remedy = "convert it to PFX, or to PEM without a password"
	switch {
	case o.file == nil:
		return nil
	case o.file.Base64:
		return &Problem{"the file is the base64 of one, and Key Vault takes the file itself", remedy}
	case o.file.KeyCipher != nil:
		return &Problem{"the private key in the file is encrypted, and of PEM Key Vault takes keys that are not", remedy}
	case o.file.PKCS12 == nil && o.file.Format != FormatPEM:
		return &Problem{"the file is neither PFX nor PEM", remedy}
	case o.file.KeyForm != "" && o.file.KeyForm != KeyPKCS8:
		return &Problem{fmt.Sprintf("the private key in the file has the form %s, and Key Vault takes PKCS#8", o.file.KeyForm), remedy}
	}
	return nil
}

func (o offer) shortSubject() *Problem {
	const most = 200
	if n := utf8.RuneCountInString(FormatName(o.Certificate.Subject)); n > most {
		return &Problem{fmt.Sprintf("the subject has %d characters, and Key Vault takes %d", n, most), "make a certificate with a shorter subject"}
	}
	return nil
}

func (o offer) bigEnough() *Problem {
	if pub, ok := o.Certificate.PublicKey.(*rsa.PublicKey); ok && pub.N.BitLen() < minRSABits {
		return &Problem{fmt.Sprintf("certificate %v has an RSA key of %d bits, and App Service needs %d or more", o, pub.N.BitLen(), minRSABits), "make a new key"}
	}
	return nil
}

func (o offer) isTripleDES() *Problem {
	const remedy = "write it as PFX with the profile compat and a password"
	if o.file == nil || o.file.PKCS12 == nil || o.file.Base64 {
		return &Problem{"App Service takes PFX files alone", remedy}
	}
	if o.file.PKCS12.NoPassword {
		return &Problem{"the PFX file has no password, and App Service needs one", remedy}
	}
	for _, c := range o.file.PKCS12.Keys {
		switch {
		case c.Name == "":
			return &Problem{"the private key in the PFX file is not encrypted, and App Service needs a password", remedy}
		case !isTripleDES(c):
			return &Problem{fmt.Sprintf("the private key in the PFX file is encrypted by %s (%s), and App Service is documented to take triple DES alone", c.Name, c.KDF), remedy}
		}
	}
	for _, c := range o.file.PKCS12.Certificates {
		if c.Name != "" && !isTripleDES(c) {
			return &Problem{fmt.Sprintf("the certificates in the PFX file are encrypted by %s (%s), and App Service is documented to take triple DES alone", c.Name, c.KDF), remedy}
		}
	}
	return nil
}

// isTripleDES reports whether the cipher is the one of old: the same under PBES2 is
// read by what reads AES.
func isTripleDES(c pkcs12.Cipher) bool {
	return c.Name == "3DES-CBC" && c.KDF == "PKCS#12 SHA-1"
}

func (o offer) hasWholeChain() *Problem {
	if n := len(o.Chain); n > maxChain {
		return &Problem{fmt.Sprintf("the chain has %d certificates, and up to %d are looked at", n, maxChain), "leave out those that are not of the certificate's issuers"}
	}
	last := o.Certificate
	for _, c := range o.Chain {
		if !signedBy(last, c) {
			return &Problem{fmt.Sprintf("%v in the file did not sign %v", Pair{Certificate: c}, Pair{Certificate: last}), "put the chain in order: each certificate before the one that signed it"}
		}
		last = c
	}
	if !selfSigned(last) {
		return &Problem{fmt.Sprintf("the chain ends at %v, and App Service needs all issuers up to the root: %s is missing", Pair{Certificate: last}, shown(FormatName(last.Issuer))), "add the missing certificates of the authority"}
	}
	return nil
}
