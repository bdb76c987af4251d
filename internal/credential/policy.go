package credential

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/reeve365/reeve/internal/pki"
)

const day = 24 * time.Hour

// Policy says how the certificates of an application live. The zero value of a member
// means its default.
type Policy struct {
	// Lifetime is how long a certificate is valid: 30 to 1,095 days; 180.
	Lifetime Span `json:"lifetime,omitzero"`
	// RenewBefore is how long before the end a successor becomes the active one: 1 to
	// 365 days, or a share of the lifetime; a third.
	RenewBefore Before `json:"renew_before,omitzero"`
	// Overlap is for how long the old one stays usable after that; 7 days. A program
	// that App Service hands certificates may have the old one for 24 hours.
	Overlap Span `json:"overlap,omitzero"`
	// KeyType is RSA, which is what Entra ID takes; rsa-2048.
	KeyType pki.KeyType `json:"key_type,omitempty"`
	// Subject is the certificate's, in which {name}, {client-id} and {tenant-id} stand
	// for the application's; CN={name}.
	Subject string `json:"subject,omitempty"`
	// Issuer is who signs: self, or request, where the certificate is made from a
	// request by an authority of one's own and imported.
	Issuer string `json:"issuer,omitempty"`
	// Store keeps the private keys: local, keyvault-secrets or keyvault-keys, in which
	// the key never leaves the vault; local.
	Store string `json:"store,omitempty"`
	// Targets are the live places to publish to.
	Targets []string `json:"targets,omitempty"`
	// Hooks are commands and webhooks to be run when a certificate has become active.
	Hooks []string `json:"hooks,omitempty"`
	// Resources are those for which a token proves that a certificate works; Graph's.
	Resources []string `json:"resources,omitempty"`
	// NoticeDays are how many days before the end somebody is told, 1 to 90 each; 30,
	// 14, 7, 1.
	NoticeDays []int `json:"notice_days,omitempty"`
	// Notify are the targets of notices, besides the log; all that are configured.
	Notify []string `json:"notify,omitempty"`
	// Windows are when a certificate may be promoted or retired; always.
	Windows []Window `json:"windows,omitempty"`
	// DestroyAfter is for how long the private key is kept after the certificate was
	// retired; 30 days.
	DestroyAfter Span `json:"destroy_after,omitzero"`
}

// Stores and issuers of a Policy.
const (
	StoreLocal   = "local"
	StoreSecrets = "keyvault-secrets"
	StoreKeys    = "keyvault-keys"

	IssuerSelf    = "self"
	IssuerRequest = "request"
)

// Complete returns the policy with the defaults filled in. The resource of Graph is
// that of the tenant's cloud.
func (p Policy) Complete(graph string) Policy {
	set(&p.Lifetime, Span(180*day))
	if p.RenewBefore == (Before{}) {
		p.RenewBefore = Before{Share: 1.0 / 3}
	}
	set(&p.Overlap, Span(7*day))
	set(&p.KeyType, pki.RSA2048)
	set(&p.Subject, "CN={name}")
	set(&p.Issuer, IssuerSelf)
	set(&p.Store, StoreLocal)
	set(&p.DestroyAfter, Span(30*day))
	if len(p.Resources) == 0 {
		p.Resources = []string{graph}
	}
	if p.NoticeDays == nil {
		p.NoticeDays = []int{30, 14, 7, 1}
	}
	return p
}

