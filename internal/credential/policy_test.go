package credential

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// TestCheck refuses policies that cannot work, each with its reason, and takes the others.
func TestCheck(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Policy)
		want   string // of the one error; "" for none
	}{
		"the defaults":                {func(*Policy) {}, ""},
		"the shortest":                {func(p *Policy) { p.Lifetime, p.Overlap = Span(30*day), Span(day) }, ""},
		"the longest":                 {func(p *Policy) { p.Lifetime = Span(1095 * day) }, ""},
		"too short a lifetime":        {func(p *Policy) { p.Lifetime = Span(29 * day) }, "lifetime is 29d"},
		"too long a lifetime":         {func(p *Policy) { p.Lifetime = Span(1096 * day) }, "lifetime is 1096d"},
		"too small a share":           {func(p *Policy) { p.RenewBefore = Before{Share: 0.01} }, "renew-before is 1% of the lifetime"},
		"too large a share":           {func(p *Policy) { p.RenewBefore = Before{Share: 0.95} }, "renew-before is 19/20 of the lifetime"},
		"too late":                    {func(p *Policy) { p.RenewBefore = Before{Span: Span(time.Hour)} }, "renew-before is 1h: give 1 to 365 days"},
		"too early":                   {func(p *Policy) { p.RenewBefore = Before{Span: Span(366 * day)} }, "renew-before is 366d"},
		"earlier than made":           {func(p *Policy) { p.RenewBefore = Before{Span: Span(200 * day)} }, "is not shorter than the lifetime"},
		"hardly in use":               {func(p *Policy) { p.RenewBefore = Before{Span: Span(179 * day)} }, "leave at least 2 days"},
		"an overlap that is too long": {func(p *Policy) { p.Overlap = Span(400 * day) }, "overlap is 400d"},
		"an overlap past the end":     {func(p *Policy) { p.Overlap = Span(60 * day) }, "make overlap shorter than renew-before"},
		"a vault needs more than a day": {func(p *Policy) {
			p.RenewBefore, p.Overlap, p.Targets = Before{Span: Span(day)}, Span(time.Hour), []string{"keyvault:x"}
		}, "at least 25h30m"},
		"an elliptic curve":          {func(p *Policy) { p.KeyType = pki.P256 }, "Entra ID takes no assertion signed with an elliptic curve"},
		"no key type":                {func(p *Policy) { p.KeyType = "rsa-512" }, `there is no key-type "rsa-512"`},
		"an unknown word":            {func(p *Policy) { p.Subject = "CN={nobody}" }, "of words in braces"},
		"no subject":                 {func(p *Policy) { p.Subject = "CN=" }, `subject is "CN="`},
		"no issuer":                  {func(p *Policy) { p.Issuer = "acme" }, `issuer is "acme": use self or request`},
		"no store":                   {func(p *Policy) { p.Store = "tape" }, `store is "tape"`},
		"a key that cannot leave":    {func(p *Policy) { p.Store, p.Targets = StoreKeys, []string{"directory:/x"} }, "never leaves the vault"},
		"no resource":                {func(p *Policy) { p.Resources = []string{"graph"} }, `the resource "graph"`},
		"a resource by GUID":         {func(p *Policy) { p.Resources = []string{"00000003-0000-0000-c000-000000000000"} }, ""},
		"a notice too late":          {func(p *Policy) { p.NoticeDays = []int{0} }, "notice-days has 0"},
		"a notice too early":         {func(p *Policy) { p.NoticeDays = []int{91} }, "notice-days has 91"},
		"a window without a place":   {func(p *Policy) { p.Windows = []Window{{From: 0, To: time.Hour, Zone: "Europe/Nowhere"}} }, `there is no time zone "Europe/Nowhere"`},
		"a window that is too short": {func(p *Policy) { p.Windows = []Window{{From: 0, To: time.Minute}} }, "shorter than half an hour"},
		"a key kept for ever":        {func(p *Policy) { p.DestroyAfter = Span(1096 * day) }, "destroy-after is 1096d"},
	} {
		t.Run(what, func(t *testing.T) {
			p := Policy{}.Complete(token)
			c.change(&p)
			errs := p.Check()
			switch {
			case c.want == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs)
			case c.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)):
				t.Errorf("got %q, want one with %q", errs, c.want)
			}
		})
	}
}

// TestSubjectOf makes a subject for an application of any name.
func TestSubjectOf(t *testing.T) {
	for _, name := range []string{"reeve", "", " ", "a, b", "{app}", "CN=x", "#1", "a\nb", "\xff", strings.Repeat("ä", 300), `\`, `"`, "<>;+=", "/CN=x", "trailing "} {
		a := Application{Name: name, ClientID: "client", TenantID: "tenant"}
		s, err := Policy{}.Complete(token).SubjectOf(a)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		n, err := pki.ParseName(s)
		if err != nil || len(n.ExtraNames) != 1 {
			t.Errorf("%q: subject %q is read as %v, %v", name, s, n, err)
		}
	}
	s, err := Policy{Subject: "CN={client-id}, O={tenant-id}"}.SubjectOf(Application{ClientID: "c", TenantID: "t"})
	if s != "CN=c, O=t" || err != nil {
		t.Error(s, err)
	}
}

