package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads one scalar, or one element of a list, as the field demands. The
// error says what was wanted; it never repeats the value.
func (f field) parse(text string) (reflect.Value, error) {
	if unresolved.MatchString(text) {
		return reflect.Value{}, errors.New("a Key Vault reference that App Service did not resolve: " +
			"give its managed identity the role Key Vault Secrets User, and see the setting's status in the portal")
	}
	t := f.typ
	if f.list() {
		t = t.Elem()
	}
	v := reflect.New(t).Elem()
	if t == reflect.TypeFor[Secret]() {
		v.SetString(text)
		return v, nil
	}
	text = strings.TrimSpace(text)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return v, f.setDuration(v, text)
	case t.Kind() == reflect.Int:
		return v, f.setInt(v, text)
	case t.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return v, errors.New("want true or false")
		}
		v.SetBool(b)
		return v, nil
	}
	return v, f.setString(v, text)
}

// unresolved matches what App Service hands over in place of the secret when it
// may not read it. Used as a secret, it would be refused with a code that says
// nothing of the reason.
var unresolved = regexp.MustCompile(`(?i)^\s*@microsoft\.keyvault\(`)

func (f field) setString(v reflect.Value, text string) error {
	if values := f.values(); values != nil && !slices.Contains(values, text) {
		return fmt.Errorf("want one of %s%s", strings.Join(values, ", "), hint(text, values))
	}
	if check := forms[f.tag.Get("form")]; check != nil && (text != "" || f.tag.Get("default") != "") {
		var err error
		if text, err = check(text); err != nil {
			return err
		}
	}
	v.SetString(text)
	return nil
}

func (f field) setInt(v reflect.Value, text string) error {
	n, err := strconv.Atoi(text)
	least, most := mustInt(f.tag.Get("min")), mustInt(f.tag.Get("max"))
	if err != nil || n < least || n > most {
		return fmt.Errorf("want a whole number from %d to %d", least, most)
	}
	v.SetInt(int64(n))
	return nil
}

func (f field) setDuration(v reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	least, most := mustDuration(f.tag.Get("min")), mustDuration(f.tag.Get("max"))
	if err != nil || d < least || d > most {
		return fmt.Errorf("want a duration such as 90s, 10m or 1h30m, from %s to %s", f.tag.Get("min"), f.tag.Get("max"))
	}
	v.SetInt(int64(d))
	return nil
}

func mustInt(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err) // A mistake in a tag of Config.
	}
	return n
}

func mustDuration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err) // A mistake in a tag of Config.
	}
	return d
}

// text is the inverse of parse, for showing: secrets hidden, a list with
// commas.
func (f field) text(v reflect.Value) string {
	switch {
	case f.list():
		return strings.Join(v.Interface().([]string), ",")
	case f.typ == reflect.TypeFor[time.Duration]():
		s := v.Interface().(time.Duration).String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	}
	return fmt.Sprint(v.Interface())
}

// splitList reads a list from a flag or an environment variable.
func splitList(text, separator string) []string {
	var elements []string
	for e := range strings.SplitSeq(text, separator) {
		if e = strings.TrimSpace(e); e != "" {
			elements = append(elements, e)
		}
	}
	return elements
}

// forms are the checks that a tag can name. Each returns the value in its one
// spelling.
var forms = map[string]func(string) (string, error){
	"guid":        guid,
	"origin":      origin,
	"path":        path,
	"certificate": certificate,
	"database":    database,
	"loopback":    loopback,
	"site":        site,
}

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func guid(text string) (string, error) {
	text = strings.ToLower(text)
	if !guidPattern.MatchString(text) {
		return "", errors.New("want a GUID such as 11111111-2222-3333-4444-555555555555")
	}
	return text, nil
}

// origin accepts a scheme, a host and perhaps a port. It refuses plain HTTP, as
// tokens travel to these hosts.
func origin(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https":
		return "", errors.New("want a URL that begins with https:// and a host")
	case u.User != nil:
		return "", errors.New("want a URL without a user name or password")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("want only a host: leave out what follows https://%s", u.Host)
	}
	return "https://" + u.Host, nil
}

func path(text string) (string, error) {
	if strings.HasPrefix(text, "keyvault:") || strings.Contains(text, "://") {
		return "", errors.New("want the path of a file on this machine")
	}
	return text, nil
}

// vaultPrefix begins an auth.certificate that is a name in vault-url.
const vaultPrefix = "keyvault:"

