package keyvault

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// printable makes a value from a request fit for the text of a refusal.
func printable(s string) string { return origin.Printable(s) }

// attributeTypes are the names that a subject may use (RFC 4514, and those that
// Windows knows besides). They compare without regard to case.
var attributeTypes = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "SN": {2, 5, 4, 4}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6},
	"L": {2, 5, 4, 7}, "S": {2, 5, 4, 8}, "ST": {2, 5, 4, 8}, "STREET": {2, 5, 4, 9},
	"O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "T": {2, 5, 4, 12}, "TITLE": {2, 5, 4, 12},
	"POSTALCODE": {2, 5, 4, 17}, "G": {2, 5, 4, 42}, "GIVENNAME": {2, 5, 4, 42}, "I": {2, 5, 4, 43},
	"E": {1, 2, 840, 113549, 1, 9, 1}, "EMAIL": {1, 2, 840, 113549, 1, 9, 1},
	"DC": {0, 9, 2342, 19200300, 100, 1, 25}, "UID": {0, 9, 2342, 19200300, 100, 1, 1},
}

const longSubject = 4096 // bytes [K]

// parseSubject reads a distinguished name such as "CN=reeve, O=Contoso" and
// returns it as DER. Values may be in double quotes, in which a double quote is
// written twice, or have characters escaped by a backslash. What is written
// first is encoded last, as RFC 4514 and Windows have it.
func parseSubject(s string) ([]byte, error) {
	if len(s) > longSubject {
		return nil, errors.New("is too long")
	}
	var name pkix.RDNSequence
	rest := strings.TrimSpace(s)
	join := false // with the attribute before, by a plus sign
	for rest != "" {
		label, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, errors.New("has a part without an equals sign")
		}
		kind, err := attributeType(strings.TrimSpace(label))
		if err != nil {
			return nil, err
		}
		text, separator, remaining, err := attributeValue(strings.TrimLeft(after, " "))
		if err != nil {
			return nil, err
		}
		a := pkix.AttributeTypeAndValue{Type: kind, Value: text}
		if join {
			name[len(name)-1] = append(name[len(name)-1], a)
		} else {
			name = append(name, pkix.RelativeDistinguishedNameSET{a})
		}
		join = separator == '+'
		rest = strings.TrimSpace(remaining)
		if rest == "" && separator != 0 {
			return nil, errors.New("ends with a separator")
		}
	}
	slices.Reverse(name)
	return asn1.Marshal(name)
}

func attributeType(label string) (asn1.ObjectIdentifier, error) {
	label = strings.ToUpper(label)
	if kind, ok := attributeTypes[label]; ok {
		return kind, nil
	}
	if kind, err := parseOID(strings.TrimPrefix(label, "OID.")); err == nil {
		return kind, nil
	}
	return nil, errors.New("names an attribute that is not known")
}

// attributeValue reads a value up to the separator that ends it, which is 0 at
// the end.
func attributeValue(s string) (text string, separator byte, rest string, err error) {
	var b strings.Builder
	i, quoted := 0, strings.HasPrefix(s, `"`)
	if quoted {
		closed := false
		for i = 1; i < len(s) && !closed; i++ {
			switch {
			case s[i] == '"' && i+1 < len(s) && s[i+1] == '"':
				b.WriteByte('"')
				i++
			case s[i] == '"':
				closed = true
			default:
				b.WriteByte(s[i])
			}
		}
		if !closed {
			return "", 0, "", errors.New("has a quote that is not closed")
		}
		for i < len(s) && s[i] == ' ' {
			i++
		}
	} else {
		for i < len(s) && !strings.ContainsRune(",;+", rune(s[i])) {
			switch {
			case strings.ContainsRune(`"<>=`, rune(s[i])):
				return "", 0, "", errors.New("has a special character that is neither quoted nor escaped")
			case s[i] == '\\' && i+1 == len(s):
				return "", 0, "", errors.New("ends with a backslash")
			case s[i] == '\\' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
				octet, _ := strconv.ParseUint(s[i+1:i+3], 16, 8) // Both are hexadecimal digits.
				b.WriteByte(byte(octet))
				i += 3
			case s[i] == '\\':
				b.WriteByte(s[i+1])
				i += 2
			default:
				b.WriteByte(s[i])
				i++
			}
		}
	}
	text = b.String()
	if !quoted {
		text = strings.TrimSpace(text)
	}
	switch {
	case text == "":
		return "", 0, "", errors.New("has an attribute without a value")
	case strings.ToValidUTF8(text, "") != text:
		return "", 0, "", errors.New("is not UTF-8")
	case i == len(s):
		return text, 0, "", nil
	case !strings.ContainsRune(",;+", rune(s[i])):
		return "", 0, "", errors.New("goes on after a closing quote")
	}
	return text, s[i], s[i+1:], nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// parseOID reads an object identifier in dotted form.
func parseOID(s string) (asn1.ObjectIdentifier, error) {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil || len(id) == 32 {
			return nil, errors.New("is not an object identifier")
		}
		id = append(id, int(n))
	}
	if _, err := asn1.Marshal(id); err != nil {
		return nil, errors.New("is not an object identifier")
	}
	return id, nil
}