func set[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

// vaultCache is how long App Service may hand out the certificate that it had
// (learn.microsoft.com/azure/app-service/app-service-key-vault-references).
const vaultCache = 24 * time.Hour

// longestToken is how long an access token may be good for; with continuous access
// evaluation up to 28 hours, else up to 90 minutes
// (learn.microsoft.com/entra/identity-platform/access-tokens).
const longestToken = 90 * time.Minute

// Drain is for how long a replaced certificate is kept at least.
func (p Policy) Drain() time.Duration {
	d := time.Duration(p.Overlap)
	for _, t := range p.Targets {
		if strings.HasPrefix(t, "keyvault:") || strings.HasPrefix(t, "https:") {
			return max(d, vaultCache+longestToken)
		}
	}
	return max(d, longestToken)
}

// Check reports everything for which a complete policy cannot work, each with what to
// do about it.
func (p Policy) Check() []error {
	var errs []error
	no := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	life, before := time.Duration(p.Lifetime), p.RenewBefore.Of(time.Duration(p.Lifetime))
	switch {
	case life < pki.MinDays*day || life > pki.MaxDays*day:
		no("lifetime is %v: give %d to %d days", p.Lifetime, pki.MinDays, pki.MaxDays)
	case p.RenewBefore.Share != 0 && (p.RenewBefore.Share < 0.02 || p.RenewBefore.Share > 0.9):
		no("renew-before is %v of the lifetime: give 2%% to 90%%, or 1 to 365 days", p.RenewBefore)
	case p.RenewBefore.Share == 0 && (before < day || before > 365*day):
		no("renew-before is %v: give 1 to 365 days, or a share of the lifetime such as 1/3", p.RenewBefore)
	case before >= life:
		no("renew-before (%v) is not shorter than the lifetime (%v), so each certificate would be replaced as soon as it is made: shorten the one or lengthen the other", Span(before), p.Lifetime)
	case life-before < 2*day:
		no("with a lifetime of %v and renew-before %v a certificate would be in use for %v: leave at least 2 days", p.Lifetime, Span(before), Span(life-before))
	}
	switch {
	case p.Overlap < 0 || time.Duration(p.Overlap) > 365*day:
		no("overlap is %v: give up to 365 days", p.Overlap)
	case len(errs) == 0 && p.Drain() >= before:
		no("the old certificate is kept for %v after it was replaced, but would expire %v after that: make overlap shorter than renew-before (a Key Vault target needs at least 25h30m)", Span(p.Drain()), Span(before))
	}
	switch {
	case p.KeyType == pki.P256 || p.KeyType == pki.P384:
		no("key-type is %s: Entra ID takes no assertion signed with an elliptic curve; use rsa-2048, rsa-3072 or rsa-4096", p.KeyType)
	case !slices.Contains(pki.KeyTypes(), p.KeyType):
		no("there is no key-type %q: use rsa-2048, rsa-3072 or rsa-4096", p.KeyType)
	}
	if _, err := p.SubjectOf(Application{Name: "name", ClientID: "id", TenantID: "id"}); err != nil {
		errs = append(errs, err)
	}
	oneOf := func(what, have string, may ...string) {
		if !slices.Contains(may, have) {
			no("%s is %q: use %s", what, have, strings.Join(may, " or "))
		}
	}
	oneOf("issuer", p.Issuer, IssuerSelf, IssuerRequest)
	oneOf("store", p.Store, StoreLocal, StoreSecrets, StoreKeys)
	if p.Store == StoreKeys && len(p.Targets) > 0 {
		no("store is %s, so that the private key never leaves the vault, and cannot be published to %s: leave out the targets, or choose another store", StoreKeys, strings.Join(p.Targets, ", "))
	}
	for _, r := range p.Resources {
		if !strings.Contains(r, "://") && !guid.MatchString(r) {
			no("the resource %q is neither a URI such as https://graph.microsoft.com nor an application's GUID", r)
		}
	}
	for _, d := range p.NoticeDays {
		if d < 1 || d > 90 {
			no("notice-days has %d: give 1 to 90", d)
		}
	}
	for _, w := range p.Windows {
		if err := w.check(); err != nil {
			errs = append(errs, err)
		}
	}
	if p.DestroyAfter < 0 || time.Duration(p.DestroyAfter) > 1095*day {
		no("destroy-after is %v: give up to 1095 days", p.DestroyAfter)
	}
	return errs
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// SubjectOf is the subject of an application's certificates.
func (p Policy) SubjectOf(a Application) (string, error) {
	quote := func(s string) string { // a value, whatever is in it
		var b strings.Builder
		for i, r := range s {
			if strings.ContainsRune(`,+"\<>;=`, r) || (i == 0 && (r == '#' || r == ' ')) || (i == len(s)-1 && r == ' ') {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	// An application may be called anything, and its certificate cannot.
	name := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(a.Name, "?")))
	if len(name) > 64 { // the upper bound of a common name, RFC 5280
		name = name[:64]
	}
	called := cmp.Or(strings.TrimSpace(string(name)), a.ClientID)
	if strings.ContainsAny(strings.NewReplacer("{name}", "", "{client-id}", "", "{tenant-id}", "").Replace(p.Subject), "{}") {
		return "", fmt.Errorf("subject is %q: of words in braces there are {name}, {client-id} and {tenant-id}", p.Subject)
	}
	s := strings.NewReplacer("{name}", quote(called), "{client-id}", a.ClientID, "{tenant-id}", a.TenantID).Replace(p.Subject)
	if _, err := pki.ParseName(s); err != nil {
		return "", fmt.Errorf("subject is %q: %w", p.Subject, err)
	}
	return s, nil
}

// Span is a length of time that may be written in days, weeks or years of 365 days:
// 180d, 26w, 1y, 36h, 25h30m.
type Span time.Duration

// ParseSpan reads a Span.
func ParseSpan(s string) (Span, error) {
	s = strings.TrimSpace(s)
	for unit, length := range map[string]time.Duration{"d": day, "w": 7 * day, "y": 365 * day} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			if most := int(100 * 365 * day / length); err == nil && n >= 0 && n <= most {
				return Span(time.Duration(n) * length), nil
			}
		}
	}
	if n, err := strconv.Atoi(s); err == nil {
		return 0, fmt.Errorf("%d has no unit: write %dd for days, or %dh", n, n, n)
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no length of time: write 180d, 26w, 1y, 36h or 25h30m", s)
	}
	return Span(d), nil
}

func (s Span) String() string {
	switch d := time.Duration(s); {
	case d != 0 && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	default:
		text := d.String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
}

// MarshalText writes the span as ParseSpan reads it.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Span) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSpan(string(b))
	return err
}

// Before is a length of time, or a share of a certificate's lifetime.
type Before struct {
	Span  Span
	Share float64
}

// ParseBefore reads 60d, 1/3 or 33%.
func ParseBefore(s string) (Before, error) {
	s = strings.TrimSpace(s)
	if p, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		n = math.Round(n*100) / 100
		if err != nil || !(n > 0 && n < 100) {
			return Before{}, fmt.Errorf("%q is no share: write 33%%", s)
		}
		return Before{Share: n / 100}, nil
	}
	if a, b, ok := strings.Cut(s, "/"); ok {
		x, errX := strconv.Atoi(strings.TrimSpace(a))
		y, errY := strconv.Atoi(strings.TrimSpace(b))
		if errX != nil || errY != nil || x <= 0 || y <= x || y > maxParts {
			return Before{}, fmt.Errorf("%q is no share: write 1/3", s)
		}
		return Before{Share: float64(x) / float64(y)}, nil
	}
	span, err := ParseSpan(s)
	return Before{Span: span}, err
}

