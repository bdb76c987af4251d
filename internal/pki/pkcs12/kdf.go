package pkcs12

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"hash"
	"unicode/utf16"
)

// digest is a hash function that keys are derived by.
type digest struct {
	name string
	new  func() hash.Hash
	// weight is what a round costs beside one of SHA-256 (measured), in whole
	// numbers.
	weight int
}

var (
	dMD5       = digest{"MD5", md5.New, 2}
	dSHA1      = digest{"SHA-1", sha1.New, 1}
	dSHA224    = digest{"SHA-224", sha256.New224, 1}
	dSHA256    = digest{"SHA-256", sha256.New, 1}
	dSHA384    = digest{"SHA-384", sha512.New384, 3}
	dSHA512    = digest{"SHA-512", sha512.New, 3}
	dSHA512224 = digest{"SHA-512/224", sha512.New512_224, 3}
	dSHA512256 = digest{"SHA-512/256", sha512.New512_256, 3}
	dSHA3224   = digest{"SHA3-224", func() hash.Hash { return sha3.New224() }, 6}
	dSHA3256   = digest{"SHA3-256", func() hash.Hash { return sha3.New256() }, 6}
	dSHA3384   = digest{"SHA3-384", func() hash.Hash { return sha3.New384() }, 6}
	dSHA3512   = digest{"SHA3-512", func() hash.Hash { return sha3.New512() }, 6}
)

// digests are the hash functions by object identifier.
var digests = map[string]digest{
	"1.2.840.113549.2.5":      dMD5,
	"1.3.14.3.2.26":           dSHA1,
	"2.16.840.1.101.3.4.2.4":  dSHA224,
	"2.16.840.1.101.3.4.2.1":  dSHA256,
	"2.16.840.1.101.3.4.2.2":  dSHA384,
	"2.16.840.1.101.3.4.2.3":  dSHA512,
	"2.16.840.1.101.3.4.2.5":  dSHA512224,
	"2.16.840.1.101.3.4.2.6":  dSHA512256,
	"2.16.840.1.101.3.4.2.7":  dSHA3224,
	"2.16.840.1.101.3.4.2.8":  dSHA3256,
	"2.16.840.1.101.3.4.2.9":  dSHA3384,
	"2.16.840.1.101.3.4.2.10": dSHA3512,
}

var oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}

// hmacs are the hash functions by object identifier of their HMAC.
var hmacs = map[string]digest{
	"1.2.840.113549.2.6":      dMD5,
	"1.3.6.1.5.5.8.1.1":       dMD5,
	"1.2.840.113549.2.7":      dSHA1,
	"1.3.6.1.5.5.8.1.2":       dSHA1,
	"1.2.840.113549.2.8":      dSHA224,
	"1.2.840.113549.2.9":      dSHA256,
	"1.2.840.113549.2.10":     dSHA384,
	"1.2.840.113549.2.11":     dSHA512,
	"1.2.840.113549.2.12":     dSHA512224,
	"1.2.840.113549.2.13":     dSHA512256,
	"2.16.840.1.101.3.4.2.13": dSHA3224,
	"2.16.840.1.101.3.4.2.14": dSHA3256,
	"2.16.840.1.101.3.4.2.15": dSHA3384,
	"2.16.840.1.101.3.4.2.16": dSHA3512,
}

// What a key of [pkcs12KDF] is for (RFC 7292, appendix B.3).
const (
	forKey = 1
	forIV  = 2
	forMAC = 3
)

// pkcs12KDF derives so many bytes from a password (RFC 7292, appendix B.2).
func pkcs12KDF(d digest, password, salt []byte, purpose byte, iterations, size int) []byte {
	h := d.new()
	v := h.BlockSize()
	diversifier := make([]byte, v)
	for i := range diversifier {
		diversifier[i] = purpose
	}
	input := append(fillBlocks(salt, v), fillBlocks(password, v)...)
	var key, a []byte
	for {
		h.Reset()
		h.Write(diversifier)
		h.Write(input)
		a = h.Sum(a[:0])
		for range iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if key = append(key, a...); len(key) >= size {
			return key[:size]
		}
		// Each block of the input grows by the hash, repeated to a block, and one.
		b := fillBlocks(a, v)[:v]
		for block := input; len(block) > 0; block = block[v:] {
			carry := 1
			for i := v - 1; i >= 0; i-- {
				carry += int(block[i]) + int(b[i])
				block[i] = byte(carry)
				carry >>= 8
			}
		}
	}
}

// fillBlocks repeats b to fill whole blocks of v bytes, as few as hold it.
func fillBlocks(b []byte, v int) []byte {
	filled := make([]byte, (len(b)+v-1)/v*v)
	for i := 0; i < len(filled); {
		i += copy(filled[i:], b)
	}
	return filled
}

// blocks is how often a derivation goes through its rounds for so many bytes.
func blocks(d digest, size int) int { return (size + d.new().Size() - 1) / d.new().Size() }

// pbkdf1 derives 16 bytes, a key and an initial vector (RFC 8018, 5.1).
func pbkdf1(d digest, password, salt []byte, iterations int) []byte {
	h := d.new()
	h.Write(password)
	h.Write(salt)
	a := h.Sum(nil)
	for range iterations - 1 {
		h.Reset()
		h.Write(a)
		a = h.Sum(a[:0])
	}
	return a[:16]
}

// bmpPasswords are the ways in which programs give a password to the key derivation
// of PKCS#12: as BMPString with a zero at its end, as the RFC has it, characters
// beyond the BMP as surrogates; an empty one also as no bytes at all (OpenSSL, Java);
// one beyond ASCII also with a character for each byte of its UTF-8 (OpenSSL before
// 1.1 and programs that hand over bytes).
func bmpPasswords(password string) [][]byte {
	ways := [][]byte{bmpString(utf16.Encode([]rune(password)), true)}
	switch {
	case password == "":
		ways = append(ways, nil)
	case !isASCII(password):
		units := make([]uint16, len(password))
		for i := range units {
			units[i] = uint16(password[i])
		}
		ways = append(ways, bmpString(units, true))
	}
	return ways
}

// bytePasswords are the ways in which programs give a password to other key
// derivations: as UTF-8 (OpenSSL and most others); as BMPString, with a zero at its
// end (NSS before 3.31, Bouncy Castle) or without; as Latin-1 (node-forge).
func bytePasswords(password string) [][]byte {
	units := utf16.Encode([]rune(password))
	ways := [][]byte{[]byte(password), bmpString(units, true)}
	if password == "" {
		return ways
	}
	ways = append(ways, bmpString(units, false))
	if !isASCII(password) {
		var latin1 []byte
		for _, r := range password {
			if r > 0xff {
				return ways
			}
			latin1 = append(latin1, byte(r))
		}
		ways = append(ways, latin1)
	}
	return ways
}

// bmpString spells UTF-16, high byte first.
func bmpString(units []uint16, terminated bool) []byte {
	b := make([]byte, 0, 2*len(units)+2)
	for _, u := range units {
		b = append(b, byte(u>>8), byte(u))
	}
	if terminated {
		b = append(b, 0, 0)
	}
	return b
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
