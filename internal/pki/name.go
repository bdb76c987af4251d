package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a subject in characters.
const maxName = 1024

// attribute is a part that the name of a certificate can have.
type attribute struct {
	name string
	id   asn1.ObjectIdentifier
	max  int // characters (RFC 5280 appendix A, X.520)
}

var (
	commonName   = attribute{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}, 64}
	country      = attribute{"C", asn1.ObjectIdentifier{2, 5, 4, 6}, 2}
	domain       = attribute{"DC", asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, 63}
	emailAddress = attribute{"E", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, 255}
)

var attributes = []attribute{
	commonName,
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}, 64},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}, 64},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}, 128},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}, 128},
	{"STREET", asn1.ObjectIdentifier{2, 5, 4, 9}, 128},
	{"POSTALCODE", asn1.ObjectIdentifier{2, 5, 4, 17}, 40},
	{"SERIALNUMBER", asn1.ObjectIdentifier{2, 5, 4, 5}, 64},
	country,
	domain,
	emailAddress,
}

// alias holds other spellings of attributes.
var alias = map[string]string{"S": "ST", "EMAIL": "E", "EMAILADDRESS": "E", "COUNTRY": "C", "ORGANIZATION": "O"}

// findAttribute finds an attribute by its name or its dotted number.
func findAttribute(key string) (attribute, bool) {
	key = strings.TrimPrefix(strings.ToUpper(key), "OID.")
	if a, ok := alias[key]; ok {
		key = a
	}
	for _, a := range attributes {
		if key == a.name || key == a.id.String() {
			return a, true
		}
	}
	return attribute{}, false
}

// ParseName reads a subject such as "CN=reeve, O=Contoso" (RFC 4514), or a common
// name alone. The certificate will have the parts in this order; later changes of
// the name's fields do not count, as ExtraNames holds them all. Its errors are
// [*Problem].
func ParseName(s string) (pkix.Name, error) {
	s = strings.TrimLeftFunc(s, unicode.IsSpace)
	switch {
	case s == "":
		return pkix.Name{}, &Problem{"the subject is empty", `give a common name, such as "reeve", or "CN=reeve, O=Contoso, C=DE"`}
	case !utf8.ValidString(s):
		return pkix.Name{}, &Problem{"the subject is not UTF-8 text", "write it in UTF-8 or ASCII"}
	case utf8.RuneCountInString(s) > maxName:
		return pkix.Name{}, &Problem{fmt.Sprintf("the subject has more than %d characters", maxName), "shorten it"}
	case s[0] == '/' && strings.Contains(s, "="):
		return pkix.Name{}, &Problem{"the subject is written with slashes, as openssl does", `write it with commas, such as "CN=reeve, O=Contoso, C=DE"`}
	}
	parts := []namePart{{"CN", strings.TrimSpace(s)}}
	if strings.Contains(s, "=") {
		var err error
		if parts, err = splitName(strings.TrimRight(s, "\t\r\n")); err != nil {
			return pkix.Name{}, err
		}
	}
	var name pkix.Name
	for _, p := range parts {
		if err := p.addTo(&name); err != nil {
			return pkix.Name{}, err
		}
	}
	slices.Reverse(name.ExtraNames) // RFC 4514 2.1 writes the last first
	return name, nil
}

// namePart is one "key=value" of a name as written, the value without its escapes.
type namePart struct{ key, value string }

// addTo checks the part and puts it into the name.
func (p namePart) addTo(n *pkix.Name) error {
	a, ok := findAttribute(p.key)
	if !ok {
		names := make([]string, len(attributes))
		for i, a := range attributes {
			names[i] = a.name
		}
		return &Problem{fmt.Sprintf("the subject has a part %.40q, which is not known", p.key), "use " + list(names) + "; within a value write a comma as \\,"}
	}
	wrong := func(format string, args ...any) error {
		return &Problem{fmt.Sprintf("the subject's %s %s", a.name, fmt.Sprintf(format, args...)), "correct that part: " + a.name + "=…"}
	}
	twice := slices.ContainsFunc(n.ExtraNames, func(v pkix.AttributeTypeAndValue) bool { return v.Type.Equal(a.id) })
	switch {
	case p.value == "":
		return wrong("is empty")
	case strings.ContainsFunc(p.value, unicode.IsControl):
		return wrong("has control characters")
	case a.name == country.name && !isCountry(p.value):
		return wrong("is %.40q, not a country code of two letters such as DE", p.value)
	case utf8.RuneCountInString(p.value) > a.max:
		return wrong("has %d characters, and certificates allow %d", utf8.RuneCountInString(p.value), a.max)
	case twice && (a.name == commonName.name || a.name == country.name):
		return wrong("is there twice")
	}
	value := any(p.value)
	switch a.name {
	case domain.name, emailAddress.name: // IA5String (RFC 4519 2.4, RFC 2985 5.2.1)
		if !isASCII(p.value) {
			return wrong("has characters beyond ASCII; a domain is written as xn--…")
		}
		value = asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(p.value)}
	case "CN":
		n.CommonName = p.value
	case "SERIALNUMBER":
		n.SerialNumber = p.value
	case "C":
		value = strings.ToUpper(p.value)
		n.Country = []string{strings.ToUpper(p.value)}
	case "O":
		n.Organization = append(n.Organization, p.value)
	case "OU":
		n.OrganizationalUnit = append(n.OrganizationalUnit, p.value)
	case "L":
		n.Locality = append(n.Locality, p.value)
	case "ST":
		n.Province = append(n.Province, p.value)
	case "STREET":
		n.StreetAddress = append(n.StreetAddress, p.value)
	case "POSTALCODE":
		n.PostalCode = append(n.PostalCode, p.value)
	}
	n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: a.id, Value: value})
	return nil
}

