package pkcs12

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
)

// keyRounds is for how many rounds [EncryptKey] derives its key: they take about
// 30 ms here, and some seconds in readers that are written in JavaScript.
const keyRounds = 200_000

// EncryptKey encrypts a PKCS#8 PrivateKeyInfo to an EncryptedPrivateKeyInfo, both
// in DER: AES-256-CBC by PBES2, PBKDF2 and HMAC-SHA-256.
func EncryptKey(pkcs8 []byte, password string) ([]byte, error) {
	salt, iv := make([]byte, 16), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	key, err := pbkdf2.Key(sha256.New, password, salt, keyRounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	padding := aes.BlockSize - len(pkcs8)%aes.BlockSize
	encrypted := append(bytes.Clone(pkcs8), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(encrypted, encrypted)

	var parameters pbes2Parameters
	if parameters.KDF, err = algorithm(oidPBKDF2, pbkdf2Parameters{
		Salt:       octets(salt),
		Iterations: keyRounds,
		PRF:        pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue},
	}); err != nil {
		return nil, err
	}
	if parameters.Cipher, err = algorithm(oidAES256CBC, iv); err != nil {
		return nil, err
	}
	protection, err := algorithm(oidPBES2, parameters)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(encryptedPrivateKeyInfo{protection, encrypted})
}

// encryptedPrivateKeyInfo is RFC 5958's.
type encryptedPrivateKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

func algorithm(oid asn1.ObjectIdentifier, parameters any) (pkix.AlgorithmIdentifier, error) {
	der, err := asn1.Marshal(parameters)
	return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: der}}, err
}

func octets(b []byte) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagOctetString, Bytes: b}
}
