package doctor

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Scrubber takes out of texts what belongs to somebody. It does not look for what is
// secret: it keeps what is known to be harmless (plain words that reeve itself uses,
// small numbers, times, error codes, the names of Microsoft's hosts and of settings),
// and puts a pseudonym in the place of everything else. The same thing has the same
// pseudonym while the Scrubber lives; the key that makes them is never kept.
type Scrubber struct {
	key     [32]byte
	secrets []string
	known   map[string]bool   // words besides those of words.txt
	named   map[string]string // texts that are names, though their words may be plain, and their pseudonyms
	issued  map[string]bool   // pseudonyms, which stay when they are met again
}

// NewScrubber returns one that knows some secrets, which become <secret> wherever they
// stand in a text, and some words that may stay: names of settings and variables.
func NewScrubber(secrets, words []string) *Scrubber {
	s := &Scrubber{known: map[string]bool{}, named: map[string]string{}, issued: map[string]bool{}}
	rand.Read(s.key[:])
	for _, secret := range secrets {
		if strings.TrimSpace(secret) != "" {
			s.secrets = append(s.secrets, secret)
		}
	}
	// A longer one may hold a shorter one.
	slices.SortFunc(s.secrets, func(a, b string) int { return len(b) - len(a) })
	for _, w := range words {
		s.known[w] = true
	}
	return s
}

// Always makes a text a name wherever it stands from now on: of a person, an authority,
// an application. It may consist of plain words.
func (s *Scrubber) Always(kind, text string) {
	if text = strings.TrimSpace(text); text != "" && !slices.Contains([]string{"reeve", "root", "keyvault", "sqlite"}, text) {
		s.named[text] = s.Name(kind, text)
	}
}

//go:embed words.txt
var wordList string

// plain are the words that reeve's own texts are made of.
var plain = func() map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(wordList + " " + proper) {
		words[w] = true
	}
	return words
}()

// proper are names, short forms and beginnings of sentences that may stay.
const proper = `
	The It This A An No Not There What To In Of On If Nothing Only For And Its With
	Microsoft Entra Graph Azure Key Vault Office Management Activity API APIs Teams Log Analytics Application Insights
	SQLite Linux Windows Go DigiCert Global Root G2 G3 Baltimore CyberTrust Authority Certificate Inc Corporation RSA ECC 2017
	AADSTS HTTP HTTPS TLS DNS ID IDs URL GUID JSON CSV PEM PFX PKCS CA CN O OU C TZ GODEBUG NO_PROXY HTTPS_PROXY HTTP_PROXY ALL_PROXY
	SSL_CERT_FILE SSL_CERT_DIR EHLO STARTTLS UTC KiB MiB GiB TiB DODCON DOD GCC POST GET PATCH CONNECT SHA PS256 RS256
	AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PATH AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_AUTHORITY_HOST IDENTITY_ENDPOINT
	UseClientCertificate ClientSecret WEBSITE_LOAD_USER_PROFILE ImportJobSettings TenantGUID KeyVaultUrl AADInstance
	US SDK IP NAME PASSWORD HOST PORT`

// shapes are what a text is cut into, the first that fits at each place.
var shapes = regexp.MustCompile(strings.Join([]string{
	`(?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>(),;]+)`,
	`(?P<mail>[^\s"'<>(),;:=/\\]+@[^\s"'<>(),;:=/\\]+)`,
	`(?P<guid>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})`,
	`(?P<time>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)`,
	`(?P<ip>(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?::\d{1,5})?|\[[0-9A-Fa-f:.%]+\](?::\d{1,5})?|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15})`,
	`(?P<path>[A-Za-z]:[\\/][^\s"'<>(),;]*|\\\\[^\s"'<>(),;]+|[~.]{0,2}/[^\s"'<>(),;]+)`,
	`(?P<word>[\p{L}\p{N}\p{M}_](?:[\p{L}\p{N}\p{M}_.$-]*[\p{L}\p{N}\p{M}_$])?)`,
}, "|"))

var (
	codes   = regexp.MustCompile(`^(AADSTS\d{1,9}|AF\d{1,6}|AKV\d{1,6}|SQLITE_[A-Z]+|Audit\.[A-Z][A-Za-z]+|DLP\.All|TLS\d(\.\d)?|v\d(\.\d){0,2}|go1(\.\d{1,3}){1,2})$`)
	numbers = regexp.MustCompile(`^\d{1,6}(\.\d{1,3})?(ms|s|m|h|d)?$|^(\d{1,3}[hm]){0,2}\d{1,3}(\.\d{1,3})?s$`)
)

