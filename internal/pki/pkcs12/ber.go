package pkcs12

import (
	"encoding/binary"
	"errors"
)

// Bounds of what [DER] takes. A PFX file nests about 10 deep; a file of the largest
// size that is full of certificates has a tenth of so many elements.
const (
	maxDepth    = 40
	maxElements = 1 << 20
)

var (
	errCut     = errors.New("it is cut off")
	errBER     = errors.New("it is not well-formed")
	errTooDeep = errors.New("it nests too deep")
)

// Tags of BER (X.690), as whole identifier octets.
const (
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagOID         = 0x06
	tagSequence    = 0x30
	tagSet         = 0x31
	constructed    = 0x20
	context0       = 0xa0 // constructed
	endOfContents  = 0x00
)

// DER rewrites the first element of BER data as DER has it where programs differ:
// every length is there and as short as it can be, and an octet string is in one
// piece. The rest is what follows the element.
func DER(ber []byte) (der, rest []byte, err error) {
	r := rewriter{elements: maxElements}
	return r.element(nil, ber, 0)
}

type rewriter struct{ elements int }

// element appends the first element of ber to der.
func (r *rewriter) element(der, ber []byte, depth int) (_, rest []byte, _ error) {
	if r.elements--; r.elements < 0 || depth > maxDepth {
		return nil, nil, errTooDeep
	}
	tag, content, rest, indefinite, err := header(ber)
	switch {
	case err != nil:
		return nil, nil, err
	case tag&constructed == 0:
		return append(appendHeader(der, tag, len(content)), content...), rest, nil
	}
	var inside []byte
	for indefinite || len(content) > 0 {
		if indefinite && len(content) >= 2 && content[0] == endOfContents && content[1] == 0 {
			rest = content[2:]
			break
		}
		at := len(inside)
		if inside, content, err = r.element(inside, content, depth+1); err != nil {
			return nil, nil, err
		}
		if tag == tagOctetString|constructed {
			// Only its pieces' content counts.
			t, piece, _, _, err := header(inside[at:])
			if err != nil || t != tagOctetString {
				return nil, nil, errBER
			}
			inside = append(inside[:at], piece...)
		}
	}
	if tag == tagOctetString|constructed {
		tag = tagOctetString
	}
	return append(appendHeader(der, tag, len(inside)), inside...), rest, nil
}

// header splits the first element. One of indefinite length has as content all that
// follows, and no rest.
func header(ber []byte) (tag byte, content, rest []byte, indefinite bool, _ error) {
	if len(ber) < 2 {
		return 0, nil, nil, false, errCut
	}
	tag, size, at := ber[0], int(ber[1]), 2
	switch {
	case tag&0x1f == 0x1f, tag == endOfContents:
		return 0, nil, nil, false, errBER // long tags occur in none of our formats
	case size == 0x80:
		if tag&constructed == 0 {
			return 0, nil, nil, false, errBER
		}
		return tag, ber[at:], nil, true, nil
	case size > 0x84:
		return 0, nil, nil, false, errBER
	case size > 0x80:
		var length [4]byte
		at += size & 0x7f
		if at > len(ber) {
			return 0, nil, nil, false, errCut
		}
		copy(length[4-(at-2):], ber[2:at])
		n := binary.BigEndian.Uint32(length[:])
		if int64(n) > int64(len(ber)-at) {
			return 0, nil, nil, false, errCut
		}
		size = int(n)
	case size > len(ber)-at:
		return 0, nil, nil, false, errCut
	}
	return tag, ber[at : at+size], ber[at+size:], false, nil
}

func appendHeader(der []byte, tag byte, size int) []byte {
	der = append(der, tag)
	switch {
	case size < 1<<7:
		return append(der, byte(size))
	case size < 1<<8:
		return append(der, 0x81, byte(size))
	case size < 1<<16:
		return append(der, 0x82, byte(size>>8), byte(size))
	case size < 1<<24:
		return append(der, 0x83, byte(size>>16), byte(size>>8), byte(size))
	default:
		return append(der, 0x84, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
	}
}