// Names and versions of Key Vault objects, as Microsoft documents them. The last
// group is the version.
var (
	vaultName      = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}(?:/([0-9A-Fa-f]{32}))?$`)
	identifierPath = regexp.MustCompile(`^/(?:certificates|secrets)/[0-9A-Za-z-]{1,127}(?:/([0-9A-Fa-f]{32}))?/?$`)
)

// certificate accepts a path, keyvault:NAME, or the identifier of a certificate
// or of the secret behind it.
func certificate(text string) (string, error) {
	if scheme, name, _ := strings.Cut(text, ":"); strings.EqualFold(scheme+":", vaultPrefix) {
		if !vaultName.MatchString(name) {
			return "", errors.New("want keyvault:NAME, the name in letters, digits and dashes")
		}
		return vaultPrefix + name, nil
	}
	if !strings.Contains(text, "://") {
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		!identifierPath.MatchString(u.Path) {
		return "", errors.New("want a path, keyvault:NAME, or an identifier https://VAULT/certificates/NAME")
	}
	return u.String(), nil
}

// InVault reports whether auth.certificate names a certificate in a Key Vault.
func (a Auth) InVault() bool {
	return strings.HasPrefix(a.Certificate, vaultPrefix) || strings.HasPrefix(a.Certificate, "https://")
}

// own is an auth.certificate that no file and no vault holds.
const own = "own"

// Own reports whether auth.certificate is the certificate that reeve looks after itself,
// and no other.
func (a Auth) Own() bool { return a.Certificate == own }

// vaultVersion returns the version that auth.certificate names, if any.
func (a Auth) vaultVersion() string {
	var match []string
	if name, ok := strings.CutPrefix(a.Certificate, vaultPrefix); ok {
		match = vaultName.FindStringSubmatch(name)
	} else if u, err := url.Parse(a.Certificate); err == nil && u.Scheme == "https" {
		match = identifierPath.FindStringSubmatch(u.Path)
	}
	if match == nil {
		return ""
	}
	return match[1]
}

func database(text string) (string, error) {
	scheme, rest, found := strings.Cut(text, ":")
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		return postgres(text)
	case !found || len(scheme) == 1: // C:\reeve.db
		return "", errors.New(`want "sqlite:PATH" or "postgres://HOST/DATABASE"; a path alone is not enough`)
	case scheme != "sqlite":
		return "", errors.New(`unknown kind of database; want "sqlite:PATH" or "postgres://HOST/DATABASE"`)
	case rest == "":
		return "", errors.New(`the path is missing; want "sqlite:PATH"`)
	case strings.HasPrefix(rest, "//"):
		return "", errors.New(`want "sqlite:PATH" without the slashes of a URL in front of the path`)
	}
	return text, nil
}

// postgres reads the address of a database of PostgreSQL, in which no password may be: an
// address is shown.
func postgres(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil { // whose text may hold the password
		return "", errors.New(`want "postgres://USER@HOST:PORT/DATABASE", with special characters as %XX`)
	}
	if _, ok := u.User.Password(); ok || u.Query().Has("password") {
		return "", errors.New("a password in the address is seen by many; set database.password, or PGPASSWORD, and leave it out of the address")
	}
	if strings.Trim(u.Path, "/") == "" {
		return "", errors.New(`the database is missing; want "postgres://USER@HOST:PORT/DATABASE"`)
	}
	return text, nil
}

func loopback(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", errors.New("want HOST:PORT, such as 127.0.0.1:8080")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("want a port from 0 to 65535 after the colon; 0 takes a free one")
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
		return "", errors.New("want a loopback address: the status page has no sign-in yet, and others could read it; " +
			"use 127.0.0.1 and reach it through an SSH tunnel or a proxy that signs people in")
	}
	return text, nil
}

// site accepts a rule of feeds.audit.org-urls: the beginning of a URL, or "="
// and the URL of one site.
func site(text string) (string, error) {
	rule, exact := strings.CutPrefix(text, "=")
	rule = strings.TrimSpace(rule)
	u, err := url.Parse(rule)
	switch {
	case strings.Contains(rule, "*"):
		return "", errors.New("want no *: a rule is the beginning of a URL, and what follows is in scope")
	case err != nil || u.Scheme != "https" || u.Host == "":
		return "", errors.New("want a URL that begins with https:// and a host, or = and such a URL for one exact site")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("want the URL of a site, without a user, a query (?…) or a fragment (#…)")
	}
	if exact {
		return "=" + rule, nil
	}
	return rule, nil
}