// subjectNames are the alternative names of a subject.
type subjectNames struct {
	DNS    []string `json:"dns_names,omitempty"`
	Emails []string `json:"emails,omitempty"`
	UPNs   []string `json:"upns,omitempty"` // user principal names
	IPs    []string `json:"ipAddresses,omitempty"`
	URIs   []string `json:"uris,omitempty"`
}

func (n *subjectNames) empty() bool {
	return n == nil || len(n.DNS)+len(n.Emails)+len(n.UPNs)+len(n.IPs)+len(n.URIs) == 0
}

var (
	oidAlternativeNames = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidPrincipalName    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

const mostNames = 100 // of each kind [K]

// extension returns the names as the extension of a certificate, or none when
// there are no names.
func (n *subjectNames) extension() ([]pkix.Extension, error) {
	if n.empty() {
		return nil, nil
	}
	var names []asn1.RawValue
	plain := func(member string, tag int, texts []string, ok func(string) bool) error {
		if len(texts) > mostNames {
			return badParameter("Property policy.x509_props.sans.%s has more than %d items.", member, mostNames)
		}
		for _, s := range texts {
			if !ok(s) {
				return badParameter("Property policy.x509_props.sans.%s has invalid value %s.", member, printable(s))
			}
			b := []byte(s)
			if ip := net.ParseIP(s); member == "ipAddresses" {
				if b = ip.To4(); b == nil {
					b = ip
				}
			}
			names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: b})
		}
		return nil
	}
	isMail := func(s string) bool {
		local, domain, ok := strings.Cut(s, "@")
		return ok && local != "" && isDNSName(domain)
	}
	isIP := func(s string) bool { return net.ParseIP(s) != nil }
	isURI := func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && u.IsAbs() && isASCII(s)
	}
	if err := errors.Join(
		plain("emails", 1, n.Emails, func(s string) bool { return isMail(s) && isASCII(s) }),
		plain("dns_names", 2, n.DNS, isDNSName),
		plain("uris", 6, n.URIs, isURI),
		plain("ipAddresses", 7, n.IPs, isIP),
	); err != nil {
		var first *Refusal
		errors.As(err, &first)
		return nil, first
	}
	if len(n.UPNs) > mostNames {
		return nil, badParameter("Property policy.x509_props.sans.upns has more than %d items.", mostNames)
	}
	for _, s := range n.UPNs {
		if !isMail(s) || strings.ToValidUTF8(s, "") != s {
			return nil, badParameter("Property policy.x509_props.sans.upns has invalid value %s.", printable(s))
		}
		other, err := asn1.MarshalWithParams(struct {
			Type  asn1.ObjectIdentifier
			Value string `asn1:"utf8,explicit,tag:0"`
		}{oidPrincipalName, s}, "tag:0")
		if err != nil {
			return nil, fmt.Errorf("encoding a principal name: %w", err)
		}
		names = append(names, asn1.RawValue{FullBytes: other})
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		return nil, fmt.Errorf("encoding alternative names: %w", err)
	}
	return []pkix.Extension{{Id: oidAlternativeNames, Value: der}}, nil
}

func isDNSName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i, label := range strings.Split(s, ".") {
		if i == 0 && label == "*" {
			continue
		}
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// namesOf returns the alternative names of a certificate, or nil.
func namesOf(c *x509.Certificate) *subjectNames {
	n := &subjectNames{DNS: c.DNSNames, Emails: c.EmailAddresses}
	for _, ip := range c.IPAddresses {
		n.IPs = append(n.IPs, ip.String())
	}
	for _, u := range c.URIs {
		n.URIs = append(n.URIs, u.String())
	}
	if n.empty() {
		return nil
	}
	return n
}