// Of is the length of time for certificates of a lifetime.
func (b Before) Of(lifetime time.Duration) time.Duration {
	if b.Share != 0 {
		return time.Duration(float64(lifetime) * b.Share).Round(time.Minute)
	}
	return time.Duration(b.Span)
}

func (b Before) String() string {
	if b.Share == 0 {
		return b.Span.String()
	}
	parts := func(from, to float64) string { // as a fraction
		for y := from; y <= to; y++ {
			if x := math.Round(b.Share * y); math.Abs(b.Share*y-x) < 1e-9 {
				return fmt.Sprintf("%d/%d", int(x), int(y))
			}
		}
		return ""
	}
	percent := math.Round(b.Share*1e4) / 100
	if s := parts(2, 20); s != "" {
		return s
	}
	if s := parts(21, maxParts); s != "" && math.Abs(b.Share*100-percent) > 1e-9 {
		return s
	}
	return strconv.FormatFloat(percent, 'f', -1, 64) + "%"
}

// maxParts is the largest denominator of a share.
const maxParts = 1000

// MarshalText writes it as ParseBefore reads it.
func (b Before) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (b *Before) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBefore(string(text))
	return err
}

// Window is a time of the week in which changes may be made that programs notice.
type Window struct {
	Days []time.Weekday // all when empty: the days on which it begins
	From time.Duration  // since midnight
	To   time.Duration  // since midnight; before From: on the next day
	Zone string         // IANA; empty: UTC
}

