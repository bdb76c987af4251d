package keyvault

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"math/big"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// jwk is a JSON Web Key as Key Vault has it: binary members are base64url
// without padding.
type jwk struct {
	ID    string   `json:"kid,omitempty"`
	Type  string   `json:"kty,omitempty"`
	Ops   []string `json:"key_ops,omitempty"`
	N     string   `json:"n,omitempty"`
	E     string   `json:"e,omitempty"`
	Curve string   `json:"crv,omitempty"`
	X     string   `json:"x,omitempty"`
	Y     string   `json:"y,omitempty"`

	// Private members: taken by an import, never answered.
	D      string `json:"d,omitempty"`
	P      string `json:"p,omitempty"`
	Q      string `json:"q,omitempty"`
	DP     string `json:"dp,omitempty"`
	DQ     string `json:"dq,omitempty"`
	QI     string `json:"qi,omitempty"`
	K      string `json:"k,omitempty"`
	KeyHSM string `json:"key_hsm,omitempty"`
}

// publicJWK returns the public part of a key.
func publicJWK(id string, k privateKey, ops []string) jwk {
	out := jwk{ID: id, Ops: ops}
	switch key := k.Signer.(type) {
	case *rsa.PrivateKey:
		out.Type = "RSA"
		out.N, out.E = origin.Base64URL(key.N.Bytes()), origin.Base64URL(big.NewInt(int64(key.E)).Bytes())
	case *ecdsa.PrivateKey:
		point, err := key.PublicKey.Bytes()
		if err != nil {
			return out // It was checked when the key came.
		}
		half := (len(point) - 1) / 2
		out.Type, out.Curve = "EC", key.Curve.Params().Name
		out.X, out.Y = origin.Base64URL(point[1:1+half]), origin.Base64URL(point[1+half:])
	}
	return out
}

// private returns the private key of a JWK that is to be imported.
func (j *jwk) private() (privateKey, error) {
	if j.K != "" || j.KeyHSM != "" {
		return privateKey{}, badParameter("Keys of type oct and protected keys cannot be imported into a vault of the standard tier.")
	}
	switch j.Type {
	case "RSA":
		return j.privateRSA()
	case "EC":
		return j.privateEC()
	}
	return privateKey{}, checkKind(j.Type, 0, j.Curve)
}

func (j *jwk) privateRSA() (privateKey, error) {
	bad := badParameter("Property key is not a valid RSA private key with members n, e, d, p and q.")
	var numbers [5]*big.Int
	for i, text := range []string{j.N, j.E, j.D, j.P, j.Q} {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) == 0 || len(b) > 1024 {
			return privateKey{}, bad
		}
		numbers[i] = new(big.Int).SetBytes(b)
	}
	if err := checkKind("RSA", numbers[0].BitLen(), j.Curve); err != nil {
		return privateKey{}, err
	}
	if !numbers[1].IsInt64() || numbers[1].Int64() > 1<<31-1 {
		return privateKey{}, bad
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: numbers[0], E: int(numbers[1].Int64())},
		D:         numbers[2], Primes: []*big.Int{numbers[3], numbers[4]},
	}
	if err := key.Validate(); err != nil {
		return privateKey{}, bad
	}
	key.Precompute()
	return privateKey{key}, nil
}

func (j *jwk) privateEC() (privateKey, error) {
	if err := checkKind("EC", 0, j.Curve); err != nil {
		return privateKey{}, err
	}
	bad := badParameter("Property key is not a valid EC private key with members crv, x, y and d.")
	curve := curves[j.Curve]
	size := (curve.Params().BitSize + 7) / 8
	point := []byte{4} // uncompressed
	var secret []byte
	for i, text := range []string{j.X, j.Y, j.D} {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) == 0 || len(b) > size {
			return privateKey{}, bad
		}
		b = append(make([]byte, size-len(b)), b...)
		if i < 2 {
			point = append(point, b...)
		} else {
			secret = b
		}
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, secret)
	if err != nil {
		return privateKey{}, bad
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil || !key.PublicKey.Equal(public) {
		return privateKey{}, bad
	}
	return privateKey{key}, nil
}
