package keyvault

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"software.sslmate.com/src/go-pkcs12"
)

// privateKey is an RSA or EC key. In JSON it is base64 of PKCS#8.
type privateKey struct{ crypto.Signer }

// MarshalJSON implements json.Marshaler.
func (k privateKey) MarshalJSON() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	if err != nil {
		return nil, err
	}
	return json.Marshal(der)
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *privateKey) UnmarshalJSON(b []byte) error {
	var der []byte
	if err := json.Unmarshal(b, &der); err != nil {
		return err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	*k, err = checkKey(parsed)
	return err
}

// checkKey takes the kinds of keys that a vault keeps.
func checkKey(key any) (privateKey, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if err := checkKind("RSA", key.N.BitLen(), ""); err != nil {
			return privateKey{}, err
		}
		return privateKey{key}, nil
	case *ecdsa.PrivateKey:
		if err := checkKind("EC", 0, key.Curve.Params().Name); err != nil {
			return privateKey{}, err
		}
		return privateKey{key}, nil
	}
	return privateKey{}, badParameter("The private key is neither RSA nor EC.")
}

// kind returns the type, size and curve of a key as policies have them.
func (k privateKey) kind() (kty string, size int, curve string) {
	switch key := k.Signer.(type) {
	case *rsa.PrivateKey:
		return "RSA", key.N.BitLen(), ""
	case *ecdsa.PrivateKey:
		return "EC", key.Curve.Params().BitSize, key.Curve.Params().Name
	}
	return "", 0, ""
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// curveSize returns the bits of a curve, or 0 when it is not known.
func curveSize(name string) int {
	if c := curves[name]; c != nil {
		return c.Params().BitSize
	}
	return 0
}

// checkKind refuses kinds of keys that the vault cannot hold. It is one of the
// standard tier, which has no HSM; that it refuses HSM keys as a bad parameter
// is [K].
func checkKind(kty string, size int, curve string) error {
	switch kty {
	case "RSA":
		if !slices.Contains([]int{2048, 3072, 4096}, size) {
			return badParameter("Key size %d is not supported; RSA keys have 2048, 3072 or 4096 bits.", size)
		}
		if curve != "" {
			return badParameter("Property crv is not for RSA keys.")
		}
		return nil
	case "EC":
		if curve == "P-256K" {
			return notEmulated("the curve P-256K")
		}
		if curves[curve] == nil {
			return badParameter("Curve %s is not supported.", printable(curve))
		}
		if size != 0 && size != curveSize(curve) {
			return badParameter("Key size %d does not fit the curve %s.", size, curve)
		}
		return nil
	case "RSA-HSM", "EC-HSM", "oct-HSM", "oct":
		return badParameter("Key type %s is not supported by a vault of the standard tier.", kty)
	}
	return badParameter("Property kty has invalid value %s.", printable(kty))
}

// generate makes a key, after those that others wait for: only a few are made
// at a time, because a large one takes seconds.
func (v *Vault) generate(ctx context.Context, kty string, size int, curve string) (privateKey, error) {
	if err := checkKind(kty, size, curve); err != nil {
		return privateKey{}, err
	}
	select {
	case v.generating <- struct{}{}:
		defer func() { <-v.generating }()
	case <-ctx.Done():
		return privateKey{}, ctx.Err()
	}
	if kty == "EC" {
		key, err := ecdsa.GenerateKey(curves[curve], rand.Reader)
		if err != nil {
			return privateKey{}, fmt.Errorf("making a key: %w", err)
		}
		return privateKey{key}, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, size)
	if err != nil {
		return privateKey{}, fmt.Errorf("making a key: %w", err)
	}
	return privateKey{key}, nil
}

// chain is a certificate and those that follow it. In JSON it is a list of
// base64 DER.
type chain []*x509.Certificate

// MarshalJSON implements json.Marshaler.
func (c chain) MarshalJSON() ([]byte, error) {
	ders := [][]byte{}
	for _, one := range c {
		ders = append(ders, one.Raw)
	}
	return json.Marshal(ders)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *chain) UnmarshalJSON(b []byte) error {
	var ders [][]byte
	if err := json.Unmarshal(b, &ders); err != nil {
		return err
	}
	all, err := parseChain(ders)
	*c = all
	return err
}

func parseChain(ders [][]byte) (chain, error) {
	var c chain
	for _, der := range ders {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("a certificate cannot be read")
		}
		c = append(c, one)
	}
	return c, nil
}

// samePublic reports whether a certificate is of a key.
func samePublic(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// leafFirst returns the chain with the certificate of the key first, and after
// each certificate its issuer; what is nobody's issuer comes last. With keep
// the others stay where they are.
func (c chain) leafFirst(key crypto.Signer, keep bool) (chain, error) {
	i := slices.IndexFunc(c, func(one *x509.Certificate) bool { return samePublic(one, key) })
	if i < 0 {
		return nil, errors.New("no certificate is of the private key")
	}
	ordered := chain{c[i]}
	rest := slices.Delete(slices.Clone(c), i, i+1)
	for !keep && len(rest) > 0 {
		last := ordered[len(ordered)-1]
		next := slices.IndexFunc(rest, func(one *x509.Certificate) bool {
			return string(one.RawSubject) == string(last.RawIssuer)
		})
		if next < 0 {
			break
		}
		ordered = append(ordered, rest[next])
		rest = slices.Delete(rest, next, next+1)
	}
	return append(ordered, rest...), nil
}

// secretText returns a certificate's secret, as Microsoft documents it: base64
// PKCS#12 with an empty password, or PEM with the key first. Without a key it
// holds the certificates alone.
func secretText(contentType string, c chain, key crypto.Signer) (string, error) {
	switch contentType {
	case PKCS12:
		// The older algorithms, because the Azure SDK's own parser, which
		// Microsoft's samples use on vault secrets, reads nothing newer.
		var pfx []byte
		var err error
		if key == nil {
			pfx, err = pkcs12.LegacyDES.EncodeTrustStore(c, "")
		} else {
			pfx, err = pkcs12.LegacyDES.Encode(key, c[0], c[1:], "")
		}
		return base64.StdEncoding.EncodeToString(pfx), err
	case PEM:
		var text []byte
		if key != nil {
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				return "", err
			}
			text = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		}
		for _, one := range c {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})...)
		}
		return string(text), nil
	}
	return "", fmt.Errorf("a certificate's secret cannot have the content type %q", contentType)
}