var weekdays = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// ParseWindow reads "Sat,Sun 02:00-06:00 Europe/Berlin" or "Mon-Fri 20:00-05:00"; days
// and zone may be left out.
func ParseWindow(s string) (Window, error) {
	var w Window
	bad := fmt.Errorf("%q is no window: write \"Sat,Sun 02:00-06:00 Europe/Berlin\" or \"Mon-Fri 20:00-05:00\"; days and zone may be left out", s)
	for i, part := range strings.Fields(s) {
		switch {
		case strings.Contains(part, ":"):
			from, to, ok := strings.Cut(part, "-")
			a, errA := clock(from)
			b, errB := clock(to)
			if !ok || errA != nil || errB != nil || w.To != 0 || w.From != 0 {
				return Window{}, bad
			}
			w.From, w.To = a, b
		case i == 0:
			for days := range strings.SplitSeq(part, ",") {
				first, last, ranges := strings.Cut(days, "-")
				n, end := weekday(first), weekday(first)
				if ranges {
					end = weekday(last)
				}
				if n < 0 || end < 0 {
					return Window{}, bad
				}
				for ; ; n = (n + 1) % 7 {
					if slices.Contains(w.Days, time.Weekday(n)) {
						return Window{}, bad
					}
					w.Days = append(w.Days, time.Weekday(n))
					if n == end {
						break
					}
				}
			}
		case w.Zone == "":
			w.Zone = part
		default:
			return Window{}, bad
		}
	}
	if w.From == w.To {
		return Window{}, bad
	}
	return w, w.check()
}

// weekday is the number of a day, which may be written in full; -1 for no day.
func weekday(s string) int {
	return slices.IndexFunc(weekdays, func(name string) bool {
		return len(s) >= len(name) && hasPrefixFold(time.Weekday(slices.Index(weekdays, name)).String(), s)
	})
}

func clock(s string) (time.Duration, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

func (w Window) check() error {
	if _, err := time.LoadLocation(w.Zone); err != nil {
		return fmt.Errorf("the window %v: there is no time zone %q; write one such as Europe/Berlin", w, w.Zone)
	}
	length := w.To - w.From
	if length <= 0 {
		length += day
	}
	if length < 30*time.Minute {
		return fmt.Errorf("the window %v is shorter than half an hour: publishing may not fit in it", w)
	}
	return nil
}

func (w Window) String() string {
	var parts []string
	if len(w.Days) > 0 {
		var names []string
		for _, d := range w.Days {
			names = append(names, weekdays[d])
		}
		parts = append(parts, strings.Join(names, ","))
	}
	at := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", d/time.Hour, d%time.Hour/time.Minute) }
	parts = append(parts, at(w.From)+"-"+at(w.To))
	if w.Zone != "" {
		parts = append(parts, w.Zone)
	}
	return strings.Join(parts, " ")
}

// MarshalText writes it as ParseWindow reads it.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (w *Window) UnmarshalText(b []byte) (err error) {
	*w, err = ParseWindow(string(b))
	return err
}

// next is the first time from t on that is in the window.
func (w Window) next(t time.Time) time.Time {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		zone = time.UTC // as check has reported
	}
	local := t.In(zone)
	for i := -1; i <= 15; i++ {
		noon := time.Date(local.Year(), local.Month(), local.Day()+i, 12, 0, 0, 0, zone) // there may be no midnight
		if len(w.Days) > 0 && !slices.Contains(w.Days, noon.Weekday()) {
			continue
		}
		at := func(d time.Duration) time.Time { // by the wall clock, also on a day of 23 hours
			return time.Date(noon.Year(), noon.Month(), noon.Day(), int(d/time.Hour), int(d%time.Hour/time.Minute), 0, 0, zone)
		}
		from, to := at(w.From), at(w.To)
		if w.To <= w.From {
			to = at(w.To + day)
		}
		switch {
		case !to.After(t), !to.After(from): // over, or in the hour that the day does not have
		case from.After(t):
			return from.UTC()
		default:
			return t
		}
	}
	return t // no week is without it
}

// Allowed is the first time from t on that is in one of the windows; t if there are none.
func (p Policy) Allowed(t time.Time) time.Time {
	var best time.Time
	for _, w := range p.Windows {
		if n := w.next(t); best.IsZero() || n.Before(best) {
			best = n
		}
	}
	if best.IsZero() {
		return t
	}
	return best
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