// splitName splits "key=value, key=value" and resolves quotes and escapes.
func splitName(s string) ([]namePart, error) {
	var parts []namePart
	for {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, &Problem{fmt.Sprintf("the subject ends in %.40q, which has no equals sign", s), `write each part as KEY=value, and a comma within a value as \,`}
		}
		key = strings.TrimSpace(key)
		value, rest, err := nameValue(rest)
		if err != nil {
			return nil, &Problem{fmt.Sprintf("the subject's %.40s %s", key, err), `write each part as KEY=value with commas between, and a comma, quote or backslash within a value as \, \" \\`}
		}
		parts = append(parts, namePart{key, value})
		if rest == "" {
			return parts, nil
		}
		s = rest[1:]
	}
}

// nameValue reads one value of a name up to the separator, at which rest begins. Its
// errors finish a sentence.
func nameValue(s string) (value, rest string, err error) {
	s = strings.TrimLeft(s, " ")
	if strings.HasPrefix(s, "#") {
		end := strings.IndexAny(s, ",;+")
		if end < 0 {
			end = len(s)
		}
		value, err = hexValue(strings.TrimSpace(s[1:end]))
		return value, s[end:], err
	}
	quoted := strings.HasPrefix(s, `"`)
	if quoted {
		s = s[1:]
	}
	var b []byte
	kept := 0 // bytes of b that are not blanks at its end
	i := 0
scan:
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			c, n, ok := unescapeByte(s[i+1:])
			if !ok {
				return "", "", fmt.Errorf("has a backslash before something that needs none")
			}
			b = append(b, c)
			kept = len(b)
			i += n
		case quoted && c == '"':
			break scan
		case !quoted && strings.IndexByte(",;+", c) >= 0:
			break scan
		case !quoted && strings.IndexByte(`"<>`, c) >= 0:
			return "", "", fmt.Errorf("has a bare %c", c)
		default:
			b = append(b, c)
			if quoted || c != ' ' {
				kept = len(b)
			}
		}
	}
	rest = s[i:]
	if quoted {
		if rest == "" {
			return "", "", fmt.Errorf("has a quote that does not end")
		}
		rest = strings.TrimLeft(rest[1:], " ")
	}
	switch {
	case rest != "" && rest[0] == '+':
		return "", "", fmt.Errorf("is joined to another part by a plus sign, which is not done here")
	case rest != "" && rest[0] != ',' && rest[0] != ';':
		return "", "", fmt.Errorf("has text after its quote")
	case !utf8.Valid(b[:kept]):
		return "", "", fmt.Errorf("is not UTF-8 text")
	}
	return string(b[:kept]), rest, nil
}

// unescapeByte reads what follows a backslash, and how long it is.
func unescapeByte(s string) (c byte, n int, ok bool) {
	if len(s) > 0 && strings.IndexByte(` "#+,;<=>\`, s[0]) >= 0 {
		return s[0], 1, true
	}
	if len(s) > 1 {
		if b, err := hex.DecodeString(s[:2]); err == nil {
			return b[0], 2, true
		}
	}
	return 0, 0, false
}

// hexValue reads the DER of a string in hexadecimal digits, which is how RFC 4514
// writes the values of attributes without a name.
func hexValue(digits string) (string, error) {
	der, err := hex.DecodeString(digits)
	if err != nil {
		return "", fmt.Errorf("has a value that starts with # and is not hexadecimal")
	}
	var s string
	if rest, err := asn1.Unmarshal(der, &s); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("has a value that starts with # and is not the DER of a text")
	}
	return s, nil
}

// FormatName writes a name as [ParseName] reads it, also a certificate's. What
// ParseName does not know is written by number.
func FormatName(n pkix.Name) string {
	values := n.Names // of a certificate that was read
	if values == nil || n.ExtraNames != nil {
		for _, rdn := range n.ToRDNSequence() {
			values = append(values, rdn...)
		}
	}
	var b strings.Builder
	for i := len(values) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		key := values[i].Type.String()
		if a, ok := findAttribute(key); ok {
			key = a.name
		}
		b.WriteString(key + "=" + formatValue(values[i].Value))
	}
	return b.String()
}

func formatValue(v any) string {
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case asn1.RawValue:
		s = string(v.Bytes)
	default:
		der, err := asn1.Marshal(v)
		if err != nil {
			return "?"
		}
		return "#" + hex.EncodeToString(der)
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError || isUnseen(r):
			_, n := utf8.DecodeRuneInString(s[i:])
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%02X`, c)
			}
			continue
		case strings.ContainsRune(`,+"\<>;`, r),
			r == '#' && i == 0,
			r == ' ' && (i == 0 || i == len(s)-1):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isUnseen reports characters that a terminal obeys in place of showing them, and
// those that turn the direction of text, by which a name can look like another.
func isUnseen(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

func isCountry(s string) bool {
	return len(s) == 2 && strings.IndexFunc(s, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' }) < 0
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}