// Text returns the text with pseudonyms in the place of what is not known to be
// harmless.
func (s *Scrubber) Text(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	for _, name := range slices.SortedFunc(maps.Keys(s.named), func(a, b string) int { return len(b) - len(a) }) {
		if strings.ContainsAny(name, " ,=") { // others are met as a word
			text = strings.ReplaceAll(text, name, s.named[name])
		}
	}
	names := shapes.SubexpNames()
	var b strings.Builder
	last := 0
	gap := func(g string) {
		for _, r := range g { // what is between: punctuation, spaces
			if r < 0x80 || unicode.IsPunct(r) || unicode.IsSpace(r) || unicode.IsSymbol(r) {
				b.WriteRune(r)
			} else {
				b.WriteRune('?')
			}
		}
	}
	for _, at := range shapes.FindAllStringSubmatchIndex(text, -1) {
		gap(text[last:at[0]])
		last = at[1]
		for i := 1; i < len(names); i++ {
			if at[2*i] >= 0 {
				b.WriteString(s.piece(names[i], text[at[0]:at[1]]))
			}
		}
	}
	gap(text[last:])
	return b.String()
}

func (s *Scrubber) piece(shape, p string) string {
	if name, is := s.named[p]; is {
		return name
	}
	if end := strings.TrimRight(p, ".:"); end != "" && end != p && (shape == "url" || shape == "path" || shape == "mail") {
		return s.piece(shape, end) + p[len(end):]
	}
	switch shape {
	case "time":
		return p
	case "url":
		scheme, rest, _ := strings.Cut(p, "://")
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			rest = rest[i+1:] // a name and a password
		}
		host, path, slash := strings.Cut(rest, "/")
		if !slices.Contains([]string{"https", "http", "sqlite", "socks5"}, strings.ToLower(scheme)) {
			scheme = s.Name("word", scheme)
		}
		out := scheme + "://" + s.host(host)
		if slash {
			if path == "" {
				return out + "/"
			}
			return out + "/" + s.Name("path", path)
		}
		return out
	case "mail", "guid", "path":
		return s.Name(shape, p)
	case "ip":
		if a, err := netip.ParseAddrPort(p); err == nil {
			return s.address(a.Addr()) + p[strings.LastIndexByte(p, ':'):]
		}
		if a, err := netip.ParseAddr(strings.Trim(p, "[]")); err == nil {
			return s.address(a)
		}
		return s.Name("ip", p)
	}
	switch {
	case s.known[p], plain[p], s.issued[p], codes.MatchString(p), numbers.MatchString(p):
		return p
	case strings.Contains(p, "."):
		return s.host(p)
	}
	return s.Name("word", p)
}

// address keeps what every machine has: loopback, link-local, and the kind.
func (s *Scrubber) address(a netip.Addr) string {
	switch {
	case a.IsLoopback(), a.IsUnspecified(), a.IsLinkLocalUnicast() && a.Is4():
		return a.String()
	case a.IsPrivate():
		return s.Name("private-ip", a.String())
	}
	return s.Name("ip", a.String())
}

// services are the hosts of Microsoft's clouds that all customers share, without their
// domain. Other names in these domains are customers' own, and so are names below them, such
// as those of machines.
var services = regexp.MustCompile(`^(login|graph|dod-graph|manage|manage-gcc|management|api|reports[a-z]{0,4}|learn|microsoftgraph)(\.(partner|protection|loganalytics))?$`)

func isShared(host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(microsofts, func(domain string) bool {
		name, in := strings.CutSuffix(host, "."+domain)
		return in && services.MatchString(name)
	})
}

func (s *Scrubber) host(h string) string {
	name, port := h, ""
	if i := strings.LastIndexByte(h, ':'); i >= 0 && numbers.MatchString(h[i+1:]) {
		name, port = h[:i], h[i:]
	}
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return s.address(a) + port
	}
	switch {
	case name == "localhost", isShared(name):
		return name + port
	case isMicrosofts(name):
		for _, d := range microsofts {
			if strings.HasSuffix(strings.ToLower(name), "."+d) {
				return s.Name("host", name) + "." + d + port
			}
		}
	}
	return s.Name("host", name) + port
}

// Name is the pseudonym of something, without regard to case.
func (s *Scrubber) Name(kind, of string) string {
	if of == "" {
		return ""
	}
	m := hmac.New(sha256.New, s.key[:])
	m.Write([]byte(strings.ToLower(of)))
	name := kind + "-" + hex.EncodeToString(m.Sum(nil)[:5])
	s.issued[name] = true
	return name
}

// JSON returns a value as indented JSON in which every text is scrubbed. The names of
// members are kept: they must be those of a struct.
func (s *Scrubber) JSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(s.walk(tree)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (s *Scrubber) walk(v any) any {
	switch v := v.(type) {
	case string:
		return s.Text(v)
	case []any:
		for i := range v {
			v[i] = s.walk(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = s.walk(v[name])
		}
	}
	return v
}