// TestParseSpan reads and writes lengths of time.
func TestParseSpan(t *testing.T) {
	for in, want := range map[string]string{
		"180d": "180d", " 7 d": "7d", "24h": "1d", "36h": "36h", "25h30m": "25h30m", "90s": "1m30s", "10s": "10s", "1h0m10s": "1h0m10s", "0s": "0s", "0d": "0s", "20m": "20m", "26w": "182d", "1y": "365d",
	} {
		got, err := ParseSpan(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{"": "no length of time", "7": "write 7d for days", "-1d": "no length", "-1h": "no length", "1m1": "no length", "101y": "no length", "1.5y": "no length", "40000d": "no length", "d": "no length"} {
		if got, err := ParseSpan(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

// TestParseBefore reads and writes shares and lengths of time.
func TestParseBefore(t *testing.T) {
	for in, want := range map[string]string{
		"60d": "60d", "1/3": "1/3", " 2 / 6 ": "1/3", "33%": "33%", "50%": "1/2", "33.33%": "33.33%", "1/30": "1/30", "29 %": "29%",
	} {
		got, err := ParseBefore(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0%", "100%", "99.9999%", "NaN%", "-1%", "x%", "1/1", "0/3", "3/2", "1/1001", "1/x", "60"} {
		if got, err := ParseBefore(in); err == nil {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
	if got := (Before{Share: 1.0 / 3}).Of(180 * day); got != 60*day {
		t.Errorf("a third of 180 days is %v", got)
	}
}

// TestParseWindow reads and writes windows.
func TestParseWindow(t *testing.T) {
	for in, want := range map[string]string{
		"02:00-06:00": "02:00-06:00", "Sat,sunday 2:00-06:00 Europe/Berlin": "Sat,Sun 02:00-06:00 Europe/Berlin", "Mon 22:00-04:00": "Mon 22:00-04:00", "Mon-Fri 20:00-05:00": "Mon,Tue,Wed,Thu,Fri 20:00-05:00", "fri-Mon,Wed 1:00-5:00": "Fri,Sat,Sun,Mon,Wed 01:00-05:00", "00:00-24:00 UTC": "00:00-24:00 UTC",
	} {
		got, err := ParseWindow(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "Sat", "02:00", "02:00-02:00", "02:00-02:10", "25:00-26:00", "02:00-06:00 07:00-08:00", "02:00-06:00 Sat", "02:00-06:00 Europe/Berlin x", "Someday 02:00-06:00",
		"Mon-Friday 02:00", "Mon- 02:00-06:00", "-Mon 02:00-06:00", "Mon-Tue-Wed 02:00-06:00", "Mon-Wed,Tue 02:00-06:00", "Monkey 02:00-06:00", "Mon,Mon 02:00-06:00", "Mon, Tue 02:00-06:00", "02:00-06:00 ../../etc/passwd",
	} {
		if got, err := ParseWindow(in); err == nil {
			t.Errorf("%q is taken as %v", in, got)
		}
	}
}

// TestPolicyJSON writes a policy and reads it as it was.
func TestPolicyJSON(t *testing.T) {
	p := Policy{
		RenewBefore: Before{Share: 1.0 / 30}, Overlap: Span(25*time.Hour + 10*time.Second), Targets: []string{"directory:/x"},
		Windows: []Window{mustWindow(t, "Sat,Sun 22:00-04:00 Europe/Berlin")},
	}.Complete(token)
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Policy
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("%+v became %+v: %v\n%s", p, back, err, data)
	}
	if data, err := json.Marshal(Policy{}); err != nil || string(data) != "{}" {
		t.Errorf("%s, %v", data, err)
	}
	for _, bad := range []string{`{"lifetime":"x"}`, `{"renew_before":"x"}`, `{"windows":["x"]}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// fuzz reads what there is, and what was read writes itself so that it is read as the
// same.
func fuzz[T interface{ String() string }](f *testing.F, parse func(string) (T, error), seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parse(s)
		if err != nil {
			return
		}
		again, err := parse(got.String())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q is %#v, written %q, and that is %#v: %v", s, got, got, again, err)
		}
	})
}

func FuzzParseSpan(f *testing.F) {
	fuzz(f, ParseSpan, "180d", "36h", "25h30m", "10s", "1.5h", "7", "-1h", "1ns")
}
func FuzzParseBefore(f *testing.F) {
	fuzz(f, ParseBefore, "1/3", "33%", "60d", "99.99%", "1/1000", "0.01%", "7/13")
}
func FuzzParseWindow(f *testing.F) {
	fuzz(f, ParseWindow, "Sat,Sun 02:00-06:00 Europe/Berlin", "22:00-04:00", "Mon 00:00-24:00", "24:00-01:00", "02:00-06:00 Local")
}
