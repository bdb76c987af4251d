package pkcs12

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/rc4"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math"

	"golang.org/x/crypto/scrypt"
)

// pbe is a way of encrypting by a password, with its parameters.
type pbe struct {
	Cipher
	bmp  bool // it takes passwords as PKCS#12 has them
	cost int  // of deriving its key once, in rounds of the hash SHA-256
	open func(password, data []byte) ([]byte, error)
}

var errDecrypt = errors.New("decryption gives nothing sensible")

// pkcs12PBE are the ways of RFC 7292, appendix C: SHA-1 and a cipher.
var pkcs12PBE = map[string]struct {
	cipher string
	size   int // of the key
	block  func(key []byte) (cipher.Block, error)
}{
	"1.2.840.113549.1.12.1.1": {"RC4-128", 16, nil},
	"1.2.840.113549.1.12.1.2": {"RC4-40", 5, nil},
	"1.2.840.113549.1.12.1.3": {"3DES-CBC", 24, des.NewTripleDESCipher},
	"1.2.840.113549.1.12.1.4": {"3DES-2KEY-CBC", 16, newTwoKeyTripleDES},
	"1.2.840.113549.1.12.1.5": {"RC2-128-CBC", 16, rc2Of(128)},
	"1.2.840.113549.1.12.1.6": {"RC2-40-CBC", 5, rc2Of(40)},
}

// pbes1 are the ways of RFC 8018, appendix A.3, but those by MD2.
var pbes1 = map[string]struct {
	cipher string
	digest digest
	block  func(key []byte) (cipher.Block, error)
}{
	"1.2.840.113549.1.5.3":  {"DES-CBC", dMD5, des.NewCipher},
	"1.2.840.113549.1.5.6":  {"RC2-64-CBC", dMD5, rc2Of(64)},
	"1.2.840.113549.1.5.10": {"DES-CBC", dSHA1, des.NewCipher},
	"1.2.840.113549.1.5.11": {"RC2-64-CBC", dSHA1, rc2Of(64)},
}

// cbcCiphers are the ciphers of PBES2 whose only parameter is an initial vector.
var cbcCiphers = map[string]struct {
	name  string
	size  int
	block func(key []byte) (cipher.Block, error)
}{
	"1.3.14.3.2.7":            {"DES-CBC", 8, des.NewCipher},
	"1.2.840.113549.3.7":      {"3DES-CBC", 24, des.NewTripleDESCipher},
	"2.16.840.1.101.3.4.1.2":  {"AES-128-CBC", 16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {"AES-192-CBC", 24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {"AES-256-CBC", 32, aes.NewCipher},
}

// gcmCiphers are AES-GCM by size of key (RFC 5084).
var gcmCiphers = map[string]int{
	"2.16.840.1.101.3.4.1.6":  16,
	"2.16.840.1.101.3.4.1.26": 24,
	"2.16.840.1.101.3.4.1.46": 32,
}

// rc2Versions is how the parameters of RC2 name its effective bits, up to 255
// (RFC 8018, B.2.3).
var rc2Versions = map[int]int{160: 40, 120: 64, 58: 128}

var (
	oidPBES2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidRC2CBC    = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 2}
	oidAES256CBC = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

type pbeParameters struct {
	Salt       []byte
	Iterations int
}

type pbes2Parameters struct {
	KDF, Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Parameters struct {
	Salt       asn1.RawValue // of any other type than an octet string never seen
	Iterations int
	KeySize    int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParameters struct {
	Salt    []byte
	N, R, P int
	KeySize int `asn1:"optional"`
}

// readPBE reads how something is encrypted. Its errors are [*Error].
func readPBE(a pkix.AlgorithmIdentifier) (*pbe, error) {
	oid := a.Algorithm.String()
	if a.Algorithm.Equal(oidPBES2) {
		return readPBES2(a.Parameters.FullBytes)
	}
	old, isOld := pkcs12PBE[oid]
	older, isOlder := pbes1[oid]
	if !isOld && !isOlder {
		return nil, unknown("encryption", a.Algorithm)
	}
	var p pbeParameters
	if err := unmarshal(a.Parameters.FullBytes, &p); err != nil {
		return nil, damaged("the parameters of its encryption are not well-formed")
	}
	if err := checkRounds(p.Iterations); err != nil {
		return nil, err
	}
	if isOlder {
		return &pbe{
			Cipher: Cipher{older.cipher, "PBKDF1 " + older.digest.name, p.Iterations},
			cost:   p.Iterations * older.digest.weight,
			open: func(password, data []byte) ([]byte, error) {
				key := pbkdf1(older.digest, password, p.Salt, p.Iterations)
				return openCBC(older.block, key[:8], key[8:], data)
			},
		}, nil
	}
	way := &pbe{Cipher: Cipher{old.cipher, "PKCS#12 SHA-1", p.Iterations}, bmp: true, cost: p.Iterations * blocks(dSHA1, old.size)}
	if old.block == nil {
		way.open = func(password, data []byte) ([]byte, error) {
			c, err := rc4.NewCipher(pkcs12KDF(dSHA1, password, p.Salt, forKey, p.Iterations, old.size))
			if err != nil {
				return nil, err
			}
			plain := make([]byte, len(data))
			c.XORKeyStream(plain, data)
			return plain, nil
		}
		return way, nil
	}
	way.cost += p.Iterations // for the initial vector
	way.open = func(password, data []byte) ([]byte, error) {
		key := pkcs12KDF(dSHA1, password, p.Salt, forKey, p.Iterations, old.size)
		iv := pkcs12KDF(dSHA1, password, p.Salt, forIV, p.Iterations, 8)
		return openCBC(old.block, key, iv, data)
	}
	return way, nil
}

func readPBES2(der []byte) (*pbe, error) {
	var p pbes2Parameters
	if err := unmarshal(der, &p); err != nil {
		return nil, damaged("the parameters of its encryption are not well-formed")
	}
	name, size, open, err := readCipher(p.Cipher)
	if err != nil {
		return nil, err
	}
	k, err := readKDF(p.KDF, size)
	if err != nil {
		return nil, err
	}
	if size == 0 { // RC2 takes keys of any size, and the derivation has to tell which
		if size = k.size; size < 1 || size > 128 {
			return nil, damaged("the size of its key is not given")
		}
		k.cost *= blocks(dSHA1, size)
	} else if k.size != 0 && k.size != size {
		return nil, damaged(fmt.Sprintf("it names a key of %d bytes for a cipher that takes %d", k.size, size))
	}
	return &pbe{
		Cipher: Cipher{name, k.name, k.iterations},
		cost:   k.cost,
		open: func(password, data []byte) ([]byte, error) {
			key, err := k.derive(password, size)
			if err != nil {
				return nil, err
			}
			return open(key, data)
		},
	}, nil
}

// kdf is a key derivation with its parameters.
type kdf struct {
	name       string
	iterations int
	size       int // of the key, as far as the parameters name it
	cost       int
	derive     func(password []byte, size int) ([]byte, error)
}

// maxScryptMemory bounds what scrypt takes, which is 128 bytes for each of r × N and
// for each of r × p: OpenSSL's default for N is 16 MiB.
const maxScryptMemory = 64 << 20

// readKDF reads a key derivation for a key of so many bytes; 0 if only the
// parameters tell. Its errors are [*Error].
func readKDF(a pkix.AlgorithmIdentifier, size int) (kdf, error) {
	switch {
	case a.Algorithm.Equal(oidPBKDF2):
		var p pbkdf2Parameters
		if err := unmarshal(a.Parameters.FullBytes, &p); err != nil || p.Salt.Class != asn1.ClassUniversal || p.Salt.Tag != asn1.TagOctetString || p.Salt.IsCompound {
			return kdf{}, damaged("the parameters of PBKDF2 are not well-formed")
		}
		if err := checkRounds(p.Iterations); err != nil {
			return kdf{}, err
		}
		d := dSHA1
		if p.PRF.Algorithm != nil {
			var ok bool
			if d, ok = hmacs[p.PRF.Algorithm.String()]; !ok {
				return kdf{}, unknown("hash function of PBKDF2", p.PRF.Algorithm)
			}
		}
		if size == 0 {
			size = 1
		}
		salt := p.Salt.Bytes
		return kdf{
			name:       "PBKDF2-HMAC-" + d.name,
			iterations: p.Iterations,
			size:       p.KeySize,
			cost:       2 * p.Iterations * d.weight * blocks(d, size),
			derive: func(password []byte, size int) ([]byte, error) {
				return pbkdf2.Key(d.new, string(password), salt, p.Iterations, size)
			},
		}, nil
	case a.Algorithm.Equal(oidScrypt):
		var p scryptParameters
		if err := unmarshal(a.Parameters.FullBytes, &p); err != nil || p.N < 2 || p.N&(p.N-1) != 0 || p.R < 1 || p.P < 1 {
			return kdf{}, damaged("the parameters of scrypt are not well-formed")
		}
		const most = maxScryptMemory / 128
		if p.R > most/max(p.N, p.P) || p.P > maxWork/(p.N*p.R) {
			return kdf{}, tooMuch(fmt.Sprintf("scrypt with N = %d, r = %d, p = %d", p.N, p.R, p.P))
		}
		return kdf{
			name:       "scrypt",
			iterations: p.N,
			size:       p.KeySize,
			cost:       scryptWeight * (p.N + 4) * p.R * p.P, // 4 for PBKDF2 before and after
			derive: func(password []byte, size int) ([]byte, error) {
				return scrypt.Key(password, p.Salt, p.N, p.R, p.P, size)
			},
		}, nil
	}
	return kdf{}, unknown("key derivation", a.Algorithm)
}

// scryptWeight is what a step of scrypt costs beside a round of SHA-256 (measured).
const scryptWeight = 4

// readCipher reads the cipher of PBES2. The size of its key is 0 where only the key
// derivation tells. Its errors are [*Error].
func readCipher(a pkix.AlgorithmIdentifier) (name string, size int, open func(key, data []byte) ([]byte, error), _ error) {
	bad := damaged("the parameters of its cipher are not well-formed")
	oid := a.Algorithm.String()
	if c, ok := cbcCiphers[oid]; ok {
		var iv []byte
		if err := unmarshal(a.Parameters.FullBytes, &iv); err != nil {
			return "", 0, nil, bad
		}
		return c.name, c.size, func(key, data []byte) ([]byte, error) { return openCBC(c.block, key, iv, data) }, nil
	}
	if size, ok := gcmCiphers[oid]; ok {
		var p struct {
			Nonce []byte
			Tag   int `asn1:"optional,default:12"`
		}
		if err := unmarshal(a.Parameters.FullBytes, &p); err != nil {
			return "", 0, nil, bad
		}
		return fmt.Sprintf("AES-%d-GCM", 8*size), size, func(key, data []byte) ([]byte, error) {
			return openGCM(key, p.Nonce, p.Tag, data)
		}, nil
	}
	if !a.Algorithm.Equal(oidRC2CBC) {
		return "", 0, nil, unknown("cipher", a.Algorithm)
	}
	var p struct {
		Version int `asn1:"optional,default:-1"`
		IV      []byte
	}
	bits := 32
	if err := unmarshal(a.Parameters.FullBytes, &p.IV); err != nil { // the version left out
		if err := unmarshal(a.Parameters.FullBytes, &p); err != nil {
			return "", 0, nil, bad
		}
		if bits = rc2Versions[p.Version]; p.Version >= 256 {
			bits = p.Version
		}
	}
	if bits < 1 || bits > 1024 {
		return "", 0, nil, bad
	}
	return fmt.Sprintf("RC2-%d-CBC", bits), 0, func(key, data []byte) ([]byte, error) {
		return openCBC(rc2Of(bits), key, p.IV, data)
	}, nil
}

func rc2Of(bits int) func(key []byte) (cipher.Block, error) {
	return func(key []byte) (cipher.Block, error) { return newRC2(key, bits), nil }
}

func newTwoKeyTripleDES(key []byte) (cipher.Block, error) {
	return des.NewTripleDESCipher(append(bytes.Clone(key), key[:8]...))
}

// openCBC decrypts and takes the padding away.
func openCBC(newBlock func(key []byte) (cipher.Block, error), key, iv, data []byte) ([]byte, error) {
	block, err := newBlock(key)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(data) == 0 || len(data)%size != 0 {
		return nil, errDecrypt
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > size || !bytes.Equal(plain[len(plain)-padding:], bytes.Repeat([]byte{byte(padding)}, padding)) {
		return nil, errDecrypt
	}
	return plain[:len(plain)-padding], nil
}

func openGCM(key, nonce []byte, tag int, data []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if len(nonce) == 0 || len(nonce) > 64 {
		return nil, errDecrypt
	}
	var gcm cipher.AEAD
	switch {
	case len(nonce) == 12 && tag >= 12 && tag <= 16:
		gcm, err = cipher.NewGCMWithTagSize(block, tag)
	case tag == 16:
		gcm, err = cipher.NewGCMWithNonceSize(block, len(nonce))
	default:
		return nil, errDecrypt
	}
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, nonce, data, nil)
}

// unmarshal reads DER that holds nothing more.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = errBER
	}
	return err
}

// checkRounds refuses numbers of rounds that no writer uses.
func checkRounds(n int) error {
	switch {
	case n < 1:
		return damaged("its number of rounds is not positive")
	case n > maxWork || n > math.MaxInt32:
		return tooMuch(fmt.Sprintf("%d rounds", n))
	}
	return nil
}
